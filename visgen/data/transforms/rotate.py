"""Rotate an image by a small angle, with all its targets."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from ...errors import ConfigError, DataError
from ...structures import Boxes, ClassLabel, DepthMap, Masks, OODLabel, PlaceLabel, SceneGraph, SemanticMap
from ..sample import Sample
from .base import TRANSFORMS, chance, uniform
from .geometry import check_in_step, tight_boxes

__all__ = ["Rotate", "rotate_value"]


@TRANSFORMS.register("rotate")
@dataclass(frozen=True)
class Rotate:
    """Turn the image about its centre, keeping its size; the corners become black, ignored and without depth.

    A box becomes the tight box of its turned mask where "masks" has one, else the box around its four turned corners,
    clipped; boxes of which less than a pixel is left are dropped with their masks. Depth stays as it is: a roll of the
    camera about its axis keeps z.

    Args:
        degrees: Largest angle either way, 0..45; drawn evenly, anticlockwise positive.
        p: Probability.
    """

    degrees: float = 10.0
    p: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.degrees <= 45.0:
            raise ConfigError(f"rotate: degrees is {self.degrees}; it must lie in 0..45.")
        if not 0.0 <= self.p <= 1.0:
            raise ConfigError(f"rotate: p is {self.p}; it must lie in 0..1.")

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        applied = chance(generator, self.p)
        angle = uniform(generator, -self.degrees, self.degrees)
        return rotate_sample(sample, angle) if applied and angle != 0.0 else sample


def rotate_sample(sample: Sample, angle: float) -> Sample:
    """Turn a sample by `angle` degrees, anticlockwise; see `Rotate`."""
    boxes, masks = sample.targets.get("detection"), sample.targets.get("masks")
    targets: dict[str, Any] = {}
    stay = torch.zeros(0, dtype=torch.int64)  # which boxes of "detection" stay
    for key, value in sample.targets.items():
        if isinstance(value, Boxes):
            own = masks if key == "detection" and isinstance(masks, Masks) and isinstance(boxes, Boxes) else None
            if own is not None:
                check_in_step(value, own)
            turned = None if own is None else _turn(own.masks, angle, 0)
            targets[key], keep = _turn_labelled(value, angle, None if turned is None else tight_boxes(turned))
            stay = keep if key == "detection" else stay
            if turned is not None and own is not None:
                targets["masks"] = replace(own.select(keep), masks=turned[keep])
        elif key not in targets:
            targets[key] = rotate_value(value, angle)
    for key, value in sample.targets.items():
        if isinstance(value, SceneGraph) and value.boxes is boxes:
            targets[key] = replace(value.select_boxes(stay), boxes=targets["detection"])
    image = F.rotate(sample.pixels, angle, interpolation=InterpolationMode.BILINEAR)
    return sample.replace(image=image, targets={k: targets[k] for k in sample.targets})


@singledispatch
def rotate_value(value: Any, angle: float) -> Any:
    """Turn one target by an angle in degrees; register a function here for a new type of target.

    Raises:
        DataError: No rule is registered for the type.
    """
    raise DataError(
        f"a target of type {type(value).__name__} has no rule for rotation; leave `rotate` out or register one with "
        "visgen.data.transforms.rotate.rotate_value.register."
    )


@rotate_value.register(ClassLabel)
@rotate_value.register(OODLabel)
@rotate_value.register(PlaceLabel)
@rotate_value.register(str)
@rotate_value.register(int)
@rotate_value.register(float)
@rotate_value.register(type(None))
def _unchanged(value: Any, angle: float) -> Any:
    return value


@rotate_value.register
def _rotate_semantic(value: SemanticMap, angle: float) -> SemanticMap:
    # Ids are small whole numbers, exact as float32 under nearest sampling.
    return replace(value, ids=_turn(value.ids.float()[None], angle, 255)[0].long(), confidence=None)


@rotate_value.register
def _rotate_depth(value: DepthMap, angle: float) -> DepthMap:
    return replace(value, metres=_turn(value.metres[None], angle, 0)[0])


@rotate_value.register
def _rotate_masks(value: Masks, angle: float) -> Masks:
    return replace(value, masks=_turn(value.masks, angle, 0))


@rotate_value.register
def _rotate_graph(value: SceneGraph, angle: float) -> SceneGraph:
    boxes, keep = _turn_labelled(value.boxes, angle, None)
    return replace(value.select_boxes(keep), boxes=boxes)


def _turn_labelled(boxes: Boxes, angle: float, tight: Tensor | None) -> tuple[Boxes, Tensor]:
    """The turned boxes of which a pixel is left, and their indices; `tight` are the boxes of turned masks."""
    xyxy = _turn_boxes(boxes.xyxy, boxes.size, angle) if tight is None else tight
    keep = ((xyxy[:, 2:] - xyxy[:, :2]) >= 1.0).all(1).nonzero()[:, 0]
    return replace(boxes.select(keep), xyxy=xyxy[keep]), keep


def _turn(planes: Tensor, angle: float, fill: int) -> Tensor:
    """Turn planes (N, H, W) with nearest sampling, in their own type."""
    if len(planes) == 0:
        return planes
    work = planes.to(torch.uint8) if planes.dtype == torch.bool else planes
    out = F.rotate(work, angle, interpolation=InterpolationMode.NEAREST, fill=[float(fill)] * len(planes))
    return out.to(planes.dtype)


def _turn_boxes(xyxy: Tensor, size: tuple[int, int], angle: float) -> Tensor:
    """Boxes around the turned corners, clipped to the image."""
    height, width = size
    x = xyxy[:, [0, 2, 2, 0]] - width / 2
    y = xyxy[:, [1, 1, 3, 3]] - height / 2
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    # y points down, so anticlockwise on screen is (x, y) -> (x cos + y sin, y cos - x sin).
    u, v = x * cos + y * sin + width / 2, y * cos - x * sin + height / 2
    out = torch.stack([u.amin(1), v.amin(1), u.amax(1), v.amax(1)], 1)
    return out.clamp(min=0.0).minimum(torch.tensor([width, height, width, height], dtype=torch.float32))

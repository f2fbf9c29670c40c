"""Move image, boxes, masks, semantic and depth maps together: one window carries every crop, pad, resize and flip."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor

from ...errors import DataError
from ...structures import IGNORE, Boxes, ClassLabel, DepthMap, Masks, OODLabel, PlaceLabel, SceneGraph, SemanticMap
from ...structures.scene_graph import mirrored_classes
from ..sample import Sample

__all__ = ["Window", "apply_window", "resample_nearest", "scale_depth", "tight_boxes", "window_value"]


@dataclass(frozen=True)
class Window:
    """A rectangle of the input, its size in the output, and whether it is mirrored.

    The rectangle may reach beyond the image: what lies outside is black, ignored (255), without depth (0) and in no
    mask.

    Args:
        top, left: Upper left corner in input pixels.
        height, width: Extent in input pixels.
        out_height, out_width: Extent in output pixels; equal to height and width for a plain crop or pad.
        flip: Mirror left and right, after the resize.
    """

    top: int
    left: int
    height: int
    width: int
    out_height: int
    out_width: int
    flip: bool = False

    @staticmethod
    def crop(top: int, left: int, height: int, width: int) -> Window:
        """A window that keeps the pixel scale."""
        return Window(top, left, height, width, height, width)

    @staticmethod
    def resize(size: tuple[int, int], out_height: int, out_width: int) -> Window:
        """The whole image of `size` (H, W), resized."""
        return Window(0, 0, size[0], size[1], out_height, out_width)

    @property
    def resizes(self) -> bool:
        return (self.height, self.width) != (self.out_height, self.out_width)

    def covers(self, size: tuple[int, int]) -> bool:
        """Whether no part of an image of `size` (H, W) is cut away."""
        return (
            self.top <= 0 and self.left <= 0 and self.top + self.height >= size[0] and self.left + self.width >= size[1]
        )


def apply_window(sample: Sample, window: Window, min_visible: float = 0.0) -> Sample:
    """Cut, pad, resize and mirror a sample with all its targets.

    Images are resampled bilinearly with antialiasing; masks, ids and depth take the nearest input pixel, so no new id,
    no mixed depth and no mask border appear. Depth values stay as they are (see `scale_depth`). Boxes are clipped. A
    box that the window cuts is tightened to its own mask where "masks" has one, and dropped, with its mask and label,
    when less than a pixel or less than `min_visible` of its area is left. A scene graph loses the triplets of dropped
    boxes; one whose boxes are those of "detection" keeps sharing them. A mirror exchanges "left" and "right" in its
    predicates, and in classes that have such a counterpart.

    Args:
        sample: Its "masks", if any, are in step with its "detection".
        window: In pixels of the sample's image.
        min_visible: Share of a cut box's area that must stay, 0..1.
    Raises:
        DataError: A target is of another size than the image, of an unknown type, or masks and boxes are out of step.
    """
    size = sample.size
    targets: dict[str, Any] = {}
    boxes, masks = sample.targets.get("detection"), sample.targets.get("masks")
    pair = (boxes, masks) if isinstance(boxes, Boxes) and isinstance(masks, Masks) else None
    keep = torch.zeros(0, dtype=torch.int64)  # which boxes of "detection" stay
    for key, value in sample.targets.items():
        if (pair is not None and key in ("detection", "masks")) or isinstance(value, SceneGraph):
            continue
        _check_size(key, value, size)
        if isinstance(value, Boxes):
            targets[key], stay = _window_boxes(value, None, window, min_visible)
            keep = stay if key == "detection" else keep
        else:
            targets[key] = window_value(value, window)
    if pair is not None:
        boxes, masks = pair
        _check_size("detection", boxes, size)
        _check_size("masks", masks, size)
        check_in_step(boxes, masks)
        cropped = _extract(masks.masks, window, 0)
        targets["detection"], keep = _window_boxes(boxes, cropped, window, min_visible)
        targets["masks"] = replace(masks.select(keep), masks=_finish_nearest(cropped[keep], window))
    for key, value in sample.targets.items():
        if isinstance(value, SceneGraph):
            _check_size(key, value, size)
            shared = (targets["detection"], keep) if value.boxes is boxes else None
            targets[key] = _window_graph(value, shared, window, min_visible)
    pixels = _extract(sample.pixels, window, 0)
    if window.resizes:
        pixels = _resize_image(pixels, window.out_height, window.out_width)
    if window.flip:
        pixels = pixels.flip(-1)
        targets = {k: v if isinstance(v, Boxes) else _other_sides(v) for k, v in targets.items()}  # boxes have theirs
    return sample.replace(image=pixels, targets={k: targets[k] for k in sample.targets})


@singledispatch
def window_value(value: Any, window: Window) -> Any:
    """Carry one target through a window; register a function here for a new type of target.

    Raises:
        DataError: No rule is registered for the type.
    """
    raise DataError(
        f"a target of type {type(value).__name__} has no rule for crops and resizes; register one with "
        "visgen.data.transforms.window_value.register."
    )


@window_value.register(ClassLabel)
@window_value.register(OODLabel)
@window_value.register(PlaceLabel)
@window_value.register(str)
@window_value.register(int)
@window_value.register(float)
@window_value.register(type(None))
def _unchanged(value: Any, window: Window) -> Any:
    return value


@window_value.register
def _window_semantic(value: SemanticMap, window: Window) -> SemanticMap:
    ids = _finish_nearest(_extract(value.ids, window, 255), window)
    if value.confidence is None:
        return replace(value, ids=ids)
    return replace(value, ids=ids, confidence=_finish_nearest(_extract(value.confidence, window, 0), window))


@window_value.register
def _window_depth(value: DepthMap, window: Window) -> DepthMap:
    return replace(value, metres=_finish_nearest(_extract(value.metres, window, 0), window))


@window_value.register
def _window_masks(value: Masks, window: Window) -> Masks:
    return replace(value, masks=_finish_nearest(_extract(value.masks, window, 0), window))


@window_value.register
def _window_only_boxes(value: Boxes, window: Window) -> Boxes:
    return _window_boxes(value, None, window, 0.0)[0]


@window_value.register
def _window_only_graph(value: SceneGraph, window: Window) -> SceneGraph:
    return _window_graph(value, None, window, 0.0)


def scale_depth(sample: Sample, zoom: float) -> Sample:
    """Divide metric depth by a zoom: with the focal length held fixed, a view enlarged by `zoom` is seen from nearer.

    Args:
        zoom: Magnification > 0; 2 halves every depth. Missing depth (0) stays missing.
    Source: Eigen et al. 2014, arXiv:1406.2283, section 3.3 ("scale": the image by s, the depths divided by s).
    """
    targets = {
        k: replace(v, metres=v.metres / zoom) if isinstance(v, DepthMap) and v.kind == "metric_m" else v
        for k, v in sample.targets.items()
    }
    return sample.replace(targets=targets)


def tight_boxes(masks: Tensor) -> Tensor:
    """Give the smallest boxes (Q, 4) xyxy, pixel edges, that hold each mask (Q, H, W); empty masks give zeros."""
    boxes = torch.zeros(len(masks), 4)
    if masks.numel() == 0:
        return boxes
    planes = masks.numpy()  # its any() over bytes is ten times faster than torch's
    for axis, (low, high) in ((1, (0, 2)), (2, (1, 3))):
        line = torch.from_numpy(planes.any(axis).astype("uint8"))  # (Q, W) over rows for x, (Q, H) over columns for y
        some = line.bool().any(1)
        boxes[:, low] = torch.where(some, line.argmax(1), 0).float()
        boxes[:, high] = torch.where(some, line.shape[1] - line.flip(1).argmax(1), 0).float()
    return boxes


def resample_nearest(grid: Tensor, out_height: int, out_width: int) -> Tensor:
    """Take the input pixel under each output pixel's centre; the last two axes are H and W."""
    height, width = grid.shape[-2:]
    if (height, width) == (out_height, out_width):
        return grid
    rows = ((torch.arange(out_height) + 0.5) * height / out_height).long().clamp_(max=height - 1)
    columns = ((torch.arange(out_width) + 0.5) * width / out_width).long().clamp_(max=width - 1)
    return grid.index_select(-2, rows).index_select(-1, columns)


def _resize_image(pixels: Tensor, height: int, width: int) -> Tensor:
    thin = pixels.dtype == torch.uint8 and width == 1  # which torch's own bytes give wrongly, or refuse
    out = torch.nn.functional.interpolate(
        (pixels.float() if thin else pixels)[None], (height, width), mode="bilinear", antialias=True
    )[0]
    if thin:
        return out.round_().clamp_(0.0, 255.0).to(torch.uint8)
    return out if out.dtype == torch.uint8 else out.clamp_(0.0, 1.0)


def _finish_nearest(grid: Tensor, window: Window) -> Tensor:
    grid = resample_nearest(grid, window.out_height, window.out_width)
    return grid.flip(-1) if window.flip else grid


def _extract(grid: Tensor, window: Window, fill: int) -> Tensor:
    """The window of the last two axes, filled where it reaches outside; a view where it does not."""
    height, width = grid.shape[-2:]
    top, left = max(window.top, 0), max(window.left, 0)
    bottom, right = min(window.top + window.height, height), min(window.left + window.width, width)
    inner = grid[..., top : max(bottom, top), left : max(right, left)]
    if inner.shape[-2:] == (window.height, window.width):
        return inner
    out = torch.full((*grid.shape[:-2], window.height, window.width), fill, dtype=grid.dtype)
    if inner.numel():
        y, x = top - window.top, left - window.left
        out[..., y : y + inner.shape[-2], x : x + inner.shape[-1]] = inner
    return out


def _window_boxes(boxes: Boxes, cropped: Tensor | None, window: Window, min_visible: float) -> tuple[Boxes, Tensor]:
    """The boxes that stay and their indices; `cropped` are the masks in the window, before its resize."""
    moved = boxes.xyxy - torch.tensor([window.left, window.top, window.left, window.top], dtype=torch.float32)
    limit = torch.tensor([window.width, window.height, window.width, window.height], dtype=torch.float32)
    clipped = moved.clamp(min=0.0).minimum(limit)
    cut = (clipped != moved).any(1)
    if cropped is not None and bool(cut.any()):
        tight = tight_boxes(cropped)
        some = (tight[:, 2] > tight[:, 0]) & cut  # an empty mask has no width
        inside = torch.cat([clipped[:, :2].maximum(tight[:, :2]), clipped[:, 2:].minimum(tight[:, 2:])], 1)
        clipped = torch.where(some[:, None], inside, clipped)
        gone = cut & ~some
    else:
        gone = torch.zeros_like(cut)
    sides = clipped[:, 2:] - clipped[:, :2]
    before = (moved[:, 2:] - moved[:, :2]).clamp(min=1e-6)
    visible = sides.clamp(min=0).prod(1) / before.prod(1)
    keep = (~(cut & ((sides < 1.0).any(1) | (visible < min_visible))) & ~gone).nonzero()[:, 0]
    sx, sy = window.out_width / window.width, window.out_height / window.height
    out = clipped[keep] * torch.tensor([sx, sy, sx, sy])
    if window.flip:
        out = torch.stack([window.out_width - out[:, 2], out[:, 1], window.out_width - out[:, 0], out[:, 3]], 1)
    kept = replace(boxes.select(keep), xyxy=out, size=(window.out_height, window.out_width))
    return _other_sides(kept) if window.flip else kept, keep


def _other_sides(value: Any) -> Any:
    """Exchange the classes of a target that differ by "left" and "right"."""
    other = mirrored_classes(getattr(value, "classes", ()))
    if other is None:
        return value
    if isinstance(value, ClassLabel):
        return replace(value, label=other[value.label])
    ids = torch.tensor([*other, *range(len(other), IGNORE + 1)])
    if isinstance(value, SemanticMap):
        return replace(value, ids=ids[value.ids])
    value = replace(value, labels=ids[value.labels])
    names, complete = value.classes, getattr(value, "complete", None)
    return value if complete is None else replace(value, complete=tuple(names[other[names.index(c)]] for c in complete))


def _window_graph(
    graph: SceneGraph, shared: tuple[Boxes, Tensor] | None, window: Window, min_visible: float
) -> SceneGraph:
    """A graph over the boxes that stay; `shared` are those of "detection" and their indices, where it shares them."""
    boxes, keep = shared if shared is not None else _window_boxes(graph.boxes, None, window, min_visible)
    moved = replace(graph.select_boxes(keep), boxes=boxes)
    return moved.mirrored() if window.flip else moved


def check_in_step(boxes: Boxes, masks: Masks) -> None:
    """Raise DataError unless there is one mask for each box."""
    if len(boxes.labels) != len(masks.labels):
        raise DataError(
            f"the sample has {len(boxes.labels)} boxes but {len(masks.labels)} masks; they must be in step: leave the "
            "masks out where some boxes have none."
        )


def _check_size(key: str, value: Any, size: tuple[int, int]) -> None:
    found = getattr(value, "size", None)
    if isinstance(found, tuple) and found != size:  # of a tensor it is a method
        raise DataError(
            f"target '{key}' is made for {found[0]} x {found[1]} pixels but its image has {size[0]} x {size[1]}; check "
            "the data set with `visgen data check`."
        )

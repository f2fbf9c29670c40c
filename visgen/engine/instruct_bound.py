"""What codecs and the VAE of an instruction model lose by themselves, on answers drawn at random and on depth maps."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import torch
from torch import Tensor

from ..data import Sample
from ..diffusion import InstructDiffusion
from ..diffusion.answers import codec_settings
from ..diffusion.codec import codec_for
from ..diffusion.codec.detection import BoxLayers
from ..language import TaskRequest
from ..structures import Boxes, SceneGraph
from ..structures.boxes import pairwise_iou

__all__ = ["autoencoder_bound"]

MOST_BOXES = 4
LEAST_SIDE = 8  # canvas pixels
SAME_SHAPE = 0.75
SAME_BOX = 0.5


@torch.no_grad()
def autoencoder_bound(
    model: InstructDiffusion, samples: Sequence[Sample], *, pictures: int = 60, seed: int = 0
) -> dict[str, float]:
    """Send true answers through codec and VAE, without the denoiser: nothing that the model draws can be better.

    Args:
        model: The instruction model.
        samples: Images with depth maps.
        pictures: How many pictures of boxes and of relations are drawn at random.
        seed: Of these.
    Returns:
        "boxes": share of 1 to 4 boxes of 8 canvas pixels and more that come back with IoU 0.75; "relations": share of
        triplets of two such boxes that come back with the predicate and an IoU of half of both boxes; "AbsRel": error
        of the depth maps.
    """
    random, size = Random(seed), (model.config.size, model.config.size)
    settings = codec_settings(model)
    find, relate = TaskRequest("detection", ("a",)), TaskRequest("scene_graph", relation=("a", None, "b"))
    boxes_codec, graph_codec = codec_for(find, settings), codec_for(relate, settings)
    assert isinstance(boxes_codec, BoxLayers)
    boxes: list[Boxes] = []
    while len(boxes) < pictures:
        drawn = _boxes(random, random.randint(1, MOST_BOXES), size, ("a",))
        if not boxes_codec.overflow(drawn, find, size):
            boxes.append(drawn)
    through = _through(model, [boxes_codec.encode(value, find, size) for value in boxes])
    kept = [
        _recalled(value, boxes_codec.decode(picture, find, size)) for value, picture in zip(boxes, through, strict=True)
    ]
    graphs = []
    for _ in range(pictures):
        pair, predicate = _boxes(random, 2, size, ("a", "b")), random.randrange(len(settings.predicates))
        graphs.append(SceneGraph(pair, torch.tensor([[0, 1, predicate]]), settings.predicates))
    through = _through(model, [graph_codec.encode(value, relate, size) for value in graphs])
    told = [
        _is_same(value, graph_codec.decode(picture, relate, size))
        for value, picture in zip(graphs, through, strict=True)
    ]
    depth = TaskRequest("depth")
    maps, depth_codec = [sample.targets["depth"] for sample in samples], codec_for(depth, settings)
    through = _through(model, [depth_codec.encode(value, depth, size) for value in maps])
    errors = []
    for value, picture in zip(maps, through, strict=True):
        metres = depth_codec.decode(picture, depth, value.size).metres
        errors.append(float(((metres - value.metres).abs() / value.metres.clamp(min=1e-6))[value.valid].mean()))
    return {
        "boxes": sum(kept) / sum(map(len, boxes)),
        "relations": sum(told) / len(told),
        "AbsRel": sum(errors) / len(errors),
    }


def _boxes(random: Random, count: int, size: tuple[int, int], classes: tuple[str, ...]) -> Boxes:
    """Boxes of sides from 8 pixels to half the canvas; of two classes, one of each."""
    corners = []
    for _ in range(count):
        height, width = (random.randint(LEAST_SIDE, side // 2) for side in size)
        top, left = random.randint(0, size[0] - height), random.randint(0, size[1] - width)
        corners.append([left, top, left + width, top + height])
    labels = torch.arange(count) if len(classes) > 1 else torch.zeros(count, dtype=torch.int64)
    return Boxes(torch.tensor(corners, dtype=torch.float32), labels, size, classes)


def _through(model: InstructDiffusion, pictures: Sequence[Tensor]) -> Tensor:
    return torch.cat([model.decode(model.encode_target(part)) for part in torch.stack(list(pictures)).split(16)])


def _recalled(true: Boxes, found: Boxes) -> int:
    if not len(found):
        return 0
    return int((pairwise_iou(true.xyxy, found.xyxy).amax(1) >= SAME_SHAPE).sum())


def _is_same(true: SceneGraph, found: Any) -> bool:
    if not len(found):
        return False
    ends, predicate = found.triplets[0, :2], int(found.triplets[0, 2])
    overlaps = pairwise_iou(true.boxes.xyxy, found.boxes.xyxy[ends]).diagonal()
    return found.predicates[predicate] == true.names[0][1] and bool((overlaps >= SAME_BOX).all())

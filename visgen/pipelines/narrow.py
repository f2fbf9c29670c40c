"""What stays of an answer when only a part of it was asked: functions from a typed value and requests to the same type.

Requests name classes as the value does. Where several are given, a box, pixel or triplet stays when one of them asks
for it. What every request leaves whole comes back as the same object.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from ..language import TaskRequest
from ..structures import IGNORE, Boxes, Classification, DepthMap, Masks, SceneGraph, SemanticMap

__all__ = ["class_region", "figures_of", "narrow_boxes", "narrow_depth", "narrow_graph", "narrow_map", "wanted_boxes"]

Objects = TypeVar("Objects", bound=Boxes | Masks)


def narrow_boxes(boxes: Objects, requests: Sequence[TaskRequest]) -> Objects:
    """Keep the boxes or masks that a request asks for; of "one", the best of each class."""
    if not requests or any(_is_whole(request) for request in requests):
        return boxes
    keep = torch.stack([wanted_boxes(boxes, request) for request in requests]).any(dim=0)
    return cast(Objects, boxes.select(keep))


def wanted_boxes(boxes: Boxes | Masks, request: TaskRequest) -> Tensor:
    """Tell for each box (Q,) whether the request asks for it."""
    wanted = _wanted(boxes.labels, boxes.classes, request)
    if request.quantifier != "one":
        return wanted
    scores = torch.ones(len(boxes)) if boxes.scores is None else boxes.scores
    best = torch.zeros_like(wanted)
    # "one object", without a class, is the best of all
    groups = [boxes.labels == label for label in boxes.labels.unique()] if request.classes else [wanted]
    for group in groups:
        inside = (group & wanted).nonzero().flatten()
        if len(inside):
            best[inside[scores[inside].argmax()]] = True
    return best


def narrow_map(
    value: SemanticMap, requests: Sequence[TaskRequest], regions: Sequence[Tensor | None] = ()
) -> SemanticMap:
    """Set the pixels of classes that no request asks for to 255.

    Args:
        regions: For each request the pixels (H, W) bool that it may keep, None for all; for requests of "one".
    """
    if not requests or any(_is_whole(request) for request in requests):
        return value
    keep = torch.zeros_like(value.ids, dtype=torch.bool)
    for i, request in enumerate(requests):
        inside = _wanted(value.ids, value.classes, request)
        region = regions[i] if i < len(regions) else None
        keep |= inside if region is None else inside & region
    return replace(value, ids=value.ids.where(keep, IGNORE))


def narrow_depth(value: DepthMap, regions: Sequence[Tensor | None]) -> DepthMap:
    """Set the depth outside all regions (H, W) bool to 0, "missing"; a region of None is the whole picture."""
    known = [region for region in regions if region is not None]
    if not regions or len(known) < len(regions):
        return value
    return replace(value, metres=value.metres.where(torch.stack(known).any(dim=0), 0.0))


def narrow_graph(graph: SceneGraph, requests: Sequence[TaskRequest]) -> SceneGraph:
    """Keep the triplets that a request asks for, best first; all boxes stay.

    A relation keeps what `SceneGraph.where` keeps. Of one class, a triplet needs it at one end; of several, both its
    ends must be among them. An excluded class stands at neither end.
    """
    if not requests or any(_is_whole(request) for request in requests):
        return graph
    keep = torch.stack([_wanted_triplets(graph, request) for request in requests]).any(dim=0)
    kept = graph.select(keep)
    return kept if kept.scores is None else kept.ranked()


def class_region(value: SemanticMap | Boxes, name: str, one: bool = False) -> Tensor:
    """Give the pixels (H, W) bool where a class is: its own in a map, those that its boxes touch otherwise.

    Args:
        value: Where things are.
        name: A class of it.
        one: Of boxes, the best only.
    """
    if isinstance(value, SemanticMap):
        return value.ids == value.classes.index(name)
    region = torch.zeros(value.size, dtype=torch.bool)
    request = TaskRequest("detection", (name,), quantifier="one" if one else "all")
    for x1, y1, x2, y2 in value.select(wanted_boxes(value, request)).clip().xyxy.tolist():
        region[int(y1) : math.ceil(y2), int(x1) : math.ceil(x2)] = True
    return region


def figures_of(value: Any, request: TaskRequest, where: Mapping[str, Tensor]) -> dict[str, dict[str, Any]]:
    """Give the numbers that answer a request: {} where the typed value says it all.

    Args:
        value: The value, narrowed to this request alone.
        request: In the words of the value.
        where: Of a request of depth, the pixels (H, W) bool of each class.
    """
    known = [name for name in request.classes if name in getattr(value, "classes", ())]
    if isinstance(value, (Boxes, Masks)):
        return {"count": {n: value.names.count(n) for n in (known if request.classes else dict.fromkeys(value.names))}}
    if not request.classes:
        return {}
    if isinstance(value, Classification):
        return {"probability": {name: float(value.probabilities[value.classes.index(name)]) for name in known}}
    if isinstance(value, SemanticMap):
        shares = {name: share for _, name, share in value.shares()}
        return {"share": {name: shares.get(name, 0.0) for name in known}}
    if isinstance(value, DepthMap):
        there = {name: replace(value, metres=value.metres * where[name]) for name in request.classes}
        return {"median": {name: depth.summary()["median"] for name, depth in there.items()}}
    return {}


def _is_whole(request: TaskRequest) -> bool:
    return not (request.classes or request.exclude or request.relation or request.quantifier == "one")


def _wanted(labels: Tensor, classes: tuple[str, ...], request: TaskRequest) -> Tensor:
    """Tell for each label whether its class is asked for; 255 never is."""
    table = torch.zeros(IGNORE + 1, dtype=torch.bool) if len(classes) <= IGNORE else torch.zeros(len(classes)).bool()
    for i, name in enumerate(classes):
        table[i] = (not request.classes or name in request.classes) and name not in request.exclude
    return table.to(labels.device)[labels]


def _wanted_triplets(graph: SceneGraph, request: TaskRequest) -> Tensor:
    subjects, objects = (graph.boxes.labels[graph.triplets[:, end]] for end in (0, 1))
    classes = graph.boxes.classes
    if request.relation is not None:
        subject, predicate, target = request.relation
        keep = torch.ones(len(graph), dtype=torch.bool)
        for values, names, name in (
            (subjects, classes, subject),
            (graph.triplets[:, 2], graph.predicates, predicate),
            (objects, classes, target),
        ):
            if name is not None:
                keep &= values == names.index(name)
        return keep
    allowed = replace(request, classes=())
    asked = [_wanted(ends, classes, replace(request, exclude=())) for ends in (subjects, objects)]
    keep = asked[0] | asked[1] if len(request.classes) == 1 else asked[0] & asked[1]
    return keep & _wanted(subjects, classes, allowed) & _wanted(objects, classes, allowed)

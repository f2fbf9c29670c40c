"""Boxes in absolute pixels, the conversions between box forms, and the overlap of boxes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor

from ..errors import DataError
from .ood import OODVerdict, read_verdict
from .validation import check_classes, check_labels, check_scores, check_size, check_tensor, dict_entry, label_id, span
from .value import register_value

__all__ = [
    "Boxes",
    "box_area",
    "cxcywh_to_xyxy",
    "denormalise",
    "normalise",
    "pairwise_iou",
    "xywh_to_xyxy",
    "xyxy_to_cxcywh",
    "xyxy_to_xywh",
]


def xyxy_to_xywh(boxes: Tensor) -> Tensor:
    """Turn corner boxes (..., 4) into (left, top, width, height), the form of COCO json."""
    return torch.cat((boxes[..., :2], boxes[..., 2:] - boxes[..., :2]), dim=-1)


def xywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Turn (left, top, width, height) boxes (..., 4) into corner boxes."""
    return torch.cat((boxes[..., :2], boxes[..., :2] + boxes[..., 2:]), dim=-1)


def xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """Turn corner boxes (..., 4) into (centre x, centre y, width, height)."""
    return torch.cat(((boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]), dim=-1)


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Turn (centre x, centre y, width, height) boxes (..., 4) into corner boxes."""
    half = boxes[..., 2:] / 2
    return torch.cat((boxes[..., :2] - half, boxes[..., :2] + half), dim=-1)


def normalise(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Divide boxes (..., 4) of any form by the image (height, width), so that the image is the unit square."""
    height, width = size
    return boxes / boxes.new_tensor([width, height, width, height])


def denormalise(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Multiply unit-square boxes (..., 4) of any form by the image (height, width)."""
    height, width = size
    return boxes * boxes.new_tensor([width, height, width, height])


def box_area(boxes: Tensor) -> Tensor:
    """Give the areas (...,) of corner boxes (..., 4): (x2 - x1)(y2 - y1)."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """Give the intersection over union of every pair of corner boxes.

    Args:
        a: Boxes (N, 4) xyxy.
        b: Boxes (M, 4) xyxy.
    Returns:
        (N, M) in [0, 1]; 0 where both boxes have no area.
    Raises:
        DataError: An argument is not (Q, 4).
    """
    for name, boxes in (("a", a), ("b", b)):
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise DataError(f"boxes {name} have shape {tuple(boxes.shape)}; pairwise_iou needs (Q, 4) xyxy.")
    low = torch.maximum(a[:, None, :2], b[None, :, :2])  # (N, M, 2)
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    inside = (high - low).clamp(min=0).prod(dim=-1)  # (N, M)
    union = box_area(a)[:, None] + box_area(b)[None, :] - inside
    return torch.where(union > 0, inside / union, torch.zeros_like(union))


@register_value
@dataclass(frozen=True, eq=False)
class Boxes:
    """Labelled boxes of one image: the target of detection, and with scores its prediction.

    Args:
        xyxy: Corners (Q, 4) float32 in absolute pixel edges: x2 >= x1, y2 >= y1; a box may reach past the image (see
            `clip`).
        labels: Class of each box (Q,) int64, 0..K-1.
        size: (height, width) of the image in pixels.
        classes: The K class names.
        scores: Confidence (Q,) float32 in [0, 1]; None for targets.
        is_crowd: (Q,) bool, true where a box covers a crowd that evaluation ignores; None means none.
        complete: Names of the classes whose every instance in the image has a box, for sets that label some classes
            only in part; None means all classes. Training takes no background for the other classes from the image.
        ood: Whether the image is unlike the training images, where the model can tell.
    Raises:
        DataError: A field breaks these rules.
    """

    xyxy: Tensor
    labels: Tensor
    size: tuple[int, int]
    classes: tuple[str, ...]
    scores: Tensor | None = None
    is_crowd: Tensor | None = None
    complete: tuple[str, ...] | None = None
    ood: OODVerdict | None = None

    type_name: ClassVar[str] = "boxes"

    def __post_init__(self) -> None:
        check_tensor("xyxy of Boxes", self.xyxy, torch.float32, ("Q", 4))
        check_size("Boxes", self.size)
        check_classes("Boxes", self.classes)
        check_labels("Boxes", self.labels, len(self.xyxy), self.classes)
        if self.scores is not None:
            check_scores("Boxes", self.scores, len(self.xyxy))
        if self.is_crowd is not None:
            check_tensor("is_crowd of Boxes", self.is_crowd, torch.bool, (len(self.xyxy),))
        for name in self.complete or ():
            label_id(name, self.classes)
        low, high = span(self.xyxy[:, 2:] - self.xyxy[:, :2])
        if low >= 0 and high < math.inf:
            return
        if not bool(self.xyxy.isfinite().all()):
            raise DataError("xyxy of Boxes holds NaN or infinity; every corner must be finite.")
        turned = (self.xyxy[:, 2:] < self.xyxy[:, :2]).any(dim=1)
        if bool(turned.any()):
            index = int(turned.nonzero()[0])
            corners = [round(v, 3) for v in self.xyxy[index].tolist()]
            raise DataError(
                f"box {index} is {corners}, so x2 < x1 or y2 < y1; Boxes holds corners (x1, y1, x2, y2); "
                "convert other forms with xywh_to_xyxy or cxcywh_to_xyxy."
            )

    def __len__(self) -> int:
        return len(self.xyxy)

    @property
    def names(self) -> tuple[str, ...]:
        """The class name of each box."""
        return tuple(self.classes[i] for i in self.labels.tolist())

    @property
    def area(self) -> Tensor:
        """The area of each box (Q,) in square pixels."""
        return box_area(self.xyxy)

    def select(self, index: Tensor) -> Boxes:
        """Keep the boxes that `index` picks: a bool (Q,) or int64 (n,) tensor."""
        pick = lambda field: None if field is None else field[index]  # noqa: E731
        return replace(
            self,
            xyxy=self.xyxy[index],
            labels=self.labels[index],
            scores=pick(self.scores),
            is_crowd=pick(self.is_crowd),
        )

    def clip(self) -> Boxes:
        """Cut every box at the image edges; a box outside keeps its place in the list with no area."""
        height, width = self.size
        limit = self.xyxy.new_tensor([width, height, width, height])
        cut = torch.minimum(self.xyxy.clamp(min=0), limit)
        return replace(self, xyxy=cut)

    def to(self, device: torch.device | str) -> Boxes:
        """Give the same boxes on another device."""
        move = lambda field: None if field is None else field.to(device)  # noqa: E731
        return replace(
            self,
            xyxy=self.xyxy.to(device),
            labels=self.labels.to(device),
            scores=move(self.scores),
            is_crowd=move(self.is_crowd),
            ood=move(self.ood),
        )

    def to_dict(self) -> dict[str, Any]:
        """Give a JSON-able dictionary; `from_dict` restores every field bit for bit (on the CPU)."""
        rows: list[dict[str, Any]] = []
        for index, (corners, label) in enumerate(zip(self.xyxy.tolist(), self.labels.tolist(), strict=True)):
            row: dict[str, Any] = {"xyxy": corners, "label": self.classes[label], "label_id": label}
            if self.scores is not None:
                row["score"] = float(self.scores[index])
            if self.is_crowd is not None:
                row["is_crowd"] = bool(self.is_crowd[index])
            rows.append(row)
        return {
            "type": self.type_name,
            "box_format": "xyxy",
            "unit": "pixel",
            "size": list(self.size),
            "classes": list(self.classes),
            "has_scores": self.scores is not None,
            "has_is_crowd": self.is_crowd is not None,
            "complete": None if self.complete is None else list(self.complete),
            "boxes": rows,
            **({} if self.ood is None else {"ood": self.ood.to_dict()}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Boxes:
        """Rebuild what `to_dict` wrote; raises DataError when a key is missing or the boxes are not xyxy."""
        form = data.get("box_format", "xyxy")
        if form != "xyxy":
            raise DataError(f"box_format is '{form}'; Boxes.from_dict reads xyxy only; convert the boxes first.")
        rows = dict_entry("Boxes", data, "boxes")
        column = lambda key: [dict_entry("a box", row, key) for row in rows]  # noqa: E731
        has_scores = dict_entry("Boxes", data, "has_scores")
        has_crowd = dict_entry("Boxes", data, "has_is_crowd")
        complete = data.get("complete")
        return cls(
            xyxy=torch.tensor(column("xyxy"), dtype=torch.float32).reshape(-1, 4),
            labels=torch.tensor(column("label_id"), dtype=torch.int64),
            size=tuple(dict_entry("Boxes", data, "size")),
            classes=tuple(dict_entry("Boxes", data, "classes")),
            scores=torch.tensor(column("score"), dtype=torch.float32) if has_scores else None,
            is_crowd=torch.tensor(column("is_crowd"), dtype=torch.bool) if has_crowd else None,
            complete=None if complete is None else tuple(complete),
            ood=read_verdict(data),
        )

    def to_coco(self, image_id: int = 0, category_ids: Mapping[str, int] | None = None) -> list[dict[str, Any]]:
        """Give COCO annotations: bbox as (left, top, width, height), area, iscrowd and, with scores, score.

        Args:
            image_id: The COCO image id to write.
            category_ids: Class name to COCO category id; None numbers the classes from 1 in their order.
        Raises:
            DataError: `category_ids` lacks a class that occurs.
        """
        rows = []
        boxes = xyxy_to_xywh(self.xyxy.double()).tolist()
        areas = box_area(self.xyxy.double()).tolist()
        for index, label in enumerate(self.labels.tolist()):
            row: dict[str, Any] = {
                "id": index + 1,
                "image_id": image_id,
                "category_id": coco_category(label, self.classes, category_ids),
                "bbox": boxes[index],
                "area": areas[index],
                "iscrowd": int(self.is_crowd is not None and bool(self.is_crowd[index])),
            }
            if self.scores is not None:
                row["score"] = float(self.scores[index])
            rows.append(row)
        return rows

    def where(self, name: str) -> Boxes:
        """Keep the boxes of the class called `name`; raises DataError for an unknown class."""
        return self.select(self.labels == label_id(name, self.classes))

    def draw(self, image: Any, long_side: int | None = None) -> Image.Image:
        """Draw each box with its name and score over the photograph, and list the classes with their counts below."""
        from .drawing import draw_boxes

        return draw_boxes(image, self, long_side)


def coco_category(label: int, classes: tuple[str, ...], category_ids: Mapping[str, int] | None) -> int:
    """Give the COCO category id of a label: from the mapping, or label + 1 without one."""
    if category_ids is None:
        return label + 1
    if classes[label] not in category_ids:
        raise DataError(
            f"category_ids has no id for class '{classes[label]}'; it must map every class name that occurs to its id."
        )
    return int(category_ids[classes[label]])

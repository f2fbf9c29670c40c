"""One mask per object, and COCO run lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import DataError
from .boxes import Boxes, coco_category
from .validation import check_classes, check_labels, check_scores, check_tensor, dict_entry
from .value import register_value

__all__ = ["Masks", "mask_bbox", "mask_to_rle", "rle_to_mask"]


def mask_to_rle(mask: Tensor) -> dict[str, Any]:
    """Encode a mask (H, W) bool as COCO's compressed run lengths {"size": [H, W], "counts": text}."""
    from pycocotools import mask as coco_mask

    rle = coco_mask.encode(np.asfortranarray(mask.cpu().numpy().astype(np.uint8)))
    return {"size": [int(n) for n in rle["size"]], "counts": rle["counts"].decode("ascii")}


def rle_to_mask(rle: Mapping[str, Any]) -> Tensor:
    """Decode COCO run lengths, compressed (text or bytes) or not (a list of counts), to a mask (H, W) bool.

    Raises:
        DataError: A key is missing, or the runs do not fill the size.
    """
    from pycocotools import mask as coco_mask

    size = dict_entry("an RLE mask", rle, "size")
    counts = dict_entry("an RLE mask", rle, "counts")
    height, width = (int(n) for n in size)
    is_list = isinstance(counts, (list, tuple))
    runs = list(counts) if is_list else _runs_of(counts)
    # pycocotools leaves what too short runs do not reach as the memory was
    if sum(runs) != height * width or min(runs, default=0) < 0:
        what = "runs" if is_list else f"counts do not decode to {height} x {width} pixels: their runs"
        raise DataError(f"RLE {what} sum to {sum(runs)}; they must fill {height} x {width} = {height * width} pixels.")
    values = coco_mask.decode(coco_mask.frPyObjects({"size": [height, width], "counts": runs}, height, width))
    return torch.from_numpy(np.ascontiguousarray(values)).bool()


def _runs_of(text: str | bytes) -> list[int]:
    """Read COCO's compressed runs: five bits a character, low ones first, from the third on less the run before last.

    Raises:
        DataError: A character that is none of theirs, or a number that does not end.
    """
    runs: list[int] = []
    value = place = 0
    for code in text.encode("utf-8") if isinstance(text, str) else bytes(text):
        bits = code - 48
        if not 0 <= bits < 64:
            raise DataError(f"RLE counts hold the character {chr(code)!r}; compressed runs use '0' to 'o'.")
        value |= (bits & 31) << place
        place += 5
        if not bits & 32:
            value -= (1 << place) if bits & 16 else 0
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = place = 0
    if place:
        raise DataError("RLE counts end inside a number; they were cut off.")
    return runs


def mask_bbox(mask: Tensor) -> list[float]:
    """Give the tight box of a mask (H, W) bool as COCO's [left, top, width, height]; zeros for an empty mask."""
    rows, columns = mask.any(dim=1).nonzero().flatten(), mask.any(dim=0).nonzero().flatten()
    if rows.numel() == 0:
        return [0.0, 0.0, 0.0, 0.0]
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    return [float(left), float(top), float(right - left), float(bottom - top)]


@register_value
@dataclass(frozen=True, eq=False)
class Masks:
    """One labelled mask per object of an image; masks may overlap.

    Args:
        masks: (Q, H, W) bool.
        labels: Class of each mask (Q,) int64, 0..K-1.
        classes: The K class names.
        scores: Confidence (Q,) float32 in [0, 1]; None for targets.
    Raises:
        DataError: A field breaks these rules.
    """

    masks: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    scores: Tensor | None = None

    type_name: ClassVar[str] = "masks"

    def __post_init__(self) -> None:
        check_tensor("masks of Masks", self.masks, torch.bool, ("Q", "H", "W"))
        if 0 in self.masks.shape[1:]:
            raise DataError(f"masks of Masks has shape {tuple(self.masks.shape)}; H and W must be at least 1.")
        check_classes("Masks", self.classes)
        check_labels("Masks", self.labels, len(self.masks), self.classes)
        if self.scores is not None:
            check_scores("Masks", self.scores, len(self.masks))

    def __len__(self) -> int:
        return len(self.masks)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return int(self.masks.shape[1]), int(self.masks.shape[2])

    @property
    def names(self) -> tuple[str, ...]:
        """The class name of each mask."""
        return tuple(self.classes[i] for i in self.labels.tolist())

    @property
    def area(self) -> Tensor:
        """The pixels of each mask (Q,) int64."""
        return self.masks.flatten(1).sum(dim=1)

    def select(self, index: Tensor) -> Masks:
        """Keep the masks that `index` picks: a bool (Q,) or int64 (n,) tensor."""
        scores = None if self.scores is None else self.scores[index]
        return Masks(self.masks[index], self.labels[index], self.classes, scores)

    def to(self, device: torch.device | str) -> Masks:
        """Give the same masks on another device."""
        scores = None if self.scores is None else self.scores.to(device)
        return Masks(self.masks.to(device), self.labels.to(device), self.classes, scores)

    def to_boxes(self) -> Boxes:
        """Give the tight box of each mask; an empty mask gives a box of no area at the origin."""
        rows = torch.tensor([mask_bbox(m) for m in self.masks.cpu()], dtype=torch.float32).reshape(-1, 4)
        rows[:, 2:] += rows[:, :2]
        return Boxes(rows.to(self.masks.device), self.labels, self.size, self.classes, self.scores)

    def to_rle(self) -> list[dict[str, Any]]:
        """Give each mask as COCO's compressed run lengths."""
        return [mask_to_rle(m) for m in self.masks]

    @classmethod
    def from_rle(
        cls,
        rles: Sequence[Mapping[str, Any]],
        labels: Tensor,
        classes: tuple[str, ...],
        size: tuple[int, int],
        scores: Tensor | None = None,
    ) -> Masks:
        """Build masks from COCO run lengths; `size` (height, width) serves images without a mask.

        Raises:
            DataError: A run length has another size, or a field breaks the rules of the class.
        """
        for index, rle in enumerate(rles):
            own = tuple(dict_entry("an RLE mask", rle, "size"))
            if own != tuple(size):
                raise DataError(f"RLE mask {index} has size {own}; the image has {tuple(size)}.")
        masks = torch.stack([rle_to_mask(r) for r in rles]) if rles else torch.zeros((0, *size), dtype=torch.bool)
        return cls(masks, labels, classes, scores)

    def to_dict(self) -> dict[str, Any]:
        """Give a JSON-able dictionary with the masks as COCO run lengths; `from_dict` restores every field exactly."""
        rows = []
        for index, (rle, label) in enumerate(zip(self.to_rle(), self.labels.tolist(), strict=True)):
            row: dict[str, Any] = {"rle": rle, "label": self.classes[label], "label_id": label}
            if self.scores is not None:
                row["score"] = float(self.scores[index])
            rows.append(row)
        return {
            "type": self.type_name,
            "size": list(self.size),
            "classes": list(self.classes),
            "has_scores": self.scores is not None,
            "masks": rows,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Masks:
        """Rebuild what `to_dict` wrote; raises DataError when a key is missing or a run length is broken."""
        rows = dict_entry("Masks", data, "masks")
        column = lambda key: [dict_entry("a mask", row, key) for row in rows]  # noqa: E731
        has_scores = dict_entry("Masks", data, "has_scores")
        return cls.from_rle(
            column("rle"),
            torch.tensor(column("label_id"), dtype=torch.int64),
            tuple(dict_entry("Masks", data, "classes")),
            tuple(dict_entry("Masks", data, "size")),
            torch.tensor(column("score"), dtype=torch.float32) if has_scores else None,
        )

    def to_coco(self, image_id: int = 0, category_ids: Mapping[str, int] | None = None) -> list[dict[str, Any]]:
        """Give COCO annotations with run lengths, bbox, area and score; arguments as in `Boxes.to_coco`."""
        rows = []
        for index, (mask, label) in enumerate(zip(self.masks.cpu(), self.labels.tolist(), strict=True)):
            row: dict[str, Any] = {
                "id": index + 1,
                "image_id": image_id,
                "category_id": coco_category(label, self.classes, category_ids),
                "segmentation": mask_to_rle(mask),
                "bbox": mask_bbox(mask),
                "area": float(mask.sum()),
                "iscrowd": 0,
            }
            if self.scores is not None:
                row["score"] = float(self.scores[index])
            rows.append(row)
        return rows

    def draw(self, image: Any, long_side: int | None = None) -> Image.Image:
        """Draw each mask half transparent with its name over the photograph, and list the classes below."""
        from .drawing import draw_masks

        return draw_masks(image, self, long_side)

"""A class for every pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import DataError
from .boxes import coco_category
from .ood import OODVerdict, read_verdict
from .palette import class_palette
from .png import decode_png, encode_png, from_base64, to_base64
from .validation import check_classes, check_probabilities, check_tensor, dict_entry
from .value import register_value

__all__ = ["IGNORE", "SemanticMap"]

IGNORE = 255  # the usual "no label" of 8-bit label pictures (Cityscapes, ADE20K tools, COCO stuff)


@register_value
@dataclass(frozen=True, eq=False)
class SemanticMap:
    """The class of every pixel: target and prediction of segmentation.

    Args:
        ids: (H, W) int64, each 0..K-1, or 255 for "not labelled".
        classes: The K <= 255 class names.
        confidence: Probability of the chosen class (H, W) float32 in [0, 1]; None for targets.
        name: The label set, such as "camvid"; "" when it has no name.
        ood: Whether the image is unlike the training images, and where, as far as the model can tell.
    Raises:
        DataError: A field breaks these rules.
    """

    ids: Tensor
    classes: tuple[str, ...]
    confidence: Tensor | None = None
    name: str = ""
    ood: OODVerdict | None = None

    type_name: ClassVar[str] = "semantic_map"

    def __post_init__(self) -> None:
        check_tensor("ids of SemanticMap", self.ids, torch.int64, ("H", "W"))
        check_classes("SemanticMap", self.classes)
        if len(self.classes) > IGNORE:
            raise DataError(
                f"SemanticMap has {len(self.classes)} classes; it holds at most 255, since id 255 is ignored."
            )
        if 0 in self.ids.shape:
            raise DataError(f"ids of SemanticMap has shape {tuple(self.ids.shape)}; both sides must be at least 1.")
        low, high = (int(v) for v in self.ids.aminmax())
        if low < 0 or high >= len(self.classes):
            wrong = self.ids[(self.ids < 0) | ((self.ids >= len(self.classes)) & (self.ids != IGNORE))]
            if wrong.numel():
                raise DataError(
                    f"id {int(wrong[0])} of SemanticMap is outside its {len(self.classes)} classes; ids must be "
                    "0..K-1, or 255 where a pixel has no label."
                )
        if self.confidence is not None:
            check_tensor("confidence of SemanticMap", self.confidence, torch.float32, tuple(self.ids.shape))
            check_probabilities("confidence of SemanticMap", self.confidence)
        if not isinstance(self.name, str):
            raise DataError(f"name of SemanticMap is {self.name!r}; it must be a string such as 'camvid'.")

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return int(self.ids.shape[0]), int(self.ids.shape[1])

    def shares(self) -> list[tuple[int, str, float]]:
        """Give (id, class name, share of all pixels) of each class present, the largest first; 255 is not listed."""
        counts = torch.bincount(self.ids.flatten(), minlength=IGNORE + 1).tolist()
        total = self.ids.numel()
        present = [(i, self.classes[i], counts[i] / total) for i in range(len(self.classes)) if counts[i]]
        return sorted(present, key=lambda row: (-row[2], row[0]))

    def palette(self) -> np.ndarray:
        """Give the colours of the classes (256, 3) uint8; row 255 is black."""
        colours = np.zeros((256, 3), dtype=np.uint8)
        colours[: len(self.classes)] = class_palette(len(self.classes))
        return colours

    def to(self, device: torch.device | str) -> SemanticMap:
        """Give the same map on another device."""
        confidence = None if self.confidence is None else self.confidence.to(device)
        verdict = None if self.ood is None else self.ood.to(device)
        return SemanticMap(self.ids.to(device), self.classes, confidence, self.name, verdict)

    def to_png(self) -> bytes:
        """Give the ids as an 8-bit palette PNG: pixel value = class id, shown in the colours of `palette`."""
        return encode_png(self.ids.cpu().numpy().astype(np.uint8), self.palette())

    def to_dict(self) -> dict[str, Any]:
        """Give a JSON-able dictionary.

        `from_dict` restores ids, classes and name exactly and the confidence rounded to 1/255. "shares" is for readers.
        """
        data: dict[str, Any] = {
            "type": self.type_name,
            "name": self.name,
            "size": list(self.size),
            "classes": list(self.classes),
            "shares": [{"label": name, "label_id": i, "share": share} for i, name, share in self.shares()],
            "ids_png": to_base64(encode_png(self.ids.cpu().numpy().astype(np.uint8))),
            "confidence_png": None,
        }
        if self.confidence is not None:
            levels = (self.confidence.cpu() * 255).round().to(torch.uint8).numpy()
            data["confidence_png"] = to_base64(encode_png(levels))
        if self.ood is not None:
            data["ood"] = self.ood.to_dict()
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SemanticMap:
        """Rebuild what `to_dict` wrote; raises DataError when a key is missing or a PNG is broken."""
        png = from_base64(dict_entry("SemanticMap", data, "ids_png"), "ids_png")
        confidence = None
        if data.get("confidence_png") is not None:
            levels = decode_png(from_base64(data["confidence_png"], "confidence_png"), "confidence_png")
            confidence = torch.from_numpy(levels.astype(np.float32) / 255)
        return cls(
            torch.from_numpy(decode_png(png, "ids_png").astype(np.int64)),
            tuple(dict_entry("SemanticMap", data, "classes")),
            confidence,
            dict_entry("SemanticMap", data, "name"),
            read_verdict(data),
        )

    def to_coco(self, image_id: int = 0, category_ids: Mapping[str, int] | None = None) -> list[dict[str, Any]]:
        """Give one COCO annotation per class present, its region as RLE; arguments as in `Boxes.to_coco`."""
        from .masks import mask_bbox, mask_to_rle

        rows = []
        for index, (label, _, _) in enumerate(sorted(self.shares())):
            region = self.ids.cpu() == label
            row: dict[str, Any] = {
                "id": index + 1,
                "image_id": image_id,
                "category_id": coco_category(label, self.classes, category_ids),
                "segmentation": mask_to_rle(region),
                "bbox": mask_bbox(region),
                "area": float(region.sum()),
                "iscrowd": 0,
            }
            if self.confidence is not None:
                row["score"] = float(self.confidence.cpu()[region].mean())
            rows.append(row)
        return rows

    def draw(self, image: Any, long_side: int | None = None) -> Image.Image:
        """Draw the classes half transparent over the photograph, their borders, and a legend with shares below."""
        from .drawing import draw_semantic

        return draw_semantic(image, self, long_side)

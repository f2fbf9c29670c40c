"""Single objects of the procedural world: a square cut around each, with its kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor

from ..sample import Sample

__all__ = ["object_crops"]


def object_crops(scenes: Iterable[Sample], unseen: bool = False, least: float = 14.0) -> Iterator[tuple[str, Tensor]]:
    """Give (kind, uint8 pixels (3, h, w)) of the objects of town scenes.

    Args:
        scenes: Samples of a town source with targets for detection.
        unseen: Give the objects of unseen kinds; else all objects that are not out of distribution.
        least: Objects whose box is narrower or lower than so many pixels are left out.
    """
    for sample in scenes:
        boxes, meta = sample.targets["detection"], sample.meta
        if unseen:
            is_kind = meta["ood_reason"] == "kind"
            found = [(row["kind"], tuple(map(float, row["box"]))) for row in meta["ood_objects"] if is_kind]
        else:
            rows = zip(boxes.names, boxes.xyxy.tolist(), meta["objects"], strict=True)
            found = [(name, tuple(corners)) for name, corners, row in rows if not row["ood"]]
        height, width = sample.size
        pixels = (sample.image * 255).round().byte()
        for kind, (left, top, right, bottom) in found:
            if min(right - left, bottom - top) < least:
                continue
            half, across, down = max(right - left, bottom - top) / 2, (left + right) / 2, (top + bottom) / 2
            rows_ = slice(max(0, round(down - half)), min(height, round(down + half)))
            columns = slice(max(0, round(across - half)), min(width, round(across + half)))
            yield kind, pixels[:, rows_, columns]

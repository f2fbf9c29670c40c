"""What the scene-graph readers share: images whose boxes and relations are known before an image is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import ConfigError, DataError, nearest
from ...structures import Boxes, SceneGraph
from ...structures.image import open_picture
from ..sample import Sample
from .files import EXIF_ORIENTATION, read_pixels

__all__ = ["GraphImages", "GraphRecord"]

_TARGETS = ("detection", "scene_graph")


@dataclass(frozen=True)
class GraphRecord:
    """The annotation of one image.

    Args:
        id: As the set names the image.
        file: The picture.
        size: (height, width) as annotated; None where the set does not say.
        xyxy: Corners (n, 4) float32 in pixels.
        labels: (n,) int64.
        triplets: (m, 3) int64: subject index, object index, predicate id.
    """

    id: Any
    file: Path
    size: tuple[int, int] | None
    xyxy: np.ndarray
    labels: np.ndarray
    triplets: np.ndarray


class GraphImages:
    """Images with "detection" and, over the same `Boxes` object, "scene_graph"; the base of three readers.

    Args:
        name: Label set; the heads are "detection.NAME" and "scene_graph.NAME".
        classes: The object classes: `classes["detection"]`.
        predicates: The predicate names: `classes["scene_graph"]`.
        targets: Which of "detection" and "scene_graph" samples carry.

    What a set may hold but a graph may not is left out and counted in `left_out`.

    Raises:
        ConfigError: An unknown target, or none.
    """

    def __init__(
        self, name: str, classes: tuple[str, ...], predicates: tuple[str, ...], targets: Sequence[str] = _TARGETS
    ) -> None:
        targets = (targets,) if isinstance(targets, str) else tuple(targets)
        for target in targets:
            if target not in _TARGETS:
                raise ConfigError(
                    f"scene graphs: target '{target}' is not one of {', '.join(_TARGETS)}{nearest(target, _TARGETS)}"
                )
        if not targets:
            raise ConfigError("scene graphs: targets is empty; name detection, scene_graph or both.")
        self.name, self.names, self.predicates = name, classes, predicates
        labels = {"detection": classes, "scene_graph": predicates}
        self.heads = {target: f"{target}.{name}" for target in targets}
        self.classes = {target: labels[target] for target in targets}
        self.left_out = {"boxes without area": 0, "relations of a box with itself": 0}
        self.records: list[GraphRecord] = []

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        record = self.records[index]
        pixels = read_pixels(record.file)
        size = (int(pixels.shape[1]), int(pixels.shape[2]))
        if record.size not in (None, size):
            raise DataError(
                f"image {record.id} is listed as {record.size[1]} x {record.size[0]} pixels but {record.file} has "  # type: ignore[index]
                f"{size[1]} x {size[0]}; annotate and store the same picture."
            )
        graph = self._graph(record, size)
        values = {"detection": graph.boxes, "scene_graph": graph}
        targets = {target: values[target] for target in self.heads}
        return Sample(pixels, targets, {"id": record.id, "path": str(record.file), "image_id": record.id})

    def graph_of(self, index: int) -> SceneGraph:
        """Give the scene graph of an image without decoding it, at the size that is annotated or in its header."""
        record = self.records[index]
        return self._graph(record, record.size or _header_size(record.file))

    def _graph(self, record: GraphRecord, size: tuple[int, int]) -> SceneGraph:
        boxes = Boxes(torch.from_numpy(record.xyxy), torch.from_numpy(record.labels), size, self.names)
        return SceneGraph(boxes, torch.from_numpy(record.triplets), self.predicates)

    def add(self, record: GraphRecord) -> None:
        """Append an image without its boxes of no area (and their relations) and relations of a box with itself."""
        xyxy, triplets = record.xyxy, record.triplets
        solid = (xyxy[:, 2] > xyxy[:, 0]) & (xyxy[:, 3] > xyxy[:, 1])
        self.left_out["boxes without area"] += int((~solid).sum())
        itself = triplets[:, 0] == triplets[:, 1]
        self.left_out["relations of a box with itself"] += int(itself.sum())
        place = np.cumsum(solid) - 1
        keep = solid[triplets[:, 0]] & solid[triplets[:, 1]] & ~itself
        moved = np.stack((place[triplets[keep, 0]], place[triplets[keep, 1]], triplets[keep, 2]), 1).astype(np.int64)
        self.records.append(replace(record, xyxy=xyxy[solid], labels=record.labels[solid], triplets=moved))


def _header_size(file: Path) -> tuple[int, int]:
    with open_picture(file, f"image {file}") as picture:
        turned = picture.getexif().get(EXIF_ORIENTATION) in (5, 6, 7, 8)  # shown on its side, as read_pixels reads it
        return (picture.width, picture.height) if turned else (picture.height, picture.width)

"""Visual Relationship Detection: relations with boxes of their own, in the published json layout."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ..source import READERS, MissingSplit
from .files import are_pixels, check_names, require_folder
from .graph_images import GraphImages, GraphRecord

__all__ = ["VisualRelations"]


class VisualRelations(GraphImages):
    """Images of VRD: 100 object classes, 70 predicates.

    The folder holds annotations_SPLIT.json (image name to a list of {"predicate", "subject", "object"}, an end being
    {"category", "bbox": [ymin, ymax, xmin, xmax]}), objects.json and predicates.json. Every relation brings its own two
    boxes; equal boxes of one class within an image are one object here. Images without a relation stay, with an empty
    graph. Recall on VRD pools all relations by habit: `SceneGraphMetric(..., aggregate="relations")`.

    Args:
        path: The set's folder.
        split: "train" or "test".
        name: Label set; the heads are "detection.NAME" and "scene_graph.NAME".
        targets: Which of "detection" and "scene_graph" samples carry.
        images: Folder of the images; by default sg_dataset/sg_SPLIT_images, sg_SPLIT_images, SPLIT or images.
    Raises:
        ConfigError: An unknown target.
        DataError: Missing files, or records that break the format; the message names file and image.
    Source: Lu et al. 2016, arXiv:1608.00187.
    """

    def __init__(
        self,
        path: str | Path,
        split: str = "train",
        *,
        name: str = "vrd",
        targets: Sequence[str] = ("detection", "scene_graph"),
        images: str = "",
    ) -> None:
        self.base = require_folder(path, "vrd")
        self.file = self.base / f"annotations_{split}.json"
        if not self.file.is_file():
            there = ", ".join(sorted(p.name for p in self.base.glob("annotations_*.json"))) or "none"
            raise MissingSplit(f"vrd set {self.base} has no split '{split}' ({self.file.name}); files there: {there}.")
        classes = check_names(_read_json(self.base / "objects.json", list), f"objects of {self.base}")
        predicates = check_names(_read_json(self.base / "predicates.json", list), f"predicates of {self.base}")
        super().__init__(name, classes, predicates, targets)
        self.images = _find_images(self.base, split, images)
        for image, relations in _read_json(self.file, dict).items():
            self.add(self._read(image, relations))
        if not self.records:
            raise DataError(f"{self.file} lists 0 images; fetch it again.")

    def _read(self, image: str, relations: Any) -> GraphRecord:
        where = f"{self.file}: image {image}"
        if not isinstance(relations, list) or not all(isinstance(relation, dict) for relation in relations):
            raise DataError(f"{where} has the relations {relations!r}; they must be a list of json objects.")
        rows: dict[tuple[float, ...], int] = {}  # (x1, y1, x2, y2, class) -> index
        triplets = []
        for relation in relations:
            ends = [self._end(relation, role, where) for role in ("subject", "object")]
            predicate = _number(relation, "predicate", len(self.predicates), where)
            triplets.append([*(rows.setdefault(end, len(rows)) for end in ends), predicate])
        table = np.array(list(rows), dtype=np.float64).reshape(-1, 5)
        return GraphRecord(
            Path(image).stem,
            self.images / image,
            None,
            table[:, :4].astype(np.float32),
            table[:, 4].astype(np.int64),
            np.array(triplets, dtype=np.int64).reshape(-1, 3),
        )

    def _end(self, relation: Mapping[str, Any], role: str, where: str) -> tuple[float, ...]:
        end = relation.get(role)
        if not isinstance(end, dict):
            raise DataError(f"{where} has a relation without '{role}'; it needs subject, predicate and object.")
        box: Any = end.get("bbox")
        if not are_pixels(box) or len(box) != 4 or box[1] < box[0] or box[3] < box[2]:
            raise DataError(f"{where}: bbox of a {role} is {box}; it must be [ymin, ymax, xmin, xmax].")
        top, bottom, left, right = (float(v) for v in box)
        return left, top, right, bottom, float(_number(end, "category", len(self.names), where))


READERS.register("vrd")(VisualRelations)


def _number(row: Mapping[str, Any], key: str, count: int, where: str) -> int:
    value = row.get(key)
    if not isinstance(value, int) or not 0 <= value < count:
        raise DataError(f"{where}: {key} is {value!r}; it must be a whole number in 0..{count - 1}.")
    return value


def _read_json(file: Path, kind: type) -> Any:
    try:
        data = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError) as error:
        raise DataError(f"{file} cannot be read as json: {error}.") from error
    if not isinstance(data, kind):
        raise DataError(f"{file} holds a {type(data).__name__}; vrd needs a {kind.__name__} there.")
    return data


def _find_images(base: Path, split: str, given: str) -> Path:
    places = [given] if given else [f"sg_dataset/sg_{split}_images", f"sg_{split}_images", split, "images"]
    for place in places:
        if (base / place).is_dir():
            return base / place
    raise DataError(f"vrd set {base} has no image folder ({', '.join(places)}); give it with images=FOLDER.")

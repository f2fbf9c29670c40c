"""Scene graphs in one json per split: objects with boxes, and relations between their ids."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import DataError, nearest
from ...structures import Boxes, Masks, pairwise_iou
from ..sample import Sample
from ..source import READERS, MissingSplit
from .coco import Coco, names_by_id
from .files import are_pixels, check_ids, check_names, listed_side
from .graph_images import GraphImages, GraphRecord

__all__ = ["SceneGraphJson"]

SAME = 0.9  # IoU from which two boxes are one: boxes of either file are rounded
_ID = (int, float, str)
_IMAGE: dict[str, tuple[Any, str]] = {
    "id": (_ID, "a number or text"),
    "file": (str, "text"),
    "objects": (list, "a list"),
    "relations": (list, "a list"),
}
"""What a record of an image must hold."""


class SceneGraphJson(GraphImages):
    """Images with the annotation that this json holds (also `write_dataset` of the procedural world writes it):

    {"objects": [class names], "predicates": [names], "zero_shot_triplets": [[subject, predicate, object], ...],
     "images": [{"id", "file": path relative to the json, "width", "height",
                 "objects": [{"id", "category", "bbox": [left, top, width, height]}, ...],
                 "relations": [{"subject_id", "predicate", "object_id"}, ...]}, ...]}

    Ids are numbers or text: those of images are unique, and those of objects within their image. Boxes without area,
    and relations of a box with itself, are left out and counted in `left_out`. `zero_shot` holds the triplets of names
    that the file says training never shows.

    Args:
        path: The set's folder with SPLIT.json, or the json file itself.
        split: Names the json.
        name: Label set; the heads are "detection.NAME" and "scene_graph.NAME". By default the name of the folder.
        targets: Which of "detection" and "scene_graph" samples carry.
        into: A COCO json whose categories become the box classes, in the order of their ids, so that the set can stand
            on a detector of that label set; every class of this set must be among them.
        masks: A COCO json with segmentations of the same pictures. Samples of which every box has its own there (same
            class, an IoU of at least 0.9) then carry "masks" and, whatever `targets` says, "detection", in step with
            the boxes of the graph; the others are counted in `left_out`.
    Raises:
        ConfigError: An unknown target.
        DataError: Missing files, or records that break the format; the message names file and image.
    """

    def __init__(
        self,
        path: str | Path,
        split: str = "train",
        *,
        name: str = "",
        targets: Sequence[str] = ("detection", "scene_graph"),
        into: str = "",
        masks: str = "",
    ) -> None:
        self.file = _find_json(Path(path), split)
        data = _read_json(self.file)
        classes = check_names(data["objects"], f"objects of {self.file}")
        if into:
            classes = _label_set(Path(into), classes, self.file)
        predicates = check_names(data["predicates"], f"predicates of {self.file}")
        super().__init__(name or self.file.parent.name, classes, predicates, targets)
        self.zero_shot = _triplets(data.get("zero_shot_triplets", []), self.file)
        self._labels = {name: i for i, name in enumerate(classes)}
        self._predicate_ids = {name: i for i, name in enumerate(predicates)}
        for image in data["images"]:
            self.add(self._read(image))
        if not self.records:
            raise DataError(f"{self.file} lists 0 images; give it at least one.")
        check_ids((record.id for record in self.records), "images", self.file)
        self._coco: Coco | None = None
        if masks:
            self._find_masks(Path(masks))

    def _find_masks(self, file: Path) -> None:
        """Note, for each image, its place in the COCO json and the annotation of each of its boxes."""
        self._coco = Coco(file, images=".")  # pictures come from this set, so any folder serves
        places = {str(record["id"]): i for i, record in enumerate(self._coco.records)}
        self._matches: dict[Any, tuple[int, torch.Tensor]] = {}
        for index, record in enumerate(self.records):
            place = places.get(str(record.id))
            match = (
                None if place is None or record.size is None else _match(self.graph_of(index).boxes, self._coco, place)
            )
            if place is not None and match is not None:
                self._matches[record.id] = (place, match)
        self.left_out["images without masks"] = len(self.records) - len(self._matches)

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        record = self.records[index]
        if self._coco is None or record.id not in self._matches:
            return sample
        place, match = self._matches[record.id]
        found = self._coco.targets_of(place)[1].select(match)
        boxes = sample.targets.get("detection")  # which may hold no box
        boxes = sample.targets["scene_graph"].boxes if boxes is None else boxes
        masks = Masks(found.masks, boxes.labels, boxes.classes)
        return sample.replace(targets={"detection": boxes, "masks": masks, **sample.targets})

    def _read(self, image: Any) -> GraphRecord:
        if not isinstance(image, dict):
            raise DataError(f"{self.file} has the image {image!r}; each must be an object with {', '.join(_IMAGE)}.")
        where = f"{self.file}: image {image.get('id')}"
        for key, (kind, kind_name) in _IMAGE.items():
            if key not in image:
                raise DataError(f"{where} lacks '{key}'; it has {', '.join(image)}.")
            if not isinstance(image[key], kind):
                raise DataError(f"{where} has {key} {image[key]!r}; it must be {kind_name}.")
        for row in [*image["objects"], *image["relations"]]:
            if not isinstance(row, dict):
                raise DataError(f"{where} has {row!r} among its objects and relations; each must be a json object.")
        rows: dict[Any, int] = {}
        xyxy, labels, triplets = [], [], []
        for item in image["objects"]:
            box = item.get("bbox")
            if not are_pixels(box) or len(box) != 4 or box[2] < 0 or box[3] < 0:
                raise DataError(
                    f"{where}, object {item.get('id')}: bbox is {box}; it must be [left, top, width >= 0, height >= 0]."
                )
            if not isinstance(item.get("id"), _ID):
                raise DataError(f"{where} has an object with the id {item.get('id')!r}; it must be a number or text.")
            if item.get("id") in rows:
                raise DataError(f"{where} has two objects with the id {item.get('id')}; ids must differ in an image.")
            rows[item.get("id")] = len(rows)
            labels.append(_lookup(self._labels, item.get("category"), "category", where))
            xyxy.append([box[0], box[1], box[0] + box[2], box[1] + box[3]])
        for relation in image["relations"]:
            ends = [relation.get("subject_id"), relation.get("object_id")]
            for end in ends:
                if not isinstance(end, _ID) or end not in rows:
                    raise DataError(
                        f"{where} has a relation with object {end}, which is not one of its {len(rows)} objects; "
                        "drop the relation or add the object."
                    )
            predicate = _lookup(self._predicate_ids, relation.get("predicate"), "predicate", where)
            triplets.append([rows[ends[0]], rows[ends[1]], predicate])
        size: tuple[int, int] | None = None
        if "height" in image and "width" in image:
            size = (listed_side(image, "height", where), listed_side(image, "width", where))
        return GraphRecord(
            image["id"],
            self.file.parent / image["file"],
            size,
            np.array(xyxy, dtype=np.float64).reshape(-1, 4).astype(np.float32),
            np.array(labels, dtype=np.int64),
            np.array(triplets, dtype=np.int64).reshape(-1, 3),
        )


READERS.register("scene-graph")(SceneGraphJson)


def _match(boxes: Boxes, coco: Coco, place: int) -> torch.Tensor | None:
    """The annotation (n,) int64 of each box in an image of a COCO set; None unless each has its own with a mask."""
    record, rows = coco.records[place], coco.rows[place]
    if not record.get("has_masks", True) or not all(row.get("segmentation") for row in rows):
        return None
    size = (int(record.get("height", 0)), int(record.get("width", 0)))
    if size != boxes.size:
        return None
    if len(boxes) == 0:
        return torch.zeros(0, dtype=torch.int64)
    theirs = coco.boxes_of(place)
    if len(theirs) == 0:
        return None
    alike = torch.tensor([[a == b for b in theirs.names] for a in boxes.names])
    best = pairwise_iou(boxes.xyxy, theirs.xyxy).masked_fill(~alike, 0.0).max(dim=1)
    own = len(set(best.indices.tolist())) == len(boxes)
    return best.indices if own and bool((best.values >= SAME).all()) else None


def _lookup(known: Mapping[str, int], name: Any, kind: str, where: str) -> int:
    if not isinstance(name, str) or name not in known:
        raise DataError(
            f"{where} has the {kind} '{name}', which is not one of the {len(known)}{nearest(str(name), known)}"
        )
    return known[name]


def _triplets(rows: Any, file: Path) -> tuple[tuple[str, ...], ...]:
    for row in rows if isinstance(rows, list) else [rows]:
        if not isinstance(row, list) or len(row) != 3 or not all(isinstance(name, str) for name in row):
            raise DataError(
                f"{file} has {row!r} in zero_shot_triplets; it must be a list of [subject, predicate, object], by name."
            )
    return tuple(tuple(row) for row in rows)


def _find_json(path: Path, split: str) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise DataError(f"scene-graph needs a folder or json file at {path}, which does not exist; check the path.")
    if not (path / f"{split}.json").is_file():
        there = ", ".join(sorted(p.name for p in path.glob("*.json"))) or "none"
        raise MissingSplit(f"scene-graph set {path} has no split '{split}' ({split}.json); json files there: {there}.")
    return path / f"{split}.json"


def _read_json(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError) as error:
        raise DataError(f"{file} cannot be read as json: {error}.") from error
    for key in ("objects", "predicates", "images"):
        if not isinstance(data, dict) or not isinstance(data.get(key), list):
            raise DataError(f"{file} has no list '{key}'; scene-graph json holds objects, predicates and images.")
    return data


def _label_set(file: Path, classes: tuple[str, ...], own: Path) -> tuple[str, ...]:
    """The category names of a COCO json; every class of this set must be one of them."""
    try:
        categories = list(json.loads(file.read_text(encoding="utf-8-sig"))["categories"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"into is '{file}', which gives no categories ({error}); name a COCO json.") from error
    names = tuple(names_by_id(categories, file).values())
    for name in classes:
        if name not in names:
            raise DataError(
                f"{own} has the class '{name}', which is not one of the {len(names)} categories of {file}"
                f"{nearest(name, names)}"
            )
    return names

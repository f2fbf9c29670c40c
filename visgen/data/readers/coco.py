"""COCO json: boxes, instance masks and crowds, and semantic maps beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...errors import ConfigError, DataError, nearest
from ...structures import Boxes, Masks, SemanticMap, rle_to_mask
from ..sample import Sample
from ..source import READERS, MissingSplit
from .files import are_pixels, check_ids, check_names, listed_side, read_classes, read_pixels, whole_number
from .semantic import read_semantic_ids

__all__ = ["Coco", "names_by_id"]

_TARGETS = ("detection", "masks", "segmentation")


class Coco:
    """Images with COCO annotations.

    Category ids need not be contiguous: categories sorted by id become labels 0..K-1, and `category_ids` holds the id
    of each label. Ids and sizes are whole numbers, which may be written as text. Crowd regions stay, marked `is_crowd`.
    An image has the target "masks", in step with its boxes, where its record does not say `"has_masks": false` and
    every annotation has a segmentation; images without annotations have empty boxes. Boxes without area are left out
    and counted in `left_out`.

    Args:
        path: The set's folder, or the json file itself.
        split: Names the json (SPLIT.json, or annotations/instances_SPLIT.json, with or without "2017").
        name: Label set; the heads are "detection.NAME" and "segmentation.NAME". By default the name of the set's
            folder.
        targets: Which of "detection", "masks" and "segmentation" samples carry; "masks" needs "detection".
        images: Folder of the images; by default images/, SPLIT/, SPLIT2017/, images/SPLIT or images/SPLIT2017.
        maps: Folder of the semantic maps, id PNGs named as the images, in folders as theirs or without; with
            "segmentation" only images that have one are in the source.
        class_file: Class names of the semantic maps.
        into: A COCO json whose categories become the label set, so that a set with other categories can feed the same
            head. Boxes whose class is not among them are left out and counted, and only classes that this set knows
            count as completely boxed (see `Boxes.complete`).
        rename: Class name of this set to a class name of `into`; equal names need no entry.
        complete: The classes whose every instance has a box, where the set boxes others only in part; by default all
            classes that the set knows.
    Raises:
        ConfigError: Targets that are not known or do not go together, or names that are not in a label set.
        DataError: Missing files, or records that break the format; the message names file and id.
    """

    def __init__(
        self,
        path: str | Path,
        split: str = "train",
        *,
        name: str = "",
        targets: Sequence[str] = ("detection", "masks"),
        images: str = "",
        maps: str = "semantic",
        class_file: str = "classes.txt",
        into: str = "",
        rename: Mapping[str, str] | None = None,
        complete: Sequence[str] | None = None,
    ) -> None:
        self.targets = _check_targets(targets)
        self.file = _find_json(Path(path), split)
        base = self.file.parent.parent if self.file.parent.name == "annotations" else self.file.parent
        self.images = _find_images(base, split, images)
        self.maps = base / maps
        self.name = name or base.name
        data = _read_json(self.file)
        self.category_ids, names, labels = _label_set(data, self.file, into, dict(rename or {}))
        self.complete = _complete(names, labels.values(), complete)
        self.heads, self.classes = {}, {}
        if "detection" in self.targets:
            self.heads["detection"], self.classes["detection"] = f"detection.{self.name}", names
        if "segmentation" in self.targets:
            self.heads["segmentation"] = f"segmentation.{self.name}"
            self.classes["segmentation"] = read_classes(base / class_file)
        self.names = names
        self.left_out = {"boxes without area": 0, "boxes of other classes": 0, "images without semantic map": 0}
        self._index(data, labels)

    def _index(self, data: Mapping[str, Any], labels: Mapping[int, int | None]) -> None:
        records: dict[int, dict[str, Any]] = {}
        for image in data["images"]:
            number = whole_number(image.get("id")) if isinstance(image, dict) else None
            if number is None:
                raise DataError(
                    f"{self.file} has the image {image!r}; each must be an object with a whole number as id."
                )
            where = f"{self.file}: image {image['id']}"
            if not isinstance(image.get("file_name"), str):
                raise DataError(f"{where} has file_name {image.get('file_name')!r}; name it.")
            sides = {key: listed_side(image, key, where) for key in ("height", "width") if key in image}
            records[number] = {**image, **sides}
        check_ids((int(image["id"]) for image in data["images"]), "images", self.file)
        rows: dict[int, list[dict[str, Any]]] = {image: [] for image in records}
        for row in data["annotations"]:
            if not isinstance(row, dict):
                raise DataError(f"{self.file} has the annotation {row!r}; each must be an object with image and box.")
            where = f"{self.file}: annotation {row.get('id')}"
            image_id, category = whole_number(row.get("image_id")), whole_number(row.get("category_id"))
            if image_id is None or image_id not in rows:
                raise DataError(
                    f"{where} belongs to image {row.get('image_id')}, which is not listed; drop one of them."
                )
            if category is None or category not in labels:
                raise DataError(
                    f"{where} has category {row.get('category_id')}, which is not one of the {len(labels)} "
                    "listed; add it."
                )
            box: Any = row.get("bbox")
            if not are_pixels(box) or len(box) != 4 or box[2] < 0 or box[3] < 0:
                raise DataError(f"{where} has bbox {box}; it must be [left, top, width >= 0, height >= 0] in pixels.")
            is_crowd = whole_number(0 if row.get("iscrowd") is None else row["iscrowd"])
            if is_crowd not in (0, 1):
                raise DataError(f"{where} has iscrowd {row['iscrowd']!r}; it must be 0 or 1: leave it out for 0.")
            if box[2] == 0 or box[3] == 0:
                self.left_out["boxes without area"] += 1
                continue
            label = labels[category]
            if label is None:
                self.left_out["boxes of other classes"] += 1
                continue
            rows[image_id].append({**row, "label": label, "iscrowd": is_crowd})
        self.records, self.rows = list(records.values()), [rows[image] for image in records]
        if "segmentation" in self.targets:
            maps = self._find_maps()
            keep = [i for i, record in enumerate(self.records) if record["file_name"] in maps]
            self.left_out["images without semantic map"] = len(self.records) - len(keep)
            self.records, self.rows = [self.records[i] for i in keep], [self.rows[i] for i in keep]
            self.map_files = [maps[record["file_name"]] for record in self.records]
        if not self.records:
            raise DataError(f"{self.file} gives 0 images with the targets {', '.join(self.targets)}; check the folder.")

    def _find_maps(self) -> dict[str, Path]:
        """The semantic map of each file_name that has one: of the same folders and stem, else of the same stem."""
        have = {p.relative_to(self.maps).with_suffix("").as_posix() for p in self.maps.rglob("*.png")}
        found: dict[str, str] = {}
        owners: dict[str, str] = {}
        for record in self.records:
            file = record["file_name"]
            place = Path(file).with_suffix("")
            name = place.as_posix() if place.as_posix() in have else place.name
            if name not in have:
                continue
            if (other := owners.setdefault(name, file)) != file:
                raise DataError(
                    f"{self.file}: images {other} and {file} would share the map {self.maps / name}.png; put the map "
                    f"of each at {self.maps}/FILE_NAME with its folders and the ending .png."
                )
            found[file] = name
        return {file: self.maps / f"{name}.png" for file, name in found.items()}

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        record, rows = self.records[index], self.rows[index]
        file = self.images / record["file_name"]
        pixels = read_pixels(file)
        size = (int(pixels.shape[1]), int(pixels.shape[2]))
        if size != (record.get("height", size[0]), record.get("width", size[1])):
            listed = f"{record.get('width', '?')} x {record.get('height', '?')}"
            raise DataError(
                f"{self.file}: image {record['id']} is listed as {listed} pixels but "
                f"{file} has {size[1]} x {size[0]}; annotate and store the same picture."
            )
        targets: dict[str, Any] = {}
        if "detection" in self.targets:
            targets["detection"] = self._boxes(rows, size)
            if "masks" in self.targets and record.get("has_masks", True) and all(r.get("segmentation") for r in rows):
                targets["masks"] = self._masks(rows, size)
        if "segmentation" in self.targets:
            names = self.classes["segmentation"]
            ids = read_semantic_ids(self.map_files[index], names)
            targets["segmentation"] = SemanticMap(ids, names, name=self.name)
        meta = {
            "id": record["id"],
            "path": str(file),
            "image_id": record["id"],
            "category_ids": self.category_ids,
            "annotation_kind": record.get("annotation_kind", "instances"),
            "annotation_ids": [row.get("id") for row in rows],
        }
        return Sample(pixels, targets, meta)

    def boxes_of(self, index: int) -> Boxes:
        """Give the boxes of an image from the json alone, at the size that it lists."""
        record = self.records[index]
        return self._boxes(self.rows[index], (int(record["height"]), int(record["width"])))

    def targets_of(self, index: int) -> tuple[Boxes, Masks]:
        """Give boxes and masks of an image from the json alone, at the size that it lists."""
        record, rows = self.records[index], self.rows[index]
        size = (int(record["height"]), int(record["width"]))
        return self._boxes(rows, size), self._masks(rows, size)

    def _boxes(self, rows: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> Boxes:
        xywh = torch.tensor([row["bbox"] for row in rows], dtype=torch.float64).reshape(-1, 4)
        xyxy = torch.cat([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1).float()
        crowd = torch.tensor([bool(row["iscrowd"]) for row in rows], dtype=torch.bool)
        return Boxes(xyxy, _labels(rows), size, self.names, is_crowd=crowd, complete=self.complete)

    def _masks(self, rows: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> Masks:
        planes = [_decode(row["segmentation"], size, f"{self.file}: annotation {row.get('id')}") for row in rows]
        masks = torch.stack(planes) if planes else torch.zeros(0, *size, dtype=torch.bool)
        return Masks(masks, _labels(rows), self.names)


READERS.register("coco")(Coco)


def _labels(rows: Sequence[Mapping[str, Any]]) -> Tensor:
    return torch.tensor([row["label"] for row in rows], dtype=torch.int64)


def _decode(segmentation: Any, size: tuple[int, int], where: str) -> Tensor:
    """Give a mask (H, W) bool from polygons (a list of x, y lists) or run lengths (a dict, or a list of them).

    Polygons of one or two points have no area and are left out where there are others.
    """
    from pycocotools import mask as coco_mask

    height, width = size
    if isinstance(segmentation, list) and all(isinstance(part, dict) for part in segmentation):
        return torch.stack([_decode(part, size, where) for part in segmentation]).any(0)
    polygons = segmentation if isinstance(segmentation, list) else []
    solid = [part for part in polygons if are_pixels(part) and len(part) >= 6]  # pycocotools takes 4 numbers for a box
    if polygons and not (solid and all(are_pixels(part) and len(part) % 2 == 0 for part in polygons)):
        raise DataError(
            f"{where} has a segmentation that cannot be decoded: a polygon must be a list [x, y, x, y, ...] in pixels "
            "of three points or more."
        )
    try:
        if solid:
            packed = coco_mask.merge(coco_mask.frPyObjects(solid, height, width))
            return torch.from_numpy(np.ascontiguousarray(coco_mask.decode(packed))).bool()
        own, counts = tuple(int(n) for n in segmentation["size"]), segmentation["counts"]
        if own == size:
            return rle_to_mask({"size": own, "counts": counts})
    except Exception as error:  # pycocotools raises bare ones
        raise DataError(
            f"{where} has a segmentation that cannot be decoded: {error!r}; polygons or RLE are read."
        ) from error
    raise DataError(
        f"{where} has a mask of {' x '.join(map(str, own[::-1]))} pixels on an image of {width} x {height}."
    )


def _label_set(
    data: Mapping[str, Any], file: Path, into: str, rename: dict[str, str]
) -> tuple[tuple[int, ...], tuple[str, ...], dict[int, int | None]]:
    """Give the category id of each label, the class names, and category id of this file -> label or None."""
    own = names_by_id(data["categories"], file)
    wider = names_by_id(_read_json(Path(into))["categories"], Path(into)) if into else own
    names = tuple(wider.values())
    for old, new in rename.items():
        if old not in own.values() or new not in names:
            raise ConfigError(
                f"coco: rename maps '{old}' to '{new}'; the first must be a class of {file}"
                f"{nearest(old, own.values(), '')} and the second one of {into or file}{nearest(new, names)}"
            )
    place = {name: label for label, name in enumerate(names)}
    labels = {category: place.get(rename.get(name, name)) for category, name in own.items()}
    return tuple(wider), names, labels


def names_by_id(categories: Sequence[Any], file: Path) -> dict[int, str]:
    """Give category id -> name of the categories of a COCO json, by increasing id.

    Raises:
        DataError: An entry without id or name, or with those of another.
    """
    for row in categories:
        if not isinstance(row, dict) or whole_number(row.get("id")) is None or "name" not in row:
            raise DataError(f"{file} has the category {row!r}; each needs a whole number as id, and a name.")
    rows = sorted(categories, key=lambda c: int(c["id"]))
    names = check_names((c["name"] for c in rows), str(file))
    check_ids((int(c["id"]) for c in rows), "categories", file)
    return dict(zip((int(c["id"]) for c in rows), names, strict=True))


def _complete(
    names: tuple[str, ...], known: Iterable[int | None], given: Sequence[str] | None
) -> tuple[str, ...] | None:
    """The completely boxed classes in the order of the label set; None for all of them."""
    if given is not None:
        for name in given:
            if name not in names:
                raise ConfigError(f"coco: complete names '{name}', which is no class{nearest(name, names)}")
        return tuple(name for name in names if name in given)
    labels = set(known)
    return None if labels >= set(range(len(names))) else tuple(n for k, n in enumerate(names) if k in labels)


def _check_targets(targets: Sequence[str]) -> tuple[str, ...]:
    chosen = (targets,) if isinstance(targets, str) else tuple(targets)
    for target in chosen:
        if target not in _TARGETS:
            raise ConfigError(f"coco: target '{target}' is not one of {', '.join(_TARGETS)}{nearest(target, _TARGETS)}")
    if not chosen or ("masks" in chosen and "detection" not in chosen):
        raise ConfigError(f"coco: targets are {list(chosen)}; name at least one, and 'masks' only with 'detection'.")
    return chosen


def _find_json(path: Path, split: str) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise DataError(f"coco needs a folder or json file at {path}, which does not exist; check the path.")
    places = [f"{split}.json", f"annotations/instances_{split}.json", f"annotations/instances_{split}2017.json"]
    for place in places:
        if (path / place).is_file():
            return path / place
    there = sorted(p.relative_to(path).as_posix() for p in [*path.glob("*.json"), *path.glob("annotations/*.json")])
    raise MissingSplit(
        f"coco set {path} has no split '{split}' ({', '.join(places)}); json files there: {', '.join(there) or 'none'}."
    )


def _find_images(base: Path, split: str, given: str) -> Path:
    places = [given] if given else [f"images/{split}", f"images/{split}2017", f"{split}2017", split, "images"]
    for place in places:
        if (base / place).is_dir():
            return base / place
    raise DataError(f"coco set {base} has no image folder ({', '.join(places)}); give it with images=FOLDER.")


def _read_json(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError) as error:
        raise DataError(f"{file} cannot be read as json: {error}.") from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(data, dict) or not isinstance(data.get(key), list):
            raise DataError(f"{file} has no list '{key}'; COCO json holds images, annotations and categories.")
    return data

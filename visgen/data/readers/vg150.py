"""Visual Genome's scene graphs with 150 classes and 50 predicates, in the layout of VG-SGG.h5."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ConfigError, DataError, MissingDependency
from ..source import READERS, MissingSplit
from .files import check_names, listed_side, require_folder, whole_number
from .graph_images import GraphImages, GraphRecord

__all__ = ["VisualGenome150"]

BROKEN = frozenset({1592, 1722, 4616, 4617})
"""Images whose files cannot be read: image_data.json lists them, the h5 does not."""
LONG_SIDE = 1024  # `boxes_1024` are made for images whose longer side has so many pixels
FOLDERS = ("VG_100K", "VG_100K_2", "images")
_COLUMNS = ("img_to_first_box", "img_to_last_box", "img_to_first_rel", "img_to_last_rel")


class VisualGenome150(GraphImages):
    """Images of Visual Genome with the scene graphs that iterative message passing introduced.

    The folder holds VG-SGG.h5, VG-SGG-dicts.json, image_data.json and the images IMAGE_ID.jpg. Images without a
    relation are not part of any split. `val` is the first part of the training images, as the field takes it, and
    `train` the rest. All triplets of a pair are kept: the transform `one_predicate` draws one at each load, for
    training. Labels 1..150 and predicates 1..50 of the files become 0..149 and 0..49: there is no background.

    Args:
        path: The set's folder.
        split: "train", "val" or "test".
        name: Label set; the heads are "detection.NAME" and "scene_graph.NAME".
        targets: Which of "detection" and "scene_graph" samples carry.
        images: Folder of the images; by default VG_100K, VG_100K_2 and images are searched.
        val_images: How many training images make up `val`.
    Raises:
        ConfigError: An unknown target, or `val_images` below 0.
        DataError: Missing files, or arrays that break the format.
        MissingDependency: h5py is not installed.
    Source: Xu et al. 2017, arXiv:1701.02426 (the split); Zellers et al. 2018, arXiv:1711.06640 (val).
    """

    def __init__(
        self,
        path: str | Path,
        split: str = "train",
        *,
        name: str = "vg150",
        targets: Sequence[str] = ("detection", "scene_graph"),
        images: str = "",
        val_images: int = 5000,
    ) -> None:
        if split not in ("train", "val", "test"):
            raise MissingSplit(f"vg150 has no split '{split}'; it has train, val and test.")
        if val_images < 0:
            raise ConfigError(f"vg150: val_images is {val_images}; it must be at least 0.")
        self.base = require_folder(path, "vg150")
        dicts = _read_json(self.base / "VG-SGG-dicts.json")
        classes = _names(dicts, "label_to_idx", self.base)
        super().__init__(name, classes, _names(dicts, "predicate_to_idx", self.base), targets)
        listed = _listed_images(self.base / "image_data.json")
        table = _read_h5(self.base / "VG-SGG.h5")
        if len(listed) != len(table["split"]):
            raise DataError(
                f"{self.base}: VG-SGG.h5 has {len(table['split'])} images but image_data.json {len(listed)} without "
                f"the {len(BROKEN)} broken ones; take both files from one release."
            )
        files = _find_images(self.base, images)
        for row in _rows_of_split(table, split, val_images):
            self.add(self._read(table, int(row), listed[row], files))
        if not self.records:
            raise DataError(f"vg150 set {self.base} has 0 images with relations in split '{split}'; check val_images.")

    def _read(
        self, table: dict[str, np.ndarray], row: int, image: dict[str, Any], files: dict[str, Path]
    ) -> GraphRecord:
        where = f"{self.base}: image {image['image_id']}"
        if f"{image['image_id']}.jpg" not in files:
            raise DataError(f"{where} has no file {image['image_id']}.jpg in {', '.join(FOLDERS)}; unpack both parts.")
        first_box, last_box, first_relation, last_relation = (int(table[column][row]) for column in _COLUMNS)
        boxes = slice(first_box, last_box + 1)  # the last index is part of the image
        relations = slice(first_relation, last_relation + 1)
        size = (listed_side(image, "height", where), listed_side(image, "width", where))
        # Floats first: the halves of odd widths would be lost in whole numbers.
        centre = table["boxes_1024"][boxes].astype(np.float64) * (max(size) / LONG_SIDE)
        xyxy = np.concatenate((centre[:, :2] - centre[:, 2:] / 2, centre[:, :2] + centre[:, 2:] / 2), axis=1)
        labels = table["labels"][boxes].reshape(-1).astype(np.int64) - 1
        ends = table["relationships"][relations].astype(np.int64) - first_box  # the file counts over all images
        predicates = table["predicates"][relations].reshape(-1, 1).astype(np.int64) - 1
        for what, values, count in (
            ("label", labels + 1, len(self.names)),
            ("predicate", predicates + 1, len(self.predicates)),
            ("box of a relation", ends + 1, len(xyxy)),
        ):
            if values.size and not 1 <= values.min() <= values.max() <= count:
                wrong = int(values.min() if values.min() < 1 else values.max())
                raise DataError(
                    f"{where} has the {what} {wrong}; it must be 1..{count}: take all files from one release."
                )
        return GraphRecord(
            image["image_id"],
            files[f"{image['image_id']}.jpg"],
            size,
            xyxy.astype(np.float32),
            labels,
            np.concatenate((ends, predicates), axis=1),
        )


READERS.register("vg150")(VisualGenome150)


def _rows_of_split(table: dict[str, np.ndarray], split: str, val_images: int) -> np.ndarray:
    """Rows of the images of a split that have a relation."""
    usable = (table["split"] == (2 if split == "test" else 0)) & (table["img_to_first_rel"] >= 0)
    rows = np.flatnonzero(usable & (table["img_to_first_box"] >= 0))
    if split == "test":
        return rows
    return rows[:val_images] if split == "val" else rows[val_images:]


def _read_h5(file: Path) -> dict[str, np.ndarray]:
    """Read the arrays that are used; all of them are some 40 MB."""
    try:
        import h5py
    except ImportError as error:
        raise MissingDependency(
            "reading VG-SGG.h5 needs the package 'h5py', which is not installed; run: pip install 'visgen[vg]'."
        ) from error
    names = ("split", "labels", "boxes_1024", *_COLUMNS, "relationships", "predicates")
    try:
        with h5py.File(file, "r") as stored:
            missing = [name for name in names if name not in stored]
            if missing:
                raise DataError(f"{file} lacks the array '{missing[0]}'; vg150 reads VG-SGG.h5 as published.")
            table = {name: np.asarray(stored[name]) for name in names}
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error}; fetch it as data/vg150/card.md says.") from error
    boxes, relations = len(table["labels"]), len(table["predicates"])
    shapes = {
        "boxes_1024": (boxes, 4),
        "relationships": (relations, 2),
        **dict.fromkeys(_COLUMNS, table["split"].shape),
    }
    for name, shape in shapes.items():
        if table[name].shape != shape:
            raise DataError(
                f"{file} has the array '{name}' of shape {table[name].shape}; beside the others it must be {shape}: "
                "fetch it as data/vg150/card.md says."
            )
    return table


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError) as error:
        raise DataError(f"{file} cannot be read as json: {error}; fetch it as data/vg150/card.md says.") from error


def _listed_images(file: Path) -> list[dict[str, Any]]:
    """The records of the images that can be read."""
    rows = _read_json(file)
    if not isinstance(rows, list):
        raise DataError(f"{file} holds a {type(rows).__name__}; it must be the list of images: fetch it again.")
    for row in rows:
        if not isinstance(row, dict) or whole_number(row.get("image_id")) is None:
            raise DataError(f"{file} has the image {row!r}; each must be an object with a whole number as image_id.")
    return [row for row in rows if whole_number(row["image_id"]) not in BROKEN]


def _names(dicts: Any, key: str, base: Path) -> tuple[str, ...]:
    """Names by their 1-based number."""
    numbers: Any = dicts.get(key) if isinstance(dicts, dict) else None
    is_numbered = isinstance(numbers, dict) and all(isinstance(number, int) for number in numbers.values())
    names = sorted(numbers, key=lambda name: numbers[name]) if is_numbered else []
    if not names or [numbers[name] for name in names] != list(range(1, len(names) + 1)):
        raise DataError(f"{base / 'VG-SGG-dicts.json'} has no '{key}' that numbers names from 1 on; fetch it again.")
    return check_names(names, f"{key} of {base}")


def _find_images(base: Path, given: str) -> dict[str, Path]:
    folders = [base / name for name in ([given] if given else FOLDERS) if (base / name).is_dir()]
    if not folders:
        raise DataError(
            f"vg150 set {base} has no image folder ({given or ', '.join(FOLDERS)}); name it: images=FOLDER."
        )
    return {file.name: file for folder in folders for file in folder.iterdir()}

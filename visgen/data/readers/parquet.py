"""Parquet tables with an image column, read through the `datasets` library from local files."""

from __future__ import annotations

import glob
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ...errors import ConfigError, DataError, MissingDependency
from ...structures import Boxes, ClassLabel
from ..sample import Sample
from ..source import READERS, MissingSplit
from .files import are_pixels, check_names, read_classes, read_pixels, whole_number

__all__ = ["ParquetImages"]

_TARGETS = ("classification", "detection")
_BOX_FORMATS = ("xyxy", "xyxy_inclusive", "xywh")


class ParquetImages:
    """Rows with an encoded image, a label, and boxes if asked for.

    The first use converts the files to a memory-mapped table in the cache folder of `datasets`; nothing is downloaded
    and the rows are read on demand.

    Args:
        path: A file, or a folder with SPLIT.parquet or SPLIT-*.parquet (also in data/).
        split: Names the files.
        name: Label set; the heads are "classification.NAME" and "detection.NAME". By default the name of the folder.
        targets: "classification", "detection" or both.
        image, label, boxes: Names of the columns; an image is bytes or {bytes, path}. For "detection" a row holds one
            box or a list of boxes, with one label or a list of them.
        box_format: "xyxy" edges, "xyxy_inclusive" (x2, y2 are the last pixels inside: 1 is added), or "xywh".
        classes: Class names; by default those of the label column, else of classes.json or classes.txt beside the
            files.
        cache: Cache folder of `datasets`.
    Raises:
        ConfigError: An unknown target or box format.
        DataError: Missing files, columns or class names, or values that break the format.
        MissingDependency: `datasets` is not installed.
    """

    def __init__(
        self,
        path: str | Path,
        split: str = "train",
        *,
        name: str = "",
        targets: Sequence[str] = ("classification",),
        image: str = "image",
        label: str = "label",
        boxes: str = "bbox_xyxy",
        box_format: str = "xyxy",
        classes: Sequence[str] | None = None,
        cache: str | None = None,
    ) -> None:
        targets = (targets,) if isinstance(targets, str) else tuple(targets)
        if not targets or not set(targets) <= set(_TARGETS) or box_format not in _BOX_FORMATS:
            raise ConfigError(
                f"parquet: targets {list(targets)} must be of {', '.join(_TARGETS)}, and box_format '{box_format}' "
                f"one of {', '.join(_BOX_FORMATS)}."
            )
        self.files = _find_files(Path(path), split)
        base = self.files[0].resolve().parent
        base = base.parent if base.name == "data" else base
        self.name, self.targets, self.box_format = name or base.name, tuple(targets), box_format
        self.columns = {"image": image, "label": label, "boxes": boxes}
        self.table = _open(self.files, cache)
        for column in (image, label, *((boxes,) if "detection" in targets else ())):
            if column not in self.table.column_names:
                raise DataError(
                    f"parquet {self.files[0]} has no column '{column}'; it has {', '.join(self.table.column_names)}."
                )
        names = _class_names(self.table.features[label], base, classes)
        self.heads = {task: f"{task}.{self.name}" for task in self.targets}
        self.classes = dict.fromkeys(self.targets, names)
        self.names = names

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> Sample:
        row = self.table[int(index)]
        where = f"{self.files[0]} row {index}"
        picture = row[self.columns["image"]]
        data = picture.get("bytes") if isinstance(picture, dict) else picture
        if not isinstance(data, bytes):
            raise DataError(
                f"{where} has no image bytes in column '{self.columns['image']}'; paths outside are not followed."
            )
        pixels = read_pixels(data, where)
        label = row[self.columns["label"]]
        targets: dict[str, Any] = {}
        if "classification" in self.targets:
            targets["classification"] = ClassLabel(_label(label, where), self.names)
        if "detection" in self.targets:
            size = (pixels.shape[1], pixels.shape[2])
            targets["detection"] = self._boxes(row[self.columns["boxes"]], label, size, where)
        return Sample(pixels, targets, {"id": index, "path": where})

    def _boxes(self, boxes: Any, label: Any, size: tuple[int, int], where: str) -> Boxes:
        rows = [boxes] if are_pixels(boxes) and boxes else boxes
        if not isinstance(rows, list) or not all(are_pixels(row) and len(row) == 4 for row in rows):
            raise DataError(f"{where} has boxes {boxes!r}; give 4 numbers, or a list of such, which may be empty.")
        xyxy = torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)
        if self.box_format == "xyxy_inclusive":
            xyxy = xyxy + torch.tensor([0.0, 0.0, 1.0, 1.0])
        elif self.box_format == "xywh":
            xyxy = torch.cat([xyxy[:, :2], xyxy[:, :2] + xyxy[:, 2:]], 1)
        given = label if isinstance(label, list) else [label] * len(xyxy)
        labels = torch.tensor([_label(one, where) for one in given], dtype=torch.int64)
        return Boxes(xyxy, labels, size, self.names)


READERS.register("parquet")(ParquetImages)


def _label(value: Any, where: str) -> int:
    label = whole_number(value)
    if label is None:
        raise DataError(f"{where} has the label {value!r}; it must be a whole number.")
    return label


def _find_files(path: Path, split: str) -> list[Path]:
    if path.is_file():
        return [path]
    for folder in (path, path / "data"):
        files = sorted([*folder.glob(f"{split}.parquet"), *folder.glob(f"{split}-*.parquet")])
        if files:
            return files
    there = sorted(p.name for p in path.rglob("*.parquet"))[:20] if path.is_dir() else []
    raise MissingSplit(
        f"parquet set {path} has no split '{split}' (SPLIT.parquet, SPLIT-*.parquet); "
        f"files: {', '.join(there) or 'none'}."
    )


def _open(files: Sequence[Path], cache: str | None) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingDependency("reading parquet needs the package 'datasets'; pip install datasets.") from error
    names = [glob.escape(str(f.resolve())) for f in files]  # `datasets` takes names for patterns
    quiet = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        table = datasets.load_dataset("parquet", data_files={"rows": names}, split="rows", cache_dir=cache)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"parquet {', '.join(names[:3])} cannot be read: {error.__cause__ or error}; write it again, with rows."
        ) from error
    finally:
        if not quiet:
            datasets.enable_progress_bars()
    for column, feature in table.features.items():
        if isinstance(feature, datasets.Image):
            table = table.cast_column(column, datasets.Image(decode=False))
    return table


def _class_names(feature: Any, base: Path, given: Sequence[str] | None) -> tuple[str, ...]:
    """Names of the labels; equal names of a json get their WordNet id or number, so that all differ."""
    names = given if given is not None else getattr(getattr(feature, "feature", feature), "names", None)
    if names is not None:
        return check_names(names, str(base))
    file = base / "classes.json"
    if not file.is_file():
        return read_classes(base / "classes.txt")
    try:
        items = json.loads(file.read_text(encoding="utf-8-sig"))
        rows = sorted(items, key=lambda item: int(item["id"])) if any(isinstance(item, dict) for item in items) else []
        plain = [row["name"] for row in rows]
        full = [
            f"{n} ({r.get('wnid', r['id'])})" if isinstance(n, str) and plain.count(n) > 1 else n
            for n, r in zip(plain, rows, strict=True)
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} is not a list of names or of objects with id and name: {error!r}.") from error
    if not rows:
        return check_names(items, str(file))
    if [whole_number(row["id"]) for row in rows] != list(range(len(rows))):
        raise DataError(f"{file}: ids are not 0..{len(rows) - 1}; they must number the labels without gaps.")
    return check_names(full, str(file))

"""Feature maps of a fixed backbone, kept on disk beside small pictures and scene graphs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import DataError
from ...structures import Boxes, SceneGraph
from ..sample import Sample
from ..source import READERS, MissingSplit
from .files import require_folder

__all__ = ["MAPS_FORMAT", "FeatureMaps"]

MAPS_FORMAT = "visgen-maps-1"


class FeatureMaps:
    """Pictures as a backbone saw them, for trainings on a backbone that stays as it is.

    `visgen.engine.write_maps` writes the folder. A sample's image is the picture, shrunk so that `cell` of its pixels
    are a cell of the map; "scene_graph" has boxes in its pixels, and `targets["map"]` is the map (C, h, w) float32,
    zero beyond `meta["cells"]`, its (rows, columns) that the picture fills.

    Args:
        path: Holds one folder for each split, with `about.json`, `rows.json`, `maps.f16` and `pictures.u8`.
        split: Name of that folder.
    Attributes:
        cell: Pixels of the kept picture along a cell.
        channels: C.
    Raises:
        DataError, MissingSplit: A missing file, one of another format, or of a size that does not fit.
    """

    def __init__(self, path: str | Path, split: str = "train") -> None:
        base = require_folder(path, "maps")
        folder = base / split
        if not (folder / "about.json").is_file():
            there = sorted(p.parent.name for p in base.glob("*/about.json"))
            raise (MissingSplit if there else DataError)(
                f"maps folder {base} has no split '{split}'; it has {', '.join(there) or 'none'}: write it with "
                "visgen.engine.write_maps."
            )
        self.folder, self.split, self.name = folder, split, f"{base.name}.{split}"
        try:
            self._open_folder()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"maps folder {folder} cannot be read: {error!r}; write it again.") from error

    def _open_folder(self) -> None:
        about = json.loads((self.folder / "about.json").read_text(encoding="utf-8"))
        if about.get("format") != MAPS_FORMAT:
            raise DataError(
                f"{self.folder / 'about.json'} has format {about.get('format')!r}; this reads {MAPS_FORMAT}."
            )
        self.about: dict[str, Any] = about
        self.cell, self.channels = int(about["cell"]), int(about["channels"])
        self.objects, self.predicates = tuple(about["classes"]), tuple(about["predicates"])
        self.heads = {"scene_graph": "scene_graph"}
        self.classes = {"scene_graph": self.predicates}
        self.rows: list[dict[str, Any]] = json.loads((self.folder / "rows.json").read_text(encoding="utf-8"))
        rows, columns = about["grid"]
        self._map_shape = (len(self.rows), self.channels, rows, columns)
        self._picture_shape = (len(self.rows), 3, rows * self.cell, columns * self.cell)
        for name, shape, width in (("maps.f16", self._map_shape, 2), ("pictures.u8", self._picture_shape, 1)):
            wanted, found = int(np.prod(shape)) * width, (self.folder / name).stat().st_size
            if wanted != found:
                raise DataError(
                    f"{self.folder / name} has {found} bytes but its {shape} needs {wanted}; write it again."
                )

    def __len__(self) -> int:
        return len(self.rows)

    def graph_of(self, index: int) -> SceneGraph:
        """The scene graph of a sample, without reading its map."""
        row = self.rows[index]
        xyxy = torch.tensor(row["boxes"], dtype=torch.float32).reshape(-1, 4)
        labels = torch.tensor(row["labels"], dtype=torch.int64)
        size = (self._picture_shape[2], self._picture_shape[3])
        triplets = torch.tensor(row["triplets"], dtype=torch.int64).reshape(-1, 3)
        return SceneGraph(Boxes(xyxy, labels, size, self.objects), triplets, self.predicates)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self.rows):
            raise IndexError(f"index {index} is outside source '{self.name}' of {len(self.rows)}.")
        row = self.rows[index]
        found = np.array(self._open("maps.f16", np.float16, self._map_shape)[index])
        picture = np.array(self._open("pictures.u8", np.uint8, self._picture_shape)[index])
        targets = {"scene_graph": self.graph_of(index), "map": torch.from_numpy(found).float()}
        meta = {"source": self.name, "id": row["id"], "cells": tuple(row["cells"])}
        return Sample(torch.from_numpy(picture), targets, meta)

    def _open(self, name: str, dtype: Any, shape: tuple[int, ...]) -> np.memmap:
        """A file as an array; opened anew for each read, so that a source may be sent to another process."""
        return np.memmap(self.folder / name, dtype, "r", shape=shape)


READERS.register("maps")(FeatureMaps)

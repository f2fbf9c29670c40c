"""Everything that was answered about one image."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..errors import DataError, ImageError
from .boxes import Boxes
from .canvas import open_canvas
from .classification import Classification, ClassLabel
from .depth import DepthMap
from .descriptor import Descriptor, PlaceLabel
from .image import picture_of
from .masks import Masks
from .ood import OODLabel, OODVerdict
from .scene_graph import SceneGraph
from .segmentation import SemanticMap
from .sheet import Panel, overview_sheet
from .validation import check_size, dict_entry
from .value import VALUES, Value, value_from_dict

if TYPE_CHECKING:
    import pandas
    import supervision

__all__ = ["TASKS", "Result"]

TASKS = ("classification", "detection", "segmentation", "depth", "ood", "scene_graph", "retrieval")
FURTHER = ("retrieval",)
"""Tasks that few models have: a result without them does not speak of them."""
KINDS: dict[str, tuple[type, ...]] = {
    "classification": (Classification, ClassLabel),
    "detection": (Boxes, Masks),
    "segmentation": (SemanticMap,),
    "depth": (DepthMap,),
    "scene_graph": (SceneGraph,),
    "ood": (OODVerdict, OODLabel),
    "retrieval": (Descriptor, PlaceLabel),
}
FORMAT = "visgen.result.1"
TITLES = {
    "classification": "What is it?",
    "detection": "What is where?",
    "segmentation": "What is each region?",
    "depth": "How far away is it?",
    "ood": "Is it unusual?",
    "scene_graph": "How do things relate?",
    "retrieval": "Which place is it?",
}
PANEL = 640  # long side of each photograph on the overview sheet


@dataclass(frozen=True, eq=False)
class Result:
    """The answers about one image.

    A task field holds a typed value, a dictionary {label set: typed value} when several heads of the task were asked,
    or None when the task was not.

    Args:
        classification: `Classification` (or a true `ClassLabel`).
        detection: `Boxes` or `Masks`.
        segmentation: `SemanticMap`.
        depth: `DepthMap`.
        ood: `OODVerdict` (or a true `OODLabel`).
        scene_graph: `SceneGraph`; its boxes may be other ones than those of `detection`.
        retrieval: `Descriptor` (or a true `PlaceLabel`); only in `to_dict` when it was asked.
        request: What was asked, JSON-able or with a `to_dict`.
        path: Which kind of model answered, such as "moe".
        source: Where the image came from: path, address, or a name such as "image-3".
        size: (height, width) of the image in pixels.
        timing: Seconds by stage.
        error: Why there is no answer; None when all went well.
        image: The photograph (H, W, 3) uint8, for drawing only: it is not written to JSON.
    Raises:
        DataError: A field breaks these rules.
    """

    classification: Any = None
    detection: Any = None
    segmentation: Any = None
    depth: Any = None
    ood: Any = None
    scene_graph: Any = None
    request: Any = None
    path: str | None = None
    source: str | None = None
    size: tuple[int, int] | None = None
    timing: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    image: np.ndarray | None = field(default=None, repr=False)
    retrieval: Any = None

    def __post_init__(self) -> None:
        for task in TASKS:
            held = getattr(self, task)
            if isinstance(held, dict) and not held:
                raise DataError(f"{task} of Result is an empty dictionary; use None for a task that was not asked.")
            for label_set, value in held.items() if isinstance(held, dict) else [("", held)]:
                _check_answer(task, label_set, value)
        if self.size is not None:
            check_size("Result", self.size)
        if self.image is not None:
            given = np.asarray(self.image)
            if given.dtype != np.uint8 or given.ndim != 3 or given.shape[2] != 3:
                raise DataError(
                    f"image of Result has shape {given.shape} and dtype {given.dtype}; it must be (H, W, 3) uint8; "
                    "use picture_of(image)."
                )

    def __repr__(self) -> str:
        shown = [f"{task}{f'.{name}' * bool(name)}: {_brief(value)}" for task, name, value in self.answers()]
        what = "; ".join(shown) or ("no answer" if self.error is None else f"error: {self.error}")
        return f"Result({self.source}, size={self.size}, path={self.path}; {what})"

    def answers(self) -> list[tuple[str, str, Any]]:
        """Give (task, label set, typed value) for each answer, in the order of the tasks; the label set may be ""."""
        rows: list[tuple[str, str, Any]] = []
        for task in TASKS:
            held = getattr(self, task)
            if isinstance(held, dict):
                rows += [(task, label_set, value) for label_set, value in held.items()]
            elif held is not None:
                rows.append((task, getattr(held, "name", "") if isinstance(held, SemanticMap) else "", held))
        return rows

    def picture(self) -> np.ndarray | None:
        """Give the photograph (H, W, 3) uint8: the one held, else the file that `source` names, else None.

        A file that has gone, or whose size is not the result's any more, counts as none.
        """
        if self.image is not None:
            return self.image
        try:
            if not self.source or not Path(self.source).is_file():
                return None
            photo = picture_of(self.source)
        except (ImageError, OSError, ValueError):
            return None
        return photo if self.size is None or photo.shape[:2] == tuple(self.size) else None

    def plot(self, image: Any = None) -> Image.Image:
        """Draw one sheet: the photograph, and a titled panel for each answer.

        Class bars and the verdict on how unusual the picture is stand below the photograph; a verdict with a map, and
        every other answer, has a picture of its own. The title of an answer whose own verdict is "unusual" says so.

        Args:
            image: The photograph; None takes `picture()`, and without one the answers are drawn on grey.
        """
        photo = picture_of(image) if image is not None else self.picture()
        canvas = None if photo is None else open_canvas(photo, None, PANEL)
        width = PANEL if canvas is None else canvas.width
        first = [] if canvas is None else [Panel("Photograph", Image.fromarray(canvas.picture))]
        pictures = []
        for task, label_set, value in self.answers():
            title = TITLES[task] + (f" ({label_set})" if label_set else "")
            if getattr(getattr(value, "ood", None), "is_ood", None):
                title += " Looks unusual"
            if _is_low(task, value):  # bars and gauges belong to the photograph and need no second one
                first.append(Panel(title, value.draw(None, width), below=True))
            else:
                pictures.append(Panel(title, value.draw(photo, PANEL)))
        return overview_sheet(self._heading(), self._note(), [*first, *pictures], width)

    def _heading(self) -> str:
        if not self.source:
            return "image"
        return self.source if "://" in self.source else Path(self.source).name or self.source

    def _note(self) -> str:
        parts = [f"{self.size[1]} x {self.size[0]} pixels"] if self.size else []
        parts += [f"model path {self.path}"] if self.path else []
        parts += [f"{1000 * sum(self.timing.values()):.0f} ms"] if self.timing else []
        parts += [f"error: {self.error}"] if self.error else []
        return ", ".join(parts)

    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write pictures, maps and JSON into a folder, which is made when it is missing.

        The names start with the stem of `source`: STEM-overview.png; STEM-TASK[-LABELSET].png for each answer;
        STEM-segmentation[-LABELSET]-ids.png (8-bit class ids with a palette); STEM-depth-mm.png (16-bit millimetres,
        or STEM-depth.npz when it is not metric or goes beyond 65.535 m); STEM-result.json last. Each file appears whole
        or not at all. Files of the same source are replaced; where the stem belongs to another source, or to files that
        are not of visgen, a suffix -1, -2, ... is added. One process at a time may write into a folder.

        Returns:
            The paths written, the JSON last.
        """
        from .saving import save_result

        return save_result(self, Path(folder))

    def to_dict(self) -> dict[str, Any]:
        """Give a JSON-able dictionary; `from_dict` restores each value as exactly as it says; `image` is left out."""
        data: dict[str, Any] = {
            "format": FORMAT,
            "source": self.source,
            "size": list(self.size) if self.size else None,
            "path": self.path,
            "request": self.request.to_dict() if hasattr(self.request, "to_dict") else self.request,
            "timing": dict(self.timing),
            "error": self.error,
        }
        for task in TASKS:
            held = getattr(self, task)
            if isinstance(held, dict):
                data[task] = {label_set: value.to_dict() for label_set, value in held.items()}
            elif held is not None or task not in FURTHER:
                data[task] = None if held is None else held.to_dict()
        return data

    def to_json(self, indent: int | None = None) -> str:
        """Give `to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Result:
        """Rebuild what `to_dict` gave; the request comes back as its dictionary.

        Raises:
            DataError: It is no result, or one of another format, or a value in it is broken.
        """
        form = dict_entry("Result", data, "format")
        if form != FORMAT:
            raise DataError(f"format of Result is {form!r}; this version reads '{FORMAT}'.")
        fields: dict[str, Any] = {key: data.get(key) for key in ("source", "path", "request", "error")}
        size, timing = data.get("size"), data.get("timing")
        fields["size"] = tuple(size) if isinstance(size, (list, tuple)) else size
        fields["timing"] = dict(timing) if isinstance(timing, Mapping) else {}
        for task in TASKS:
            held = data.get(task)
            if held is not None and not isinstance(held, Mapping):
                raise DataError(f"{task} of the result is a {type(held).__name__}; it must be a dictionary or null.")
            if held is None or isinstance(held.get("type"), str):
                fields[task] = None if held is None else value_from_dict(held)
            else:
                fields[task] = {label_set: value_from_dict(value) for label_set, value in held.items()}
        return cls(**fields)

    @classmethod
    def from_json(cls, text: str | bytes) -> Result:
        """Rebuild what `to_json` gave; raises DataError when it is no JSON or no result."""
        try:
            data = json.loads(text)
        except ValueError as error:
            raise DataError(
                f"the text is no JSON: {error}; Result.from_json reads what Result.to_json gave."
            ) from error
        return cls.from_dict(data)

    def to_pandas(self) -> pandas.DataFrame:
        """Give a table with one row per fact; see `visgen.structures.tables.result_rows` for the columns.

        Raises:
            MissingDependency: pandas is not installed.
        """
        from .tables import to_pandas

        return to_pandas(self)

    def to_coco(self, image_id: int = 1, category_ids: Mapping[str, int] | None = None) -> dict[str, Any]:
        """Give boxes, masks and semantic maps as a COCO json dictionary; other answers have no COCO form.

        The boxes of a scene graph are written where no detection was answered; COCO has no place for its relations.

        Args:
            image_id: The COCO image id to write.
            category_ids: Class name to category id, as in the data set the results belong to; None numbers the classes
                of each label set from 1 on, one label set after the other.
        Raises:
            DataError: `category_ids` lacks a class that occurs.
        """
        from .tables import to_coco

        return to_coco(self, image_id, category_ids)

    def to_supervision(self, task: str | None = None) -> supervision.Detections:
        """Give the boxes, masks or semantic regions as `supervision.Detections`.

        Args:
            task: "detection", "segmentation", "scene_graph" (its boxes), or with its label set "segmentation.camvid";
                None takes the first of these that was answered. Nothing answered gives empty detections.
        Raises:
            DataError: The task has no such form, was not answered, or has several label sets and none is named.
            MissingDependency: supervision is not installed.
        """
        from .tables import to_supervision

        return to_supervision(self, task)


def _is_low(task: str, value: Any) -> bool:
    is_bars = isinstance(value, (Classification, ClassLabel, Descriptor, PlaceLabel))
    return is_bars or (task == "ood" and getattr(value, "map", None) is None)


def _brief(value: Any) -> str:
    """An answer in a word or two, for a line that tells results apart."""
    if isinstance(value, Classification):
        return f"{value.label} {value.score:.2f}"
    kinds = {Boxes: "boxes", Masks: "masks", SceneGraph: "relations"}
    return f"{len(value)} {kinds[type(value)]}" if type(value) in kinds else type(value).__name__


def _check_answer(task: str, label_set: Any, value: Any) -> None:
    if value is None and label_set == "":
        return
    if not isinstance(label_set, str):
        raise DataError(f"{task} of Result has the label set {label_set!r}; label sets are named by strings.")
    known = KINDS.get(task)
    if known is None:
        if not (isinstance(value, Value) and getattr(value, "type_name", None) in VALUES):
            raise DataError(f"{task} of Result is a {type(value).__name__}; it must be one of {', '.join(VALUES)}.")
    elif not isinstance(value, known):
        names = " or ".join(kind.__name__ for kind in known)
        raise DataError(f"{task} of Result is a {type(value).__name__}; it must be {names}, or a dictionary of them.")

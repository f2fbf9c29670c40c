"""Results in the forms of other libraries: pandas, COCO json, supervision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError, MissingDependency
from .boxes import Boxes
from .classification import Classification, ClassLabel
from .depth import DepthMap
from .descriptor import PlaceLabel
from .masks import Masks, mask_bbox
from .ood import OODLabel, OODVerdict
from .scene_graph import SceneGraph
from .segmentation import SemanticMap

if TYPE_CHECKING:
    import pandas
    import supervision

    from .result import Result

__all__ = ["COLUMNS", "result_rows", "to_coco", "to_pandas", "to_supervision"]

COLUMNS = (
    "source",
    "task",
    "label_set",
    "label",
    "label_id",
    "score",
    "x1",
    "y1",
    "x2",
    "y2",
    "share",
    "min",
    "median",
    "max",
    "units",
    "threshold",
    "box_id",
    "predicate",
    "predicate_id",
    "subject",
    "subject_id",
    "object",
    "object_id",
)
WHOLE = ("label_id", "box_id", "predicate_id", "subject_id", "object_id")  # numbers that name something


def result_rows(result: Result) -> list[dict[str, Any]]:
    """Give one dictionary per fact.

    Returns:
        Rows with "source", "task", "label_set", and, by kind of answer:
        classification: the five best "label", "label_id", "score";
        boxes and masks: one row each with "box_id" (its place in the list), "label", "label_id", "score", "x1".."y2"
            in pixels, and for masks "share" of the picture;
        segmentation: one row per class present with "share" (and mean "score");
        depth: one row with "min", "median", "max", "units", and "share" of the pixels known;
        scene graph: one row per box, as for boxes, so that a graph stands alone; then one per triplet with "subject",
            "predicate", "object" (names), their ids (of subject and object the "box_id" among these boxes) and "score".
        ood: one row with "label" ("unusual" or "familiar"), "score" and "threshold".
        Typed values of other kinds give one row with their task alone.
    """
    rows = []
    for task, label_set, value in result.answers():
        head = {"source": result.source, "task": task, "label_set": label_set}
        rows += [{**head, **facts} for facts in _facts(value)]
    return rows


def _facts(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, ClassLabel):
        return [{"label": value.name, "label_id": value.label}]
    if isinstance(value, Classification):
        order = value.probabilities.argsort(descending=True)[:5].tolist()
        return [{"label": value.classes[i], "label_id": i, "score": float(value.probabilities[i])} for i in order]
    if isinstance(value, (Boxes, Masks)):
        return _box_facts(value)
    if isinstance(value, SceneGraph):
        return _box_facts(value.boxes) + _triplet_facts(value)
    if isinstance(value, SemanticMap):
        rows = [{"label": name, "label_id": i, "share": share} for i, name, share in value.shares()]
        if value.confidence is not None:
            for row in rows:
                row["score"] = float(value.confidence[value.ids == row["label_id"]].mean())
        return rows
    if isinstance(value, DepthMap):
        summary = value.summary()
        share = summary.pop("valid_share")
        return [{**summary, "share": share, "units": value.units}]
    if isinstance(value, (OODLabel, PlaceLabel)):
        return [{"label": value.name}]
    if isinstance(value, OODVerdict):
        return [{"label": value.name, "score": value.score, "threshold": value.threshold}]
    return [{}]


def _box_facts(value: Boxes | Masks) -> list[dict[str, Any]]:
    boxes = value if isinstance(value, Boxes) else value.to_boxes()
    rows: list[dict[str, Any]] = []
    for index, (label, corners) in enumerate(zip(boxes.labels.tolist(), boxes.xyxy.tolist(), strict=True)):
        row: dict[str, Any] = {"box_id": index, "label": boxes.classes[label], "label_id": label}
        row |= dict(zip(("x1", "y1", "x2", "y2"), corners))
        if boxes.scores is not None:
            row["score"] = float(boxes.scores[index])
        if isinstance(value, Masks):
            row["share"] = float(value.masks[index].float().mean())
        rows.append(row)
    return rows


def _triplet_facts(value: SceneGraph) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for index, (names, ids) in enumerate(zip(value.names, value.triplets.tolist(), strict=True)):
        row: dict[str, Any] = dict(zip(("subject", "predicate", "object"), names, strict=True))
        row |= dict(zip(("subject_id", "object_id", "predicate_id"), ids, strict=True))
        if value.scores is not None:
            row["score"] = float(value.scores[index])
        rows.append(row)
    return rows


def to_pandas(result: Result) -> pandas.DataFrame:
    """Give `result_rows` as a DataFrame with all `COLUMNS`, also when there are no rows; ids stay whole numbers."""
    try:
        import pandas
    except ImportError as error:
        raise MissingDependency(
            "pandas is not installed; Result.to_pandas needs it; run pip install 'visgen[pandas]'."
        ) from error
    table = pandas.DataFrame(result_rows(result), columns=list(COLUMNS))
    return table.astype(dict.fromkeys(WHOLE, "Int64"))


def to_coco(result: Result, image_id: int, category_ids: Mapping[str, int] | None) -> dict[str, Any]:
    """Give the COCO json dictionary that `Result.to_coco` describes."""
    annotations: list[dict[str, Any]] = []
    categories: dict[int, dict[str, Any]] = {}
    numbered: dict[tuple[str, ...], int] = {}  # label sets that are the same share their numbers
    size = result.size
    for task, label_set, value in _with_boxes(result):
        size = size or value.size
        shift = numbered.setdefault(value.classes, sum(len(classes) for classes in numbered))
        for label, name in enumerate(value.classes):
            number = category_ids.get(name) if category_ids is not None else label + 1 + shift
            if number is not None and number not in categories:
                categories[number] = {"id": number, "name": name, "supercategory": label_set or task}
        for row in value.to_coco(image_id, category_ids):
            number = row["category_id"] + (shift if category_ids is None else 0)
            annotations.append({**row, "id": len(annotations) + 1, "category_id": number})
    image: dict[str, Any] = {"id": image_id, "file_name": result.source or ""}
    if size is not None:
        image |= {"height": size[0], "width": size[1]}
    return {"images": [image], "annotations": annotations, "categories": [categories[n] for n in sorted(categories)]}


def _with_boxes(result: Result) -> list[tuple[str, str, Boxes | Masks | SemanticMap]]:
    """Give the answers that hold boxes, masks or regions; a scene graph counts by its boxes where none were detected.

    Its boxes are as a rule the detected ones: beside a detection they would count every object twice.
    """
    able = [row for row in result.answers() if isinstance(row[2], (Boxes, Masks, SemanticMap))]
    if result.detection is None:
        able += [(t, s, v.boxes) for t, s, v in result.answers() if isinstance(v, SceneGraph)]
    return able


def to_supervision(result: Result, task: str | None) -> supervision.Detections:
    """Give the `supervision.Detections` that `Result.to_supervision` describes."""
    try:
        import supervision
    except ImportError as error:
        raise MissingDependency(
            "supervision is not installed; Result.to_supervision needs it; run pip install 'visgen[supervision]'."
        ) from error
    value = _chosen(result, task)
    names: tuple[str, ...] = ()
    if value is None:
        boxes, labels, masks, scores = np.zeros((0, 4)), np.zeros(0), None, None
    elif isinstance(value, SemanticMap):
        present = sorted(i for i, _, _ in value.shares())
        ids = value.ids.cpu().numpy()
        masks = np.stack([ids == i for i in present]) if present else np.zeros((0, *ids.shape), dtype=bool)
        labels, names = np.array(present), tuple(value.classes[i] for i in present)
        # not supervision.mask_to_xyxy, whose right and lower edges are the last pixels and lie one short of ours
        boxes = np.array([mask_bbox(value.ids == i) for i in present]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        scores = None
        if value.confidence is not None:
            confidence = value.confidence.cpu().numpy()
            scores = np.array([confidence[mask].mean() for mask in masks])
    else:
        plain = value.to_boxes() if isinstance(value, Masks) else value
        boxes, labels, names = plain.xyxy.cpu().numpy(), plain.labels.cpu().numpy(), plain.names
        masks = value.masks.cpu().numpy() if isinstance(value, Masks) else None
        scores = None if plain.scores is None else plain.scores.cpu().numpy()
    return supervision.Detections(
        xyxy=boxes.astype(np.float32).reshape(-1, 4),
        mask=masks,
        confidence=None if scores is None else scores.astype(np.float32),
        class_id=labels.astype(int),
        data={"class_name": np.array(names, dtype=str)},
    )


def _chosen(result: Result, task: str | None) -> Boxes | Masks | SemanticMap | None:
    able = _with_boxes(result)
    if task is not None and result.detection is not None:  # asked by name, the boxes of a graph are given
        able += [(t, s, v.boxes) for t, s, v in result.answers() if isinstance(v, SceneGraph)]
    if task is None:
        if not able:
            return None
        task = able[0][0]  # detection comes first, then segmentation, then the boxes of a scene graph
    name, _, label_set = task.partition(".")
    found = [v for t, s, v in able if t == name and label_set in ("", s)]
    answered = ", ".join(f"{t}.{s}" if s else t for t, s, _ in able) or "none"
    if not found:
        raise DataError(f"task '{task}' has no answer that supervision can hold; this result has: {answered}.")
    if len(found) > 1:
        raise DataError(f"task '{task}' has {len(found)} label sets; name one of: {answered}.")
    return found[0]

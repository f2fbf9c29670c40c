"""pandas, COCO json and supervision: values, ids kept, and zero answers everywhere."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch

from visgen.errors import DataError, MissingDependency
from visgen.structures import (
    Boxes,
    Classification,
    ClassLabel,
    DepthMap,
    Masks,
    OODLabel,
    OODVerdict,
    Result,
    SceneGraph,
    SemanticMap,
    rle_to_mask,
)
from visgen.structures.tables import COLUMNS

SIZE = (4, 6)
NAMES = ("cat", "dog", "tree")


def boxes() -> Boxes:
    corners = torch.tensor([[0.0, 1, 2, 3], [1.0, 0, 6, 4]])
    return Boxes(corners, torch.tensor([2, 0]), SIZE, NAMES, torch.tensor([0.5, 0.25]))


def masks() -> Masks:
    planes = torch.zeros(1, *SIZE, dtype=torch.bool)
    planes[0, 1:3, 2:5] = True
    return Masks(planes, torch.tensor([1]), NAMES)


def semantic() -> SemanticMap:
    ids = torch.zeros(SIZE, dtype=torch.int64)
    ids[:, 3:] = 2
    ids[0, 0] = 255
    return SemanticMap(ids, NAMES, torch.full(SIZE, 0.75), name="streets")


def graph() -> SceneGraph:
    triplets = torch.tensor([[1, 0, 1], [0, 1, 0]])
    return SceneGraph(boxes(), triplets, ("on", "under"), torch.tensor([0.75, 0.125]))


def no_relations(found: Boxes) -> SceneGraph:
    return SceneGraph(found, torch.zeros(0, 3, dtype=torch.int64), ("on",), torch.zeros(0))


def none_found() -> Boxes:
    return Boxes(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), SIZE, NAMES, torch.zeros(0))


def nothing_labelled() -> SemanticMap:
    return SemanticMap(torch.full(SIZE, 255), NAMES)


def no_masks() -> Masks:
    return Masks(torch.zeros(0, *SIZE, dtype=torch.bool), torch.zeros(0, dtype=torch.int64), NAMES)


def test_pandas_rows_by_hand() -> None:
    result = Result(
        classification=Classification(torch.tensor([0.125, 0.625, 0.25]), NAMES),
        detection={"found": boxes(), "cut": masks()},
        segmentation=semantic(),
        depth=DepthMap(torch.tensor([[0.0, 2.0], [4.0, 6.0]])),
        source="a.jpg",
    )
    table = result.to_pandas()
    assert tuple(table.columns) == COLUMNS and set(table["source"]) == {"a.jpg"}
    by_task = dict(iter(table.groupby("task")))
    assert by_task["classification"]["label"].tolist() == ["dog", "tree", "cat"]
    assert by_task["classification"]["score"].tolist() == [0.625, 0.25, 0.125]
    found = by_task["detection"]
    assert found["label_set"].tolist() == ["found", "found", "cut"]
    assert found[["x1", "y1", "x2", "y2"]].values.tolist() == [[0, 1, 2, 3], [1, 0, 6, 4], [2, 1, 5, 3]]
    assert found["share"].tolist()[2] == pytest.approx(6 / 24)
    streets = by_task["segmentation"]
    assert dict(zip(streets["label"], streets["share"])) == {"tree": 0.5, "cat": pytest.approx(11 / 24)}
    assert streets["label_set"].tolist() == ["streets"] * 2 and streets["score"].tolist() == [0.75, 0.75]
    depth = by_task["depth"].iloc[0]
    assert (depth["min"], depth["median"], depth["max"], depth["share"], depth["units"]) == (2, 4, 6, 0.75, "metres")
    unusual = Result(ood=OODVerdict(2.5, 1.5)).to_pandas().iloc[0]
    assert (unusual["label"], unusual["score"], unusual["threshold"]) == ("unusual", 2.5, 1.5)
    assert Result(ood=OODLabel(False)).to_pandas()["label"].tolist() == ["familiar"]
    assert Result(classification=ClassLabel(1, NAMES)).to_pandas()["label"].tolist() == ["dog"]


def test_a_graph_has_a_row_per_box_and_one_per_triplet() -> None:
    table = Result(detection=boxes(), scene_graph=graph()).to_pandas()
    rows = table[table["task"] == "scene_graph"]
    nodes, triplets = rows[rows["predicate"].isna()], rows[rows["predicate"].notna()]
    assert nodes["label"].tolist() == ["tree", "cat"] and nodes["box_id"].tolist() == [0, 1]
    assert nodes[["x1", "y1", "x2", "y2"]].values.tolist() == [[0, 1, 2, 3], [1, 0, 6, 4]]
    assert triplets[["subject", "predicate", "object"]].values.tolist() == [
        ["cat", "under", "tree"],
        ["tree", "on", "cat"],
    ]
    assert triplets[["subject_id", "predicate_id", "object_id"]].values.tolist() == [[1, 1, 0], [0, 0, 1]]
    assert triplets["score"].tolist() == [0.75, 0.125] and triplets["label"].isna().all()
    assert str(table["subject_id"].dtype) == str(table["label_id"].dtype) == "Int64"  # 1, not 1.0
    assert table[table["task"] == "detection"]["box_id"].tolist() == [0, 1]


def test_a_graph_without_relations_still_has_its_boxes() -> None:
    result = Result(scene_graph=no_relations(boxes()))
    assert result.to_pandas()["label"].tolist() == ["tree", "cat"]
    assert len(result.to_coco()["annotations"]) == len(result.to_supervision()) == 2


def test_boxes_of_a_graph_are_exported_once() -> None:
    """Beside a detection they are the same objects: COCO leaves them out, supervision gives them when asked."""
    alone, beside = Result(scene_graph=graph()), Result(detection=boxes(), scene_graph=graph())
    coco = alone.to_coco(image_id=4)
    assert [a["bbox"] for a in coco["annotations"]] == [[0, 1, 2, 2], [1, 0, 5, 4]]
    assert [a["category_id"] for a in coco["annotations"]] == [3, 1] and len(coco["categories"]) == 3
    assert coco["categories"][0]["supercategory"] == "scene_graph"
    assert beside.to_coco() == Result(detection=boxes()).to_coco()
    for result in (alone, beside):
        assert result.to_supervision("scene_graph").xyxy.tolist() == boxes().xyxy.tolist()
    assert alone.to_supervision().class_id.tolist() == [2, 0]
    assert Result(segmentation=semantic(), scene_graph=graph()).to_supervision().mask is not None


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"detection": none_found()},
        {"segmentation": nothing_labelled()},
        {"detection": no_masks()},
        {"scene_graph": no_relations(none_found())},
        {"detection": none_found(), "scene_graph": no_relations(none_found())},
    ],
    ids=["nothing", "boxes", "map", "masks", "graph", "boxes and graph"],
)
def test_zero_answers_work_everywhere(fields: dict[str, Any]) -> None:
    result = Result(**fields)
    table = result.to_pandas()
    assert len(table) == 0 and tuple(table.columns) == COLUMNS
    assert result.to_coco()["annotations"] == []
    detections = result.to_supervision()
    assert len(detections) == 0 and detections.xyxy.shape == (0, 4) and detections.class_id is not None
    assert Result.from_json(result.to_json()).to_dict() == result.to_dict()
    assert result.plot().height > 0


def test_coco_by_hand() -> None:
    coco = Result(detection=boxes(), source="a.jpg").to_coco(image_id=9)
    assert coco["images"] == [{"id": 9, "file_name": "a.jpg", "height": 4, "width": 6}]
    assert [c["id"] for c in coco["categories"]] == [1, 2, 3] and coco["categories"][2]["name"] == "tree"
    first = coco["annotations"][0]
    assert (first["id"], first["image_id"], first["category_id"]) == (1, 9, 3)
    assert (first["bbox"], first["area"], first["score"]) == ([0, 1, 2, 2], 4, 0.5)


def test_coco_keeps_ids_with_gaps() -> None:
    """COCO json in is COCO json out: categories 3, 7 and 90 come back as such."""
    categories = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}, {"id": 90, "name": "tree"}]
    annotations = [
        {"id": 1, "image_id": 5, "category_id": 90, "bbox": [0.5, 1.0, 2.0, 2.5], "area": 5.0, "iscrowd": 1},
        {"id": 2, "image_id": 5, "category_id": 3, "bbox": [1.0, 0.0, 5.0, 4.0], "area": 20.0, "iscrowd": 0},
    ]
    names = tuple(c["name"] for c in sorted(categories, key=lambda c: c["id"]))
    ids = {c["name"]: c["id"] for c in categories}
    label = {c["id"]: names.index(c["name"]) for c in categories}
    xywh = torch.tensor([a["bbox"] for a in annotations])
    value = Boxes(
        torch.cat((xywh[:, :2], xywh[:, :2] + xywh[:, 2:]), dim=1),
        torch.tensor([label[a["category_id"]] for a in annotations]),
        SIZE,
        names,
        is_crowd=torch.tensor([bool(a["iscrowd"]) for a in annotations]),
    )
    coco = Result(detection=value).to_coco(image_id=5, category_ids=ids)
    assert coco["annotations"] == annotations
    assert [(c["id"], c["name"]) for c in coco["categories"]] == [(3, "cat"), (7, "dog"), (90, "tree")]
    with pytest.raises(DataError, match="category_ids has no id for class 'tree'"):
        Result(detection=value).to_coco(category_ids={"cat": 3})


def test_coco_label_sets_do_not_share_numbers() -> None:
    other = SemanticMap(torch.zeros(SIZE, dtype=torch.int64), ("floor", "wall"), name="rooms")
    coco = Result(detection=boxes(), segmentation={"streets": semantic(), "rooms": other}).to_coco()
    named = {c["id"]: c["name"] for c in coco["categories"]}
    assert named == {1: "cat", 2: "dog", 3: "tree", 4: "floor", 5: "wall"}
    assert [named[a["category_id"]] for a in coco["annotations"]] == ["tree", "cat", "cat", "tree", "floor"]
    assert [a["id"] for a in coco["annotations"]] == [1, 2, 3, 4, 5]
    region = rle_to_mask(coco["annotations"][3]["segmentation"])
    assert torch.equal(region, semantic().ids == 2)


def test_pycocotools_reads_what_to_coco_writes() -> None:
    from pycocotools.coco import COCO

    data = COCO()
    data.dataset = Result(detection=masks(), segmentation=semantic()).to_coco(image_id=3)
    data.createIndex()
    assert data.getImgIds() == [3]
    first = data.loadAnns(data.getAnnIds(catIds=[2]))[0]
    assert torch.equal(torch.from_numpy(data.annToMask(first)).bool(), masks().masks[0])


def test_supervision_boxes_masks_and_regions() -> None:
    found = Result(detection=boxes(), segmentation=semantic()).to_supervision()
    assert found.xyxy.tolist() == boxes().xyxy.tolist() and found.mask is None
    assert found.class_id.tolist() == [2, 0] and found.confidence.tolist() == [0.5, 0.25]
    assert found.data["class_name"].tolist() == ["tree", "cat"]
    cut = Result(detection=masks()).to_supervision()
    assert np.array_equal(cut.mask, masks().masks.numpy()) and cut.confidence is None
    assert cut.xyxy.tolist() == [[2, 1, 5, 3]]
    regions = Result(detection=boxes(), segmentation=semantic()).to_supervision("segmentation.streets")
    assert regions.data["class_name"].tolist() == ["cat", "tree"] and regions.confidence.tolist() == [0.75, 0.75]
    assert regions.mask.sum(axis=(1, 2)).tolist() == [11, 12]
    whole = SemanticMap(torch.zeros(10, 20, dtype=torch.int64), ("sky",))  # edges of pixels, as in every other form
    assert Result(segmentation=whole).to_supervision().xyxy.tolist() == [[0, 0, 20, 10]]


def test_supervision_says_which_tasks_it_can_take() -> None:
    result = Result(segmentation={"a": semantic(), "b": semantic()}, depth=DepthMap(torch.ones(SIZE)))
    with pytest.raises(DataError, match=r"task 'segmentation' has 2 label sets; name one of: segmentation.a, segment"):
        result.to_supervision()
    with pytest.raises(DataError, match=r"task 'depth' has no answer that supervision can hold; this result has: seg"):
        result.to_supervision("depth")
    assert len(result.to_supervision("segmentation.b")) == 2


@pytest.mark.parametrize(("package", "method"), [("pandas", "to_pandas"), ("supervision", "to_supervision")])
def test_a_missing_package_names_its_extra(package: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependency, match=rf"{package} is not installed; .* pip install 'visgen\[{package}\]'"):
        getattr(Result(), method)()

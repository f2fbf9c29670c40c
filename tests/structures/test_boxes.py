"""Boxes: hand-worked overlaps, conversions that come back, and doors that close."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from visgen.errors import DataError
from visgen.structures import (
    Boxes,
    box_area,
    cxcywh_to_xyxy,
    denormalise,
    normalise,
    pairwise_iou,
    value_from_dict,
    xywh_to_xyxy,
    xyxy_to_cxcywh,
    xyxy_to_xywh,
)

NAMES = ("car", "person", "tree")
SIZE = (48, 64)


@st.composite
def corners(draw: Any, least: int = 0) -> Tensor:
    """Corner boxes (Q, 4) within 2000 pixels."""
    count = draw(st.integers(least, 6))
    points = arrays("float64", (count, 2, 2), elements=st.floats(0, 2000, width=32))
    two = torch.from_numpy(draw(points))
    return torch.cat((two.amin(dim=1), two.amax(dim=1)), dim=-1)


def make(**changes: Any) -> Boxes:
    fields: dict[str, Any] = {
        "xyxy": torch.tensor([[1.0, 2.0, 11.0, 22.0], [0.0, 0.0, 64.0, 48.0]]),
        "labels": torch.tensor([2, 0]),
        "size": SIZE,
        "classes": NAMES,
        "scores": torch.tensor([0.9, 0.25]),
        "is_crowd": torch.tensor([False, True]),
    }
    return Boxes(**{**fields, **changes})


def test_conversions_by_hand() -> None:
    box = torch.tensor([[10.0, 20.0, 30.0, 60.0]])
    assert xyxy_to_xywh(box).tolist() == [[10, 20, 20, 40]]
    assert xyxy_to_cxcywh(box).tolist() == [[20, 40, 20, 40]]
    assert box_area(box).tolist() == [800]
    assert normalise(box, (100, 40)).tolist() == [pytest.approx([0.25, 0.2, 0.75, 0.6])]


@given(corners())
def test_every_conversion_comes_back(boxes: Tensor) -> None:
    for there, back in (
        (xyxy_to_xywh, xywh_to_xyxy),
        (xyxy_to_cxcywh, cxcywh_to_xyxy),
        (lambda b: normalise(b, (37, 911)), lambda b: denormalise(b, (37, 911))),
    ):
        torch.testing.assert_close(back(there(boxes)), boxes, rtol=1e-12, atol=1e-9)


def test_iou_by_hand() -> None:
    a = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    b = torch.tensor(
        [[0.0, 0.0, 10.0, 10.0], [5.0, 5.0, 15.0, 15.0], [0.0, 0.0, 5.0, 10.0], [10.0, 0.0, 20.0, 10.0], [3, 3, 3, 3]]
    )
    # the same; 25 of 175; half; touching edges share no area; a point
    assert pairwise_iou(a, b).tolist() == [pytest.approx([1, 25 / 175, 0.5, 0, 0])]


def test_iou_of_boxes_without_area_is_zero() -> None:
    point = torch.tensor([[4.0, 4.0, 4.0, 4.0]])
    assert pairwise_iou(point, point).tolist() == [[0.0]]
    assert pairwise_iou(point, torch.zeros(0, 4)).shape == (1, 0)


@given(corners(), corners())
def test_iou_laws(a: Tensor, b: Tensor) -> None:
    overlap = pairwise_iou(a, b)
    assert torch.equal(overlap, pairwise_iou(b, a).T)
    assert bool(((overlap >= 0) & (overlap <= 1 + 1e-12)).all())
    solid = a[box_area(a) > 1e-6]
    torch.testing.assert_close(pairwise_iou(solid, solid).diagonal(), torch.ones(len(solid), dtype=torch.float64))


@given(corners(least=1), corners(least=1))
def test_iou_agrees_with_torchvision(a: Tensor, b: Tensor) -> None:
    from torchvision.ops import box_iou  # 0.29, tolerance 1e-9 where the union is not vanishing

    union = box_area(a)[:, None] + box_area(b)[None]
    mine, other = pairwise_iou(a, b), box_iou(a, b)
    torch.testing.assert_close(mine[union > 1e-3], other[union > 1e-3], rtol=1e-9, atol=1e-9)


def test_iou_refuses_another_shape() -> None:
    with pytest.raises(DataError, match=r"boxes b have shape \(4,\); pairwise_iou needs \(Q, 4\)"):
        pairwise_iou(torch.zeros(1, 4), torch.zeros(4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"xyxy": [[0, 0, 1, 1]]}, "xyxy of Boxes is a list; it must be a torch tensor"),
        ({"xyxy": torch.zeros(2, 5)}, r"xyxy of Boxes has shape \(2, 5\); it must be \(Q, 4\)"),
        ({"xyxy": torch.zeros(2, 4).double()}, r"dtype torch.float64; it must be torch.float32; convert with \.to"),
        ({"xyxy": torch.tensor([[0.0, 0, 1, 1], [5, 0, 4, 9]])}, r"box 1 is \[5.0, 0.0, 4.0, 9.0\], so x2 < x1"),
        ({"xyxy": torch.full((2, 4), float("nan"))}, "NaN or infinity; every corner must be finite"),
        ({"labels": torch.tensor([0, 3])}, r"label 3 of Boxes is outside its 3 classes; labels must be 0\.\.K-1"),
        ({"labels": torch.tensor([-1, 0])}, "label -1 of Boxes is outside"),
        ({"labels": torch.tensor([0])}, r"labels of Boxes has shape \(1,\); it must be \(2\)"),
        ({"labels": torch.tensor([0.0, 1.0])}, "labels of Boxes has dtype torch.float32; it must be torch.int64"),
        ({"scores": torch.tensor([0.5, 1.5])}, r"score of Boxes is 1.5, outside \[0, 1\]; pass probabilities"),
        ({"scores": torch.tensor([0.5, float("nan")])}, "score of Boxes is nan, outside"),
        ({"is_crowd": torch.tensor([0, 1])}, "is_crowd of Boxes has dtype torch.int64; it must be torch.bool"),
        ({"size": (48.0, 64)}, r"size of Boxes is \(48.0, 64\); it must be a tuple \(height, width\)"),
        ({"size": (0, 64)}, r"size of Boxes is \(0, 64\)"),
        ({"classes": ["car", "person", "tree"]}, r"classes of Boxes is a list; .* use tuple\(classes\)"),
        ({"classes": ("car", "person", 7)}, "classes of Boxes holds 7; every class name must be a string"),
    ],
)
def test_the_door(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        make(**changes)


def test_boxes_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        make().size = (1, 1)  # type: ignore[misc]


@given(corners(), st.data())
def test_json_restores_every_bit(boxes: Tensor, data: Any) -> None:
    count = len(boxes)
    numbers = st.lists(st.floats(0, 1, width=32), min_size=count, max_size=count)
    value = Boxes(
        boxes.float(),
        torch.tensor(data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)), dtype=torch.int64),
        SIZE,
        NAMES,
        data.draw(st.none() | numbers.map(lambda s: torch.tensor(s, dtype=torch.float32))),
    )
    back = value_from_dict(json.loads(json.dumps(value.to_dict(), allow_nan=False)))
    assert torch.equal(back.xyxy, value.xyxy) and torch.equal(back.labels, value.labels)
    assert (back.scores is None) == (value.scores is None)
    assert value.scores is None or torch.equal(back.scores, value.scores)
    assert (back.size, back.classes, back.is_crowd) == (SIZE, NAMES, None)


def test_the_dictionary_says_its_conventions() -> None:
    data = make().to_dict()
    assert (data["box_format"], data["unit"], data["size"]) == ("xyxy", "pixel", [48, 64])
    assert data["boxes"][0] == {
        "xyxy": [1.0, 2.0, 11.0, 22.0],
        "label": "tree",
        "label_id": 2,
        "score": pytest.approx(0.9),
        "is_crowd": False,
    }


def test_zero_boxes_come_back() -> None:
    none = Boxes(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), SIZE, ())
    back = Boxes.from_dict(none.to_dict())
    assert back.xyxy.shape == (0, 4) and back.labels.dtype == torch.int64 and len(back) == 0
    assert none.to_coco() == []


def test_from_dict_refuses_other_forms() -> None:
    with pytest.raises(DataError, match="box_format is 'xywh'; Boxes.from_dict reads xyxy only"):
        Boxes.from_dict({**make().to_dict(), "box_format": "xywh"})
    with pytest.raises(DataError, match="the dictionary of Boxes lacks 'boxes'; it holds type"):
        Boxes.from_dict({"type": "boxes"})


def test_coco_rows_by_hand() -> None:
    rows = make().to_coco(image_id=42, category_ids={"car": 3, "tree": 90})
    assert rows[0] == {
        "id": 1,
        "image_id": 42,
        "category_id": 90,
        "bbox": [1.0, 2.0, 10.0, 20.0],
        "area": 200.0,
        "iscrowd": 0,
        "score": pytest.approx(0.9),
    }
    assert (rows[1]["category_id"], rows[1]["iscrowd"]) == (3, 1)
    assert [row["category_id"] for row in make().to_coco()] == [3, 1]  # label + 1
    with pytest.raises(DataError, match="category_ids has no id for class 'tree'"):
        make().to_coco(category_ids={"car": 3})


def test_select_where_clip_and_names() -> None:
    value = make()
    assert value.names == ("tree", "car")
    assert value.select(torch.tensor([False, True])).names == ("car",)
    assert value.select(torch.tensor([1, 0])).scores.tolist() == pytest.approx([0.25, 0.9])  # type: ignore[union-attr]
    assert len(value.where("person")) == 0 and len(value.where("car")) == 1
    with pytest.raises(DataError, match="class 'bus' is not one of the 3 classes"):
        value.where("bus")
    wide = make(xyxy=torch.tensor([[-5.0, 1, 70, 50], [80, 0, 90, 9]])).clip()
    assert wide.xyxy.tolist() == [[0, 1, 64, 48], [64, 0, 64, 9]]
    assert value.area.tolist() == [200, 64 * 48]
    assert torch.equal(value.to("cpu").xyxy, value.xyxy)

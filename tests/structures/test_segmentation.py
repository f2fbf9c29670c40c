"""Semantic maps: shares, JSON, PNG, COCO and the door."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from visgen.errors import DataError
from visgen.structures import SemanticMap, rle_to_mask, value_from_dict

NAMES = ("sky", "road", "car")


def make() -> SemanticMap:
    ids = torch.tensor([[0, 0, 0, 255], [1, 1, 1, 1]])
    return SemanticMap(ids, NAMES, torch.full((2, 4), 0.5), name="streets")


def test_shares_by_hand() -> None:
    assert make().shares() == [(1, "road", 0.5), (0, "sky", 0.375)]
    assert SemanticMap(torch.full((2, 2), 255), NAMES).shares() == []
    assert make().size == (2, 4)


@given(
    arrays(np.int64, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.sampled_from([0, 1, 2, 255])),
    st.booleans(),
)
def test_json_is_exact_but_for_confidence(ids: np.ndarray, sure: bool) -> None:
    confidence = torch.rand(ids.shape, generator=torch.Generator().manual_seed(int(ids.sum()))) if sure else None
    value = SemanticMap(torch.from_numpy(ids), NAMES, confidence, "streets")
    back = value_from_dict(json.loads(json.dumps(value.to_dict())))
    assert torch.equal(back.ids, value.ids) and (back.classes, back.name) == (NAMES, "streets")
    if confidence is None:
        assert back.confidence is None
    else:
        assert float((back.confidence - confidence).abs().max()) <= 0.5 / 255 + 1e-6
    assert back.to_dict() == value_from_dict(back.to_dict()).to_dict()


def test_255_classes_fit_and_256_do_not() -> None:
    names = tuple(map(str, range(255)))
    value = SemanticMap(torch.tensor([[254, 255]]), names)
    assert value_from_dict(value.to_dict()).ids.tolist() == [[254, 255]]
    with pytest.raises(DataError, match="SemanticMap has 256 classes; it holds at most 255"):
        SemanticMap(torch.tensor([[0]]), (*names, "one more"))


def test_label_png_holds_ids_and_shows_colours() -> None:
    with Image.open(io.BytesIO(make().to_png())) as picture:
        assert picture.mode == "P"
        assert np.array(picture).tolist() == make().ids.tolist()
        shown = np.array(picture.convert("RGB"))
    assert shown[0, 0].tolist() == make().palette()[0].tolist()
    assert shown[0, 3].tolist() == [0, 0, 0]


def test_coco_regions_by_hand() -> None:
    sky, road = make().to_coco(image_id=5)
    assert (sky["category_id"], sky["bbox"], sky["area"], sky["score"]) == (1, [0, 0, 3, 1], 3.0, 0.5)
    assert road["bbox"] == [0, 1, 4, 1]
    assert torch.equal(rle_to_mask(road["segmentation"]), make().ids == 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"ids": torch.tensor([[0, 3]])},
            r"id 3 of SemanticMap is outside its 3 classes; ids must be 0\.\.K-1, or 255",
        ),
        ({"ids": torch.tensor([[0, -1]])}, "id -1 of SemanticMap is outside"),
        ({"ids": torch.tensor([[256, 255]])}, "id 256 of SemanticMap is outside"),
        (
            {"ids": torch.zeros(2, 2, dtype=torch.uint8)},
            "ids of SemanticMap has dtype torch.uint8; it must be torch.int64",
        ),
        ({"ids": torch.zeros(1, 2, 2).long()}, r"ids of SemanticMap has shape \(1, 2, 2\); it must be \(H, W\)"),
        ({"ids": torch.zeros(0, 2).long()}, "both sides must be at least 1"),
        ({"confidence": torch.full((2, 4), 7.0)}, r"confidence of SemanticMap is 7, outside \[0, 1\]"),
        ({"confidence": torch.ones(4, 2)}, r"confidence of SemanticMap has shape \(4, 2\); it must be \(2, 4\)"),
        ({"name": None}, "name of SemanticMap is None; it must be a string"),
    ],
)
def test_the_door(changes: dict[str, Any], message: str) -> None:
    fields: dict[str, Any] = {"ids": make().ids, "classes": NAMES, "confidence": None, "name": ""}
    with pytest.raises(DataError, match=message):
        SemanticMap(**{**fields, **changes})


def test_a_torn_png_is_named() -> None:
    data = make().to_dict()
    data["ids_png"] = data["ids_png"][:40]
    with pytest.raises(DataError, match="ids_png holds no readable PNG"):
        value_from_dict(data)
    data["ids_png"] = "no base64!"
    with pytest.raises(DataError, match="ids_png holds no base64 text"):
        value_from_dict(data)

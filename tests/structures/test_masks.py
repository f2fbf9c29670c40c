"""Masks and run lengths: by hand, against pycocotools, and back again."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from visgen.errors import DataError
from visgen.structures import Masks, mask_to_rle, rle_to_mask, value_from_dict

NAMES = ("cat", "dog")


def make() -> Masks:
    planes = torch.zeros(2, 4, 6, dtype=torch.bool)
    planes[0, 1:3, 2:5] = True
    return Masks(planes, torch.tensor([1, 0]), NAMES, torch.tensor([0.5, 0.75]))


def test_uncompressed_runs_by_hand() -> None:
    # COCO runs go down the columns and start with the zeros: 3 zeros, 2 ones, 1 zero
    assert rle_to_mask({"size": [2, 3], "counts": [3, 2, 1]}).tolist() == [[False, False, True], [False, True, False]]


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_run_lengths_come_back(values: np.ndarray) -> None:
    mask = torch.from_numpy(values)
    rle = json.loads(json.dumps(mask_to_rle(mask)))
    assert rle["size"] == list(values.shape)
    assert torch.equal(rle_to_mask(rle), mask)


@pytest.mark.parametrize(
    ("rle", "message"),
    [
        ({"size": [2, 3], "counts": [3, 2]}, "RLE runs sum to 5; they must fill 2 x 3 = 6 pixels"),
        ({"size": [2, 3], "counts": [-1, 7]}, "RLE runs sum to 6"),
        ({"size": [2, 3]}, "the dictionary of an RLE mask lacks 'counts'"),
        (
            {"size": [2, 3], "counts": mask_to_rle(torch.ones(9, 9, dtype=torch.bool))["counts"]},
            "do not decode to 2 x 3",
        ),
        (
            {"size": [9, 9], "counts": mask_to_rle(torch.ones(2, 3, dtype=torch.bool))["counts"]},
            "do not decode to 9 x 9 pixels: their runs sum to 6",
        ),
        ({"size": [9, 9], "counts": mask_to_rle(torch.ones(9, 9, dtype=torch.bool))["counts"][:-1]}, "were cut off"),
        ({"size": [2, 3], "counts": "06 "}, "hold the character ' '"),
    ],
)
def test_broken_runs_are_refused(rle: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        rle_to_mask(rle)


def test_boxes_and_areas_by_hand() -> None:
    value = make()
    assert value.area.tolist() == [6, 0]
    boxes = value.to_boxes()
    assert boxes.xyxy.tolist() == [[2, 1, 5, 3], [0, 0, 0, 0]]
    assert boxes.size == value.size == (4, 6)
    assert value.names == boxes.names == ("dog", "cat")


@given(st.integers(0, 3), st.booleans())
def test_json_restores_everything(count: int, scored: bool) -> None:
    generator = torch.Generator().manual_seed(count)
    value = Masks(
        torch.rand(count, 5, 7, generator=generator) > 0.5,
        torch.randint(0, 2, (count,), generator=generator),
        NAMES,
        torch.rand(count, generator=generator) if scored else None,
    )
    back = value_from_dict(json.loads(json.dumps(value.to_dict())))
    assert torch.equal(back.masks, value.masks) and torch.equal(back.labels, value.labels)
    assert back.size == (5, 7) and back.classes == NAMES
    assert (back.scores is None) if not scored else torch.equal(back.scores, value.scores)


def test_coco_rows_by_hand() -> None:
    row = make().to_coco(image_id=7)[0]
    assert (row["bbox"], row["area"], row["category_id"], row["score"]) == ([2, 1, 3, 2], 6.0, 2, 0.5)
    assert torch.equal(rle_to_mask(row["segmentation"]), make().masks[0])


def test_the_door() -> None:
    with pytest.raises(DataError, match=r"masks of Masks has dtype torch.uint8; it must be torch.bool"):
        Masks(torch.zeros(1, 2, 2, dtype=torch.uint8), torch.tensor([0]), NAMES)
    with pytest.raises(DataError, match=r"masks of Masks has shape \(2, 2\); it must be \(Q, H, W\)"):
        Masks(torch.zeros(2, 2, dtype=torch.bool), torch.tensor([0]), NAMES)
    with pytest.raises(DataError, match="label 2 of Masks is outside its 2 classes"):
        Masks(torch.zeros(1, 2, 2, dtype=torch.bool), torch.tensor([2]), NAMES)
    with pytest.raises(DataError, match=r"masks of Masks has shape \(0, 0, 4\); H and W must be at least 1"):
        Masks(torch.zeros(0, 0, 4, dtype=torch.bool), torch.zeros(0, dtype=torch.int64), NAMES)
    with pytest.raises(DataError, match=r"RLE mask 0 has size \(4, 6\); the image has \(8, 8\)"):
        Masks.from_rle(make().to_rle()[:1], torch.tensor([0]), NAMES, (8, 8))


def test_select_keeps_what_belongs_together() -> None:
    kept = make().select(torch.tensor([1]))
    assert kept.names == ("cat",) and kept.scores is not None and kept.scores.tolist() == [0.75]
    assert len(make().to("cpu")) == 2

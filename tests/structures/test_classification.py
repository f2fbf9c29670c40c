"""Class labels and class probabilities."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from visgen.errors import DataError
from visgen.structures import Classification, ClassLabel, value_from_dict

NAMES = ("cat", "dog", "tree")


def test_top_by_hand() -> None:
    value = Classification(torch.tensor([0.125, 0.625, 0.25]), NAMES)
    assert (value.label, value.label_id, value.score) == ("dog", 1, 0.625)
    assert value.top(2) == [("dog", 0.625), ("tree", 0.25)]
    assert len(value.top(9)) == 3
    with pytest.raises(DataError, match="k is 0; Classification.top needs at least 1"):
        value.top(0)


@given(st.lists(st.floats(0.0001, 1), min_size=1, max_size=30))
def test_json_restores_every_bit(weights: list[float]) -> None:
    shares = torch.tensor(weights)
    value = Classification(shares / shares.sum(), tuple(f"class {i}" for i in range(len(weights))))
    back = value_from_dict(json.loads(json.dumps(value.to_dict())))
    assert torch.equal(back.probabilities, value.probabilities) and back.classes == value.classes


def test_a_softmax_in_half_precision_is_let_in() -> None:
    logits = torch.linspace(-3, 3, 1000, dtype=torch.bfloat16)
    value = Classification(logits.softmax(0).float(), tuple(map(str, range(1000))))
    assert value.label_id in range(990, 1000)


@pytest.mark.parametrize(
    ("probabilities", "classes", "message"),
    [
        (torch.tensor([2.0, -1.0, 0.0]), NAMES, r"lie in \[-1, 2\] and sum to 1; .* apply softmax to logits"),
        (torch.tensor([0.5, 0.5, 0.5]), NAMES, "sum to 1.5"),
        (torch.tensor([0.5, 0.5, float("nan")]), NAMES, r"lie in \[nan, nan\]"),
        (torch.tensor([0.5, 0.5]), NAMES, r"has shape \(2,\); it must be \(3\)"),
        (torch.tensor([1.0]).double(), ("cat",), "dtype torch.float64; it must be torch.float32"),
        (torch.tensor([]), (), "classes of Classification is empty"),
    ],
)
def test_the_door_of_probabilities(probabilities: torch.Tensor, classes: tuple, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Classification(probabilities, classes)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (3, r"label 3 of ClassLabel is outside its 3 classes; labels must be 0\.\.K-1"),
        (-1, "label -1 of ClassLabel is outside"),
        (True, r"label of ClassLabel is a bool; it must be an int; use int\(label\)"),
        (torch.tensor(1), "label of ClassLabel is a Tensor"),
    ],
)
def test_the_door_of_labels(label: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ClassLabel(label, NAMES)


def test_label_comes_back() -> None:
    back = value_from_dict(json.loads(json.dumps(ClassLabel(2, NAMES).to_dict())))
    assert (back.label, back.name, back.classes) == (2, "tree", NAMES)
    assert back.to("cpu") is back

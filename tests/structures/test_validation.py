"""The checks at the door, on their own."""

from __future__ import annotations

import pytest
import torch

from visgen.errors import DataError
from visgen.structures.validation import (
    check_classes,
    check_probabilities,
    check_size,
    check_tensor,
    dict_entry,
    label_id,
)


def test_a_letter_stands_for_any_length() -> None:
    check_tensor("x", torch.zeros(0, 4), torch.float32, ("Q", 4))
    check_tensor("x", torch.zeros(9, 4), torch.float32, ("Q", 4))
    with pytest.raises(DataError, match=r"x has shape \(9, 5\); it must be \(Q, 4\)\."):
        check_tensor("x", torch.zeros(9, 5), torch.float32, ("Q", 4))
    with pytest.raises(DataError, match=r"x has shape \(4,\); it must be \(Q, 4\)\."):
        check_tensor("x", torch.zeros(4), torch.float32, ("Q", 4))


def test_rounding_of_a_softmax_passes_and_logits_do_not() -> None:
    check_probabilities("p", torch.tensor([1.000001, -0.000001]))
    with pytest.raises(DataError, match=r"p is 1.001, outside \[0, 1\]"):
        check_probabilities("p", torch.tensor([0.5, 1.001]))


def test_a_bool_is_no_side_and_a_class_list_no_tuple() -> None:
    check_size("X", (1, 2))
    for wrong in ((True, 2), (1, 2, 3), [1, 2], (1.0, 2), None):
        with pytest.raises(DataError, match=r"size of X is .*; it must be a tuple \(height, width\) of positive ints"):
            check_size("X", wrong)
    with pytest.raises(DataError, match="classes of X holds None"):
        check_classes("X", ("a", None))


def test_look_ups_name_what_is_there() -> None:
    assert label_id("b", ("a", "b")) == 1 and dict_entry("X", {"k": None}, "k") is None
    with pytest.raises(DataError, match="the dictionary of X lacks 'k'; it holds a, b"):
        dict_entry("X", {"a": 1, "b": 2}, "k")

"""Descriptors have length 1, places have names."""

from __future__ import annotations

import json

import pytest
import torch

from visgen import Result
from visgen.errors import DataError
from visgen.structures import Descriptor, PlaceLabel


def test_similarity_is_the_dot_product() -> None:
    a, b = Descriptor(torch.tensor([0.6, 0.8])), Descriptor(torch.tensor([1.0, 0.0]))
    assert a.similarity(b) == pytest.approx(0.6) == b.similarity(a)
    assert a.similarity(a) == pytest.approx(1)


def test_wrong_values_are_refused() -> None:
    with pytest.raises(DataError, match="has length 2; it must be 1"):
        Descriptor(torch.tensor([2.0, 0.0]))
    with pytest.raises(DataError, match="length 0"):
        Descriptor(torch.zeros(0))
    with pytest.raises(DataError, match="2 and 3 dimensions"):
        Descriptor(torch.tensor([1.0, 0.0])).similarity(Descriptor(torch.tensor([1.0, 0.0, 0.0])))
    with pytest.raises(DataError, match="place ''"):
        PlaceLabel("")


def test_a_result_speaks_of_it_only_when_it_was_asked() -> None:
    assert "retrieval" not in Result().to_dict()
    result = Result(retrieval=Descriptor(torch.tensor([0.6, 0.8])))
    stored = json.loads(result.to_json())
    assert stored["retrieval"]["vector"] == pytest.approx([0.6, 0.8])
    again = Result.from_dict(stored)
    assert torch.equal(again.retrieval.vector, result.retrieval.vector)
    assert [task for task, _, _ in again.answers()] == ["retrieval"]


def test_the_place_is_a_row_of_a_table() -> None:
    pytest.importorskip("pandas")
    table = Result(retrieval=PlaceLabel("square", "night")).to_pandas()
    assert table["label"].tolist() == ["square (night)"]

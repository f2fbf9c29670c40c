"""How far two typed answers lie apart, worked by hand."""

from __future__ import annotations

import pytest
import torch

from visgen.errors import ConfigError
from visgen.export.answers import answer_difference
from visgen.structures import Boxes, Classification, DepthMap, OODVerdict, SemanticMap

AB = ("a", "b")


def boxes(shift: float = 0.0, score: float = 0.75, label: int = 0, count: int = 2) -> Boxes:
    xyxy = torch.tensor([[1.0, 2, 11, 12], [5, 5, 9, 9]])[:count]
    scores = torch.tensor([score, 0.5])[:count]
    return Boxes(xyxy + shift, torch.tensor([label, 1])[:count], (20, 40), AB, scores=scores)


def semantic(*ids: int) -> SemanticMap:
    return SemanticMap(torch.tensor([ids]), AB)


@pytest.mark.parametrize(
    ("one", "other", "gap"),
    [
        (Classification(torch.tensor([0.75, 0.25]), AB), Classification(torch.tensor([0.5, 0.5]), AB), 0.25),
        (semantic(0, 1, 1, 0), semantic(0, 1, 1, 1), 0.25),
        (DepthMap(torch.tensor([[3.0, 1.0]])), DepthMap(torch.tensor([[3.0, 3.0]])), 0.5),
        (OODVerdict(4.0), OODVerdict(3.0), 0.25),
        (boxes(), boxes(score=0.625), 0.125),
        (boxes(shift=2.0), boxes(), 0.05),  # of 40 pixels
        (boxes(label=1), boxes(), 1.0),
        (boxes(count=1), boxes(), 1.0),
        (boxes(count=0), boxes(count=0), 0.0),
    ],
)
def test_by_hand(one: object, other: object, gap: float) -> None:
    assert answer_difference(one, other) == pytest.approx(gap)
    assert answer_difference(one, one) == 0


def test_only_answers_of_one_kind_are_compared() -> None:
    with pytest.raises(ConfigError, match="a OODVerdict cannot be compared with a SemanticMap"):
        answer_difference(OODVerdict(1.0), semantic(0))
    with pytest.raises(ConfigError, match="a int has no measure"):
        answer_difference(1, 2)

"""Average precision by the trapezoid rule: by hand, unchanged by junk, and no tie that helps."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from visgen.errors import ConfigError, DataError
from visgen.metrics import RetrievalMetric, mean_ap_trapezoid
from visgen.metrics.retrieval import average_precision
from visgen.structures import Descriptor, PlaceLabel


def at_ranks(ranks: list[int], total: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Similarities that fall with the position, and positives at these ranks."""
    positive = torch.zeros(total, dtype=torch.bool)
    positive[ranks] = True
    return torch.linspace(1, 0, total), positive


def test_values_by_hand() -> None:
    # at ranks 0 and 2 of 2: ((1 + 1) + (1/2 + 2/3)) / 4
    assert average_precision(*at_ranks([0, 2], 3)) == pytest.approx(0.79167, abs=1e-5)
    assert average_precision(*at_ranks([0, 1, 2], 5)) == 1.0
    # one positive at rank 1: (0 + 1/2) / 2
    assert average_precision(*at_ranks([1], 2)) == pytest.approx(0.25)
    assert average_precision(*at_ranks([], 2)) is None


def test_queries_without_positives_are_left_out_of_the_mean() -> None:
    similarity = torch.linspace(1, 0, 3).expand(2, 3)
    positive = torch.tensor([[True, False, True], [False, False, False]])
    assert mean_ap_trapezoid(similarity, positive) == pytest.approx(0.79167, abs=1e-5)
    with pytest.raises(DataError, match="none of 1 queries"):
        mean_ap_trapezoid(similarity[:1], positive[1:])


@given(st.integers(0, 10**6))
def test_junk_anywhere_changes_nothing(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    similarity = torch.rand(8, generator=generator)
    positive = torch.rand(8, generator=generator) < 0.4
    more = torch.cat([similarity, torch.rand(5, generator=generator) * 2 - 0.5])
    junk = torch.cat([torch.zeros(8, dtype=torch.bool), torch.ones(5, dtype=torch.bool)])
    marked = torch.cat([positive, torch.rand(5, generator=generator) < 0.5])
    assert average_precision(more, marked, junk) == average_precision(similarity, positive)


def test_a_tie_never_helps() -> None:
    same, positive = torch.ones(4), torch.tensor([True, False, False, False])
    assert average_precision(same, positive) == average_precision(*at_ranks([3], 4))


def test_it_stays_close_to_the_area_under_the_curve_of_another_library() -> None:
    """sklearn's average precision is the rectangle rule: for many positives both tend to the same area."""
    ranking = pytest.importorskip("sklearn.metrics").average_precision_score
    generator = torch.Generator().manual_seed(0)
    positive = torch.rand(3000, generator=generator) < 0.3
    similarity = torch.rand(3000, generator=generator) + 0.4 * positive
    assert average_precision(similarity, positive) == pytest.approx(ranking(positive, similarity), abs=2e-3)


def toward(*values: float) -> Descriptor:
    return Descriptor(F.normalize(torch.tensor(values, dtype=torch.float32), dim=0))


def test_night_asks_and_day_answers() -> None:
    targets = [
        PlaceLabel("square", "day"),
        PlaceLabel("bridge", "day"),
        PlaceLabel("square", "night"),
        PlaceLabel("bridge", "night"),
        PlaceLabel("square", "day", is_junk=True),
    ]
    vectors = [toward(1, 0), toward(0, 1), toward(1, 0.2), toward(1, 0.3), toward(1, 0.25)]
    metric = RetrievalMetric("night", "day")
    metric.update(vectors, targets)
    # the night of the square finds its day first; the night of the bridge finds it second; the junk plays no part
    assert metric.average_precisions() == [None, None, 1.0, 0.25, None]
    assert metric.compute() == {"mAP": 0.625, "R@1": 0.5}
    everything = RetrievalMetric()
    everything.update(vectors, targets)
    assert everything.compute()["mAP"] != 0.625


def test_what_cannot_be_ranked_is_an_error() -> None:
    metric = RetrievalMetric()
    metric.update([toward(1, 0), toward(0, 1)], [PlaceLabel("a"), PlaceLabel("b")])
    with pytest.raises(DataError, match="no query .* among 2 pictures"):
        metric.compute()
    wrong = RetrievalMetric("dusk")
    wrong.update([toward(1, 0)], [PlaceLabel("a", "day")])
    with pytest.raises(ConfigError, match="no picture is of time 'dusk'; the times are day"):
        wrong.compute()
    with pytest.raises(DataError, match="retrieval got a PlaceLabel for a PlaceLabel"):
        metric.update([PlaceLabel("a")], [PlaceLabel("a")])  # type: ignore[list-item]
    with pytest.raises(DataError, match="NaN"):
        average_precision(torch.tensor([float("nan")]), torch.tensor([True]))

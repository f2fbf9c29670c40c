"""Intervals as a picture: colours by side, marks in their place."""

from __future__ import annotations

import numpy as np
import pytest

from visgen.errors import DataError
from visgen.structures.interval_drawing import BETTER, OPEN, WORSE, Interval, draw_intervals


def test_colours_tell_the_side_of_zero() -> None:
    assert Interval("a", 0.2, 0.1, 0.3).colour == BETTER
    assert Interval("a", -0.2, -0.3, -0.1).colour == WORSE
    assert Interval("a", 0.0, -0.1, 0.1).colour == OPEN


def test_marks_stand_where_their_values_are() -> None:
    rows = [Interval("good", 0.2, 0.1, 0.3), Interval("bad", -0.2, -0.3, -0.1)]
    picture = np.asarray(draw_intervals(rows, "title", "gain"))
    assert picture.shape[1] == 820
    columns = {c: np.argwhere((picture == c).all(-1))[:, 1] for c in (BETTER, WORSE)}
    assert columns[WORSE].max() < columns[BETTER].min()
    # symmetric values stand symmetric around the line at 0
    middle = (columns[WORSE].min() + columns[BETTER].max()) / 2
    assert abs((columns[WORSE].max() + columns[BETTER].min()) / 2 - middle) < 3
    rows_of = {c: np.argwhere((picture == c).all(-1))[:, 0].mean() for c in (BETTER, WORSE)}
    assert rows_of[BETTER] < rows_of[WORSE]  # in the order given


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(DataError, match="0 rows"):
        draw_intervals([], "t", "a")
    with pytest.raises(DataError, match="row 'x' has 1 to 0"):
        draw_intervals([Interval("x", 0.5, 1, 0)], "t", "a")

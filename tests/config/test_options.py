"""Options of everything that configs name: kinds are checked, lists and whole numbers are brought to their kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from visgen.errors import ConfigError
from visgen.options import build_options, call_with


@dataclass(frozen=True)
class Shape:
    width: int = 8
    ratio: float = 4.0
    grid: tuple[int, int] = (2, 2)
    name: str | None = None


def make(path: str, width: int, *, share: float = 0.5, where: str = "", pick: Callable[[int], bool] | None = None):
    return path, width, share, where, pick


def sized(size: int | Sequence[int], names: Sequence[str] = ()):
    return size, names


def test_values_come_in_the_kind_of_their_field() -> None:
    shape = build_options(Shape, {"width": np.int64(3), "ratio": 2, "grid": [1, 5]}, "shape")
    assert shape == Shape(3, 2.0, (1, 5)) and type(shape.width) is int and type(shape.ratio) is float
    assert call_with(make, {"width": 2, "where": Path("a/b")}, "made", "p") == ("p", 2, 0.5, "a/b", None)
    assert call_with(make, {"pick": bool}, "made", "p", width=1)[4] is bool  # what no plain data could be goes through


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widht": 3}, r"shape has no option 'widht'; did you mean 'width'\? Options: width, ratio, grid, name"),
        ({"width": 2.0}, "shape: width is 2.0 .a number.; it must be a whole number"),
        ({"width": True}, "shape: width is True .true or false.; it must be a whole number"),
        ({"ratio": "wide"}, "shape: ratio is 'wide' .text.; it must be a number"),
        ({"grid": [3]}, "shape: grid has 1 values; it must have 2"),
        ({"name": 5}, "shape: name is 5 .a whole number.; it must be text"),
    ],
)
def test_options_of_another_kind_are_refused_by_name(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_options(Shape, options, "shape")
    with pytest.raises(ConfigError, match=message):
        call_with(Shape, options, "shape")


def test_a_sequence_is_a_list_of_its_kind() -> None:
    assert call_with(sized, {"size": [4, 5], "names": ["a"]}, "sized") == ([4, 5], ["a"])
    assert call_with(sized, {"size": 4}, "sized") == (4, ())
    assert call_with(sized, {"size": 4, "names": "cat"}, "sized") == (4, "cat")  # some take one by its plain name
    with pytest.raises(ConfigError, match="sized: names is 5 .a whole number.; it must be a list"):
        call_with(sized, {"size": 4, "names": 5}, "sized")
    with pytest.raises(ConfigError, match="sized: names is None .NoneType.; it must be a list"):
        call_with(sized, {"size": 4, "names": None}, "sized")
    with pytest.raises(ConfigError, match="sized: size is 4.5"):
        call_with(sized, {"size": 4.5}, "sized")
    with pytest.raises(ConfigError, match="sized: size is "):
        call_with(sized, {"size": [4, "b"]}, "sized")


def test_a_call_lacks_nothing_and_repeats_nothing() -> None:
    with pytest.raises(ConfigError, match="made lacks width; give it a value"):
        call_with(make, {}, "made", "p")
    with pytest.raises(ConfigError, match="made was given 'width', which the run settles itself"):
        call_with(make, {"width": 2}, "made", "p", width=1)
    with pytest.raises(ConfigError, match="made has no option 'path'"):  # it was passed by position
        call_with(make, {"path": "q", "width": 2}, "made", "p")


def test_functions_that_take_anything_check_what_they_name() -> None:
    def open_any(*, count: int = 1, names: Sequence[str] = (), **rest: object) -> dict:
        return {"count": count, "names": names, **rest}

    found = call_with(open_any, {"count": 3, "names": ["a"], "other": 5}, "any")
    assert found == {"count": 3, "names": ["a"], "other": 5}
    with pytest.raises(ConfigError, match="any: count is 'x'"):
        call_with(open_any, {"count": "x"}, "any")

"""The overview sheet: every panel whole, none over another."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from visgen.structures.canvas import INK
from visgen.structures.sheet import overview_sheet


@given(st.lists(st.tuples(st.integers(20, 300), st.integers(20, 400)), max_size=7))
@settings(max_examples=12)
def test_every_panel_is_whole(sizes: list[tuple[int, int]]) -> None:
    panels = [(f"Panel {i}", Image.new("RGB", size, (200 - i, i, 90))) for i, size in enumerate(sizes)]
    sheet = np.asarray(overview_sheet("photo.jpg", "3 x 4 pixels", panels))
    for index, (width, height) in enumerate(sizes):
        own = (sheet == (200 - index, index, 90)).all(axis=-1)
        assert int(own.sum()) == width * height


def test_two_lines_alone_and_long_titles_stay_on_the_sheet() -> None:
    empty = np.asarray(overview_sheet("photo.jpg", "error: torn", []))
    assert (empty == INK).all(axis=-1).any()
    long = overview_sheet("a" * 500, "b" * 500, [("c" * 500, Image.new("RGB", (300, 200)))])
    assert long.width < 400
    assert not (np.asarray(long)[:, -20:] != np.asarray(long)[0, 0]).any()

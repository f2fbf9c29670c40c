"""The overview sheet: every panel whole, none over another."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from visgen.structures.canvas import INK
from visgen.structures.sheet import MARGIN, Panel, overview_sheet


def plain(width: int, height: int, shade: int = 0, below: bool = False) -> Panel:
    return Panel(f"Panel {shade}", Image.new("RGB", (width, height), (200 - shade, shade, 90)), below)


def place(sheet: Image.Image, shade: int) -> tuple[int, int]:
    """The (left, top) of the panel of this shade."""
    rows, columns = (np.asarray(sheet) == (200 - shade, shade, 90)).all(axis=-1).nonzero()
    return int(columns.min()), int(rows.min())


@given(st.lists(st.tuples(st.integers(20, 300), st.integers(20, 400), st.booleans()), max_size=7), st.booleans())
@settings(max_examples=24)
def test_every_panel_is_whole(sizes: list[tuple[int, int, bool]], narrow: bool) -> None:
    panels = [plain(width, height, i, below) for i, (width, height, below) in enumerate(sizes)]
    sheet = np.asarray(overview_sheet("photo.jpg", "3 x 4 pixels", panels, 120 if narrow else None))
    for index, (width, height, _) in enumerate(sizes):
        own = (sheet == (200 - index, index, 90)).all(axis=-1)
        assert int(own.sum()) == width * height


def test_two_lines_alone_and_long_titles_stay_on_the_sheet() -> None:
    empty = np.asarray(overview_sheet("photo.jpg", "error: torn", []))
    assert (empty == INK).all(axis=-1).any()
    long = overview_sheet("a" * 500, "b" * 500, [Panel("c" * 500, Image.new("RGB", (300, 200)))])
    assert long.width < 400
    assert not (np.asarray(long)[:, -20:] != np.asarray(long)[0, 0]).any()


def test_low_panels_stay_below_the_panel_before_them() -> None:
    sheet = overview_sheet("a", "b", [plain(300, 200, 0), plain(300, 60, 1, True), plain(300, 200, 2)])
    photo, bars, third = (place(sheet, i) for i in range(3))
    assert bars[0] == photo[0] and 200 < bars[1] - photo[1] < 300
    assert third == (photo[0] + 300 + MARGIN, photo[1])


def test_a_wide_panel_takes_the_columns_it_needs() -> None:
    panels = [plain(300, 200, i) for i in range(4)] + [plain(2 * 300 + MARGIN, 200, 4)]
    sheet = overview_sheet("a", "b", panels, column=300)
    assert sheet.width == MARGIN + 3 * (300 + MARGIN)
    assert place(sheet, 3)[1] == place(sheet, 4)[1] and place(sheet, 4)[0] == place(sheet, 1)[0]


def test_panels_of_one_row_start_level_though_the_ones_above_differ() -> None:
    tall = [240, 200, 230]
    panels = [plain(300, height, i) for i, height in enumerate(tall)] + [plain(300, 200, 3 + i) for i in range(3)]
    tops = {place(overview_sheet("a", "b", panels), i)[1] for i in range(3, 6)}
    assert len(tops) == 1

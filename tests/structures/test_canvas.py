"""The drawing tools: text that fits, labels that do not overlap, legends of any width."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from visgen.errors import DataError
from visgen.structures.canvas import (
    INK,
    PAPER,
    LegendEntry,
    beside,
    blend,
    edges,
    fit_text,
    font_of,
    nice_ticks,
    open_canvas,
    panel_bars,
    panel_legend,
    panel_scale,
    percent,
    place_label,
    text_width,
    wrap_text,
)


@given(st.text(max_size=60), st.integers(0, 300), st.sampled_from([14, 28]))
def test_text_never_runs_over(text: str, width: int, size: int) -> None:
    shown = fit_text(text, size, width)
    assert text_width(shown, size) <= width or shown == ""
    assert shown == " ".join(text.split()) or shown == "" or shown.endswith("...")


def test_letters_with_accents_are_drawn_by_their_own() -> None:
    assert bytes(font_of(20).getmask("Crème brûlée ß")) == bytes(font_of(20).getmask("Creme brulee ss"))
    assert text_width("Crème", 20) == text_width("Creme", 20)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((20, 400), (40, 800)),
        ((400, 20), (800, 40)),
        ((33, 33), (528, 528)),
        ((1, 1), (512, 512)),
        ((1080, 1920), None),
    ],
)
def test_display_sizes(size: tuple[int, int], shown: tuple[int, int] | None) -> None:
    canvas = open_canvas(None, size)
    assert canvas.picture.shape[:2] == (shown or size)
    assert 14 <= canvas.text <= 28 and canvas.width >= 22 * canvas.text
    assert max(open_canvas(None, size, 640).picture.shape) <= 640
    assert max(open_canvas(None, (20, 9000)).picture.shape) == 2048


def test_enlarging_takes_the_value_under_the_centre() -> None:
    canvas = open_canvas(None, (2, 2))
    ids = np.array([[1, 2], [3, 4]])
    assert np.array_equal(canvas.enlarge(ids), np.kron(ids, np.ones((256, 256), dtype=int)))


def test_a_photograph_of_another_size_is_refused() -> None:
    with pytest.raises(DataError, match=r"the image has 4 x 6 pixels \(height x width\) and the value 6 x 4"):
        open_canvas(torch.zeros(3, 4, 6), (6, 4))
    with pytest.raises(DataError, match="neither an image nor a size is given"):
        open_canvas(None, None)


def test_edges_by_hand() -> None:
    ids = np.array([[0, 0, 1], [0, 0, 1], [2, 2, 2]])
    assert edges(ids, 1).astype(int).tolist() == [[0, 0, 1], [0, 0, 1], [1, 1, 1]]
    assert not edges(np.zeros((3, 3)), 2).any()


def test_blend_by_hand() -> None:
    picture = np.full((1, 2, 3), 100, dtype=np.uint8)
    mixed = blend(picture, np.full((1, 2, 3), 200), np.array([[True, False]]), 0.25)
    assert mixed[0, :, 0].tolist() == [125, 100]


@given(
    st.lists(st.tuples(st.floats(-50, 600), st.floats(-50, 300), st.floats(0, 300)), max_size=12),
    st.integers(20, 500),
    st.integers(10, 250),
)
def test_labels_never_overlap_and_stay_inside(boxes: list, width: int, height: int) -> None:
    picture = Image.new("RGB", (width, height))
    taken: list = []
    for x, y, side in boxes:
        place_label(picture, (x, y, x + side, y + side), "traffic light 0.87", (240, 228, 66), 14, taken)
    for index, a in enumerate(taken):
        assert 0 <= a[0] < a[2] <= width and 0 <= a[1] < a[3] <= height
        assert all(a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1] for b in taken[:index])


@pytest.mark.parametrize("width", [308, 512, 1920])
@pytest.mark.parametrize("count", [0, 1, 7, 48, 255])
def test_legends_hold_their_entries_at_any_width(width: int, count: int) -> None:
    colours = [(i, 255 - i, 7) for i in range(count)]
    entries = [LegendEntry(c, f"class {i} " + "long name " * (i % 5), "12 %") for i, c in enumerate(colours)]
    picture = np.asarray(panel_legend(entries, width, 14))
    assert picture.shape[1] == width
    packed = picture.astype(np.int64) @ np.array([65536, 256, 1])
    held = np.isin([r * 65536 + g * 256 + b for r, g, b in colours], packed).tolist()
    assert held == [i < 48 for i in range(count)]
    assert np.array_equal(picture[:, -1], np.broadcast_to(PAPER, (picture.shape[0], 3)))  # nothing runs over the edge


def test_bars_are_as_long_as_their_shares() -> None:
    colour = (0, 114, 178)
    picture = np.asarray(panel_bars([("all", 1.0), ("half", 0.5), ("none", 0.0)], 400, 14, colour))
    filled = (picture == colour).all(axis=-1).sum(axis=1)
    lengths = sorted({int(n) for n in filled})
    assert lengths[0] == 0 and len(lengths) == 3
    assert lengths[1] == pytest.approx(lengths[2] / 2, abs=2)


def test_scale_puts_ticks_and_mark_in_place_and_drops_crowded_ticks() -> None:
    colours = np.linspace((0, 0, 0), (200, 200, 200), 50).astype(np.uint8)
    alone = np.asarray(panel_scale(colours, [(0.5, "5 m")], 0.25, ["median"], 400, 14))
    crowd = np.asarray(panel_scale(colours, [(0.5, "5 m"), (0.51, "6 m")], 0.25, ["median"], 400, 14))
    assert np.array_equal(alone, crowd)
    marked = np.flatnonzero((alone[5] == INK).all(axis=-1))
    assert marked.mean() == pytest.approx(14 + 0.25 * 371, abs=1)


@pytest.mark.parametrize(
    ("low", "high", "log", "ticks"),
    [
        (0.8, 3.4, False, [1, 1.5, 2, 2.5, 3]),
        (5.1, 62, True, [10, 20, 50]),
        (5.2, 34, True, [7, 10, 15, 20, 30]),
        (1.9, 2.1, False, [1.9, 1.95, 2, 2.05, 2.1]),
        (0.1, 100, True, [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, log: bool, ticks: list[float]) -> None:
    assert nice_ticks(low, high, log) == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("share", "text"), [(0.1234, "12 %"), (0.0342, "3.4 %"), (0.0004, "< 0.1 %"), (0.0, "0.0 %"), (1.0, "100 %")]
)
def test_shares_are_written_for_people(share: float, text: str) -> None:
    assert percent(share) == text


@given(st.text(max_size=120), st.integers(40, 300))
def test_wrapped_lines_fit_and_keep_short_words(text: str, width: int) -> None:
    lines = wrap_text(text, 14, width)
    assert all(text_width(line, 14) <= width for line in lines)
    if all(text_width(word, 14) <= width for word in text.split()):
        assert " ".join(lines).split() == text.split()


def test_pictures_stand_beside_one_another() -> None:
    whole = np.asarray(beside((Image.new("RGB", (5, 3)), Image.new("RGB", (2, 7))), 4))
    assert whole.shape == (7, 11, 3)
    assert not whole[:3, :5].any() and not whole[:, 9:].any()
    assert (whole[:, 5:9] == PAPER).all() and (whole[3:, :5] == PAPER).all()

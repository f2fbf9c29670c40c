"""A picture on a canvas and back."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from visgen.diffusion.codec import Letterbox
from visgen.errors import DataError

SIZES = st.tuples(st.integers(1, 96), st.integers(1, 96))


def test_places_by_hand() -> None:
    box = Letterbox.fit((100, 200), (64, 64))
    assert box.inside == (32, 64) and box.scale == (0.32, 0.32)
    assert int(box.region().sum()) == 32 * 64 and bool(box.region()[31, 63]) and not bool(box.region()[32, 0])
    assert box.place_boxes(torch.tensor([[50.0, 25.0, 200.0, 100.0]])).tolist() == [[16.0, 8.0, 64.0, 32.0]]


@given(SIZES)
def test_the_own_size_changes_nothing(size: tuple[int, int]) -> None:
    box = Letterbox.fit(size, size)
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(size[0]))
    assert torch.equal(box.place_image(image), image) and torch.equal(box.place_map(image), image)
    assert torch.equal(box.undo(image), image) and bool(box.region().all())


@given(SIZES, SIZES)
def test_proportions_stay_and_the_canvas_is_filled_one_way(source: tuple[int, int], canvas: tuple[int, int]) -> None:
    box = Letterbox.fit(source, canvas)
    assert box.inside[0] <= canvas[0] and box.inside[1] <= canvas[1]
    assert box.inside[0] == canvas[0] or box.inside[1] == canvas[1]
    exact = min(canvas[0] / source[0], canvas[1] / source[1])
    assert all(abs(got - side * exact) <= 1 for got, side in zip(box.inside, source, strict=True))


@given(SIZES, SIZES)
def test_boxes_and_flat_maps_come_back(source: tuple[int, int], canvas: tuple[int, int]) -> None:
    box = Letterbox.fit(source, canvas)
    corners = torch.tensor([[0.0, 0.0, source[1], source[0]], [source[1] / 4, source[0] / 4, source[1] / 2, source[0]]])
    torch.testing.assert_close(box.undo_boxes(box.place_boxes(corners)), corners, rtol=1e-5, atol=1e-4)
    flat = torch.full((1, *source), 0.25)
    torch.testing.assert_close(box.undo(box.place_map(flat, fill=9.0)), flat, rtol=1e-5, atol=1e-5)


def test_padding_has_its_value_and_labels_stay_labels() -> None:
    box = Letterbox.fit((10, 20), (16, 16))
    ids = torch.arange(200).reshape(1, 10, 20) % 7
    placed = box.place_map(ids, fill=255)
    assert placed.dtype == torch.int64 and set(placed.unique().tolist()) <= {*range(7), 255}
    assert bool((placed[0][~box.region()] == 255).all())


@pytest.mark.parametrize("size", [(0, 5), (5, -1), (5,)])
def test_a_size_that_is_none_is_refused(size: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"must be \(height, width\), positive integers"):
        Letterbox.fit(size, (8, 8))  # type: ignore[arg-type]


def test_a_map_of_another_size_is_refused() -> None:
    with pytest.raises(DataError, match=r"shape \(1, 4, 4\); this letterbox takes \(C, 8, 8\)"):
        Letterbox.fit((8, 8), (4, 4)).place_map(torch.zeros(1, 4, 4))

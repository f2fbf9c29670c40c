"""Layouts: where tiles land, to the cell, and what a swap leaves alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from visgen.errors import DataError
from visgen.gan.compositional import GraphBatch, box_cover, collage, paste_tiles, swap_tiles


def graph(boxes: list[list[float]], grid: tuple[int, int] = (6, 9), image: list[int] | None = None) -> GraphBatch:
    n = len(boxes)
    numbers = torch.tensor(image or [0] * n, dtype=torch.int64)
    count = int(numbers.max()) + 1 if n else 1
    nothing = torch.zeros(0, dtype=torch.int64)
    cells = torch.tensor([list(grid)] * count)
    return GraphBatch(
        torch.tensor(boxes).reshape(-1, 4), torch.zeros(n, dtype=torch.int64), numbers, nothing.reshape(0, 2), nothing,
        cells, grid, tuple(str(i) for i in range(count)),
    )  # fmt: skip


def test_a_constant_tile_in_the_whole_map_is_constant() -> None:
    drawn = paste_tiles(torch.full((1, 2, 7, 7), 3.0), graph([[0, 0, 9, 6]]))
    assert torch.allclose(drawn, torch.full((1, 2, 6, 9), 3.0))


def test_half_a_box_fills_exactly_half() -> None:
    drawn = paste_tiles(torch.ones(1, 1, 7, 7), graph([[0, 0, 4, 6]], (6, 8)))
    assert torch.equal(drawn[0, 0, :, :4], torch.ones(6, 4)) and not drawn[0, 0, :, 4:].any()


def test_a_tile_of_the_size_of_its_box_comes_back() -> None:
    tile = torch.randn(1, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    drawn = paste_tiles(tile, graph([[2, 1, 7, 5]]))
    assert torch.allclose(drawn[0, :, 1:5, 2:7], tile[0], atol=1e-5)
    assert float(drawn.abs().sum()) == pytest.approx(float(tile.abs().sum()), rel=1e-5)


@pytest.mark.parametrize("box", [[3, 2, 3, 4], [3.2, 2.9, 3.3, 3.0], [9, 6, 12, 9], [-4, -4, -1, -1], [8.9, 0, 9, 6]])
def test_a_thin_or_outer_box_covers_a_cell_and_stays_finite(box: list[float]) -> None:
    made = graph([box])
    assert int(box_cover(made).sum()) >= 1
    drawn = paste_tiles(torch.ones(1, 1, 7, 7), made)
    assert bool(drawn.isfinite().all()) and float(drawn.max()) == pytest.approx(1.0)


def test_two_tiles_are_the_sum_of_each_and_pictures_stay_apart() -> None:
    tiles = torch.randn(3, 2, 7, 7, generator=torch.Generator().manual_seed(1))
    boxes = [[0.0, 0, 5, 5], [2.5, 1, 9, 6], [1, 1, 4, 4]]
    both = paste_tiles(tiles, graph(boxes, image=[0, 0, 1]))
    parts = [paste_tiles(tiles[i : i + 1], graph([boxes[i]])) for i in range(3)]
    assert torch.allclose(both[0], (parts[0] + parts[1])[0], atol=1e-6)
    assert torch.allclose(both[1], parts[2][0], atol=1e-6)


@given(st.lists(st.floats(0, 9), min_size=4, max_size=4))
def test_a_cell_is_covered_where_its_centre_is(sides: list[float]) -> None:
    x1, x2 = sorted(sides[:2])
    y1, y2 = sorted(sides[2:])
    if x2 - x1 < 1 or y2 - y1 < 1:
        return
    cover = box_cover(graph([[x1, y1, x2, y2]], (9, 9)))[0]
    box = torch.tensor([x1, y1, x2, y2])  # as float32, in which cells are compared
    for row in range(9):
        for column in range(9):
            inside = box[0] <= column + 0.5 < box[2] and box[1] <= row + 0.5 < box[3]
            assert bool(cover[row, column]) == bool(inside)


def test_a_swap_changes_its_box_and_spares_what_is_smaller() -> None:
    maps = torch.randn(1, 2, 6, 9, generator=torch.Generator().manual_seed(2))
    made = graph([[0.0, 0, 6, 6], [1, 1, 3, 3], [7, 0, 9, 2]])
    tiles = torch.full((3, 2, 7, 7), 5.0)
    swapped = swap_tiles(maps, made, tiles, torch.tensor([True, False, False]))
    inside = torch.zeros(6, 9, dtype=torch.bool)
    inside[:, :6] = True
    inside[1:3, 1:3] = False  # a smaller box that stays
    assert torch.allclose(swapped[:, :, inside], torch.tensor(5.0))
    assert torch.equal(swapped[:, :, ~inside], maps[:, :, ~inside])
    nothing = swap_tiles(maps, made, tiles, torch.zeros(3, dtype=torch.bool))
    assert torch.equal(nothing, maps)


def test_swapped_boxes_that_overlap_are_averaged() -> None:
    made = graph([[0.0, 0, 4, 6], [2, 0, 6, 6]])
    tiles = torch.stack([torch.full((1, 7, 7), 2.0), torch.full((1, 7, 7), 4.0)])
    swapped = swap_tiles(torch.zeros(1, 1, 6, 9), made, tiles, torch.tensor([True, True]))
    assert torch.allclose(swapped[0, 0, 0], torch.tensor([2.0, 2, 3, 3, 4, 4, 0, 0, 0]))


def test_lengths_that_do_not_fit_are_named() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    with pytest.raises(DataError, match="1 boxes, 0 labels"):
        GraphBatch(torch.zeros(1, 4), nothing, nothing, nothing.reshape(0, 2), nothing, torch.zeros(0, 2), (3, 3), ())


def test_in_a_collage_the_smaller_box_lies_on_top() -> None:
    tiles = torch.stack([torch.full((1, 7, 7), v) for v in (1.0, 2.0, 3.0)])
    made = graph([[0.0, 0, 6, 6], [1, 1, 3, 3], [4, 0, 9, 6]], image=[0, 0, 0])
    found = collage(tiles, made)[0, 0].round(decimals=4)
    assert found[1].tolist() == [1, 2, 2, 1, 3, 3, 3, 3, 3]  # of the two large boxes the smaller one covers the other
    assert found[5].tolist() == [1, 1, 1, 1, 3, 3, 3, 3, 3]
    apart = collage(tiles, graph([[0.0, 0, 6, 6], [1, 1, 3, 3], [1, 1, 3, 3]], image=[0, 0, 1])).round(decimals=4)
    assert apart[0, 0, 1, 1] == 2 and apart[1, 0, 1, 1] == 3 and not apart[1, 0, 4].any()

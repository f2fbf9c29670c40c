"""Drawing: what is present gets its colour, what is not stays the photograph, and no size breaks it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from visgen.errors import DataError
from visgen.structures import (
    Boxes,
    Classification,
    ClassLabel,
    DepthMap,
    Masks,
    SemanticMap,
    class_palette,
    depth_colours,
    drawing,
)
from visgen.structures.canvas import open_canvas

NAMES = ("sky", "building", "pole", "road", "a class with a very long name that will not fit anywhere at all")
SIZES = [(20, 400), (400, 20), (33, 33), (1, 1), (64, 48), (1080, 1920)]


def photograph(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(1).integers(90, 130, (*size, 3), dtype=np.uint8)


def colours_in(picture: Any) -> set[tuple[int, int, int]]:
    packed = np.unique(np.asarray(picture).astype(np.int64) @ np.array([65536, 256, 1]))
    return {(c // 65536, c // 256 % 256, c % 256) for c in packed.tolist()}


def colour(index: int) -> tuple[int, int, int]:
    return tuple(class_palette(len(NAMES))[index].tolist())


def values(size: tuple[int, int]) -> dict[str, Any]:
    height, width = size
    ids = torch.arange(height * width).reshape(size) * len(NAMES) // (height * width)
    corners = torch.tensor([[0, 0, width, height], [width * 0.3, height * 0.3, width * 0.5, height * 0.6]])
    masks = torch.stack([ids == 0, ids == 4])
    return {
        "semantic": SemanticMap(ids, NAMES),
        "boxes": Boxes(corners, torch.tensor([0, 4]), size, NAMES, torch.tensor([0.5, 0.9])),
        "masks": Masks(masks, torch.tensor([0, 4]), NAMES),
        "depth": DepthMap(torch.linspace(1, 60, height * width).reshape(size)),
        "classes": Classification(torch.full((5,), 0.2), NAMES),
        "label": ClassLabel(4, NAMES),
    }


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", list(values((2, 2))))
def test_every_size_is_drawn_with_the_photograph_on_top_and_a_panel_below(size: tuple[int, int], kind: str) -> None:
    picture = values(size)[kind].draw(photograph(size))
    canvas = open_canvas(photograph(size), size)
    assert isinstance(picture, Image.Image) and picture.mode == "RGB"
    assert picture.width == canvas.width and picture.height > canvas.picture.shape[0]


def test_present_classes_are_listed_and_absent_ones_are_not() -> None:
    ids = torch.zeros(40, 60, dtype=torch.int64)
    ids[:, 30:] = 3
    picture = np.asarray(SemanticMap(ids, NAMES).draw(photograph((40, 60))))
    legend = colours_in(picture[open_canvas(None, (40, 60)).picture.shape[0] :])
    assert {colour(0), colour(3)} <= legend
    assert not {colour(1), colour(2), colour(4)} & legend


def test_unlabelled_pixels_show_the_photograph_untouched() -> None:
    photo = photograph((40, 60))
    ids = torch.full((40, 60), 255)
    canvas = open_canvas(photo, (40, 60))
    height, width = canvas.picture.shape[:2]
    drawn = np.asarray(SemanticMap(ids, NAMES).draw(photo))[:height, :width]
    assert np.array_equal(drawn, canvas.picture)
    ids[:20] = 1
    half = np.asarray(SemanticMap(ids, NAMES).draw(photo))[:height, :width]
    below = height // 2 + canvas.line
    assert np.array_equal(half[below:], canvas.picture[below:])
    assert (np.abs(half[: height // 2].astype(int) - canvas.picture[: height // 2]).max(axis=-1) > 20).all()


def test_overlaid_classes_lean_to_their_palette_colour() -> None:
    ids = torch.zeros(40, 60, dtype=torch.int64)
    ids[:, 30:] = 3
    drawn = np.asarray(SemanticMap(ids, NAMES).draw(photograph((40, 60))))[:300].astype(float)
    palette = class_palette(5).astype(float)
    for columns, label in ((slice(0, 200), 0), (slice(320, 500), 3)):
        mean = drawn[:, columns].reshape(-1, 3).mean(axis=0)
        mean -= mean.mean()  # hue and strength, without the grey of the photograph
        tints = palette - palette.mean(axis=1, keepdims=True)
        assert int(np.argmin(((tints * 0.6 - mean) ** 2).sum(axis=1))) == label


def test_borders_are_drawn_unless_the_map_is_noise() -> None:
    grey = np.full((64, 64, 3), 120, dtype=np.uint8)
    ids = torch.zeros(64, 64, dtype=torch.int64)
    ids[:, 32:] = 1
    drawn = np.asarray(SemanticMap(ids, NAMES).draw(grey))[:512, :512]
    assert len(colours_in(drawn)) == 4  # two classes, and each below the line between them
    line = (drawn[100].max(axis=-1) < 100).nonzero()[0]
    assert line.min() >= 254 and line.max() <= 257 and 1 <= len(line) <= 3
    noise = torch.randint(0, 2, (64, 64), generator=torch.Generator().manual_seed(0))
    fine = np.asarray(SemanticMap(noise, NAMES).draw(grey, long_side=64))[:64, :64]
    assert len(colours_in(fine)) == 2


def test_boxes_change_only_their_frames_and_labels() -> None:
    photo = photograph((512, 512))
    value = Boxes(torch.tensor([[200.0, 200, 300, 300]]), torch.tensor([1]), (512, 512), NAMES)
    drawn = np.asarray(value.draw(photo))
    changed = (drawn[:512] != photo).any(axis=-1)
    assert changed[200:300, 200].all() and changed[299, 200:300].all()
    rows, columns = changed.nonzero()
    assert rows.min() >= 200 - 24 and rows.max() < 300 and columns.min() >= 200
    assert not changed[206:294, 206:294].any()
    assert colour(1) in colours_in(drawn[:512])


def test_boxes_far_outside_and_none_at_all_are_drawn() -> None:
    photo = photograph((64, 64))
    far = Boxes(torch.tensor([[-1e9, -1e9, 1e9, 1e9], [500.0, 500, 900, 900]]), torch.tensor([0, 1]), (64, 64), NAMES)
    assert far.draw(photo).height > 512
    none = Boxes(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), (64, 64), NAMES)
    canvas = open_canvas(photo, (64, 64))
    assert np.array_equal(np.asarray(none.draw(photo))[:512, :512], canvas.picture)


def crowd(count: int) -> Boxes:
    random = torch.Generator().manual_seed(count)
    low = torch.rand(count, 2, generator=random) * 300
    corners = torch.cat((low, low + 40 + torch.rand(count, 2, generator=random) * 100), dim=1)
    scores = torch.linspace(1, 0.1, count) if count else torch.zeros(0)
    return Boxes(corners, torch.arange(count) % 4, (480, 640), NAMES, scores)


@pytest.mark.parametrize("count", [0, 1, 5, 40, 100])
def test_a_crowd_is_labelled_in_part_and_the_rest_is_counted(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    placed: list[tuple[str, Any]] = []
    listed: list[Any] = []
    place, legend = drawing.place_label, drawing.panel_legend

    def spy(picture: Any, anchor: Any, text: str, colour: Any, size: int, taken: list[Any]) -> bool:
        done = place(picture, anchor, text, colour, size, taken)
        placed.extend([(text, taken[-1])] * done)
        return done

    monkeypatch.setattr(drawing, "place_label", spy)
    monkeypatch.setattr(
        drawing, "panel_legend", lambda entries, *rest: listed.extend(entries) or legend(entries, *rest)
    )
    photo = photograph((480, 640))
    crowd(count).draw(photo)
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for _, box in placed)
    assert len(placed) == count if count <= 5 else 8 <= len(placed) < count
    assert area < 0.2 * 480 * 640
    counted = {entry.name: int(entry.note) for entry in listed}
    assert counted.pop("too crowded to label", 0) == count - len(placed)
    assert sum(counted.values()) == count  # the legend counts every box
    if placed:
        assert placed[0][0] == "sky 1.00"  # the surest box chose first


def test_a_box_outside_has_no_label_and_no_place_in_the_crowd() -> None:
    far = Boxes(torch.tensor([[900.0, 900, 950, 950]]), torch.tensor([0]), (480, 640), NAMES)
    drawn = np.asarray(far.draw(photograph((480, 640))))
    assert np.array_equal(drawn[:480], photograph((480, 640)))


def test_more_classes_than_colours_are_drawn() -> None:
    names = tuple(map(str, range(1203)))
    value = Boxes(torch.tensor([[2.0, 2, 30, 30]]), torch.tensor([1202]), (64, 64), names)
    assert tuple(class_palette(255)[1202 % 255].tolist()) in colours_in(value.draw(photograph((64, 64))))


def test_masks_change_only_what_they_cover() -> None:
    photo = photograph((512, 512))
    planes = torch.zeros(1, 512, 512, dtype=torch.bool)
    planes[0, 100:200, 300:400] = True
    drawn = np.asarray(Masks(planes, torch.tensor([1]), NAMES).draw(photo))[:512]
    changed = (drawn != photo).any(axis=-1)
    assert changed[100:200, 300:400].all()
    assert not changed[210:].any() and not changed[:, :298].any() and not changed[:70].any()
    empty = Masks(torch.zeros(1, 512, 512, dtype=torch.bool), torch.tensor([1]), NAMES)
    assert np.array_equal(np.asarray(empty.draw(photo))[:512], photo)


def test_near_is_bright_and_missing_depth_is_the_dark_photograph() -> None:
    photo = photograph((512, 512))
    metres = torch.full((512, 512), 2.0)
    metres[:, 256:] = 3.0
    metres[:100] = 0
    drawn = np.asarray(DepthMap(metres).draw(photo))
    near, far = depth_colours(np.array([1.0, 0.0])).tolist()
    assert drawn[300, 100].tolist() == near and drawn[300, 400].tolist() == far
    assert np.array_equal(drawn[:100], (photo[:100] * 0.35).astype(np.uint8))
    inverse = np.asarray(DepthMap(metres, "inverse").draw(photo))
    assert inverse[300, 100].tolist() == far  # there, larger is nearer
    assert np.asarray(DepthMap(metres).draw())[50, 50].tolist() == [64, 64, 64]


def test_sparse_points_are_drawn_larger_and_dense_maps_as_they_are() -> None:
    metres = torch.zeros(512, 512)
    metres[100, 100], metres[300, 300] = 2.0, 8.0
    drawn = np.asarray(DepthMap(metres).draw(np.zeros((512, 512, 3), np.uint8)))[:512]
    lit = drawn.any(axis=-1)
    assert 9 <= int(lit[90:110, 90:110].sum()) <= 49 and int(lit.sum()) <= 100


def test_flat_and_empty_depth_are_drawn() -> None:
    flat = np.asarray(DepthMap(torch.full((64, 64), 2.0)).draw(photograph((64, 64))))
    assert len(colours_in(flat[:512, :512])) == 1
    assert DepthMap(torch.zeros(64, 64)).draw(photograph((64, 64))).height > 512


def test_a_value_is_not_drawn_over_another_photograph() -> None:
    with pytest.raises(DataError, match=r"the image has 9 x 9 pixels .* and the value 33 x 33"):
        values((33, 33))["semantic"].draw(photograph((9, 9)))

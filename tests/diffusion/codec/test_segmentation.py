"""Masks and palettes: the round trip is exact, corruptions stay within the stated tolerance."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from visgen.diffusion.codec import BinaryMask, ClassPalette, Palette, colour_names, merge_passes
from visgen.errors import DataError
from visgen.language import TaskRequest
from visgen.structures import IGNORE, Masks, SemanticMap

NAMES = tuple(f"class {k}" for k in range(215))
SIDE = st.integers(48, 160)


def blobs(size: tuple[int, int], classes: int, seed: int, shapes: int = 12) -> SemanticMap:
    """Random rectangles of random classes over 255."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda high: int(torch.randint(0, max(1, high), (1,), generator=generator))  # noqa: E731
    ids = torch.full(size, IGNORE)
    for _ in range(shapes):
        y, x = draw(size[0]), draw(size[1])
        ids[y : y + 8 + draw(size[0] // 2), x : x + 8 + draw(size[1] // 2)] = draw(classes)
    return SemanticMap(ids, NAMES[:classes])


def ask(*classes: str, **colours: str) -> TaskRequest:
    return TaskRequest("segmentation", classes, colours=tuple(colours.items()))


def test_by_hand() -> None:
    target = SemanticMap(torch.tensor([[0, 1], [2, IGNORE]]), ("dog", "cat", "sky"))
    picture = BinaryMask().encode(target, ask("cat"), (2, 2))
    assert picture[0].tolist() == [[-1, 1], [-1, -1]] and torch.equal(picture[0], picture[2])
    coloured = Palette().encode(target, ask("cat", "dog", cat="blue"), (2, 2))
    assert coloured[:, 0, 1].tolist() == [-1, -1, 1] and coloured[:, 0, 0].tolist() == [1, -1, -1]
    assert BinaryMask().valid(target, ask("cat"), (2, 2)).tolist() == [[True, True], [True, False]]
    found = BinaryMask().decode(picture, ask("cat"), (2, 2))
    assert found.classes == ("cat",) and found.ids.tolist() == [[IGNORE, 0], [IGNORE, IGNORE]]
    assert found.confidence is not None and found.confidence.tolist() == [[1, 1], [1, 1]]


@settings(max_examples=40)
@given(SIDE, SIDE, st.integers(1, 7), st.integers(0, 10**6))
def test_the_round_trip_is_exact(height: int, width: int, count: int, seed: int) -> None:
    target, size = blobs((height, width), count, seed), (height, width)
    for codec, request in ((BinaryMask(), ask(NAMES[0])), (Palette(), ask(*NAMES[:count]))):
        picture = codec.encode(target, request, size)
        found = codec.decode(picture, request, size)
        assert torch.equal(found.ids, target.ids.where(target.ids < len(request.classes), IGNORE))
        assert torch.equal(codec.encode(found, request, size), picture)


@pytest.mark.parametrize("count", [26, 63, 215])
def test_a_closed_list_comes_back_in_one_pass(count: int) -> None:
    target, request = blobs((60, 90), count, count, shapes=90), ask(*NAMES[:count])
    assert torch.equal(
        ClassPalette().decode(ClassPalette().encode(target, request, (60, 90)), request, (60, 90)).ids, target.ids
    )


@pytest.mark.parametrize("shape", ["empty", "full", "line", "border"])
def test_extreme_masks_come_back(shape: str) -> None:
    masks = torch.zeros(1, 50, 70, dtype=torch.bool)
    masks |= shape == "full"
    masks[:, :, 33] |= shape == "line"
    masks[:, [0, -1]] |= shape == "border"
    value = Masks(masks, torch.tensor([0]), ("dog",))
    found = BinaryMask().decode(BinaryMask().encode(value, ask("dog"), (50, 70)), ask("dog"), (50, 70))
    assert torch.equal(found.ids == 0, masks[0])


@pytest.mark.parametrize("name", sorted(BinaryMask.tolerance))
def test_masks_stand_corruption(name: str, corruptions: dict[str, Callable[[Tensor], Tensor]]) -> None:
    both = either = 0
    for seed in range(6):
        target = blobs((128, 128), 3, seed)
        picture = corruptions[name](BinaryMask().encode(target, ask(NAMES[0]), (128, 128)))
        found, true = BinaryMask().decode(picture, ask(NAMES[0]), (128, 128)).ids == 0, target.ids == 0
        both, either = both + int((found & true).sum()), either + int((found | true).sum())
    assert both / either >= BinaryMask.tolerance[name]


@pytest.mark.parametrize("name", sorted(Palette.tolerance))
def test_palettes_stand_corruption(name: str, corruptions: dict[str, Callable[[Tensor], Tensor]]) -> None:
    for codec, count in ((Palette(), 7), (ClassPalette(), 26)):
        right = []
        for seed in range(3):
            target, request = blobs((128, 128), count, seed, shapes=6), ask(*NAMES[:count])
            picture = corruptions[name](codec.encode(target, request, (128, 128)))
            right.append((codec.decode(picture, request, (128, 128)).ids == target.ids).float().mean())
        assert float(torch.stack(right).mean()) >= codec.tolerance[name], codec.name


def test_a_larger_photograph_gets_a_smooth_answer_at_its_size() -> None:
    target = blobs((240, 360), 2, 3)
    found = BinaryMask().decode(BinaryMask().encode(target, ask(NAMES[0]), (128, 128)), ask(NAMES[0]), (240, 360))
    mask, true = found.ids == 0, target.ids == 0
    assert found.size == (240, 360) and float((mask & true).sum() / (mask | true).sum()) > 0.95


def test_confidence_is_low_where_colours_mix() -> None:
    request = ask("a", "b", a="red", b="blue")
    between = torch.tensor([0.0, -1.0, 0.0])[:, None, None].expand(3, 8, 8)
    found = Palette().decode(between, request, (8, 8))
    assert found.confidence is not None and float(found.confidence.max()) < 0.5


def test_colours_follow_the_request() -> None:
    assert colour_names(ask("a", "b", "c", b="red")) == ("green", "red", "blue")
    for colours, message in (
        ({"a": "black"}, "'a' is to be black, which is the background"),
        ({"a": "red", "b": "red"}, "colours red, red repeat"),
        ({"z": "red"}, "is for 'z', which the request does not ask for"),
        ({"a": "orange"}, "colour 'orange' cannot be drawn"),
    ):
        with pytest.raises(DataError, match=message):
            Palette().encode(SemanticMap(torch.zeros(4, 4).long(), ("a", "b")), ask("a", "b", **colours), (4, 4))


@pytest.mark.parametrize(
    ("codec", "request_", "message"),
    [
        (BinaryMask(), ask(), "draws one class, but the request names 0"),
        (BinaryMask(), ask("dog", "cat"), "names 2: dog, cat; use visgen.diffusion.codec.passes"),
        (Palette(), ask(*NAMES[:8]), r"draws 1..7 classes, but the request names 8"),
        (BinaryMask(), ask("zebra"), "'zebra', which is none of the 2 labelled classes"),
        (BinaryMask(), TaskRequest("depth"), "asks for depth, but codec seg.binary draws segmentation"),
    ],
)
def test_requests_that_do_not_fit_are_refused(codec: BinaryMask, request_: TaskRequest, message: str) -> None:
    with pytest.raises(DataError, match=message):
        codec.encode(SemanticMap(torch.zeros(4, 4).long(), ("dog", "cat")), request_, (4, 4))


def test_several_passes_merge_by_confidence() -> None:
    one = SemanticMap(torch.tensor([[0, IGNORE, 0]]), ("a",), torch.tensor([[0.9, 0.8, 0.6]]))
    two = SemanticMap(torch.tensor([[0, IGNORE, 1]]), ("b", "c"), torch.tensor([[0.7, 0.6, 0.8]]))
    merged = merge_passes([one, two])
    assert merged.classes == ("a", "b", "c") and merged.ids.tolist() == [[0, IGNORE, 2]]
    assert merged.confidence is not None
    torch.testing.assert_close(merged.confidence, torch.tensor([[0.9, 0.6, 0.8]]))
    with pytest.raises(DataError, match="0 maps were given to merge"):
        merge_passes([])

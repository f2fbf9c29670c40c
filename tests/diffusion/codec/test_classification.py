"""Flags and panels: right under every corruption, undecided where the picture is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from visgen.diffusion.codec import ColourFlag, PanelGrid, flag_colours
from visgen.errors import DataError
from visgen.language import TaskRequest
from visgen.structures import Boxes, ClassLabel, SemanticMap

NAMES = tuple(f"label {k}" for k in range(20))
FLAG = TaskRequest("classification", ("label 1",))


def test_by_hand() -> None:
    there, absent = (ColourFlag().encode(ClassLabel(k, NAMES), FLAG, (4, 6)) for k in (1, 2))
    assert there[:, 0, 0].tolist() == [-1, 1, -1] and absent[:, 3, 5].tolist() == [1, -1, -1]
    found = ColourFlag().decode(there, FLAG, (40, 60))
    assert found.classes == ("label 1", "not label 1") and float(found.probabilities[0]) > 0.999
    panel = PanelGrid().encode(ClassLabel(2, NAMES), TaskRequest("classification", NAMES[:4]), (4, 4))
    assert panel[0].tolist() == [[-1, -1, -1, -1], [-1, -1, -1, -1], [1, 1, -1, -1], [1, 1, -1, -1]]


@pytest.mark.parametrize(
    ("value", "there"),
    [
        (Boxes(torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([1]), (4, 4), NAMES), True),
        (Boxes(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), (4, 4), NAMES), False),
        (SemanticMap(torch.tensor([[0, 1]]), NAMES), True),
        (SemanticMap(torch.tensor([[0, 2]]), NAMES), False),
    ],
)
def test_presence_is_read_from_any_value(value: Any, there: bool) -> None:
    found = ColourFlag().decode(ColourFlag().encode(value, FLAG, (8, 8)), FLAG, (4, 4))
    assert (float(found.probabilities[0]) > 0.5) is there


@settings(max_examples=40)
@given(st.integers(2, 16), st.data(), st.integers(16, 90), st.integers(16, 90))
def test_every_panel_comes_back(count: int, data: st.DataObject, height: int, width: int) -> None:
    right = data.draw(st.integers(0, count - 1))
    request = TaskRequest("classification", NAMES[:count])
    found = PanelGrid().decode(PanelGrid().encode(ClassLabel(right, NAMES), request, (height, width)), request, (9, 9))
    assert int(found.probabilities.argmax()) == right and found.classes == request.classes
    assert float(found.probabilities.max()) > 0.99


def test_the_cells_of_several_panels_compete_by_brightness() -> None:
    requests = [TaskRequest("classification", NAMES[:2]), TaskRequest("classification", NAMES[2:5])]
    dark, dim = torch.full((3, 8, 8), -1.0), torch.full((3, 8, 8), -1.0)
    dim[:, :4, 4:] = -0.5  # the second of four places, a quarter of full brightness
    found = PanelGrid().pool([dark, dim], requests)
    expected = (8 * torch.tensor([0.0, 0.0, 0.0, 0.25, 0.0])).softmax(dim=0)
    assert found.classes == NAMES[:5] and torch.allclose(found.probabilities, expected)
    alone = PanelGrid().decode(dim, requests[1], (9, 9))
    assert torch.equal(PanelGrid().pool([dim], requests[1:]).probabilities, alone.probabilities)
    with pytest.raises(DataError, match="draws 2..16 classes, but the request names 17"):
        PanelGrid().pool([dark], [TaskRequest("classification", NAMES[:17])])


@pytest.mark.parametrize("name", sorted(ColourFlag.tolerance))
def test_flags_and_panels_stand_corruption(name: str, corruptions: dict[str, Callable[[Tensor], Tensor]]) -> None:
    panel = TaskRequest("classification", NAMES[:16])
    for k in range(16):
        lit = corruptions[name](PanelGrid().encode(ClassLabel(k, NAMES), panel, (128, 128)))
        assert int(PanelGrid().decode(lit, panel, (8, 8)).probabilities.argmax()) == k
        flat = corruptions[name](ColourFlag().encode(ClassLabel(k, NAMES), FLAG, (128, 128)))
        assert (float(ColourFlag().decode(flat, FLAG, (8, 8)).probabilities[0]) > 0.5) is (k == 1)


def test_the_colours_of_the_request_are_used() -> None:
    request = TaskRequest("classification", ("label 1",), colours=(("yes", "blue"), ("no", "yellow")))
    picture = ColourFlag().encode(ClassLabel(1, NAMES), request, (4, 4))
    assert picture[:, 0, 0].tolist() == [-1, -1, 1] and flag_colours(request) == ("blue", "yellow")
    assert flag_colours(FLAG) == ("green", "red")


def test_a_grey_picture_is_undecided() -> None:
    found = ColourFlag().decode(torch.full((3, 8, 8), -0.2), FLAG, (8, 8))
    assert float(found.probabilities[0]) == pytest.approx(0.5)
    request = TaskRequest("classification", NAMES[:4])
    assert PanelGrid().decode(torch.full((3, 8, 8), -1.0), request, (8, 8)).probabilities.tolist() == [0.25] * 4


def test_a_label_that_is_not_offered_lights_nothing() -> None:
    picture = PanelGrid().encode(ClassLabel(9, NAMES), TaskRequest("classification", NAMES[:4]), (8, 8))
    assert float(picture.max()) == -1


@pytest.mark.parametrize(
    ("codec", "request_", "message"),
    [
        (ColourFlag(), TaskRequest("classification", ("zebra",)), "'zebra', which is none of the 20 labelled"),
        (
            ColourFlag(),
            TaskRequest("classification", ("label 1",), colours=(("yes", "red"),)),
            "yes and no are both red",
        ),
        (
            ColourFlag(),
            TaskRequest("classification", ("label 1",), colours=(("dog", "red"),)),
            "it may name those of yes",
        ),
        (PanelGrid(), TaskRequest("classification", NAMES[:1]), r"draws 2\.\.16 classes, but the request names 1"),
        (PanelGrid(), TaskRequest("classification", NAMES[:17]), "names 17; name the labels to choose from"),
    ],
)
def test_requests_that_do_not_fit_are_refused(codec: Any, request_: TaskRequest, message: str) -> None:
    with pytest.raises(DataError, match=message):
        codec.encode(ClassLabel(0, NAMES), request_, (8, 8))

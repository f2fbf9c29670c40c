"""Which places a batch of maps shows."""

from __future__ import annotations

import pytest
import torch

from visgen.engine.night.draws import MapDraws
from visgen.structures import PlaceLabel


def draws(places: list[str], batch: int = 4) -> MapDraws:
    labels = [PlaceLabel(place) for place in places]
    nothing: list[list[int]] = [[] for _ in labels]
    return MapDraws(torch.zeros(len(labels), 1, 2, 3, 3), None, nothing, labels, [], batch, 0, 0.0)


def test_every_place_has_its_turn() -> None:
    made = draws([f"p{i // 2}" for i in range(12)])
    shown = {label.place for step in range(3) for label in made.batches(step)[0].targets["retrieval"]}
    assert shown == {f"p{i}" for i in range(6)}


@pytest.mark.parametrize("batch", [4, 6])
def test_places_of_one_picture_alone_are_shown_twice(batch: int) -> None:
    (made,) = draws(["a", "b", "c"], batch).batches(0)
    names = [label.place for label in made.targets["retrieval"]]
    assert len(names) == batch and names[::2] == names[1::2]

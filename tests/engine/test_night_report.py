"""Figures about generators whose faults are known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from visgen.data import Sample
from visgen.engine.night_report import (
    Remembered,
    consistency_report,
    edge_report,
    realism_report,
    stability_report,
    town_scenes,
    translate,
    visibility_report,
)
from visgen.errors import DataError
from visgen.gan.night import DayNight, SobelEdge
from visgen.metrics.generative import FeatureNetwork
from visgen.structures import Boxes, SemanticMap

CLASSES = ("lamp", "window")


def dim(images: Tensor) -> Tensor:
    return images / 3


def flip(images: Tensor) -> Tensor:
    return 1 - images


def halves(bright: int, dark: int) -> Sample:
    """A lamp on the left, a window on the right, one box around the border between them and one inside the lamp."""
    pixels = torch.full((3, 48, 64), bright, dtype=torch.uint8)
    pixels[:, :, 32:] = dark
    ids = torch.zeros(48, 64, dtype=torch.int64)
    ids[:, 32:] = 1
    corners = torch.tensor([[20.0, 8.0, 44.0, 40.0], [2.0, 2.0, 20.0, 20.0]])
    boxes = Boxes(corners, torch.tensor([0, 1]), (48, 64), CLASSES)
    return Sample(pixels, {"segmentation": SemanticMap(ids, CLASSES), "detection": boxes}, {})


SCENES = [(halves(220, 60), halves(90, 20)), (halves(180, 40), halves(70, 10))]


class Brighter:
    """Calls a lamp what is brighter than the picture's mean."""

    def predict(self, images: Tensor, heads: list[str], *, sizes: Any = None, given: Any = None) -> dict[str, list]:
        ids = (images.mean(1) <= images.mean((1, 2, 3), keepdim=True)[:, 0]).long()
        return {heads[0]: [SemanticMap(one, CLASSES) for one in ids]}


def test_a_translation_is_rounded_to_bytes() -> None:
    assert torch.equal(
        translate(dim, torch.full((3, 16, 16), 100, dtype=torch.uint8)), torch.full((3, 16, 16), 33).byte()
    )


def test_a_picture_is_translated_once() -> None:
    seen = []
    generator = Remembered(lambda images: (seen.append(1), images / 2)[1])
    first, second = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
    for images in (first, second, first.clone(), second.reshape(1, 3, 8, 32)):
        assert torch.equal(generator(images), images / 2)
    assert len(seen) == 3


def test_labels_fit_where_night_only_dims_and_not_where_it_turns_light_around() -> None:
    found = consistency_report(dim, Brighter(), "segmentation", SCENES)  # type: ignore[arg-type]
    assert found["ratio"] == 1.0 and found["consistent"] and found["scenes"] == 2
    assert found["translated"] == {"mIoU": 1.0, "false lamp": 0.0, "false window": 0.0} == found["night"]
    wrong = consistency_report(flip, Brighter(), "segmentation", SCENES)  # type: ignore[arg-type]
    assert wrong["ratio"] == 0.0 and not wrong["consistent"]
    assert wrong["translated"]["false lamp"] == pytest.approx(0.5)


def test_boxes_that_sink_into_the_dark_are_counted() -> None:
    assert visibility_report(dim, SCENES)["translated"] == 0.5  # inside the lamp nothing ever varied
    found = visibility_report(lambda images: torch.zeros_like(images), SCENES)
    assert (found["day"], found["translated"], found["night"], found["boxes"]) == (0.5, 1.0, 0.5, 4)


def test_edges_need_other_pictures_for_their_floor() -> None:
    pictures = [day.pixels for day, _ in SCENES]
    found = edge_report(dim, pictures)
    assert found["images"] == 2 and found["generator"] == found["floor"] == {"F": 1.0, "precision": 1.0, "recall": 1.0}
    with pytest.raises(DataError, match="give 2 or more"):
        edge_report(dim, pictures[:1])


def test_a_judge_of_brightness_calls_dimmed_days_nights() -> None:
    random = torch.Generator().manual_seed(0)

    def pictures(low: int, high: int) -> list[Tensor]:
        return [torch.randint(low, high, (3, 16, 20), generator=random).to(torch.uint8) for _ in range(8)]

    network = FeatureNetwork("brightness", lambda x: torch.stack([x.mean((1, 2, 3)), x.std((1, 2, 3))], 1), "", 16)
    train, val = ((pictures(120, 250), pictures(10, 90)) for _ in range(2))
    found = realism_report(dim, DayNight(network), train, val, {"more": pictures(110, 255)})
    assert found["accuracy"] == {"day": 1.0, "night": 1.0}
    for name in ("val", "train", "more"):
        assert found[name]["translated"] == 1.0 and found[name]["day"] == 0.0 and found[name]["pictures"] == 8
    assert found["KD"]["translated"] < found["KD"]["day"]
    assert realism_report(lambda images: images, DayNight(network), train, val)["val"]["translated"] == 0.0


def test_what_each_pixel_does_alone_is_stable_and_hides_nothing() -> None:
    sobel = SobelEdge()
    found = stability_report(dim, [pair[0].pixels for pair in SCENES], {"sobel": (sobel, sobel)})
    assert found["shift"] == {"mean": 0.0, "largest": 0.0} and found["pictures"] == 2
    own = found["sobel"]
    assert own["rise"] == pytest.approx(own["after"] / own["before"] - 1)
    assert own["added"] == pytest.approx(own["after"] - own["before"])
    for key in ("added", "rise"):  # `dim` only dims, so that nothing but rounding lies between the two
        assert own["dimmed"][key] == pytest.approx(own[key], rel=0.1)


def test_town_scenes_share_their_labels_by_day_and_by_night() -> None:
    ((day, night),) = town_scenes(1)
    assert torch.equal(day.targets["segmentation"].ids, night.targets["segmentation"].ids)
    assert float(night.image.mean()) < float(day.image.mean())

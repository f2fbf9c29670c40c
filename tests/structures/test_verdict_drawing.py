"""The verdict's picture: words, not colour alone; the score on its side of the threshold; heat where the map says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from visgen.structures import verdict_drawing
from visgen.structures.canvas import INK, open_canvas
from visgen.structures.palette import rgb_to_lab, simulate_vision
from visgen.structures.verdict_drawing import FAMILIAR, HEAT, UNUSUAL, draw_verdict, gauge_place


@dataclass(frozen=True)
class Verdict:
    """What the drawing needs of an OOD verdict."""

    score: float
    threshold: float | None = None
    keeps: float | None = None
    score_name: str = "energy"
    map: Tensor | None = None

    @property
    def is_ood(self) -> bool | None:
        return None if self.threshold is None else self.score > self.threshold


def photograph(size: tuple[int, int] = (60, 90)) -> np.ndarray:
    return np.random.default_rng(1).integers(60, 200, (*size, 3), dtype=np.uint8)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text that the drawing writes."""
    texts: list[str] = []
    real = verdict_drawing.ImageDraw.ImageDraw.text

    def text(self: object, at: object, words: str, *rest: object, **named: object) -> None:
        texts.append(words)
        real(self, at, words, *rest, **named)

    monkeypatch.setattr(verdict_drawing.ImageDraw.ImageDraw, "text", text)
    return texts


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (
            Verdict(3.1, 4.2, 0.95),
            ["Looks familiar", "score 3.1 (energy)", "95 % of familiar pictures lie left of this"],
        ),
        (Verdict(5.0, 4.2), ["Looks unusual", "threshold 4.2"]),
        (Verdict(3.1), ["score 3.1 (energy), no threshold set"]),
        (Verdict(-12.0, score_name=""), ["score -12, no threshold set"]),
    ],
)
def test_the_words(verdict: Verdict, words: list[str], written: list[str]) -> None:
    draw_verdict(None, verdict, 640)
    assert all(word in " ".join(written) for word in words)
    assert sum("Looks" in text for text in written) == (verdict.threshold is not None)


def test_the_panel_alone_is_as_wide_as_asked_and_goes_below_a_photograph() -> None:
    alone = draw_verdict(None, Verdict(3.1, 4.2, 0.95), 640)
    assert alone.width == 640 and alone.height < 160
    photo = photograph()
    whole = np.asarray(draw_verdict(photo, Verdict(3.1, 4.2, 0.95)))
    canvas = open_canvas(photo, None)
    height, width = canvas.picture.shape[:2]
    assert np.array_equal(whole[:height, :width], canvas.picture) and whole.shape[0] > height + 60


@pytest.mark.parametrize("score", [-50.0, 3.9, 4.3, 1e9])
def test_the_marker_stands_on_its_side_of_the_threshold(score: float) -> None:
    picture = np.asarray(draw_verdict(None, Verdict(score, 4.2, 0.95), 640))
    blue, orange = ((picture == colour).all(axis=-1) for colour in (FAMILIAR, UNUSUAL))
    bar = np.flatnonzero((blue | orange).sum(axis=1) > 400)
    middle = picture[bar[len(bar) // 2 :]]  # the words lie in the bar's upper half as well, so look at its foot
    foot = middle[-3]
    marks = np.flatnonzero((foot == INK).all(axis=-1))
    at = 320 + gauge_place(score, 4.2) * 305
    assert np.abs(marks - at).min() <= 2
    assert (at > 320) == (score > 4.2)


@pytest.mark.parametrize(
    ("score", "threshold", "place"),
    [(4.0, 4.0, 0.0), (5.0, 4.0, 0.5), (12.0, 4.0, 0.75), (-1.0, 0.0, -0.75), (0, 0, 0)],
)
def test_places_on_the_gauge_by_hand(score: float, threshold: float, place: float) -> None:
    assert gauge_place(score, threshold) == pytest.approx(place)


def test_a_narrow_panel_keeps_its_words_whole(written: list[str]) -> None:
    draw_verdict(None, Verdict(2410.3, 1630.0, score_name="max_logit_mahalanobis"), 300)
    assert "score 2410" in written and "threshold 1630" in written  # and neither "(max..." nor 2.41e+03
    picture = np.asarray(draw_verdict(None, Verdict(9.0, 4.2), 300))
    bar = np.flatnonzero((picture == UNUSUAL).all(axis=-1).sum(axis=1) > 50)
    at = round(154 + 0.75 * 140)
    right = picture[bar[0] : bar[-1], at + 4 : 280]  # of the score's line, where "unusual" stands in a wide one
    assert (right == UNUSUAL).all()


def test_every_eye_tells_the_two_halves_apart() -> None:
    for vision in ("normal", "protan", "deutan", "tritan"):
        one, two = (rgb_to_lab(simulate_vision(np.array(colour), vision)) for colour in (FAMILIAR, UNUSUAL))
        assert np.linalg.norm(one - two) > 20


def test_heat_lies_where_the_map_is_high() -> None:
    photo = photograph((512, 512))
    scores = torch.zeros(512, 512)
    scores[100:200, 300:400] = 5.0
    drawn = np.asarray(draw_verdict(photo, Verdict(5.0, 4.2, 0.95, map=scores)))[:512].astype(int)
    warm = np.abs(drawn - np.array(HEAT)).sum(axis=-1)
    assert warm[120:180, 320:380].mean() < 60 < warm[300:].mean()
    assert (drawn[300:, :, 0] == drawn[300:, :, 2]).all()  # elsewhere the photograph, without its colours


@pytest.mark.parametrize("cells", [torch.rand(3, 5), torch.full((4, 4), 2.0), torch.zeros(1, 1)])
def test_coarse_and_flat_maps_and_maps_without_a_photograph_are_drawn(cells: Tensor) -> None:
    verdict = Verdict(1.0, map=cells)
    assert draw_verdict(photograph(), verdict).width == draw_verdict(photograph(), Verdict(1.0)).width
    assert draw_verdict(None, verdict, 400).height > 100


@pytest.mark.parametrize("size", [(20, 400), (400, 20), (33, 33), (1, 1), (2200, 4000)])
def test_every_size_is_drawn_and_the_photograph_is_not_touched(size: tuple[int, int]) -> None:
    photo = photograph(size)
    before = photo.copy()
    first, again = (draw_verdict(photo, Verdict(3.0, 1.0, 0.9, map=torch.ones(4, 6))) for _ in range(2))
    assert first.width == open_canvas(photo, None).width
    assert np.array_equal(photo, before) and np.array_equal(np.asarray(first), np.asarray(again))

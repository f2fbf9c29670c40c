"""Palettes: told apart by every eye, and a depth scale that grows evenly lighter."""

from __future__ import annotations

import numpy as np
import pytest

from visgen.structures.palette import (
    OKABE_ITO,
    VISIONS,
    class_palette,
    depth_colours,
    ink_on,
    rgb_to_lab,
    simulate_vision,
)


def least_distance(colours: np.ndarray, vision: str) -> float:
    lab = rgb_to_lab(simulate_vision(colours, vision))
    apart = np.sqrt(((lab[:, None] - lab[None]) ** 2).sum(axis=-1))
    return float(apart[~np.eye(len(colours), dtype=bool)].min())


def test_lab_by_hand() -> None:
    # white, black and pure red under D65, as the CIE formulas give them
    lab = rgb_to_lab(simulate_vision(np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0]]), "normal"))
    assert lab.tolist() == [
        pytest.approx([100, 0, 0], abs=0.02),
        pytest.approx([0, 0, 0], abs=0.02),
        pytest.approx([53.24, 80.09, 67.20], abs=0.05),
    ]


def test_grey_looks_the_same_to_every_eye() -> None:
    grey = np.array([128, 128, 128])
    for vision in VISIONS:
        np.testing.assert_allclose(simulate_vision(grey, vision), simulate_vision(grey, "normal"), atol=1e-5)


def test_red_and_green_fall_together_without_the_red_cone() -> None:
    pair = np.array([[200, 60, 0], [105, 98, 0]])
    assert least_distance(pair, "normal") > 40
    assert least_distance(pair, "protan") < 15


@pytest.mark.parametrize("vision", VISIONS)
# A just noticeable difference in CIELAB is about 2.3 (Mahy et al. 1994).
@pytest.mark.parametrize(("count", "least"), [(7, 15), (12, 12), (20, 12), (60, 7), (133, 4.5), (255, 2.5)])
def test_classes_can_be_told_apart(vision: str, count: int, least: float) -> None:
    assert least_distance(class_palette(count), vision) > least


def test_few_classes_get_okabe_ito_and_longer_palettes_begin_with_shorter() -> None:
    assert class_palette(7).tolist() == [list(c) for c in OKABE_ITO]
    assert class_palette(255).shape == (255, 3) and class_palette(0).shape == (0, 3)
    assert np.array_equal(class_palette(255)[:40], class_palette(40))


def test_a_palette_is_the_callers_own() -> None:
    class_palette(3)[:] = 0
    assert class_palette(3).tolist() == [list(c) for c in OKABE_ITO[:3]]


@pytest.mark.parametrize("vision", VISIONS)
def test_depth_colours_grow_lighter_evenly_for_every_eye(vision: str) -> None:
    lightness = rgb_to_lab(simulate_vision(depth_colours(np.linspace(0, 1, 33)), vision))[:, 0]
    steps = np.diff(lightness)
    assert steps.min() > 0 and steps.max() < 2.2 * steps.mean()
    assert lightness[-1] - lightness[0] > 70


def test_depth_colours_by_hand() -> None:
    assert depth_colours(np.array([0.0, 1.0])).tolist() == [[68, 1, 84], [253, 231, 37]]
    assert depth_colours(np.array([[0.5]])).tolist() == [[[33, 145, 140]]]


@pytest.mark.parametrize(
    ("colour", "ink"), [((255, 255, 255), (0, 0, 0)), ((0, 0, 0), (255, 255, 255)), ((0, 0, 160), (255, 255, 255))]
)
def test_ink_reads_on_its_ground(colour: tuple[int, int, int], ink: tuple[int, int, int]) -> None:
    assert ink_on(colour) == ink

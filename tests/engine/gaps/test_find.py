"""Gaps that were made on purpose are found, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from visgen.engine import evaluate
from visgen.engine.gaps import find_gaps, survey
from visgen.errors import ConfigError, DataError


def test_a_model_that_is_right_has_no_gaps(town: Any, spoiled: Callable[..., Any]) -> None:
    report = find_gaps(spoiled(town), town)
    assert report.value == 1.0 and report.weak == []
    assert report.images == 60 and report.metric == "mIoU"


def test_the_class_that_it_never_says_is_found(town: Any, spoiled: Callable[..., Any]) -> None:
    report = find_gaps(spoiled(town, never=("tree",)), town)
    worst = report.weak[0]
    assert (worst.key, worst.value) == ("class/tree", 0.0)
    assert worst.high < -0.5
    # What took its place (the first class) is a little worse than the others, and so are the trees that fill a street.
    assert {g.key for g in report.weak} <= {"class/tree", "class/sky", "size/large"}


def test_nights_that_it_cannot_read_are_found(town: Any, spoiled: Callable[..., Any]) -> None:
    report = find_gaps(spoiled(town, dark=0.4), town, metric={"light": [0.4, 0.6]})
    gap = next(g for g in report.gaps if g.key == "light/dark")
    assert gap.verdict == "weak" and gap.value < 0.1 and gap.rest == 1.0
    assert 20 <= gap.images <= 35  # nights, and a dim day or two


def test_the_whole_is_what_evaluate_gives(town: Any, spoiled: Callable[..., Any]) -> None:
    model = spoiled(town, never=("tree", "person"))
    assert find_gaps(model, town).value == pytest.approx(evaluate(model, town).metrics["mIoU"])


def test_the_report_is_plain_and_repeats(town: Any, spoiled: Callable[..., Any]) -> None:
    model = spoiled(town, never=("tree",))
    first = find_gaps(model, town, draws=100).to_dict()
    assert first == find_gaps(model, town, draws=100, batch_size=4).to_dict()
    assert first["gaps"][0]["verdict"] == "weak" and "about" in first["protocol"]["false_alarms"]
    assert find_gaps(model, town, draws=100, seed=1).to_dict() != first


def test_a_survey_looks_in_one_half_and_reports_in_the_other(spoiled: Callable[..., Any]) -> None:
    from visgen.data import build_source

    spec = "town:street?size=32x48&count=24&tasks=segmentation&min_pixels=4"
    model = spoiled(build_source(spec, "val"), never=("tree",))
    (one,) = survey(model, [spec], min_images=3).found
    assert one.looked.wrap == ({"name": "share", "low": 0.0, "high": 0.5},)
    assert one.reporting.wrap == ({"name": "share", "low": 0.5, "high": 1.0},)
    assert one.train.split == "train" and one.train.wrap == ()
    assert 4 < one.report.images < 20
    held = spoiled(build_source(spec, "train"), never=("tree",))
    (other,) = survey(held, [spec], held_out=0.4, min_images=3).found
    assert (other.looked.split, other.reporting.split, other.train.split) == ("train", "val", "train")
    assert other.looked.wrap[0]["high"] == other.train.wrap[0]["low"] == 0.4 and other.reporting.wrap == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 1.0}, r"in is 1\.0"),
        ({"split": "train"}, "both 'train'"),
        ({"train_data": ("a", "b")}, "2 training sets were given for 1"),
        ({"tasks": ("depth",)}, "no head is shared.*asked for are depth"),
    ],
)
def test_a_survey_that_cannot_be_is_refused(
    town: Any, spoiled: Callable[..., Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        survey(spoiled(town), ["town:street?size=32x48&count=4&tasks=segmentation"], **options)


def test_one_file_for_both_splits_is_refused(town: Any, spoiled: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "all.json").write_text("{}")
    with pytest.raises(ConfigError, match="all.json' is one file, which gives the same pictures for 'train' and 'val'"):
        survey(spoiled(town), [f"coco:{tmp_path / 'all.json'}"])


def test_a_task_without_strata_says_so(town: Any, spoiled: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from visgen.task import SegmentationTask

    monkeypatch.setattr(SegmentationTask, "strata", lambda *_, **__: None)
    with pytest.raises(ConfigError, match="'segmentation' has no strata.*classification, depth"):
        find_gaps(spoiled(town), town)


def test_bounds_of_light_are_checked(town: Any, spoiled: Callable[..., Any]) -> None:
    with pytest.raises(DataError, match=r"bounds of light are \[0\.6, 0\.3\]"):
        find_gaps(spoiled(town), town, metric={"light": [0.6, 0.3]})

"""`visgen export`: files and figures, and mistakes with a way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_a_head_is_written(visgen_json: Callable[..., Any], model_folder: Path, tmp_path: Path) -> None:
    report = visgen_json(
        "export", model_folder, "--task", "classification", "--format", "torch_export", "--size", "40x48",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert Path(report["file"]).stat().st_size == report["bytes"] > 0
    assert report["meta"]["head"] == "classification"
    assert report["meta"]["input"]["height"] == 40


def test_answers_are_compared_with_those_of_the_pipeline(
    visgen_json: Callable[..., Any], model_folder: Path, photographs: Path, tmp_path: Path
) -> None:
    from visgen.metrics import read_record

    (first, *_) = sorted(photographs.glob("*.*"))
    report = visgen_json(
        "export", model_folder, "--task", "depth", "--format", "torch_export", "--out", tmp_path / "out",
        "--picture", first, "--record", tmp_path / "record.json",
    )  # fmt: skip
    assert report["answers"]["met"] and report["answers"]["largest_difference"] < 1e-4
    assert list(report["answers"]["of_each"]) == [first.name]
    record = read_record(tmp_path / "record.json")
    assert record["metrics"]["answers"] == report["answers"] and "--head depth" in record["command"]
    assert record["data"] == first.name and f"--picture={first}" in record["command"]
    assert record["seeds"] == [0] and record["split"] == "none"


def test_a_record_says_what_was_chosen(
    visgen_json: Callable[..., Any], model_folder: Path, photographs: Path, tmp_path: Path
) -> None:
    from visgen.metrics import read_record

    visgen_json(
        "export", model_folder, "--task", "depth", "--format", "torch_export", "--out", tmp_path / "out",
        "--size", "40x56", "--seed", "3", "--record", tmp_path / "record.json",
    )  # fmt: skip
    record = read_record(tmp_path / "record.json")
    assert record["seeds"] == [3] and record["command"].endswith(" --size 40x56 --seed 3 --out DIR")
    assert set(record["protocol"]) == {"graph"} and record["data"] == "pictures that reach every expert"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name one of --task and --head"),
        (("--task", "depth", "--head", "depth"), "name one of --task and --head"),
        (("--task", "depth", "--size", "240"), "--size is '240'; write HEIGHTxWIDTH"),
        (("--task", "depth", "--int8"), "--int8 needs --data"),
        (("--task", "depth", "--data", "depth:x"), "nothing is measured without --int8"),
        (("--task", "depth", "--size", "40x56", "--picture", "nosuch.jpg"), "--picture is compared where the file"),
        (("--task", "depth", "--int8-method", "foo"), "--int8-method are of --int8"),
        (("--task", "depth", "--limit", "3"), "--limit, --tolerance"),
        (("--head", "segmentation.strete", "--format", "torch_export"), "neither a task nor a head"),
    ],
)
def test_mistakes_exit_with_2(
    visgen: Callable[..., Any], model_folder: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    result = visgen("export", model_folder, "--out", tmp_path / "out", *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "out").exists()

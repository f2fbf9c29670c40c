"""`visgen evaluate`: the head follows the label set, figures come with their protocol, records can be repeated."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from visgen import pipeline
from visgen.cli.evaluate import read_pairs
from visgen.errors import ConfigError
from visgen.metrics import read_record


def test_the_head_follows_the_label_set(visgen_json: Callable[..., Any], model_folder: Path, datasets: Path) -> None:
    for name in ("street", "pets"):
        report = visgen_json(
            "evaluate", "--task", "segmentation", "--data", f"semantic:{datasets / name}", "--model", model_folder
        )
        assert sorted(report) == ["data", "metrics", "model", "protocol", "task"]
        assert report["task"] == "segmentation"
        assert report["protocol"]["head"] == f"segmentation.{name}"
        assert (report["protocol"]["split"], report["protocol"]["images"]) == ("val", 4)
        assert {"mIoU", "pixel_accuracy"} <= set(report["metrics"])


def test_the_figure_is_that_of_the_pipeline(
    visgen_json: Callable[..., Any], model_folder: Path, datasets: Path
) -> None:
    report = visgen_json(
        "evaluate", "--task", "depth", "--data", f"depth:{datasets / 'garden'}", "--model", model_folder
    )
    pipe = pipeline("depth", model_folder, device="cpu")
    ratios = []
    for i in range(4):
        metres = pipe(datasets / "garden" / "images" / f"val{i}.png").depth.metres.double().numpy()
        target = np.array(Image.open(datasets / "garden" / "depth" / f"val{i}.png")) / 1000
        ratios.append((np.abs(metres - target) / target).mean())
    assert report["metrics"]["AbsRel"] == pytest.approx(np.mean(ratios), rel=1e-4)


def test_alignment_is_for_depth_and_is_stated(
    visgen: Callable[..., Any], visgen_json: Callable[..., Any], model_folder: Path, datasets: Path
) -> None:
    words = ("evaluate", "--task", "depth", "--data", f"depth:{datasets / 'garden'}", "--model", model_folder)
    plain, scaled = visgen_json(*words), visgen_json(*words, "--align", "scale", "--metric", "max_depth=10")
    assert plain["protocol"]["metric"] == {"align": "none"}
    assert scaled["protocol"]["metric"] == {"max_depth": 10, "align": "scale"}
    assert scaled["metrics"]["AbsRel"] < plain["metrics"]["AbsRel"]
    wrong = visgen(*words, "--align", "scael")
    assert wrong.exit_code == 2
    assert "align is 'scael'" in wrong.stderr
    other = visgen(
        "evaluate", "--task", "segmentation", "--data", "semantic:x", "--model", model_folder, "--align", "scale"
    )
    assert "only depth is aligned" in other.stderr


def test_a_head_of_another_label_set_is_refused(visgen: Callable[..., Any], model_folder: Path, datasets: Path) -> None:
    words = ("evaluate", "--data", f"semantic:{datasets / 'street'}", "--model", model_folder)
    result = visgen(*words, "--task", "segmentation", "--head", "segmentation.pets")
    assert result.exit_code == 2
    assert "different label sets" in result.stderr
    result = visgen(*words, "--task", "depth", "--head", "segmentation.street")
    assert "--head is 'segmentation.street' but --task is 'depth'" in result.stderr
    result = visgen(*words, "--task", "depth")
    assert result.exit_code == 2
    assert "labels for segmentation" in result.stderr


def test_reader_options_are_passed_on(
    visgen: Callable[..., Any], visgen_json: Callable[..., Any], model_folder: Path, datasets: Path
) -> None:
    words = ("evaluate", "--task", "segmentation", "--data", f"semantic:{datasets / 'street'}", "--model", model_folder)
    report = visgen_json(*words, "--option", "name=renamed", "--head", "segmentation.street", "--limit", 2)
    assert report["protocol"]["images"] == 2
    wrong = visgen(*words, "--option", "nmae=x")
    assert wrong.exit_code == 2
    assert "nmae" in wrong.stderr


def test_a_record_holds_a_command_that_repeats_it(
    visgen: Callable[..., Any], visgen_json: Callable[..., Any], model_folder: Path, datasets: Path, tmp_path: Path
) -> None:
    path = tmp_path / "records" / "depth.json"
    data = f"depth:{datasets / 'garden'}"
    report = visgen_json(
        "evaluate", "--task", "depth", "--data", data, "--model", model_folder, "--align", "scale", "--record", path
    )
    record = read_record(path)
    assert record["metrics"] == report["metrics"]
    assert record["protocol"] == report["protocol"]
    assert (record["data"], record["split"]) == (data, "val")
    words = shlex.split(record["command"])
    assert words[:2] == ["visgen", "evaluate"]
    assert visgen_json(*words[1:])["metrics"] == report["metrics"]
    averaged = visgen_json(*words[1:], "--tta", "--record", path)
    assert (averaged["protocol"]["tta"], report["protocol"]["tta"]) == (True, False)
    assert averaged["metrics"] != report["metrics"]
    assert visgen_json(*shlex.split(read_record(path)["command"])[1:])["metrics"] == averaged["metrics"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--metric", "foo=1"), "the metric of task 'depth' cannot be made with {'foo': 1}"),
        (("--metric", "max_dpeth=1"), "it has no option 'max_dpeth'; did you mean 'max_depth'? Options: "),
        (("--metric", "align=none", "--align", "scale"), "--align is 'scale' but --metric says align=none; keep one"),
        (("--seen", "train"), "seen is train, but the figures of task 'depth' tell nothing seen from unseen"),
        (("--max-side", "0"), "max_side 0"),
    ],
)
def test_options_that_cannot_be_are_named(
    visgen: Callable[..., Any], model_folder: Path, datasets: Path, words: tuple[str, ...], says: str
) -> None:
    data = ("--data", f"depth:{datasets / 'garden'}")
    done = visgen("evaluate", "--model", model_folder, "--task", "depth", *data, *words)
    assert done.exit_code == 2 and says in done.stderr.replace("\n", " ")


def test_the_table_shows_figures_and_protocol(visgen: Callable[..., Any], model_folder: Path, datasets: Path) -> None:
    result = visgen("evaluate", "--task", "depth", "--data", f"depth:{datasets / 'garden'}", "--model", model_folder)
    assert result.exit_code == 0
    for word in ("AbsRel", "RMSE", "delta1", "scored_at", "size of the labels"):
        assert word in result.stdout


def test_pairs_are_yaml() -> None:
    assert read_pairs(["a=3e-1", "b=[1e-2]"], "--option") == {"a": 0.3, "b": [0.01]}  # as in --set and run files
    assert read_pairs(["a=1", "b=[1, 2]", "c=x=y", "d="], "--option") == {"a": 1, "b": [1, 2], "c": "x=y", "d": None}
    for bad, message in ((["a"], "write KEY=VALUE"), (["a=1", "a=2"], "gives 'a' twice"), (["a=["], "not YAML")):
        with pytest.raises(ConfigError, match=message):
            read_pairs(bad, "--option")


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "--task", "depth", "--data", "depth:x", "--model"),
        ("export", "--task", "depth", "--out", "x"),
        ("fit", "--data", "imagefolder:x", "--out", "x"),
        ("finetune", "--data", "imagefolder:x", "--experts", "head", "--out", "x"),
        ("data", "gaps", "--data", "depth:x"),
        ("experts", "stats", "--data", "depth:x"),
    ],
)
def test_a_model_that_draws_its_answers_has_no_heads(visgen: Callable[..., Any], words: tuple[str, ...]) -> None:
    done = visgen(*words, "visgen-instruct-tiny")
    assert done.exit_code == 2 and "draws its answers and has no task heads" in done.stderr.replace("\n", " ")

"""`visgen experts`: the commands on a tiny model in a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


def test_stats_of_labelled_and_unlabelled_pictures(
    visgen: Callable[..., Any],
    visgen_json: Callable[..., Any],
    model_folder: Path,
    datasets: Path,
    photographs: Path,
    tmp_path: Path,
) -> None:
    out, picture = tmp_path / "stats.json", tmp_path / "map.png"
    data = ("--data", f"semantic:{datasets / 'street'}", "--data", f"depth={photographs}")
    found = visgen_json("experts", "stats", model_folder, *data, "--out", out, "--picture", picture)
    assert found["tasks"] == ["segmentation", "depth"] and found == json.loads(out.read_text())
    assert all(abs(sum(row) - layer["top_k"]) < 1e-9 for layer in found["layers"] for row in layer["load"])
    with Image.open(picture) as drawn:
        assert drawn.size[0] > 300
    done = visgen("experts", "stats", model_folder, "--data", photographs, "--limit", "1")
    assert done.exit_code == 0 and "blocks.0.attn" in done.stdout and "classification" in done.stdout


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("dept=semantic:STREET", "did you mean 'depth'"),
        ("semantik:STREET", "did you mean 'semantic'"),
        ("no_such_folder", "has no format"),
    ],
)
def test_mistakes_are_told(
    visgen: Callable[..., Any], model_folder: Path, datasets: Path, data: str, message: str
) -> None:
    done = visgen("experts", "stats", model_folder, "--data", data.replace("STREET", str(datasets / "street")))
    assert done.exit_code == 2 and message in done.stderr


def test_an_extract_is_reported_saved_and_used(
    visgen: Callable[..., Any],
    visgen_json: Callable[..., Any],
    model_folder: Path,
    photographs: Path,
    tmp_path: Path,
) -> None:
    stats, part = tmp_path / "stats.json", tmp_path / "part"
    visgen_json("experts", "stats", model_folder, "--data", photographs, "--out", stats)
    words = ("experts", "extract", model_folder, "--task", "depth", "--theta", "0")
    report = visgen_json(*words, "--data", photographs, "--out", part)
    assert report["heads"] == ["depth"] and report["change"] == {"depth": 0.0}
    assert report["parameters"]["after"] < report["parameters"]["before"]
    again = visgen_json(*words, "--stats", stats)
    assert again["experts"] == report["experts"] and again["change"] is None
    done = visgen("predict", photographs / "a.png", "--model", part, "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)[0]["depth"] is not None
    done = visgen(*words)
    assert done.exit_code == 2 and "give either --stats FILE or --data" in done.stderr


def test_what_cannot_work_is_told_first(visgen: Callable[..., Any], model_folder: Path, tmp_path: Path) -> None:
    (file := tmp_path / "file").touch()
    task, one, new = ("--task", "depth"), f"depth:{file}", ("--head", "depth.new", "--out", tmp_path / "new")
    for words, message in (
        (("fit", model_folder, "--data", one, "--out", file / "below"), f"but '{file}' is a file"),
        (("experts", "extract", model_folder, *task, "--out", file), f"but '{file}' is a file"),
        (("experts", "extract", model_folder, *task, "--probes", "-3"), "--probes is -3"),
        (("experts", "extend", model_folder, *new, "--classes", "a,b"), "got the classes a, b, but its task has none"),
        (("evaluate", *task, "--data", one, "--seen", "train"), "is one file"),
        (("export", model_folder, *task, "--int8", "--data", one, "--calibrate-on", "a", "--out", "x"), "is one file"),
        (("predict", "http://127.0.0.1/a.png", "--model", model_folder), "(--allow-private)"),
    ):
        done = visgen(*words)
        assert done.exit_code == 2 and message in done.stderr, done.stderr


def test_a_task_is_added_and_a_budget_set_measured_and_taken_back(
    visgen: Callable[..., Any], visgen_json: Callable[..., Any], model_folder: Path, datasets: Path, tmp_path: Path
) -> None:
    grown, cheap, again = tmp_path / "grown", tmp_path / "cheap", tmp_path / "again"
    words = ("--head", "segmentation.more", "--data", f"semantic:{datasets / 'pets'}", "--new-experts", "1")
    report = visgen_json("experts", "extend", model_folder, *words, "--out", grown)
    assert report["route"] == "segmentation_more" and {len(e) for e in report["experts"].values()} == {1}
    full = visgen_json("experts", "budget", grown, "--task", "depth")["depth"]
    less = visgen_json("experts", "budget", grown, "--task", "depth", "--k", "1", "--out", cheap)["depth"]
    assert less["flops"] < full["flops"] and set(less["visits"].values()) == {1.0}
    assert visgen_json("experts", "budget", cheap, "--task", "depth", "--reset", "--out", again)["depth"] == full
    done = visgen("experts", "budget", grown, "--task", "depth", "--out", again)
    assert done.exit_code == 2 and "no budget is named" in done.stderr
    done = visgen("experts", "budget", grown, "--task", "depth", "--deny", "blocks.1.mlp")
    assert done.exit_code == 2 and "write LAYER:N,N" in done.stderr
    done = visgen("experts", "budget", grown, "--task", "depth", "--k", "1")
    assert done.exit_code == 0 and "nothing was saved; --out FOLDER" in done.output
    for words in (("--record", "x.json"), ("--picture", "x.png"), ("--curve", "--out", again)):
        done = visgen("experts", "budget", grown, "--task", "depth", "--k", "1", *words)
        assert done.exit_code == 2 and f"{words[-2]} is '{words[-1]}' but" in done.stderr
    done = visgen("experts", "extend", model_folder, "--head", "depht.x", "--out", again)
    assert done.exit_code == 2 and "did you mean 'depth'" in done.stderr
    done = visgen("experts", "extend", model_folder, "--head", "depth.x", "--new-experts", "1", "--out", again)
    assert done.exit_code == 2 and "needs --data" in done.stderr


def test_what_would_do_nothing_or_could_not_be_written_is_told_before_anything_is_measured(
    visgen: Callable[..., Any], model_folder: Path, photographs: Path, tmp_path: Path
) -> None:
    budget, extract = ("experts", "budget", model_folder), ("experts", "extract", model_folder)
    task, file = ("--task", "depth", "--data", "depth:nosuch"), tmp_path / "a.txt"
    for words, message in (
        ((*budget, *task, "--curve", "--k", 1), "--k is '1' but --curve does not go by it"),
        ((*budget, *task, "--curve", "--allow", "blocks.0.attn:0"), "--allow is"),
        ((*budget, *task, "--repeats", 3), "--repeats is '3' but it is of a curve"),
        ((*extract, *task, "--curve", "--theta", 0.2), "--theta is '0.2' but --curve does not go by it"),
        ((*extract, *task, "--stats-limit", 3), "--stats-limit is '3' but it is of a curve"),
        ((*extract, *task, "--curve", "--record", file), "does not end in .json"),
        ((*budget, *task, "--curve", "--record", file), "does not end in .json"),
        (("evaluate", *task, "--record", file), "does not end in .json"),
        (("export", model_folder, "--task", "depth", "--out", tmp_path, "--record", file), "does not end in .json"),
        (("experts", "stats", model_folder, *task[2:], "--picture", file), "does not end in .png"),
        (("data", "gaps", model_folder, *task[2:], "--picture", file), "does not end in .png"),
    ):
        done = visgen(*words)
        assert done.exit_code == 2 and message in " ".join(done.output.split()), (words, done.output)
    out, picture = tmp_path / "new" / "stats.json", tmp_path / "other" / "map.png"
    visgen("experts", "stats", model_folder, "--data", photographs, "--out", out, "--picture", picture)
    assert out.is_file() and picture.is_file()


def test_curves_are_measured_drawn_and_recorded(
    visgen_json: Callable[..., Any], model_folder: Path, datasets: Path, tmp_path: Path
) -> None:
    from visgen.metrics import read_record

    common = ("--task", "depth", "--data", f"depth:{datasets / 'garden'}", "--curve")
    record, picture = tmp_path / "r.json", tmp_path / "c.png"
    saved = ("--record", record, "--picture", picture)
    points = ("--ks", "1", "--taus", "0.5", "--threads", "1", "--repeats", "1")
    found = visgen_json("experts", "budget", model_folder, *common, *points, *saved)
    assert [p["case"] for p in found["points"]] == ["full", "k 1", "tau 0.5"] and picture.stat().st_size > 1000
    assert read_record(record)["metrics"] == found
    points = ("--thetas", "0", "--keeps", "1,2", "--seeds", "0,1", "--stats-limit", "2")
    found = visgen_json("experts", "extract", model_folder, *common, *points, *saved)
    kept = read_record(record)
    assert kept["seeds"] == [0, 1] and "--keeps 1,2" in kept["command"] and kept["metrics"] == found

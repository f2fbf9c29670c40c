"""`visgen models`, `doctor` and `bench`."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from visgen.cli import bench as bench_module
from visgen.cli import doctor as doctor_module
from visgen.zoo import add_to_index
from visgen.zoo import index as index_module


@pytest.fixture
def zoo(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo with one model in place of the shipped one."""
    folder = tmp_path / "zoo"
    add_to_index(model_folder, "my-tiny", zoo=folder, metrics={"depth": {"AbsRel": 0.1234}})
    monkeypatch.setattr(index_module, "shipped_path", lambda relative: folder / Path(relative).name)
    return folder


def test_models_are_listed_with_figures(visgen: Callable[..., Any], visgen_json: Callable[..., Any], zoo: Path) -> None:
    listed = visgen_json("models")
    assert list(listed) == ["my-tiny"]
    assert listed["my-tiny"]["tasks"] == ["classification", "segmentation.street", "segmentation.pets", "depth"]
    assert listed["my-tiny"]["metrics"] == {"depth": {"AbsRel": 0.1234}}
    assert "depth AbsRel 0.123" in visgen("models").stdout
    assert visgen("models", "my-tiny").stdout.strip() == (zoo / "cards" / "my-tiny.md").read_text().strip()
    wrong = visgen("models", "my-tinny")
    assert wrong.exit_code == 2 and "did you mean 'my-tiny'" in wrong.stderr


def test_the_doctor_finds_this_machine_well(visgen_json: Callable[..., Any], zoo: Path) -> None:
    report = visgen_json("doctor")
    assert report["ok"] is True
    states = {c["name"]: c["state"] for c in report["checks"]}
    for name in ("python", "packages", "torch computes", "torchvision matches torch", "model my-tiny"):
        assert states[name] == "ok", report
    assert {"devices", "threads", "video", "ffmpeg"} <= set(states)
    assert all(c["advice"] for c in report["checks"] if c["state"] == "fail")


def test_the_doctor_names_a_changed_model(visgen: Callable[..., Any], zoo: Path) -> None:
    weights = zoo / "weights" / "my-tiny.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    result = visgen("doctor", "--json")
    assert result.exit_code == 1
    (bad,) = [c for c in json.loads(result.stdout)["checks"] if c["state"] == "fail"]
    assert bad["name"] == "model my-tiny" and "sha256" in bad["found"] and bad["advice"] == "reinstall visgen"


def test_the_doctor_names_a_torchvision_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision

    def nms(*args: Any) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(torchvision.ops, "nms", nms)
    (check,) = [c for c in doctor_module.examine() if c.name == "torchvision matches torch"]
    assert check.state == "fail"
    assert "nms does not exist" in check.found and "pip install" in check.advice


def test_a_check_that_breaks_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def _broken() -> list[Any]:
        raise OSError("libtorch.so: cannot open shared object file")

    monkeypatch.setattr(doctor_module, "_torch", _broken)
    (check,) = [c for c in doctor_module.examine() if c.name == "broken"]
    assert check.state == "fail" and "libtorch.so" in check.found


def test_bench_prints_rows_with_ratios(visgen_json: Callable[..., Any], model_folder: Path) -> None:
    report = visgen_json("bench", "latency", "--model", model_folder, "--repeats", 3, "--threads", 1)
    assert (report["bench"], report["environment"]["threads"]) == ("latency", 1)
    rows = report["rows"]
    yard = rows[0]
    assert yard["case"] == "timm vit_tiny_patch16_224 224x224" and yard["ratio"] == 1
    heads = ["classification", "segmentation.street", "segmentation.pets", "depth"]
    tasks = ["classification", "segmentation.street", "depth"]
    assert [r["heads"] for r in rows[1:7]] == [*([h] for h in heads), tasks, heads]
    assert [r["case"] for r in rows[5:7]] == ["all 3 tasks 320x240", "all 4 heads 320x240"]
    for row in rows:
        assert {"case", "dtype", "pass", "median_ms", "ratio", "against"} <= set(row)
        assert 0 < row["lowest_ms"] <= row["median_ms"]
    alone = [r["median_ms"] for r in rows[1:5]]
    for together, block in ((rows[5], rows[7:10]), (rows[6], rows[10:13])):
        assert together["ratio"] == pytest.approx(together["median_ms"] / yard["median_ms"])
        for row, ms in zip(block, (statistics.median(alone), max(alone), sum(alone)), strict=True):
            assert row["case"] == together["case"]
            assert row["ratio"] == pytest.approx(together["median_ms"] / ms)


def test_runs_are_interleaved_and_the_warm_up_is_left_out() -> None:
    order: list[str] = []
    seconds = bench_module._interleave({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 4, warm_up=2)
    assert order == ["a", "b"] * 6
    assert [len(v) for v in seconds.values()] == [4, 4]
    assert statistics.median(seconds["a"]) >= 0


@pytest.mark.parametrize("words", [("--threads", "0"), ("--repeats", "0")])
def test_bench_refuses_zero(visgen: Callable[..., Any], words: tuple[str, str]) -> None:
    result = visgen("bench", "latency", *words)
    assert result.exit_code == 2
    assert "must be at least 1" in result.stderr

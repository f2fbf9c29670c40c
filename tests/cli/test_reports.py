"""`visgen models` and `doctor`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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

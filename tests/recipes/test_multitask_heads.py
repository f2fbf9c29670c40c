"""The recipe that puts heads of other runs into a model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from visgen.task import MultiTaskModel, build_model
from visgen.zoo import load_model, save_pretrained

SCRIPT = Path(__file__).resolve().parents[2] / "tasks" / "multitask" / "heads.py"


def build() -> MultiTaskModel:
    heads = {"classification.x": {"task": "classification", "classes": ("cat", "dog")}, "depth": {"task": "depth"}}
    return build_model({"backbone": {"name": "timm", "model": "mobilenetv3_small_050"}, "heads": heads})


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """A model, two with the same backbone and heads filled with 1 and 2.0625, one with another backbone."""
    torch.manual_seed(0)
    model, made = build(), {}
    made["base"] = save_pretrained(model, tmp_path / "base")
    for name, number in (("one", 1.0), ("two", 2.0625)):
        for key, value in model.state_dict().items():
            if key.startswith("heads."):
                value.fill_(number)
        made[name] = save_pretrained(model, tmp_path / name)
    made["other"] = save_pretrained(build(), tmp_path / "other")
    return made


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_a_head_is_the_mean_of_runs_and_the_rest_stays(folders: dict[str, Path], tmp_path: Path) -> None:
    runs = f"classification.x={folders['one']}+{folders['two']}"
    done = run(folders["base"], runs, "--out", tmp_path / "new", "--bits", "5")
    assert done.returncode == 0, done.stderr
    old, new = load_model(str(folders["base"])).state_dict(), load_model(str(tmp_path / "new")).state_dict()
    for name, value in new.items():
        if name.startswith("heads.classification__x."):
            expected = 1.53125 if value.dim() < 2 else 1.5  # 1.53125 = 0b1.10001; five bits end in 1.5
            assert torch.all(value == expected), name
        else:
            wanted = old[name].half().float() if old[name].dim() > 1 else old[name]
            assert torch.equal(value, wanted), name


def test_other_features_and_absent_heads_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    cases = {"x": ("other", "another backbone"), "y": ("one", "no head 'classification.y'")}
    for label_set, (run_of, says) in cases.items():
        item = f"classification.{label_set}={folders[run_of]}"
        done = run(folders["base"], item, "--out", tmp_path / "new")
        assert done.returncode == 2 and says in done.stderr, done.stderr
        assert not (tmp_path / "new").exists()


def test_heads_take_the_routers_that_are_named(tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone = {"name": "vit_moe", "width": 32, "heads": 2, "depth": 2, "prefix_depth": 0, "num_experts": 4, "top_k": 2}
    heads = {"classification.x": {"task": "classification", "classes": ("cat", "dog")}, "depth": {"task": "depth"}}
    save_pretrained(build_model({"backbone": {**backbone, "attention_experts": 4}, "heads": heads}), tmp_path / "base")
    words = (tmp_path / "base", f"depth={tmp_path / 'base'}", "--out", tmp_path / "new", "--routes")
    done = run(*words, "depth=classification")
    assert done.returncode == 0, done.stderr
    old, new = (load_model(str(tmp_path / name)) for name in ("base", "new"))
    assert (old.route("depth"), new.route("depth")) == ("depth", "classification")
    picture = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert not torch.equal(old(picture, "depth")[0], new(picture, "depth")[0])
    done = run(*words[:-2], tmp_path / "bad", "--routes", "depth=detection")
    assert done.returncode == 2 and "route 'detection' but the backbone routes" in done.stderr
    assert not (tmp_path / "bad").exists()

"""Each recipe under tasks/ runs two steps on the sample photographs or the procedural world, in a process of its own.

Every train.py, eval.py and demo.py takes `--quick` (two steps, no outside data) and `--out DIR`, the only place where
it writes. Any other script there has a test file of its own beside this one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("train", "eval", "demo")
SCRIPTS = sorted((ROOT / "tasks").rglob("*.py"))
RECIPES = [p for p in SCRIPTS if p.stem in KINDS]


def run_quick(recipe: Path, out: Path) -> str:
    """Run a recipe with --quick and give its standard output."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(recipe), "--quick", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_each_shipped_task_has_its_three_recipes() -> None:
    names = {str(p.relative_to(ROOT / "tasks")) for p in RECIPES}
    tasks = ("classification", "segmentation", "depth", "detection", "scene_graph")
    wanted = {f"{t}/{k}.py" for t in tasks for k in KINDS} | {"ood/eval.py", "ood/demo.py"}
    assert wanted <= names, f"missing: {sorted(wanted - names)}"


def test_every_other_script_has_a_test_of_its_own() -> None:
    tests = {p.name for p in Path(__file__).parent.glob("test_*.py")}
    assert not [p for p in SCRIPTS if p not in RECIPES and f"test_{p.parent.name}_{p.stem}.py" not in tests]


@pytest.mark.parametrize("recipe", SCRIPTS, ids=lambda p: str(p.relative_to(ROOT / "tasks")))
def test_a_recipe_is_at_most_120_lines(recipe: Path) -> None:
    assert len(recipe.read_text(encoding="utf-8").splitlines()) <= 120


@pytest.mark.parametrize("recipe", SCRIPTS, ids=lambda p: str(p.relative_to(ROOT / "tasks")))
def test_a_recipe_says_what_was_wrong_without_a_traceback(recipe: Path) -> None:
    assert "except VisgenError as error" in recipe.read_text(encoding="utf-8")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: str(p.relative_to(ROOT / "tasks")))
def test_a_recipe_runs(recipe: Path, tmp_path: Path) -> None:
    before = {p for p in recipe.parent.iterdir() if p.name != "__pycache__"}
    printed = run_quick(recipe, tmp_path / "out")
    written = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    if recipe.stem == "train":
        assert any(p.suffix == ".safetensors" for p in written), f"training left no weights, only {written}"
    elif recipe.stem == "eval":
        figures = json.loads(printed)
        assert {"task", "model", "data", "metrics", "protocol"} <= figures.keys()
        assert figures["metrics"]
    else:
        pictures = [p for p in written if p.suffix in (".png", ".jpg")]
        assert pictures and all(p.stat().st_size > 1000 for p in pictures), f"the demo drew nothing: {written}"
    assert {p for p in recipe.parent.iterdir() if p.name != "__pycache__"} == before, "a recipe writes under --out only"

"""Arms that train for a step and are not trained twice."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from visgen.metrics import read_record


def test_arms_train_and_are_measured_once(
    load_recipe: Callable[[str], ModuleType],
    night_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = load_recipe("night/variants")
    small = ["objective.options.translator={name: relight, channels: 2, blocks: 0}", "objective.options.edges=sobel"]
    small += ["objective.options.discriminator={channels: 4, steps: 2}", "objective.options.nce_stages=[0, 2]"]
    arms = {"hedgan": ["objective.options.variant=hedgan"], "cut": ["objective.options.variant=cut"]}
    monkeypatch.setattr(recipe, "ARMS", {name: [*small, *changes] for name, changes in arms.items()})
    record = tmp_path / "record.json"
    words = ["--data-root", str(night_data), "--out", str(tmp_path / "runs"), "--seeds", "0", "--steps", "1"]
    words += ["--size", "32", "--record", str(record)]
    monkeypatch.setattr(sys, "argv", ["variants.py", *words])
    recipe.main()
    found = read_record(record)["metrics"]
    assert set(found) == {"hedgan", "cut"} and 0.2 < found["cut"]["light"]["mean"] < 0.8
    monkeypatch.setattr(recipe, "train_run", lambda *_, **__: pytest.fail("trained again"))
    recipe.main()
    assert read_record(record)["metrics"] == found
    words[words.index("--steps") + 1] = "2"
    monkeypatch.setattr(sys, "argv", ["variants.py", *words])
    with pytest.raises(SystemExit):  # figures of one step are none of two
        recipe.main()
    assert "was trained by another configuration" in capsys.readouterr().err
    assert read_record(record)["protocol"]["training"].startswith("1 steps")

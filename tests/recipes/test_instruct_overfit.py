"""A fresh denoiser can learn questions of all six tasks by heart, as codecs and VAE allow."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from visgen.data import build_source
from visgen.engine.instruct_overfit import TASKS, ask_every_task, learn_by_heart
from visgen.errors import DataError
from visgen.metrics import read_record
from visgen.zoo import load_model

TARGETS = "classification,detection,segmentation,depth,scene_graph"


def town(count: int):
    return build_source(f"town:instruct?size=64x64&count={count}&ood_share=0.5", "train", tasks=TARGETS)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_eight_questions_of_each_task_are_answered_right():
    shipped = load_model("visgen-instruct-tiny", "cpu")
    found = learn_by_heart(shipped, ask_every_task(shipped, town(60), 8))
    assert found["questions"] == 48
    assert found["loss"]["after"] < found["loss"]["before"] / 10
    for task in TASKS:
        assert found["model"][task] >= 0.9 * found["bound"][task], task
        assert found["model"][task] > found["shuffled"][task], task


def test_every_task_is_asked_about_every_image():
    shipped = load_model("visgen-instruct-tiny", "cpu")
    rows = ask_every_task(shipped, town(12), 2)
    assert [row.query.request.task for row in rows] == [*TASKS, *TASKS]
    assert rows[0].sample is rows[5].sample is not rows[6].sample
    assert all(row.query.is_there for row in rows if row.query.request.task not in ("classification", "ood"))
    with pytest.raises(DataError, match="of 2 images can answer every task, 3 are wanted"):
        ask_every_task(shipped, town(2), 3)
    found = learn_by_heart(shipped, rows[:6], steps=1)
    assert found["questions"] == 6 and set(found["bound"]) == set(TASKS)


def test_the_script_prints_and_keeps_what_was_learnt(
    load_recipe: Callable[[str], ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["overfit.py", "--quick", "--out", str(tmp_path)])
    load_recipe("instruct/overfit").main()
    found = json.loads(capsys.readouterr().out)
    assert found["questions"] == 6 and found["loss"]["after"] < found["loss"]["before"]
    assert read_record(tmp_path / "instruct_overfit.json")["metrics"] == found

"""A run that is killed and resumed has the numbers of one that is not, bit for bit."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from visgen.engine import load_checkpoint, load_newest
from visgen.engine.checkpoint import list_checkpoints
from visgen.engine.log import read_csv

TOY = Path(__file__).with_name("_toy_run.py")
STEPS = 24
TIMES = ("seconds", "wait")


def curve(out: Path) -> list[dict[str, str]]:
    """Rows of the log without what a clock decides."""
    return [{k: v for k, v in row.items() if k not in TIMES} for row in read_csv(out / "log.csv")]


def final_tensors(out: Path) -> dict:
    step, path = list_checkpoints(out / "checkpoints")[0]
    checkpoint = load_checkpoint(path)
    return {f"{stem}/{name}": t for stem, group in checkpoint.tensors.items() for name, t in group.items()}


def assert_equal_runs(one: Path, other: Path) -> None:
    assert curve(one) == curve(other)
    assert read_csv(one / "metrics.csv") == read_csv(other / "metrics.csv")
    ours, theirs = final_tensors(one), final_tensors(other)
    assert ours.keys() == theirs.keys()
    assert all(t.equal(theirs[name]) for name, t in ours.items())


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, toy: ModuleType) -> Path:
    out = tmp_path_factory.mktemp("uninterrupted")
    toy.make_trainer(out, steps=STEPS).fit()
    return out


def wait_for(condition: Callable[[], bool], runs: Any, process: int, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert runs.is_alive(process), "the run ended before it could be killed"
        assert time.monotonic() < end, "the run did not get there in time"
        time.sleep(0.0005)


def rows(out: Path) -> int:
    log = out / "log.csv"
    return log.read_bytes().count(b"\n") - 1 if log.exists() else 0


def test_resume_after_a_kill_at_a_random_step_equals_no_kill(
    tmp_path: Path, uninterrupted: Path, runs: Any, toy: ModuleType
) -> None:
    step = random.SystemRandom().randrange(4, STEPS - 8)
    process = runs.start(tmp_path, steps=STEPS, workers=1)
    wait_for(lambda: rows(tmp_path) >= step, runs, process)
    runs.kill(process)
    summary = toy.make_trainer(tmp_path, steps=STEPS).fit(resume=True)
    assert summary.reason == "all steps" and summary.steps == STEPS, f"killed at step {step}"
    assert_equal_runs(uninterrupted, tmp_path)


def test_resume_after_a_kill_during_a_save_equals_no_kill(
    tmp_path: Path, uninterrupted: Path, runs: Any, toy: ModuleType
) -> None:
    process = runs.start(tmp_path, steps=STEPS, save_every=1)
    half_written = lambda: any((tmp_path / "checkpoints").glob(".tmp-*/model.safetensors"))  # noqa: E731
    wait_for(lambda: rows(tmp_path) >= 3 and half_written(), runs, process)
    runs.kill(process)
    assert load_newest(tmp_path / "checkpoints") is not None
    left = list((tmp_path / "checkpoints").glob(".tmp-*"))
    trainer = toy.make_trainer(tmp_path, steps=STEPS)
    if left:
        with pytest.warns(UserWarning, match=r"removed half-written checkpoints .*\.tmp-step-"):
            trainer.fit(resume=True)
    else:
        trainer.fit(resume=True)
    assert not list((tmp_path / "checkpoints").glob(".tmp-*"))
    assert_equal_runs(uninterrupted, tmp_path)


def test_a_torn_newest_checkpoint_is_skipped_and_the_run_still_the_same(
    tmp_path: Path, uninterrupted: Path, toy: ModuleType
) -> None:
    toy.make_trainer(tmp_path, steps=STEPS, time_limit=1e-9, save_every=1).fit()  # stops after one step
    for _ in range(2):
        toy.make_trainer(tmp_path, steps=STEPS, time_limit=1e-9, save_every=1).fit(resume=True)
    (newest, path), (_, older) = list_checkpoints(tmp_path / "checkpoints")[:2]
    model = path / "model.safetensors"
    model.write_bytes(model.read_bytes()[:-100])
    with pytest.warns(UserWarning, match=f"skipped a checkpoint .*{path.name}.*model.safetensors has"):
        checkpoint = load_newest(tmp_path / "checkpoints")
    assert checkpoint is not None and checkpoint.step == newest - 1 and older.name.endswith(str(newest - 1))
    with pytest.warns(UserWarning, match="skipped a checkpoint"):
        toy.make_trainer(tmp_path, steps=STEPS).fit(resume=True)
    assert_equal_runs(uninterrupted, tmp_path)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_to_all_processes_saves_and_the_resumed_run_is_the_same(
    name: str, tmp_path: Path, uninterrupted: Path, runs: Any, toy: ModuleType
) -> None:
    """Schedulers and Ctrl-C signal the loading processes as well as the one that trains."""
    process = runs.start(tmp_path, steps=STEPS, workers=1, save_every=0)
    wait_for(lambda: rows(tmp_path) >= 4, runs, process)
    children = Path(f"/proc/{process}/task/{process}/children")
    for number in [process, *(map(int, children.read_text().split()) if children.exists() else [])]:
        os.kill(number, getattr(signal, name))
    runs.wait(process)
    told = json.loads((tmp_path / "ended-0.json").read_text())
    assert told["reason"] == name and told["steps"] < STEPS
    assert list_checkpoints(tmp_path / "checkpoints")[0][0] == told["steps"]
    toy.make_trainer(tmp_path, steps=STEPS).fit(resume=True)
    assert_equal_runs(uninterrupted, tmp_path)


def test_loading_ahead_in_processes_changes_no_number(tmp_path: Path, uninterrupted: Path, toy: ModuleType) -> None:
    toy.make_trainer(tmp_path, steps=STEPS, workers=2).fit()
    assert_equal_runs(uninterrupted, tmp_path)


def test_how_often_a_run_evaluates_and_saves_changes_no_number(
    tmp_path: Path, uninterrupted: Path, toy: ModuleType
) -> None:
    toy.make_trainer(tmp_path, steps=STEPS, eval_every=1, save_every=0).fit()
    assert curve(tmp_path) == curve(uninterrupted)
    ours, theirs = final_tensors(tmp_path), final_tensors(uninterrupted)
    assert all(t.equal(theirs[name]) for name, t in ours.items())


@pytest.mark.filterwarnings("ignore:removed half-written")
@pytest.mark.parametrize("number", range(5))
def test_a_kill_at_any_time_leaves_a_checkpoint_that_loads(
    number: int, tmp_path: Path, uninterrupted: Path, runs: Any, toy: ModuleType
) -> None:
    kill_and_resume(tmp_path, uninterrupted, runs, toy)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:removed half-written")
@pytest.mark.parametrize("number", range(20))
def test_twenty_more_kills_at_any_time(
    number: int, tmp_path: Path, uninterrupted: Path, runs: Any, toy: ModuleType
) -> None:
    kill_and_resume(tmp_path, uninterrupted, runs, toy)


def kill_and_resume(out: Path, uninterrupted: Path, runs: Any, toy: ModuleType) -> None:
    process = runs.start(out, steps=STEPS, save_every=1, keep=1)
    wait_for(lambda: len(list_checkpoints(out / "checkpoints")) > 0, runs, process)
    time.sleep(random.SystemRandom().uniform(0, 0.2))
    if runs.is_alive(process):
        runs.kill(process)
    assert load_newest(out / "checkpoints") is not None
    toy.make_trainer(out, steps=STEPS).fit(resume=True)
    assert_equal_runs(uninterrupted, out)

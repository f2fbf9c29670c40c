"""Logs that survive a kill, and progress that keeps quiet where nobody looks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from visgen.engine.log import CsvLog, Progress, TensorBoardLog, read_csv
from visgen.errors import MissingDependency


def test_numbers_come_back_exactly_and_columns_may_grow(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    log = CsvLog(path)
    log.write({"step": 1, "loss": 0.1 + 0.2})
    log.write({"step": 2, "loss": 1e-300, "loss/b, c": 5.0})
    log.write({"step": 3, "loss": float("nan")})
    rows = read_csv(path)
    assert [float(r["loss"]) for r in rows[:2]] == [0.1 + 0.2, 1e-300] and rows[2]["loss"] == "nan"
    assert [r["loss/b, c"] for r in rows] == ["", "5.0", ""]


def test_resume_drops_later_rows_and_a_row_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    log = CsvLog(path)
    for step in range(1, 6):
        log.write({"step": step, "loss": step / 3})
    path.write_bytes(path.read_bytes()[:-3])  # the kill came in mid-row
    assert [r["step"] for r in read_csv(path)] == ["1", "2", "3", "4"]
    log = CsvLog(path, resume_at=3)
    assert [r["step"] for r in read_csv(path)] == ["1", "2", "3"]
    log.write({"step": 4, "loss": 9.0})
    assert [float(r["loss"]) for r in read_csv(path)] == [1 / 3, 2 / 3, 1.0, 9.0]


def test_resume_at_the_start_and_a_new_run_begin_empty(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    for resume_at in (0, None):
        CsvLog(path).write({"step": 1, "loss": 1.0})
        log = CsvLog(path, resume_at)
        log.write({"step": 1, "other": 2.0})
        assert read_csv(path) == [{"step": "1", "other": "2.0"}]
    CsvLog(tmp_path / "absent.csv", resume_at=5).write({"step": 6})
    assert read_csv(tmp_path / "absent.csv") == [{"step": "6"}]


ROW = {"loss": 0.5, "skipped": 0, "seconds": 0.25}


def test_nothing_is_shown_when_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("auto", 2, 0)
    progress.step(1, ROW)
    progress.say("a line")
    progress.close()
    assert capsys.readouterr() == ("", "")


def test_lines_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("lines", 4, 0, every=2)
    for step in (1, 2, 3, 4):
        progress.step(step, {**ROW, "skipped": step // 4})
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines() == [
        "step 2/4  loss 0.5  0.25 s/step",
        "step 4/4  loss 0.5  skipped 1  0.25 s/step",
    ]


def test_the_bar_shows_steps_and_loss(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("bar", 4, 1)
    progress.step(3, ROW)
    progress.say("evaluated [0.5]")
    progress.close()
    out, err = capsys.readouterr()
    assert out == "" and "3/4" in err and "loss 0.5" in err and "evaluated [0.5]" in err


def test_tensorboard_writes_numbers_or_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        pass
    else:
        log = TensorBoardLog(tmp_path)
        log.write({"step": 1, "loss": 0.5, "note": "text"})
        log.close()
        assert [p for p in tmp_path.iterdir() if b"loss" in p.read_bytes()]
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    for name in [n for n in sys.modules if n.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingDependency, match="tensorboard is not installed; run pip install tensorboard"):
        TensorBoardLog(tmp_path)

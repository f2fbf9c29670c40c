"""Records: what is written comes back, nothing half-written stays, and a record that lies is refused."""

import json
import math
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import visgen
from visgen.errors import DataError
from visgen.metrics import read_record, summarise, write_record

FIELDS = {
    "command": "visgen evaluate --task depth --data depth:PATH --json",
    "config": {"task": "depth", "epochs": 2},
    "seeds": [0, 1, 2],
    "data": "depth_room",
    "split": "val",
    "protocol": {"align": "none", "aggregate": "images"},
    "metrics": {"room": {"AbsRel": summarise([0.2, 0.1, 0.3]), "images": 37}},
}


def test_summarise_agrees_with_the_standard_library():
    values = [0.2, 0.1, 0.4]
    assert summarise(values) == {
        "mean": pytest.approx(statistics.mean(values)),
        "std": pytest.approx(statistics.stdev(values)),
        "n": 3,
        "values": values,
    }
    assert summarise([2])["std"] == 0.0


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_summarise_refuses(values):
    with pytest.raises(DataError, match="values to summarise are"):
        summarise(values)


def test_round_trip_and_environment(tmp_path):
    path = tmp_path / "new" / "depth.json"
    written = write_record(path, **FIELDS, environment={"minutes": 3.5}, notes="a test")
    assert read_record(path) == written == json.loads(path.read_text())
    for name, value in FIELDS.items():
        assert written[name] == value
    environment = written["environment"]
    assert written["visgen"] == visgen.__version__ and environment["torch"] == torch.__version__
    assert environment["threads"] == torch.get_num_threads() and environment["minutes"] == 3.5
    assert environment["python"] == ".".join(map(str, sys.version_info[:3])) and environment["cpu"]
    assert path.stat().st_mode & 0o044 == 0o044
    assert [p.name for p in path.parent.iterdir()] == ["depth.json"]


def test_commit_is_that_of_the_checkout(tmp_path):
    root = Path(visgen.__file__).parents[1]
    if not (root / ".git").exists():
        pytest.skip("visgen does not run from a checkout")
    head = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert write_record(tmp_path / "a.json", **FIELDS)["commit"].rstrip("+") == head.stdout.strip()


def test_words_of_a_command_are_joined(tmp_path):
    record = write_record(
        tmp_path / "a.json", **{**FIELDS, "command": ["visgen", "bench", "moe"], "config": "tiny.yaml"}
    )
    assert record["command"] == "visgen bench moe" and record["config"] == "tiny.yaml"


def test_a_failed_write_leaves_the_old_record_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_record(path, **FIELDS)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_record(path, **{**FIELDS, "split": "test"})
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"command": ""}, "empty 'command'"),
        ({"metrics": {}}, "empty 'metrics'"),
        ({"seeds": [0.5]}, r"seeds \[0\.5\]"),
        ({"seeds": [0, 1]}, r"3 values as metrics\.room\.AbsRel but 2 seeds"),
        ({"metrics": {"AbsRel": math.nan}}, "not plain JSON"),
        ({"metrics": {"AbsRel": torch.tensor(0.1)}}, "not plain JSON"),
        ({"metrics": {"AbsRel": {**summarise([1.0, 2.0, 3.0]), "mean": 1.0}}}, r"says metrics\.AbsRel\.mean is 1\.0"),
    ],
)
def test_write_refuses(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        write_record(tmp_path / "a.json", **{**FIELDS, **change})
    assert list(tmp_path.iterdir()) == []


def test_write_refuses_another_suffix(tmp_path):
    with pytest.raises(DataError, match=r"'a\.txt'; its name must end in \.json"):
        write_record(tmp_path / "a.txt", **FIELDS)
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt.json"]  # what was measured is not lost
    assert read_record(tmp_path / "a.txt.json")["metrics"] == FIELDS["metrics"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("split"), "lacks the field 'split'"),
        (lambda r: r.update(metric={}), "unknown field 'metric'; did you mean 'metrics'"),
        (lambda r: r.update(schema=9), "has schema 9; this visgen reads schema 1"),
        (lambda r: r.update(seeds="0"), "has a str as 'seeds'"),
        (lambda r: r["metrics"]["room"]["AbsRel"].update(std=0.5), r"AbsRel\.std is 0\.5 but its values give"),
    ],
)
def test_read_refuses(tmp_path, change, message):
    path = tmp_path / "a.json"
    record = write_record(path, **FIELDS)
    change(record)
    path.write_text(json.dumps(record))
    with pytest.raises(DataError, match=message):
        read_record(path)


def test_read_refuses_what_is_no_record(tmp_path):
    path = tmp_path / "a.json"
    with pytest.raises(DataError, match=r"cannot be read: No such file"):
        read_record(path)
    path.write_text('{"schema": 1,')
    with pytest.raises(DataError, match="is not JSON"):
        read_record(path)
    path.write_text("[]")
    with pytest.raises(DataError, match="is a list; it must be a JSON object"):
        read_record(path)


def test_every_committed_record_is_valid():
    folder = Path(__file__).parents[2] / "model_zoo" / "results"
    records = sorted(folder.rglob("*.json"))
    assert records, f"no record under {folder}"
    for path in records:
        read_record(path)

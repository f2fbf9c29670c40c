"""Two processes train as one: different heads per rank, the same numbers as one process that accumulates."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from visgen.engine import Workers
from visgen.engine.checkpoint import list_checkpoints
from visgen.engine.distributed import choose_device
from visgen.engine.log import read_csv
from visgen.errors import ConfigError

SETTINGS = {"steps": 8, "accumulate": 1, "dropout": 0.0, "norm": False}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run_two(runs: Any, out: Path, **arguments: object) -> None:
    port = str(free_port())
    processes = []
    for rank in ("0", "1"):
        environment = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        environment.update({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port})
        processes.append(runs.start(out, environment=environment, **arguments))
    for process in processes:
        runs.wait(process)


@pytest.mark.parametrize("same_head", [False, True])
@pytest.mark.parametrize("normalise", ["batches", "heads"])
def test_two_processes_with_different_heads_equal_one_that_accumulates(
    normalise: str, same_head: bool, tmp_path: Path, runs: Any, toy: ModuleType
) -> None:
    run_two(runs, tmp_path / "two", normalise=normalise, same_head=same_head, **SETTINGS)
    ended = [json.loads((tmp_path / "two" / f"ended-{rank}.json").read_text()) for rank in (0, 1)]
    assert ended[0] == ended[1] and ended[0]["reason"] == "all steps" and ended[0]["steps"] == 8
    # With the same head on both ranks the other one rests, and neither momentum nor decay may move it.
    mixture = toy.ToyMixture(fold=2, same_head=same_head)
    one = toy.make_trainer(tmp_path / "one", mixture=mixture, normalise=normalise, **SETTINGS)
    one.fit()
    expected = one.objective.module.state_dict()
    for rank in (0, 1):
        found = load_file(tmp_path / "two" / f"rank-{rank}.safetensors")
        assert found.keys() == expected.keys()
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")
    ours, theirs = (read_csv(tmp_path / name / "log.csv") for name in ("one", "two"))
    for a, b in zip(ours, theirs, strict=True):
        assert a.keys() == b.keys()
        for key in ("loss", "loss/a", "loss/b", "grad_norm"):
            assert (a[key] == b[key] == "") or float(a[key]) == pytest.approx(float(b[key]), rel=1e-5)
    assert [step for step, _ in list_checkpoints(tmp_path / "two" / "checkpoints")] == [8, 6]


def test_two_resumed_processes_equal_two_that_were_not_stopped(tmp_path: Path, runs: Any) -> None:
    settings = {**SETTINGS, "dropout": 0.3, "norm": True}
    run_two(runs, tmp_path / "whole", **settings)
    run_two(runs, tmp_path / "parts", time_limit=1e-9, **settings)
    assert json.loads((tmp_path / "parts" / "ended-1.json").read_text())["reason"] == "time limit"
    run_two(runs, tmp_path / "parts", resume=True, **settings)
    for rank in (0, 1):
        whole, parts = (load_file(tmp_path / name / f"rank-{rank}.safetensors") for name in ("whole", "parts"))
        assert all(whole[name].equal(parts[name]) for name in whole)
    # Batch norm saw other images on each rank, yet its statistics are the run's.
    a, b = (load_file(tmp_path / "whole" / f"rank-{rank}.safetensors")["trunk.1.running_mean"] for rank in (0, 1))
    assert a.equal(b)


def test_one_process_needs_no_group() -> None:
    workers = Workers("cpu")
    assert (workers.rank, workers.world, workers.is_main, workers.device.type) == (0, 1, True, "cpu")
    assert workers.gather({"a": 1}) == [{"a": 1}] and workers.broadcast([2]) == [2] and workers.any(False) is False


def test_an_unknown_device_is_named() -> None:
    with pytest.raises(ConfigError, match="device 'gpuu' cannot be used here"):
        choose_device("gpuu")
    assert choose_device("cpu") == torch.device("cpu")

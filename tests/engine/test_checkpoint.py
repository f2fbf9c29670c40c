"""Checkpoints are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from visgen.config import OptimConfig
from visgen.engine import checkpoint as module
from visgen.engine.checkpoint import (
    Checkpoint,
    clean_temporary,
    list_checkpoints,
    load_checkpoint,
    load_newest,
    optimiser_tensors,
    restore_optimiser,
    save_checkpoint,
)
from visgen.engine.optim import build_optimiser
from visgen.errors import CheckpointError


def state(step: int, size: int = 10) -> Checkpoint:
    weights = torch.arange(size, dtype=torch.float32) + step
    return Checkpoint(
        step, {"model": {"w": weights, "n": torch.tensor(step)}, "ema": {"w": weights / 3}}, {"best": {"v": 0.1}}
    )


def test_round_trip_gives_equal_tensors_and_scalars(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, state(7))
    found = load_checkpoint(path)
    assert found.step == 7 and found.state == {"best": {"v": 0.1}}
    assert found.tensors["ema"]["w"].equal(state(7).tensors["ema"]["w"])
    assert found.tensors["model"]["n"].equal(torch.tensor(7))
    assert {p.suffix for p in path.iterdir()} == {".safetensors", ".json"}


def test_tensors_that_share_memory_are_each_saved(tmp_path: Path) -> None:
    weights = torch.arange(6.0).view(2, 3)
    path = save_checkpoint(tmp_path, Checkpoint(1, {"model": {"a": weights, "b": weights, "c": weights.t()}}))
    found = load_checkpoint(path).tensors["model"]
    assert found["a"].equal(weights) and found["b"].equal(weights) and found["c"].equal(weights.t())


def test_only_the_newest_stay(tmp_path: Path) -> None:
    for step in (5, 10, 15, 20):
        save_checkpoint(tmp_path, state(step), keep=2)
    assert [step for step, _ in list_checkpoints(tmp_path)] == [20, 15]


def test_a_step_that_is_saved_again_stays_until_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, state(5))
    save_checkpoint(tmp_path, state(5, size=20))
    assert len(load_checkpoint(tmp_path / "step-000000005").tensors["ema"]["w"]) == 20
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000005"]

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("visgen.engine.checkpoint.save_file", full)
    with pytest.raises(CheckpointError, match="earlier checkpoints are untouched"):
        save_checkpoint(tmp_path, state(5))
    assert len(load_checkpoint(tmp_path / "step-000000005").tensors["ema"]["w"]) == 20


@pytest.mark.parametrize("name", ["model.safetensors", "ema.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["cut", "empty", "absent", "flipped"])
def test_the_good_one_before_a_damaged_one_is_loaded(tmp_path: Path, name: str, damage: str) -> None:
    save_checkpoint(tmp_path, state(1))
    path = save_checkpoint(tmp_path, state(2)) / name
    data = path.read_bytes()
    if damage == "absent":
        path.unlink()
    else:
        flipped = data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]  # in safetensors a weight, which still reads
        path.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "flipped": flipped}[damage])
    with pytest.warns(UserWarning, match="skipped a checkpoint that is not whole: .*step-000000002"):
        found = load_newest(tmp_path)
    assert found is not None and found.step == 1


def test_a_changed_file_is_named_with_its_size(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, state(3))
    (path / "ema.safetensors").write_bytes(b"12345")
    with pytest.raises(CheckpointError, match="ema.safetensors has 5 bytes or a hash that differs"):
        load_checkpoint(path)


def test_another_format_is_refused_by_name(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, state(3))
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, "format": "visgen-training-9"}))
    with pytest.raises(CheckpointError, match="has format 'visgen-training-9'; this version reads 'visgen-training-1'"):
        load_checkpoint(path)


def test_no_checkpoint_is_none_and_leftovers_are_removed(tmp_path: Path) -> None:
    assert load_newest(tmp_path / "absent") is None
    (tmp_path / ".tmp-step-000000004-99").mkdir()
    (tmp_path / ".tmp-step-000000004-99" / "model.safetensors").write_bytes(b"half")
    assert load_newest(tmp_path) is None
    assert clean_temporary(tmp_path) == [".tmp-step-000000004-99"]
    assert list(tmp_path.iterdir()) == []


class _FullFile:
    """A file that takes some bytes and then has no space left, as a full disk does."""

    def __init__(self, file, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data):
        self.file.write(data[: self.room])
        self.file.flush()
        raise OSError(28, "No space left on device")

    def __getattr__(self, name: str):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        self.file.close()


@pytest.mark.parametrize("name", ["state.json", "manifest.json"])
def test_a_disk_that_fills_up_in_mid_file_leaves_the_previous_one(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, state(1))
    real = Path.open

    def open_full(self: Path, mode: str = "r", *args, **kwargs):
        file = real(self, mode, *args, **kwargs)
        return _FullFile(file, 10) if self.name == name and "w" in mode else file

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(CheckpointError, match="step-000000002' could not be written: .*No space left.*Free disk space"):
        save_checkpoint(tmp_path, state(2))
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["step-000000001"]
    found = load_newest(tmp_path)
    assert found is not None and found.step == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1 MiB; skips where this process may not mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except OSError as error:
        pytest.skip(f"cannot mount a small tmpfs: {error}")
    if done.returncode:
        pytest.skip(f"cannot mount a small tmpfs: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True, timeout=10)


def test_a_really_full_disk_leaves_the_previous_one(small_disk: Path) -> None:
    save_checkpoint(small_disk, state(1, size=80_000))  # 640 kB
    with pytest.raises(CheckpointError, match="No space left"):
        save_checkpoint(small_disk, state(2, size=80_000))
    found = load_newest(small_disk)
    assert found is not None and found.step == 1
    assert [p.name for p in small_disk.iterdir()] == ["step-000000001"]


def test_a_weights_file_that_cannot_be_written_whole_leaves_the_previous_one(tmp_path: Path, runs: Any) -> None:
    runs.wait(runs.send({"limited": str(tmp_path)}))
    assert "step-000000002' could not be written" in (tmp_path / "error.txt").read_text()
    found = load_newest(tmp_path)
    assert found is not None and found.step == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["error.txt", "step-000000001"]


def test_a_kill_between_files_leaves_no_visible_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop at each system call that changes the folder in turn: what is visible is always whole."""

    class Killed(BaseException):
        pass

    def stop_at(number: int) -> Callable[[str], None]:
        count = iter(range(100))

        def check(_: str) -> None:
            if next(count) == number:
                raise Killed

        return check

    seen = 0
    for number in range(100):
        folder = tmp_path / str(number)
        save_checkpoint(folder, state(1))
        check = stop_at(number)
        for owner, name in ((module, "_sync"), (module, "save_file"), (module, "_write"), (module.os, "rename")):
            real = getattr(owner, name)

            def wrapped(*args, _real=real, _name=name, _check=check, **kwargs):
                _check(_name)
                return _real(*args, **kwargs)

            monkeypatch.setattr(owner, name, wrapped)
        try:
            save_checkpoint(folder, state(2))
            finished = True
        except Killed:
            finished = False
        monkeypatch.undo()
        visible = [load_checkpoint(path).step for _, path in list_checkpoints(folder)]  # each is whole
        assert visible in ([1], [2, 1])
        found = load_newest(folder)
        assert found is not None and found.step in ((1, 2) if not finished else (2,))
        seen += 1
        if finished:
            break
    assert seen > 8  # two weight files with their syncs, two JSON files, the folder, the rename, the parent


def test_optimiser_state_keeps_absent_entries_absent(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.ModuleDict({"used": nn.Linear(3, 2), "unused": nn.Linear(3, 2)})
    optimiser = build_optimiser(net, [{"params": net.parameters()}], OptimConfig())
    net["used"](torch.ones(1, 3)).sum().backward()
    optimiser.step()
    flat = optimiser_tensors(optimiser)
    assert {name.split("|")[0] for name in flat} == {"used.weight", "used.bias"}
    other = build_optimiser(net, [{"params": net.parameters()}], OptimConfig())
    restore_optimiser(other, flat)
    again = optimiser_tensors(other)
    assert again.keys() == flat.keys() and all(again[name].equal(flat[name]) for name in flat)
    assert not any(net["unused"].weight is p for p in other.state)


def test_optimiser_state_of_another_model_is_refused() -> None:
    net = nn.Linear(3, 2)
    optimiser = build_optimiser(net, [{"params": net.parameters()}], OptimConfig())
    with pytest.raises(CheckpointError, match=r"'weight' of shape \(5, 5\), but that parameter has shape \(2, 3\)"):
        restore_optimiser(optimiser, {"weight|exp_avg": torch.zeros(5, 5)})
    with pytest.raises(CheckpointError, match="'other' of shape .* is not trained in this run"):
        restore_optimiser(optimiser, {"other|exp_avg": torch.zeros(5, 5)})


def test_state_lies_in_memory_as_the_parameter_does() -> None:
    """A fused step walks through both as they lie: state of another layout would reach other weights."""
    torch.manual_seed(0)
    nets = [nn.Conv2d(4, 6, 3).to(memory_format=torch.channels_last) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    optimisers = [build_optimiser(net, [{"params": net.parameters()}], OptimConfig(lr=0.1)) for net in nets]
    pictures = torch.randn(2, 4, 8, 8)
    for _ in range(2):
        nets[0](pictures).square().sum().backward()
        optimisers[0].step()
        optimisers[0].zero_grad()
    nets[1].load_state_dict(nets[0].state_dict())
    saved = {name: value.contiguous() for name, value in optimiser_tensors(optimisers[0]).items()}
    restore_optimiser(optimisers[1], saved)
    for net, optimiser in zip(nets, optimisers, strict=True):
        net(pictures).square().sum().backward()
        optimiser.step()
    assert torch.equal(nets[0].weight, nets[1].weight)

"""A GAN on the common engine: its phases, bit-exact resume, run files, and what a run leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file
from torch import Tensor

from visgen.config import OptimConfig, TrainConfig, load_run
from visgen.data import Batch, Mixture, MixturePart, build_source
from visgen.engine import Trainer, build_run, load_newest, train_from_config
from visgen.errors import ConfigError, DataError
from visgen.gan import GanConfig, load_gan
from visgen.structures import ClassLabel
from visgen.task import GanObjective

SIDE = 8
SMALL: dict[str, Any] = {
    "resolution": SIDE,
    "generator": {"name": "dcgan", "channels": 2, "z_dim": 4},
    "discriminator": {"name": "sn_dcgan", "channels": 2},
}
EVERYTHING = {
    **SMALL,
    "regularisers": (
        {"name": "adaptive_mix"},
        {"name": "r1", "every": 2},
        {"name": "consistency", "every": 3},
    ),
    "augment": {"name": "adaptive", "every": 2, "speed": 50, "target": -1.0},
    "condition": {"name": "projection"},
    "d_steps": 2,
    "half_life": 20,
    "ramp_up": 1.0,
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twenty bright and dark images of two classes."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 90, (20, SIDE, SIDE, 3), dtype=np.uint8)
    labels = np.arange(20) % 2
    images[labels == 1] += 150
    folder = tmp_path / "tiny"
    folder.mkdir()
    np.savez(folder / "train.npz", images=images, labels=labels, classes=np.array(["dark", "bright"]))
    return folder


def trainer(data: Path, out: Path, steps: int = 6, **changes: Any) -> Trainer:
    torch.manual_seed(1)
    objective = GanObjective(GanConfig(**{**EVERYTHING, **changes}), ("dark", "bright"))
    mixture = Mixture([MixturePart(build_source(f"npz:{data}"), batch_size=4)], 0)
    optim = OptimConfig(lr=1e-3, betas=(0.5, 0.9), weight_decay=0.0, schedule="constant", clip_norm=None)
    loop = TrainConfig(steps=steps, workers=0, threads=1, device="cpu", progress="none", save_every=3)
    return Trainer(objective, mixture, optim, loop, out, seed=5, export=objective.export)


def state(run: Trainer) -> dict[str, Tensor]:
    return run.objective.module.state_dict()


def test_sides_and_lazy_terms_are_phases(data: Path, tmp_path: Path) -> None:
    run = trainer(data, tmp_path / "run")
    assert [(p.phase.name, p.phase.every, p.phase.shares) for p in run.phases] == [
        ("d", 1, None),
        ("d_reg2", 2, "d"),
        ("d_reg3", 3, "d"),
        ("g", 2, None),
    ]
    assert run.phases[1].optimiser is run.phases[0].optimiser is run.phases[2].optimiser
    c = 1 / (1 + 1 / 2 + 1 / 3)
    group = run.phases[0].optimiser.param_groups[0]
    assert group["lr_scale"] == pytest.approx(c) and group["betas"] == pytest.approx((0.5**c, 0.9**c))
    assert run.phases[3].optimiser.param_groups[0]["betas"] == (0.5, 0.9)
    assert all(g["weight_decay"] == 0 for p in run.phases for g in p.optimiser.param_groups)


def test_a_stopped_and_resumed_run_equals_one_that_was_not(data: Path, tmp_path: Path) -> None:
    whole = trainer(data, tmp_path / "whole")
    whole.fit()
    assert float(state(whole)["adversaries.pipe.p"]) > 0, "augmentation that adapts takes part"
    trainer(data, tmp_path / "parts", steps=3).fit()
    checkpoint = load_newest(tmp_path / "parts" / "checkpoints")
    assert checkpoint is not None and set(checkpoint.tensors) == {"model", "optim.d", "optim.g"}
    resumed = trainer(data, tmp_path / "parts")
    resumed.fit(resume=True)
    assert all(torch.equal(value, state(resumed)[name]) for name, value in state(whole).items())
    for name in ("generator", "discriminator"):
        one, other = (load_file(tmp_path / run / "last" / f"{name}.safetensors") for run in ("whole", "parts"))
        assert all(torch.equal(value, other[key]) for key, value in one.items()) or name == "generator"


def test_each_phase_moves_its_own_network_only(data: Path, tmp_path: Path) -> None:
    run = trainer(data, tmp_path / "run", regularisers=(), augment={"name": "none"})
    batch = run.mixture.batches(0)
    for phase, moving in (("d", "adversaries.discriminator"), ("g", "adversaries.generator")):
        before = {k: v.clone() for k, v in state(run).items()}
        run.objective.before_step(0)
        next(p for p in run.phases if p.phase.name == phase).run(batch, 1e-3)
        names = dict(run.objective.module.named_parameters())
        changed = {k for k, v in state(run).items() if k in names and not torch.equal(v, before[k])}
        assert changed and all(name.startswith(moving) for name in changed)


def test_the_average_follows_after_a_step_and_an_export_leaves_no_trace(data: Path, tmp_path: Path) -> None:
    run = trainer(data, tmp_path / "run", steps=2)
    run.fit()
    objective = run.objective
    assert isinstance(objective, GanObjective) and int(objective.average.seen) == 8
    before = {k: v.clone() for k, v in state(run).items()}
    objective.export(objective.module, tmp_path / "again")
    assert all(torch.equal(value, state(run)[name]) for name, value in before.items())
    saved = load_gan(tmp_path / "again")
    assert saved.classes == ("dark", "bright")
    first = objective.average.network.first.weight
    assert torch.equal(saved.generator.first.weight, first)
    assert not torch.equal(
        saved.generator.norms[0].norm.running_mean, objective.average.network.norms[0].norm.running_mean
    )


def test_a_generator_learns_the_mean_of_a_flat_data_set(tmp_path: Path) -> None:
    folder = tmp_path / "flat"
    folder.mkdir()
    images = np.full((8, SIDE, SIDE, 3), 230, dtype=np.uint8)
    np.savez(folder / "train.npz", images=images, labels=np.zeros(8, dtype=np.int64), classes=np.array(["a", "b"]))
    run = trainer(
        folder, tmp_path / "run", steps=40, regularisers=(), augment={"name": "none"}, d_steps=1, g_lr_scale=8
    )
    run.fit()
    generator = load_gan(tmp_path / "run" / "last").generator
    with torch.no_grad():
        made = generator(torch.randn(16, 4), torch.zeros(16, dtype=torch.int64))
    assert float(made.mean()) > 0.4  # 230 reads 0.8; an untrained generator gives 0


RUN = """
seed: 0
out: {out}
data:
  train:
    tiny: {{source: "npz:{data}", batch_size: 4}}
objective:
  name: gan
  options:
    resolution: 8
    generator: {{name: dcgan, channels: 2, z_dim: 4}}
    discriminator: {{name: sn_dcgan, channels: 2}}
optim: {{weight_decay: 0.0, clip_norm: null}}
train: {{steps: 2, workers: 0, progress: none, device: cpu}}
"""


def test_a_run_file_trains_a_gan(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(RUN.format(out=tmp_path / "out", data=data), encoding="utf-8")
    summary = train_from_config(file)
    assert summary.finished and load_gan(tmp_path / "out" / "last").generator.resolution == SIDE
    assert train_from_config(file, [f"out={tmp_path / 'dry'}"], dry_run=True).reason == "dry run"
    for change, message in (
        ("objective.name=gam", "did you mean 'gan'"),
        ("optim.only=[nothing]", "settles itself what trains when"),
        ("objective.options.looss=hinge", "has no option 'looss'; did you mean 'loss'"),
        ("objective.options.condition={name: 2C}", "'2C' is not registered"),
        (f"data.val.tiny.source=npz:{data}", "has no heads to measure"),
    ):
        with pytest.raises((ConfigError, LookupError), match=message):
            build_run(load_run(file, [change]))


def test_labels_are_asked_for_only_where_they_are_used(data: Path, tmp_path: Path) -> None:
    objective = trainer(data, tmp_path / "run").objective
    assert isinstance(objective, GanObjective)
    torch.manual_seed(0)
    bare = Batch(torch.rand(3, 3, SIDE, SIDE), {}, {}, [{}] * 3, "bare")
    with pytest.raises(DataError, match="'bare' has images without a class"):
        objective.phases[0].loss(bare)
    free = GanObjective(GanConfig(**SMALL))
    assert bool(free.phases[0].loss(bare)["loss"].isfinite())
    labelled = Batch(bare.images, {"classification": [ClassLabel(1, ("dark", "bright"))] * 3}, {}, [{}] * 3, "b")
    assert bool(objective.phases[0].loss(labelled)["loss"].isfinite())


CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs" / "gan").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_shipped_gan_builds_and_every_phase_has_a_loss(path: Path, tmp_path: Path) -> None:
    options = dict(load_run(path, data_root=tmp_path).objective.options)
    for network in ("generator", "discriminator"):
        options[network] = {**options[network], "channels": 4}
    torch.manual_seed(0)
    objective = GanObjective(GanConfig(**options), ("a", "b"))
    side = objective.config.resolution
    labels = [ClassLabel(i % 2, ("a", "b")) for i in range(3)]
    batch = Batch(torch.rand(3, 3, side, side), {"classification": labels}, {}, [{}] * 3, path.stem)
    for phase in objective.phases:
        values = phase.loss(batch)
        values["loss"].backward()
        assert bool(values["loss"].isfinite()), phase.name
    assert all(p.grad is not None for p in objective.adversaries.parameters() if p.requires_grad)


def _count_of_two(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    made = GanObjective(GanConfig(**SMALL, half_life=10, ramp_up=1.0))
    for step in range(2):
        made.before_step(step)
        made.phases[0].loss(Batch(torch.rand(2 + rank, 3, SIDE, SIDE), {}, {}, [], "x"))
        made.after_step(step)
    assert int(made.average.seen) == 2 * (2 + 3)
    dist.destroy_process_group()


def test_the_average_counts_the_images_of_all_processes(tmp_path: Path) -> None:
    mp.spawn(_count_of_two, args=(str(tmp_path),), nprocs=2)

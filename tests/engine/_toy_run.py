"""A small real run used by the engine's tests, also started as a script in a process of its own.

A network with dropout, batch norm, a shared trunk and two heads; batches are a pure function of (step, rank).
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from visgen.config import OptimConfig, TrainConfig
from visgen.engine import Checkpoint, Trainer, save_checkpoint
from visgen.errors import CheckpointError
from visgen.task.objective import Phase


@dataclass
class ToyBatch:
    images: Tensor
    labels: Tensor
    heads: dict[str, str]

    def to(self, device):
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


class ToyMixture:
    """Two heads in turn: rank r at step s draws head (s + r) % 2, or s % 2 with `same_head`.

    `fold` > 1 lets one rank draw what so many would, and `bad_steps` have images of NaN.
    """

    def __init__(self, seed: int = 0, fold: int = 1, bad_steps: tuple[int, ...] = (), same_head: bool = False) -> None:
        self.seed, self.fold, self.bad_steps, self.same_head = seed, fold, bad_steps, same_head

    def batches(self, step: int, rank: int = 0) -> list[ToyBatch]:
        return [self._batch(step, rank * self.fold + part) for part in range(self.fold)]

    def _batch(self, step: int, rank: int) -> ToyBatch:
        generator = torch.Generator().manual_seed(1000 * step + 10 * rank + self.seed)
        images = torch.rand(4, 3, 8, 8, generator=generator)
        labels = (images.mean(dim=(1, 2, 3)) > 0.5).long()
        if step in self.bad_steps:
            images = images * float("nan")
        return ToyBatch(images, labels, {"classification": "ab"[(step + rank * (not self.same_head)) % 2]})

    def state_dict(self) -> dict:
        return {"seed": self.seed}

    def load_state_dict(self, state: dict) -> None:
        if state != self.state_dict():
            raise ValueError(f"mixture differs: {state}")


class ToyNet(nn.Module):
    def __init__(self, dropout: float = 0.2, norm: bool = True) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.BatchNorm2d(8) if norm else nn.Identity(),
            nn.GELU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(dropout),
        )
        self.heads = nn.ModuleDict({"a": nn.Linear(32, 2), "b": nn.Linear(32, 2)})

    def forward(self, images: Tensor, head: str) -> Tensor:
        return self.heads[head](self.trunk(images))


class ToyObjective:
    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.applied: list[int] = []
        self.phases = (Phase("main", self._groups, self._loss),)

    def _groups(self):
        return [{"params": self.module.trunk.parameters(), "lr_scale": 0.5}, {"params": self.module.heads.parameters()}]

    def _loss(self, batch: ToyBatch) -> dict[str, Tensor]:
        head = batch.heads["classification"]
        loss = nn.functional.cross_entropy(self.module(batch.images, head), batch.labels)
        return {"loss": loss, f"loss/{head}": loss.detach()}

    def before_step(self, step: int) -> None:
        pass

    def after_step(self, step: int) -> None:
        self.applied.append(step)


def accuracy(module: nn.Module, limit: int | None = None) -> dict[str, float]:
    batch = ToyMixture(seed=5).batches(10**6)[0]
    was_training = module.training
    module.eval()
    with torch.no_grad():
        right = (module(batch.images, "a").argmax(1) == batch.labels).float().mean()
    module.train(was_training)
    return {"top1": float(right)}


def make_trainer(
    out: Path, *, steps=12, seed=0, mixture=None, dropout=0.2, norm=True, evaluators=None, optim=None, **train
) -> Trainer:
    settings = {"steps": steps, "accumulate": 2, "threads": 1, "workers": 0, "device": "cpu", "progress": "none"}
    settings.update({"ema_decay": 0.9, "save_every": 3, "eval_every": 4}, **train)
    torch.manual_seed(seed)
    return Trainer(
        ToyObjective(ToyNet(dropout, norm)),
        mixture or ToyMixture(),
        optim or OptimConfig(lr=1e-2, warmup_steps=3),
        TrainConfig(**settings),
        out,
        seed=seed,
        evaluators={"val": accuracy} if evaluators is None else evaluators,
    )


def run(arguments: dict) -> None:
    """Train as told and leave how it ended in `ended-RANK.json`."""
    os.environ.update(arguments.pop("environment", {}))
    out, resume = Path(arguments.pop("out")), arguments.pop("resume", False)
    mixture = ToyMixture(same_head=arguments.pop("same_head", False))
    trainer = make_trainer(out, mixture=mixture, **arguments)
    summary = trainer.fit(resume=resume)
    ended = {"steps": summary.steps, "reason": summary.reason, "metrics": summary.metrics}
    (out / f"ended-{trainer.workers.rank}.json").write_text(json.dumps(ended))
    save_file(trainer.objective.module.state_dict(), out / f"rank-{trainer.workers.rank}.safetensors")


def save_with_little_room(arguments: dict) -> None:
    """Save a small checkpoint, then one that the system does not let grow to its full size, and tell the error."""
    folder = Path(arguments["limited"])
    save_checkpoint(folder, Checkpoint(1, {"model": {"w": torch.zeros(10)}}))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write over the limit then fails as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
    try:
        save_checkpoint(folder, Checkpoint(2, {"model": {"w": torch.zeros(100_000)}}))
    except CheckpointError as error:
        (folder / "error.txt").write_text(str(error))


def serve() -> None:
    """Fork a process for every line of arguments and print its id, so that many runs cost one import of torch."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            status = 1
            try:
                arguments = json.loads(line)
                save_with_little_room(arguments) if "limited" in arguments else run(arguments)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        print(pid, flush=True)
    os._exit(0)  # nothing is left to tidy up, and torch takes seconds to


if __name__ == "__main__":
    serve()

"""One optimiser step of one phase: accumulate, reduce over ranks, clip, apply, or skip when it is not finite."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..config import OptimConfig, TrainConfig
from ..errors import ConfigError
from ..task.objective import Phase
from .distributed import Workers
from .optim import build_optimiser, clip_gradients, set_learning_rate

__all__ = ["PhaseStep", "StepResult", "step_seed"]


@dataclass(frozen=True)
class StepResult:
    """What one phase did in one step.

    Args:
        applied: False when the loss or a gradient was not finite and nothing was changed.
        loss: Weighted sum of the micro-batches' losses over all ranks.
        norm: Global gradient norm before clipping.
        logs: Name to the mean over the micro-batches, of all ranks, that reported it.
    """

    applied: bool
    loss: float
    norm: float
    logs: dict[str, float]


def step_seed(seed: int, step: int, rank: int, phase: int) -> int:
    """Give the seed of torch's generators for one phase of one step: a hash, so that no two are related.

    Because dropout depends on this alone, evaluations, saves and restarts between steps cannot shift it.
    """
    digest = hashlib.sha256(f"{seed}/{step}/{rank}/{phase}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


class PhaseStep:
    """The optimiser of a phase and the way it takes a step.

    Args:
        phase: Parameters and loss.
        module: The objective's module, which owns the parameters.
        optim, train: Settings.
        workers: Ranks that share the step.
        optimiser: That of an earlier phase, when this one shares it; None builds one.
    """

    def __init__(
        self,
        phase: Phase,
        module: nn.Module,
        optim: OptimConfig,
        train: TrainConfig,
        workers: Workers,
        optimiser: torch.optim.Optimizer | None = None,
    ) -> None:
        self.phase, self.module, self.workers = phase, module, workers
        self.optim, self.train = optim, train
        self.optimiser = optimiser or build_optimiser(module, phase.groups(), optim)
        self.parameters = [p for group in self.optimiser.param_groups for p in group["params"]]

    def run(self, batches: Sequence[Any], lr: float) -> StepResult:
        """Take one step over this rank's micro-batches, at learning rate `lr`.

        Gradients of parameters that no micro-batch of any rank used stay None, so neither decay nor momentum moves
        them. A step that is not finite leaves parameters, optimiser and buffers as they were.
        """
        saved = [buffer.clone() for buffer in self.module.buffers()]
        self.optimiser.zero_grad(set_to_none=True)
        losses: list[Tensor] = []
        named: list[dict[str, Tensor]] = []
        for batch, share in zip(batches, self._shares(batches), strict=True):
            with self._autocast():
                values = self.phase.loss(batch)
            loss = _checked_loss(values, self.phase.name) * share
            if loss.requires_grad:
                loss.backward()
            losses.append(loss.detach())
            named.append({name: value.detach() for name, value in values.items() if name != "loss"})
        self.workers.sum_gradients(self.parameters)
        self.workers.average_norm_statistics(self.module)
        norm = float(clip_gradients(self.parameters, self.optim.clip_norm))
        # read after everything is under way: a GPU is waited for once a step, not once a figure
        numbers = _read([*losses, *(value for values in named for value in values.values())])
        total = sum(numbers[: len(losses)])
        figures = iter(numbers[len(losses) :])
        logs = [{name: next(figures) for name in values} for values in named]
        gathered = self.workers.gather([repr(total), logs])
        total = sum(float(loss) for loss, _ in gathered)
        applied = bool(torch.tensor([total, norm], dtype=torch.float64).isfinite().all())
        if applied:
            set_learning_rate(self.optimiser, lr)
            self.optimiser.step()
        else:
            with torch.no_grad():
                for buffer, before in zip(self.module.buffers(), saved, strict=True):
                    buffer.copy_(before)
        self.optimiser.zero_grad(set_to_none=True)
        return StepResult(applied, total, norm, _mean([log for _, rank_logs in gathered for log in rank_logs]))

    def _shares(self, batches: Sequence[Any]) -> list[float]:
        """Factor on each micro-batch's loss; over all ranks they realise `train.normalise`."""
        heads = [",".join(sorted(getattr(batch, "heads", {}).values())) for batch in batches]
        counts: Counter[str] = Counter(head for rank in self.workers.gather(heads) for head in rank)
        if self.train.normalise == "heads":
            return [1.0 / counts[head] for head in heads]
        return [1.0 / counts.total()] * len(heads)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.train.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.workers.device.type, dtype=torch.bfloat16)


def _checked_loss(values: Mapping[str, Tensor], phase: str) -> Tensor:
    loss = values.get("loss")
    if loss is None or loss.numel() != 1:
        got = f"keys {sorted(values)}" if loss is None else f"a loss of shape {tuple(loss.shape)}"
        raise ConfigError(f"the loss function of phase '{phase}' returned {got}; it must return a scalar 'loss'.")
    return loss.float().reshape(())


def _read(values: Sequence[Tensor]) -> list[float]:
    """Scalars of any dtypes as exact numbers, copied from the device at once."""
    if not values:
        return []
    exact = all(value.is_floating_point() and value.dtype != torch.float64 for value in values)
    dtype = torch.float32 if exact else torch.float64  # some devices have no float64, and do not meet it here
    device = values[0].device
    return torch.stack([value.reshape(()).to(device, dtype) for value in values]).tolist()


def _mean(logs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    sums: dict[str, list[float]] = {}
    for log in logs:
        for name, value in log.items():
            sums.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in sums.items()}

"""What a training step of each selection costs: its time, and the memory that training adds to the model."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..config import RunConfig
from ..engine import BuiltRun, PhaseStep, Workers
from ..task import MultiTaskModel, MultiTaskObjective
from .finetune import prepare
from .prefix_cache import PrefixCache, is_prefix_frozen
from .trainable import Trainable

__all__ = ["StepCost", "measure_costs"]

CACHE_BYTES = 2**30


@dataclass(frozen=True)
class StepCost:
    """The cost of one step.

    Args:
        trained: Values that train.
        seconds: Of each step measured, from the batch to the changed parameters; decoding is not in it.
        cached_seconds: The same with the outputs of the frozen prefix remembered; empty where a part of it trains.
        activations: Bytes that the forward pass keeps for the backward pass, model and batch aside.
        gradients: Bytes of the gradients.
        optimiser: Bytes of the optimiser's state.
    """

    trained: int
    seconds: tuple[float, ...]
    cached_seconds: tuple[float, ...]
    activations: int
    gradients: int
    optimiser: int

    @property
    def memory(self) -> int:
        """Bytes that training adds to model and batch."""
        return self.activations + self.gradients + self.optimiser

    def to_dict(self) -> dict[str, Any]:
        """Give plain values: times as median, least and most, in milliseconds; memory in MiB."""
        found: dict[str, Any] = {"trained": self.trained, "step": _times(self.seconds)}
        if self.cached_seconds:
            found["cached step"] = _times(self.cached_seconds)
        parts = {"activations": self.activations, "gradients": self.gradients, "optimiser": self.optimiser}
        return found | {"memory_MiB": self.memory / 2**20, "parts_MiB": {k: v / 2**20 for k, v in parts.items()}}


def measure_costs(base: MultiTaskModel, configs: Mapping[str, RunConfig], steps: int = 10) -> dict[str, StepCost]:
    """Measure training steps of several runs in one process, a step of each in turn, so that all meet the same machine.

    Args:
        base: The model that all start from.
        configs: Name to a run with a `finetune` part; the first batch of its data is used throughout.
        steps: Steps of each, after one to warm up.
    Returns:
        Name to cost, in the order given.
    """
    arms = {name: _Arm(*prepare(base, config), config) for name, config in configs.items()}
    for arm in arms.values():
        arm.step(False)
    for _ in range(steps):
        for arm in arms.values():
            arm.seconds.append(arm.step(False))
    for arm in arms.values():
        if arm.cache is not None:
            arm.step(True)
    for _ in range(steps):
        for arm in arms.values():
            if arm.cache is not None:
                arm.cached.append(arm.step(True))
    return {name: arm.cost() for name, arm in arms.items()}


class _Arm:
    """One run, stepped by hand on one batch."""

    def __init__(self, built: BuiltRun, trainable: Trainable, config: RunConfig) -> None:
        assert isinstance(built.objective, MultiTaskObjective)
        self.objective, self.trainable, self.lr = built.objective, trainable, config.optim.lr
        workers = Workers(config.train.device)
        self.objective.module.to(workers.device)
        self.phase = PhaseStep(self.objective.phases[0], self.objective.module, config.optim, config.train, workers)
        self.batches = [batch.to(workers.device) for batch in built.mixture.batches(0)]
        self.cache: PrefixCache | None = None
        built.model.prefix_cache = None
        if is_prefix_frozen(built.model.backbone):
            self.cache = PrefixCache(CACHE_BYTES)
            self.cache.attach(built.model)
        self.seconds: list[float] = []
        self.cached: list[float] = []
        self.activations = self._kept_for_backward()

    def step(self, is_cached: bool) -> float:
        """Take a step and give its seconds."""
        self.objective.model.prefix_cache = self.cache if is_cached else None
        self._begin()
        start = time.perf_counter()
        self.phase.run(self.batches, self.lr)
        seconds = time.perf_counter() - start
        self.objective.after_step(0)
        return seconds

    def _begin(self) -> None:
        self.objective.module.train()
        self.objective.before_step(0)

    def _kept_for_backward(self) -> int:
        """Bytes of all tensors that a forward pass saves, each piece of memory once, parameters and batch left out."""
        own = [*self.objective.module.parameters(), *self.objective.module.buffers()]
        known = {t.untyped_storage().data_ptr() for t in own}
        known |= {batch.images.untyped_storage().data_ptr() for batch in self.batches}
        kept: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in known:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        self.objective.model.prefix_cache = None
        self._begin()
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            losses = [self.objective.loss(batch)["loss"] for batch in self.batches]
        del losses
        return sum(kept.values())

    def cost(self) -> StepCost:
        """Sum up after the steps."""
        state = [t for s in self.phase.optimiser.state.values() for t in s.values() if isinstance(t, Tensor)]
        gradients = sum(p.nbytes for p in self.phase.parameters)
        return StepCost(
            self.trainable.trained,
            tuple(self.seconds),
            tuple(self.cached),
            self.activations,
            gradients,
            sum(t.nbytes for t in state),
        )


def _times(seconds: tuple[float, ...]) -> dict[str, float]:
    return {
        "median_ms": 1000 * statistics.median(seconds),
        "least_ms": 1000 * min(seconds),
        "most_ms": 1000 * max(seconds),
        "steps": len(seconds),
    }

"""What the engine may know about a training run: a module and named phases, each with parameters and a loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict, runtime_checkable

from torch import Tensor, nn

from ..registry import Registry

__all__ = ["OBJECTIVES", "Objective", "ParameterGroup", "Phase"]

OBJECTIVES: Registry[Callable[..., Any]] = Registry(
    "objective",
    "A callable (sources by name, seed, **options) that gives an Objective with `export(module, path)`, which writes "
    "what a finished run leaves.",
)


class ParameterGroup(TypedDict, total=False):
    """Parameters that share a learning rate and a weight decay.

    `params` is required and holds parameters of `Objective.module`. `lr_scale` multiplies the run's learning rate
    (1.0 when absent), and the run's betas are raised to the power `beta_power` (1.0 when absent). `weight_decay` of
    None or absent means: the run's decay on matrices and kernels, none on biases, norms and whatever
    `module.no_weight_decay()` names; a number is used as it stands for the whole group.
    """

    params: Sequence[nn.Parameter]
    lr_scale: float
    beta_power: float
    weight_decay: float | None


@dataclass(frozen=True)
class Phase:
    """One optimiser with its loss; a classifier trains in one phase, a GAN in two.

    Args:
        name: Shown in logs and checkpoints; unique within an objective.
        parameters: The parameter groups, or a function that gives them (called once, when the optimiser is built).
        loss: Batch -> {"loss": scalar that is minimised, other names: scalars that are only logged}. The engine has
            moved the batch to the device, set the training mode and opened autocast.
        every: The phase runs on steps that this number divides.
        shares: Name of an earlier phase whose optimiser, with its moments, this one steps too; it then has no
            parameters of its own. None for an optimiser of its own.
    """

    name: str
    parameters: Sequence[ParameterGroup] | Callable[[], Sequence[ParameterGroup]]
    loss: Callable[[Any], Mapping[str, Tensor]]
    every: int = 1
    shares: str | None = None

    def groups(self) -> list[ParameterGroup]:
        """The parameter groups, whichever way they were given."""
        return list(self.parameters() if callable(self.parameters) else self.parameters)


@runtime_checkable
class Objective(Protocol):
    """A trainable thing as the engine sees it; the engine never knows what the phases do.

    `module` owns every parameter and buffer that has to survive a restart: the engine checkpoints its state dict.
    All randomness during a step comes from torch's global generator, which the engine seeds with
    (seed, step, rank, phase), or from generators that `before_step` seeds with the step.

    An objective may have `notes()`: figures of its state for the row of an evaluation, and a warning or "".
    """

    @property
    def module(self) -> nn.Module:
        """Owner of all trained and checkpointed state."""

    @property
    def phases(self) -> tuple[Phase, ...]:
        """What runs at each step, in order."""

    def before_step(self, step: int) -> None:
        """Prepare optimiser step `step`; must also drop what a skipped (non-finite) step left behind."""

    def after_step(self, step: int) -> None:
        """Follow a step that was applied, such as updating running statistics; not called for a skipped step."""

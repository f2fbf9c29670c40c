"""AdamW over named parameter groups and the learning rate as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from ..config import OptimConfig
from ..errors import ConfigError, nearest
from ..task.objective import ParameterGroup

__all__ = ["build_optimiser", "clip_gradients", "learning_rate_factor", "set_learning_rate", "train_only"]


def build_optimiser(module: nn.Module, groups: Sequence[ParameterGroup], config: OptimConfig) -> torch.optim.AdamW:
    """Build AdamW for some of a module's parameters.

    A parameter decays when it has two or more axes, its own name holds no "bias", it is not part of a norm layer and
    `module.no_weight_decay()` (as in timm, optional) does not name it; a group's own `weight_decay` overrules that.
    Its learning rate is `config.lr` times the group's `lr_scale` times the factor in `config.lr_scales` whose dotted
    key is the longest that stands, whole words, in the parameter's name.

    Args:
        module: Owner of the parameters.
        groups: See ParameterGroup; parameters that need no gradient are left out.
        config: Rates, decay and schedule.
    Returns:
        The optimiser; each of its groups carries `lr_scale` and `names` besides AdamW's own keys.
    Raises:
        ConfigError: A parameter is given twice or is not the module's, no parameter is left to train, or a key of
            `lr_scales` fits nothing.
    """
    names = {id(p): name for name, p in module.named_parameters()}
    kept = _undecayed(module)
    _check_keys("optim.lr_scales", config.lr_scales, names.values())
    seen: set[str] = set()
    collected: dict[tuple[float, float, float], dict[str, nn.Parameter]] = {}
    for group in groups:
        for parameter in group["params"]:
            name = names.get(id(parameter))
            if name is None:
                raise ConfigError(
                    f"a parameter of shape {tuple(parameter.shape)} is in a phase but not in the objective's module; "
                    "register it there, or it would be lost at a restart."
                )
            if name in seen:
                raise ConfigError(f"parameter '{name}' is in two groups of one phase; give it once.")
            seen.add(name)
            if not parameter.requires_grad:
                continue
            decay = group.get("weight_decay")
            if decay is None:
                decay = 0.0 if name in kept or parameter.ndim < 2 else config.weight_decay
            fitting = [key for key in config.lr_scales if _holds(name, key)]
            scale = float(group.get("lr_scale", 1.0))
            if fitting:
                scale *= config.lr_scales[max(fitting, key=len)]
            collected.setdefault((scale, decay, float(group.get("beta_power", 1.0))), {})[name] = parameter
    if not collected:
        raise ConfigError("a phase has no parameter that needs a gradient; unfreeze some or drop the phase.")
    return torch.optim.AdamW(
        [
            {
                "params": list(members.values()),
                "names": list(members),
                "lr_scale": scale,
                "weight_decay": decay,
                "betas": (config.betas[0] ** power, config.betas[1] ** power),
            }
            for (scale, decay, power), members in collected.items()
        ],
        lr=config.lr,
        betas=config.betas,
        eps=config.eps,
        fused=all(p.is_floating_point() for members in collected.values() for p in members.values()),
    )


def train_only(module: nn.Module, keys: Sequence[str]) -> None:
    """Let only the parameters train whose names hold one of the dotted `keys`; none lets all be as they are.

    Raises:
        ConfigError: A key fits no parameter.
    """
    if not keys:
        return
    names = [name for name, _ in module.named_parameters()]
    _check_keys("optim.only", keys, names)
    for name, parameter in module.named_parameters():
        if not any(_holds(name, key) for key in keys):
            parameter.requires_grad_(False)


def learning_rate_factor(step: int, steps: int, config: OptimConfig) -> float:
    """Give the learning rate of optimiser step `step` (0-based) of `steps` as a share of the peak.

    The warm-up rises as (step + 1) / warmup_steps; the cosine then falls from 1 to `min_lr_ratio`,
    which it would reach at step `steps`, so that the last step still learns.

    Source: Loshchilov and Hutter 2017, arXiv:1608.03983, equation 5, without restarts.
    """
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return 1.0
    progress = min(1.0, (step - config.warmup_steps) / max(1, steps - config.warmup_steps))
    return config.min_lr_ratio + (1 - config.min_lr_ratio) * 0.5 * (1 + math.cos(math.pi * progress))


def set_learning_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Set every group to `lr` times its scale."""
    for group in optimiser.param_groups:
        group["lr"] = lr * group["lr_scale"]


def clip_gradients(parameters: Iterable[nn.Parameter], limit: float | None) -> Tensor:
    """Scale gradients in place to a global norm of at most `limit`; None only measures.

    Returns:
        The norm before clipping, a scalar; infinite or NaN when a gradient is. Then no gradient is changed.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return torch.zeros(())
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g.float()) for g in gradients]))
    if limit is not None and limit < float(norm) < math.inf:  # false for NaN too; one wait for the device
        for gradient in gradients:
            gradient.mul_(limit / norm)
    return norm


def _undecayed(module: nn.Module) -> set[str]:
    """Names of parameters that do not decay whatever their shape."""
    kept: set[str] = set()
    for prefix, layer in module.named_modules():
        is_norm = "norm" in type(layer).__name__.lower()
        found = [name for name, _ in layer.named_parameters(recurse=False) if is_norm or "bias" in name]
        named = getattr(layer, "no_weight_decay", None)
        found += named() if callable(named) else ()
        kept.update(f"{prefix}.{name}" if prefix else name for name in found)
    return kept


def _check_keys(field: str, keys: Iterable[str], names: Iterable[str]) -> None:
    """Refuse a key that stands in no parameter name."""
    names = list(names)
    for key in keys:
        if not any(_holds(name, key) for name in names):
            parts = {".".join(n.split(".")[i : i + key.count(".") + 1]) for n in names for i in range(4)}
            raise ConfigError(
                f"{field} names '{key}', which stands in no parameter name of the model{nearest(key, parts)} "
                f"A name looks like '{names[0]}'."
            )


def _holds(name: str, key: str) -> bool:
    return f".{key}." in f".{name}."

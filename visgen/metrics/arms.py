"""May a gain be claimed? One arm of an experiment against the best of its rivals, on the same images and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import DataError
from .bootstrap import bootstrap_over_best, mean_of_groups, paired_bootstrap

__all__ = ["arm_claim", "arm_mean"]


def arm_mean(values: Tensor) -> float:
    """Give the figure of an arm: the mean over groups of means over images, of values (S, N, G) averaged over seeds."""
    return float(mean_of_groups(values.double().mean(0)))


def arm_claim(
    target: Mapping[str, Tensor],
    kept: Mapping[str, Tensor],
    generator: torch.Generator,
    *,
    arm: str,
    base: str,
    rivals: Sequence[str],
    oracle: str | None = None,
    most_lost: float = 0.005,
    draws: int = 2000,
) -> dict[str, Any]:
    """Give whether a gain of `arm` may be claimed, and what speaks for and against it.

    The rule: on the target domain `arm` lies above every rival, with a 95 % interval of the difference to the best one
    that excludes 0, and on the domain to be kept it loses no more than `most_lost` to `base`. The interval comes from
    `bootstrap_over_best` over images and seeds, which finds the best rival anew in each draw.

    Args:
        target: Arm to values (S, N, G), higher is better, where the gain is wanted (night).
        kept: The same where nothing may be lost (day).
        generator: Source of the draws.
        arm: The arm that the claim is about.
        base: The arm that it was built on.
        rivals: Arms that it must beat; `base` may be one of them.
        oracle: The arm that shows what could be reached; gives `gap_closed` = (arm - base) / (oracle - base).
        most_lost: In units of the figure.
        draws: Of the bootstrap.
    Returns:
        `allowed`, `why`, `best_rival`, `over_best_rival` and `over_base` (as `paired_bootstrap` gives it),
        `kept_lost`, and with an oracle `gap` (oracle - base) and, where that is above 0, `gap_closed`.
    Raises:
        DataError: An arm has no values, or no rival is named.
    """
    named = [arm, base, *rivals, *([oracle] if oracle else [])]
    for name in named:
        if name not in target or name not in kept:
            raise DataError(f"arm '{name}' has no values; there are {', '.join(sorted(set(target) & set(kept)))}.")
    if not rivals or arm in rivals:
        raise DataError(f"the rivals of '{arm}' are {list(rivals)}; name at least one other arm.")
    best = max(rivals, key=lambda name: arm_mean(target[name]))
    over_best = bootstrap_over_best([target[name] for name in rivals], target[arm], generator, draws)
    over_base = paired_bootstrap(target[base], target[arm], generator, draws)
    lost = arm_mean(kept[base]) - arm_mean(kept[arm])
    is_above, is_kept = over_best["low"] > 0, lost <= most_lost
    if is_above and is_kept:
        why = f"{arm} is above {best} with an interval that excludes 0, and keeps what {base} has"
    elif not is_above:
        where = "below" if over_best["difference"] < 0 else "not surely above"
        why = f"{arm} is {where} {best}: the interval of the difference reaches 0 or less"
    else:
        why = f"{arm} is above {best} but loses {lost:.4f} to {base}, more than {most_lost:g}"
    found: dict[str, Any] = {
        "allowed": is_above and is_kept,
        "why": why,
        "best_rival": best,
        "over_best_rival": over_best,
        "over_base": over_base,
        "kept_lost": lost,
    }
    if oracle is not None:
        gap = arm_mean(target[oracle]) - arm_mean(target[base])
        found["gap"] = gap
        if gap > 0:
            found["gap_closed"] = (arm_mean(target[arm]) - arm_mean(target[base])) / gap
    return found

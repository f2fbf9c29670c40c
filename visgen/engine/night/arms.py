"""The arms of the night experiments: what a share of the training pictures is replaced by."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...config import RunConfig, load_run
from ...errors import ConfigError, nearest
from ...gan.night import NightGenerator, load_night
from ...metrics import arm_claim, paired_bootstrap, summarise
from ...metrics.arms import arm_mean
from ..run import train_run

__all__ = [
    "ARMS",
    "RIVALS",
    "Arm",
    "choose_arms",
    "compare_arms",
    "match_histograms",
    "night_generators",
    "shift_pictures",
    "translate_all",
]

SHARE = 0.25


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Args:
        night: What stands in for a share of the pictures: "" nothing, "darken" the picture darkened, "edges" or
            "free" the night of a generator held to edges or not, "wrong" that of "edges" under labels that do not fit
            it, "match" the picture with the colours of an unlabelled night, "real" a labelled picture by night.
        jitter: Colours of all pictures are jittered.
        says: For tables.
        even: The contrast of all pictures is made even (CLAHE), in the test too.
    """

    night: str
    jitter: bool
    says: str
    even: bool = False


ARMS = {
    "A0": Arm("", False, "day only"),
    "A1": Arm("", True, "colour jitter"),
    "A2": Arm("darken", True, "jitter; gamma, gain and noise on a share"),
    "A3": Arm("", True, "jitter; contrast of every picture made even (CLAHE), in the test too", even=True),
    "A4": Arm("match", True, "jitter; histograms of unlabelled nights on a share"),
    "A5": Arm("edges", True, "jitter; generated night on a share"),
    "A6": Arm("free", True, "as A5, generator without its edge term"),
    "A8": Arm("wrong", True, "control: as A5 under labels that do not fit"),
    "A9": Arm("real", True, "oracle: labelled night on a share"),
}
"""Named as in specifications of such experiments; A7 (CycleGAN) is not here."""
RIVALS = ("A1", "A2", "A3", "A4")
"""What a gain of A5 is measured against: each needs no generator."""


def choose_arms(names: Sequence[str]) -> dict[str, Arm]:
    """Give arms by name; raises ConfigError with the nearest name."""
    for name in names:
        if name not in ARMS:
            raise ConfigError(f"arm '{name}' is not known{nearest(name, ARMS)} Known: {', '.join(ARMS)}.")
    return {name: ARMS[name] for name in names}


def night_generators(
    config: RunConfig, out: Path, resume: bool = True, arms: Collection[Arm] = tuple(ARMS.values())
) -> dict[str, NightGenerator]:
    """Train, or load where they are there, a generator held to edges and one that is not.

    Args:
        config: Run of the objective "night"; its `edge_weight` is that of "edges".
        out: Gets the runs `generator-edges` and `generator-free`.
        resume: Go on with what is there.
        arms: What is trained with them: a generator that none of them shows is left out.
    Returns:
        "edges" and "free": both trained on the same pictures with the same seed and steps.
    Raises:
        ConfigError: The run does not hold to edges, it was interrupted before its end, or a generator that is there
            was trained with another seed, objective or number of steps.
    """
    weight = config.objective.options.get("edge_weight", 5.0)
    if config.objective.name != "night" or not weight > 0:
        raise ConfigError(
            f"the generator's run has objective '{config.objective.name}' with edge_weight {weight}; it must be "
            "'night' with a weight above 0."
        )
    shown = {arm.night for arm in arms}
    found = {}
    for name, own in (("edges", weight), ("free", 0.0)):
        if not shown & ({"edges", "wrong"} if name == "edges" else {"free"}):
            continue
        folder = out / f"generator-{name}"
        objective = replace(config.objective, options={**config.objective.options, "edge_weight": own})
        asked = replace(config, objective=objective, out=str(folder))
        before = folder / "config.yaml"
        if before.is_file() and _trained(load_run(before)) != _trained(asked):
            raise ConfigError(f"{folder} was trained by another configuration than is asked now; use another `out`.")
        done = folder / "finished.txt"  # a run that was cut short leaves a generator too
        if not done.is_file():
            summary = train_run(asked, resume=resume)
            if not summary.finished:
                raise ConfigError(f"{folder} ended by {summary.reason} at step {summary.steps}; run the command again.")
            done.write_text(f"{summary.reason}, {summary.steps} steps\n", encoding="utf-8")
        found[name] = load_night(folder / "last")
    return found


@torch.no_grad()
def translate_all(generator: NightGenerator, pictures: Tensor, batch_size: int = 16) -> Tensor:
    """Give the night of pictures (N, 3, H, W) uint8, in the same form."""
    parts = [generator(part.float() / 255) for part in pictures.split(batch_size)]
    return (torch.cat(parts) * 255).round().to(torch.uint8)


def match_histograms(pictures: Tensor, others: Tensor) -> Tensor:
    """Give pictures (N, 3, H, W) uint8 the histograms of others (M, 3, h, w) uint8, each colour by itself.

    The n-th picture takes those of the n-th other, in turn where there are fewer. A grey level goes to the one of the
    same rank: the middle of its share by the picture, looked up in the other's cumulated shares.

    Source: Gonzalez and Woods 2018, Digital Image Processing, section 3.3.
    """

    def shares(picture: Tensor) -> Tensor:
        counts = torch.stack([torch.bincount(colour.flatten().long(), minlength=256) for colour in picture])
        return counts.double() / counts.sum(1, keepdim=True)

    found = []
    for n, picture in enumerate(pictures):
        own, wanted = shares(picture), shares(others[n % len(others)]).cumsum(1)
        middle = own.cumsum(1) - own / 2
        curve = torch.searchsorted(wanted, middle).clamp(max=255).to(torch.uint8)
        found.append(torch.stack([c[colour.long()] for c, colour in zip(curve, picture, strict=True)]))
    return torch.stack(found)


def shift_pictures(pictures: Tensor, pixels: int = 8) -> Tensor:
    """Move what pictures (N, 3, H, W) show to the right, the left edge repeated: labels then no longer fit.

    Raises:
        ConfigError: `pixels` is not from 1 to W - 1.
    """
    if not 0 < pixels < pictures.shape[-1]:
        raise ConfigError(
            f"a shift of {pixels} pixels leaves no control in pictures {pictures.shape[-1]} wide; use 1 to "
            f"{pictures.shape[-1] - 1}."
        )
    return torch.cat([pictures[..., :1].expand(*pictures.shape[:-1], pixels), pictures[..., :-pixels]], dim=-1)


def _trained(config: RunConfig) -> tuple[Any, ...]:
    """What tells two generators of the same pictures apart."""
    return config.seed, config.objective, config.train.steps


def compare_arms(
    night: Mapping[str, Tensor], day: Mapping[str, Tensor], *, lower_is_better: bool = False, draws: int = 2000
) -> dict[str, Any]:
    """Give the figures of all arms and what follows from them.

    Args:
        night, day: Arm to values (S, N, G) of one figure.
        lower_is_better: For errors, whose sign is turned wherever arms are compared: a gain is always above 0.
        draws: Of each bootstrap.
    Returns:
        `arms`: {arm: {"night", "day": figure by seeds}}; `claim` for A5 against those of RIVALS that are there, see
        `arm_claim`; and where the arms are there, `edge_term` (A5 less A6), `control` (A8 less A5) and `oracle` (A9
        less A1), by night.
    """
    sign = -1.0 if lower_is_better else 1.0
    turned_night = {arm: sign * values for arm, values in night.items()}
    turned_day = {arm: sign * values for arm, values in day.items()}
    found: dict[str, Any] = {
        "arms": {
            arm: {
                time: summarise([arm_mean(one[None]) for one in values[arm]])
                for time, values in (("night", night), ("day", day))
            }
            for arm in night
        }
    }

    def rng() -> torch.Generator:
        return torch.Generator().manual_seed(0)

    rivals = [arm for arm in RIVALS if arm in night]
    if "A5" in night and "A1" in night:
        oracle = "A9" if "A9" in night else None
        options: dict[str, Any] = {"arm": "A5", "base": "A1", "rivals": rivals, "oracle": oracle, "draws": draws}
        found["claim"] = arm_claim(turned_night, turned_day, rng(), **options)
    for name, first, second in (("edge_term", "A6", "A5"), ("control", "A5", "A8"), ("oracle", "A1", "A9")):
        if first in night and second in night:
            found[name] = paired_bootstrap(turned_night[first], turned_night[second], rng(), draws)
    return found

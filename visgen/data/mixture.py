"""Draw batches of several sources: a pure function of (seed, step, rank), so a resumed run continues exactly."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, nearest
from .collate import Batch, collate
from .sample import Sample
from .source import Source

__all__ = ["MODES", "Mixture", "MixturePart", "Planned", "sample_of"]

MODES = ("per_rank", "same_task", "round_robin")
_BLOCK = 1024  # steps whose draws are made together; part of the plan, so changing it changes every run


@dataclass(frozen=True)
class MixturePart:
    """One source of a mixture.

    Args:
        source: Where samples come from.
        transform: Called as transform(sample, generator); None leaves samples alone.
        weight: Share of the draws relative to the other parts, > 0; not used by the mode "round_robin".
        batch_size: Samples per batch of this part, on each rank.
        name: How logs and the plan call it; the source's name by default.
    """

    source: Source
    transform: Callable[[Sample, torch.Generator], Sample] | None = None
    weight: float = 1.0
    batch_size: int = 8
    name: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.source.name)
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise ConfigError(
                f"mixture part '{self.name}' has weight {self.weight}; it must be > 0: leave the part out instead."
            )
        if self.batch_size < 1:
            raise ConfigError(f"mixture part '{self.name}' has batch_size {self.batch_size}; it must be at least 1.")
        if len(self.source) == 0:
            raise ConfigError(f"mixture part '{self.name}' has 0 samples; check its path and split, or leave it out.")


@dataclass(frozen=True)
class Planned:
    """Samples of one coming batch: `items` are (epoch, index) pairs of the part called `part`."""

    part: str
    items: tuple[tuple[int, int], ...]


def derive_seed(*key: Any) -> int:
    """Hash a key of plain values into a seed in 0..2^63-1 (BLAKE2b of its repr: the same on every machine)."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def _generator(*key: Any) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(*key))


def sample_of(source: Source, index: int, epoch: int) -> Sample:
    """Give a sample as one epoch shows it; a source that draws anew each epoch has `of_epoch(index, epoch)`."""
    draw = getattr(source, "of_epoch", None)
    found: Sample = source[index] if draw is None else draw(index, epoch)
    return found


class Mixture:
    """Map from step and rank to batches; each part goes through its samples without replacement, epoch by epoch.

    Modes: "per_rank" draws one part per rank and step by weight, ranks independently; "same_task" draws one part per
    step for all ranks; "round_robin" gives every rank one batch of every part at every step. What a part has handed out
    before is counted over all ranks, so together the ranks walk through one permutation per epoch; a batch may straddle
    two.

    Args:
        parts: The sources with their weights and batch sizes; names must differ.
        seed: Fixes draws, permutations and augmentation.
        mode: One of MODES.
        world: Number of ranks that read together.
    Raises:
        ConfigError: No part, a name twice, an unknown mode, or a world below 1.
    Source: MTHL, arXiv:2306.17165 (each device draws a data set at each iteration); counting and resuming are ours.
    """

    def __init__(self, parts: Sequence[MixturePart], seed: int = 0, mode: str = "per_rank", world: int = 1) -> None:
        if not parts:
            raise ConfigError("the mixture has 0 parts; give at least one.")
        names = [part.name for part in parts]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ConfigError(
                f"mixture part '{twice[0]}' is there {names.count(twice[0])} times; give each its own name."
            )
        if mode not in MODES:
            raise ConfigError(
                f"mixture mode '{mode}' is not known{nearest(mode, MODES)} Use one of {', '.join(MODES)}."
            )
        if world < 1:
            raise ConfigError(f"the mixture's world is {world}; it must be at least 1 rank.")
        self.parts = list(parts)
        self.seed = int(seed)
        self.mode = mode
        self.world = int(world)
        total = sum(p.weight for p in self.parts)
        self.probabilities = [p.weight / total for p in self.parts]
        # Caches of values that (seed, step, rank) determine; nothing below depends on what was asked before.
        self._starts: list[Tensor] = [torch.zeros(len(parts), dtype=torch.int64)]
        self._block: tuple[int, Tensor] | None = None
        self._orders: dict[tuple[int, int], Tensor] = {}

    def effective_weights(self, loss_weights: Mapping[str, float] | None = None) -> dict[str, float]:
        """Give the expected weight of each part's loss in one rank's step.

        Args:
            loss_weights: Part name to loss weight; 1 where not given.
        Returns:
            Part name to (probability that a rank draws it at a step) x (loss weight); in "round_robin" the probability
            is 1.
        """
        weights = dict(loss_weights or {})
        for name in weights:
            if name not in {p.name for p in self.parts}:
                raise ConfigError(
                    f"loss weight for '{name}': no such part{nearest(name, [p.name for p in self.parts])}"
                )
        chances = [1.0] * len(self.parts) if self.mode == "round_robin" else self.probabilities
        return {p.name: c * weights.get(p.name, 1.0) for p, c in zip(self.parts, chances, strict=True)}

    def plan(self, step: int, rank: int = 0) -> list[Planned]:
        """Tell which samples `batches` would load, without loading them.

        Raises:
            ConfigError: The step is negative or the rank outside 0..world-1.
        """
        if step < 0 or not 0 <= rank < self.world:
            raise ConfigError(f"step {step}, rank {rank}: steps start at 0 and ranks are 0..{self.world - 1}.")
        if self.mode == "round_robin":
            return [self._planned(p, step * self.world + rank) for p in range(len(self.parts))]
        block, offset = divmod(step, _BLOCK)
        drawn = self._draws(block)
        part = int(drawn[offset, rank])
        before = (
            int(self._start(block)[part])
            + int((drawn[:offset] == part).sum())
            + int((drawn[offset, :rank] == part).sum())
        )
        return [self._planned(part, before)]

    def batches(self, step: int, rank: int = 0) -> list[Batch]:
        """Load the batches of one rank at one step: one, or one of every part in "round_robin"."""
        by_name = {p.name: p for p in self.parts}
        return [self._load(by_name[planned.part], planned.items) for planned in self.plan(step, rank)]

    def fingerprint(self) -> dict[str, Any]:
        """What must be equal for a resumed run to continue the same plan (JSON-able)."""
        parts = [
            {
                "name": p.name,
                "samples": len(p.source),
                "weight": p.weight,
                "batch_size": p.batch_size,
                "heads": dict(p.source.heads),
                "classes": {task: list(names) for task, names in p.source.classes.items()},
                "transform": repr(p.transform),
            }
            for p in self.parts
        ]
        return {"seed": self.seed, "mode": self.mode, "world": self.world, "parts": parts}

    def state_dict(self) -> dict[str, Any]:
        """Everything a checkpoint needs: the position is the trainer's step, so only the fingerprint is kept."""
        return self.fingerprint()

    def load_state_dict(self, state: Mapping[str, Any], elastic: bool = False) -> None:
        """Check that a checkpoint was written with this mixture.

        Args:
            state: Result of `state_dict`.
            elastic: Accept another number of ranks; the plan then goes on from other positions of the same epochs.
        Raises:
            ConfigError: Anything in the fingerprint differs; the message names what.
        """
        mine = json.loads(json.dumps(self.fingerprint()))
        theirs = json.loads(json.dumps(dict(state)))
        if elastic:
            theirs["world"] = mine["world"]
        before = theirs.get("parts")
        if isinstance(before, list) and not all("classes" in part for part in before):  # older ones do not hold them
            for part in (*mine["parts"], *before):
                part.pop("classes", None)
        if theirs != mine:
            raise ConfigError(
                f"the checkpoint's mixture differs: {_difference(theirs, mine)}; resume with the configuration of the "
                "checkpoint, or start a new run from its weights."
            )

    def _draws(self, block: int) -> Tensor:
        """Part drawn at each step of a block by each rank, (steps, world) int64."""
        if self._block is None or self._block[0] != block:
            bounds = torch.tensor(self.probabilities, dtype=torch.float64).cumsum(0)[:-1]
            if self.mode == "same_task":
                column = torch.rand(_BLOCK, generator=_generator(self.seed, "draw", block), dtype=torch.float64)
                uniform = column[:, None].expand(_BLOCK, self.world)
            else:
                columns = [
                    torch.rand(_BLOCK, generator=_generator(self.seed, "draw", block, r), dtype=torch.float64)
                    for r in range(self.world)
                ]
                uniform = torch.stack(columns, 1)
            self._block = (block, torch.bucketize(uniform.contiguous(), bounds, right=True))
        return self._block[1]

    def _start(self, block: int) -> Tensor:
        """Batches of each part drawn before a block, over all ranks."""
        while len(self._starts) <= block:
            drawn = self._draws(len(self._starts) - 1)
            counts = torch.bincount(drawn.flatten(), minlength=len(self.parts))
            self._starts.append(self._starts[-1] + counts)
        return self._starts[block]

    def _planned(self, part: int, batch: int) -> Planned:
        size, total = self.parts[part].batch_size, len(self.parts[part].source)
        items = []
        for position in range(batch * size, (batch + 1) * size):
            epoch, offset = divmod(position, total)
            items.append((epoch, int(self._order(part, epoch)[offset])))
        return Planned(self.parts[part].name, tuple(items))

    def _order(self, part: int, epoch: int) -> Tensor:
        key = (part, epoch)
        if key not in self._orders:
            for old in [k for k in self._orders if k[0] == part and k[1] < epoch - 1]:
                del self._orders[old]
            name, total = self.parts[part].name, len(self.parts[part].source)
            self._orders[key] = torch.randperm(total, generator=_generator(self.seed, "order", name, epoch))
        return self._orders[key]

    def _load(self, part: MixturePart, items: Sequence[tuple[int, int]]) -> Batch:
        samples = []
        for epoch, index in items:
            sample = sample_of(part.source, index, epoch)
            if part.transform is not None:
                sample = part.transform(sample, _generator(self.seed, "augment", part.name, epoch, index))
            samples.append(sample.replace(meta={**sample.meta, "part": part.name, "epoch": epoch, "index": index}))
        return collate(samples, part.source.heads, part.name)


def _difference(theirs: Any, mine: Any, at: str = "") -> str:
    """Path and values of the first difference of two JSON values."""
    if isinstance(theirs, dict) and isinstance(mine, dict):
        for key in sorted({*theirs, *mine}):
            if theirs.get(key) != mine.get(key):
                return _difference(theirs.get(key), mine.get(key), f"{at}.{key}" if at else str(key))
    if isinstance(theirs, list) and isinstance(mine, list) and len(theirs) == len(mine):
        for i, (a, b) in enumerate(zip(theirs, mine, strict=True)):
            if a != b:
                return _difference(a, b, f"{at}[{i}]")
    return f"{at} was {theirs} and is {mine}"

"""Batches of maps that a fixed backbone gave, places in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...backbones import Backbone
from ...data import Batch
from ...errors import ConfigError
from ...structures import PlaceLabel
from ...structures.features import Features
from .arms import SHARE

__all__ = ["STRIDE", "MapDraws", "StoredMaps"]

STRIDE = 32


class StoredMaps(Backbone):
    """Maps that a fixed backbone gave, in the place of images."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = {STRIDE: channels}
        self.token_dim = channels

    def prefix(self, images: Tensor) -> Features:
        return Features({STRIDE: images.float()}, images.float().mean((2, 3)))

    def suffix(self, state: Features, task: str | Tensor | None = None) -> Features:
        return state


@dataclass(frozen=True)
class MapDraws:
    """Batches of stored maps, as a pure function of (seed, step): places in turn, pictures and variants by chance.

    Where there are places of a single picture, half of a batch is of them, each in two variants.

    Args:
        day: (N, V, C, h, w) of the training pictures by day.
        night: (M, V', C, h, w) of what stands in for a share of them; None for nothing.
        of: Pictures of `night` to draw from for each training picture; none where a list is empty.
        labels: Place of each training picture; of `night` where its label differs (`night_labels`).
    """

    day: Tensor
    night: Tensor | None
    of: Sequence[Sequence[int]]
    labels: Sequence[PlaceLabel]
    night_labels: Sequence[PlaceLabel]
    batch_size: int
    seed: int
    share: float = SHARE

    def batches(self, step: int, rank: int = 0) -> list[Batch]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        maps: list[Tensor] = []
        targets: list[PlaceLabel] = []
        for row in self._rows(generator, step):
            variant, coin = _draw(self.day.shape[1], generator), float(torch.rand((), generator=generator))
            other, turn = _draw(10**6, generator), _draw(10**6, generator)
            if self.night is None or coin >= self.share or not self.of[row]:
                maps.append(self.day[row, variant])
                targets.append(self.labels[row])
            else:
                at = self.of[row][other % len(self.of[row])]
                maps.append(self.night[at, turn % self.night.shape[1]])
                targets.append(self.night_labels[at])
        heads = {"retrieval": "retrieval"}
        return [Batch(torch.stack(maps).float(), {"retrieval": targets}, heads, [{}] * len(maps), "places")]

    def _rows(self, generator: torch.Generator, step: int) -> list[int]:
        """Training pictures of a batch; where places are more than fit, the next step goes on with the next ones."""
        of_place: dict[str, list[int]] = {}
        for row, label in enumerate(self.labels):
            of_place.setdefault(label.place, []).append(row)
        several = [rows for _, rows in sorted(of_place.items()) if len(rows) > 1]
        single = [rows[0] for rows in of_place.values() if len(rows) == 1]
        twice = (self.batch_size // 4 if several else self.batch_size // 2) if single else 0
        chosen = _in_turn(several, self.batch_size - 2 * twice, step) if several else []
        found = [rows[_draw(len(rows), generator)] for rows in chosen]
        for _ in range(twice):
            found += [single[_draw(len(single), generator)]] * 2
        return found

    def state_dict(self) -> dict[str, Any]:
        return {"seed": self.seed, "batch_size": self.batch_size, "share": self.share}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state != self.state_dict():
            raise ConfigError(f"the checkpoint was drawn with {state}, this run with {self.state_dict()}.")


def _in_turn(lists: Sequence[list[int]], count: int, step: int) -> list[list[int]]:
    return [lists[(step * count + i) % len(lists)] for i in range(count)]


def _draw(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))

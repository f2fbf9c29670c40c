"""Measure many generators against the same real images: what each network sees in these is computed once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.duplicates import pixel_digest
from ..metrics.generative import FeatureNetwork, Seen, generative_figures, stack_pixels
from ..structures.png import write_atomically
from .saving import SavedGan, load_gan
from .shrinkage import measure_shrinkage
from .source import GanSource

__all__ = ["GanJudge", "flatten_figures"]


class GanJudge:
    """Real images, and the networks that compare others with them.

    Args:
        networks: None of them may be one that a discriminator uses.
        real: Images that no generator was trained on, uint8 (N, 3, H, W), in random order.
        labels: Their classes (N,), for the radii in a discriminator's feature space and, of a GAN with labels, for the
            distance class by class by the last network.
        train: Images that the generators were trained on, for the copy check by the last network, since there are many
            of them; None leaves it out.
        blocks: Of the jackknife behind the intervals; 0 for none.
        seed: Of the generated images.
    """

    def __init__(
        self,
        networks: Sequence[FeatureNetwork],
        real: Tensor,
        labels: Tensor | None = None,
        train: Tensor | None = None,
        blocks: int = 10,
        seed: int = 1,
    ) -> None:
        self.real, self.labels, self.blocks, self.seed = real, labels, blocks, seed
        self.digests = [None if part is None else pixel_digest(part).hex() for part in (real, labels, train)]
        self.known: list[tuple[FeatureNetwork, Seen, Seen | None]] = [
            (network, network.see(real), None if train is None or network is not networks[-1] else network.see(train))
            for network in networks
        ]
        self.protocol: dict[str, Any] = {}

    def measure(self, images: Tensor, labels: Tensor | None = None) -> dict[str, float]:
        """Give the figures of as many images as there are real ones, through each network; `labels` (N,) are theirs."""
        figures: dict[str, float] = {}
        for network, real, train in self.known:
            is_last = network is self.known[-1][0]
            both = (self.labels, labels) if is_last and self.labels is not None and labels is not None else None
            seen = network.see(images)
            found = generative_figures(network, real, seen, train=train, labels=both, blocks=self.blocks)
            self.protocol[network.name] = found["protocol"]
            figures.update(flatten_figures(found["metrics"], network.name))
        return figures

    def measure_gan(self, gan: SavedGan) -> dict[str, float]:
        """Give the figures of a generator's images, and how tight its discriminator's features lie ("D/...")."""
        samples = list(GanSource(gan, len(self.real), self.seed))
        fake = stack_pixels(samples)
        wanted = torch.tensor([s.targets["classification"].label for s in samples]) if gan.classes else None
        figures, discriminator = self.measure(fake, wanted), gan.discriminator()
        for side, images, labels in (("real", self.real, self.labels), ("fake", fake, None)):
            found = measure_shrinkage(discriminator, images, labels)
            figures.update({f"D/{key}/{side}": value for key, value in found.items()})
        return figures

    def measure_saved(self, folder: Path) -> dict[str, float]:
        """Give `measure_gan` of a saved GAN, kept in FOLDER/figures.json and read from there while nothing changed."""
        gan, file = load_gan(folder), folder / "figures.json"
        key = [gan.sha256, self.blocks, self.seed, *self.digests, *(n.protocol() for n, *_ in self.known)]
        kept: dict[str, Any] = {}
        with suppress(OSError, ValueError):  # none yet, or torn
            kept = json.loads(file.read_text(encoding="utf-8"))
        if kept.get("key") != key:
            kept = {"key": key, "figures": self.measure_gan(gan), "protocol": self.protocol}
            write_atomically(file, json.dumps(kept).encode())
        self.protocol.update(kept["protocol"])
        found: dict[str, float] = kept["figures"]
        return found


def flatten_figures(metrics: dict[str, Any], network: str) -> dict[str, float]:
    """Give figures of `generative_figures` one name each; those without the network in their name get it.

    "FD-net" keeps its value, "FD-net/se" its standard error; "copies-net/ratio" is a part of the copy check.
    """
    found: dict[str, float] = {}
    for key, value in metrics.items():
        name = key if key.endswith(f"-{network}") else f"{key}-{network}"
        for part, number in value.items() if isinstance(value, dict) else [("value", value)]:
            if part not in ("low", "high"):
                found[name if part == "value" else f"{name}/{part}"] = float(number)
    return found

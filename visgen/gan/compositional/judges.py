"""Discriminators of feature maps: of boxes, of pairs, and of whole maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ...errors import ConfigError

__all__ = ["Judges", "MapJudge", "RegionJudge"]


class RegionJudge(nn.Module):
    """One logit for a region and what it shall show.

    The class joins as channels that hold its embedding, not as one plane for each class.

    Args:
        channels: C of the regions (n, C, 7, 7).
        classes: Number of classes.
        width: Channels of the convolutions.
        embed: Width of the embedding.
    Source: Knyazev et al. 2021, arXiv:2007.05756, the node and edge discriminators; narrower.
    """

    def __init__(self, channels: int, classes: int, width: int = 64, embed: int = 16) -> None:
        super().__init__()
        self.embed = nn.Embedding(classes, embed)
        self.body = nn.Sequential(
            spectral_norm(nn.Conv2d(channels + embed, width, 3)),
            nn.ReLU(),
            spectral_norm(nn.Conv2d(width, width, 3)),
            nn.ReLU(),
            spectral_norm(nn.Conv2d(width, width // 2, 1)),
            nn.ReLU(),
            spectral_norm(nn.Conv2d(width // 2, 1, 3)),
        )

    def forward(self, regions: Tensor, labels: Tensor) -> Tensor:
        """Logits (n,) of regions (n, C, s, s) with s >= 7 and classes (n,)."""
        if min(regions.shape[-2:]) < 7:
            raise ConfigError(f"regions are {tuple(regions.shape[-2:])} cells; the judge needs 7 x 7 or more.")
        planes = self.embed(labels)[:, :, None, None].expand(-1, -1, *regions.shape[-2:])
        return self.body(torch.cat([regions, planes], dim=1)).mean(dim=(1, 2, 3))


class MapJudge(nn.Module):
    """One logit for a whole map of any size.

    Args:
        channels: C of the maps.
        width: Channels of the convolutions.
    Source: as RegionJudge, the global discriminator.
    """

    def __init__(self, channels: int, width: int = 64) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((channels, width), (width, width), (width, width // 2)):
            layers += [spectral_norm(nn.Conv2d(before, after, 3, padding=1)), nn.LeakyReLU(0.2)]
            layers += [nn.AvgPool2d(2, ceil_mode=True)]
        self.body = nn.Sequential(*layers, spectral_norm(nn.Conv2d(width // 2, 1, 3, padding=1)))

    def forward(self, maps: Tensor) -> Tensor:
        """Logits (B,) of maps (B, C, h, w)."""
        return self.body(maps).mean(dim=(1, 2, 3))


class Judges(nn.Module):
    """The three judges of a map and its graph.

    Args:
        channels: C of the maps.
        objects, predicates: Numbers K and P of classes.
        width, embed: As in RegionJudge.
        pairs: Most pairs of a batch that are judged, annotated ones first; 0 judges all.
    """

    def __init__(
        self, channels: int, objects: int, predicates: int, width: int = 64, embed: int = 16, pairs: int = 0
    ) -> None:
        super().__init__()
        if width % 2 or width < 2 or pairs < 0:
            raise ConfigError(f"judges have width {width} and judge {pairs} pairs; use an even width and 0 or more.")
        self.pairs = pairs
        self.node = RegionJudge(channels, objects, width, embed)
        self.edge = RegionJudge(channels, predicates + 1, width, embed)
        self.whole = MapJudge(channels, width)

    def chosen(self, predicates: Tensor, generator: torch.Generator) -> Tensor:
        """Give the positions (m,) of the pairs to judge, by their predicates (M,), 0 for none."""
        if not self.pairs or len(predicates) <= self.pairs:
            return torch.arange(len(predicates), device=predicates.device)
        shuffled = torch.randperm(len(predicates), generator=generator).to(predicates.device)
        order = shuffled[(predicates[shuffled] == 0).to(torch.int64).argsort(stable=True)]
        return order[: self.pairs]

    def forward(
        self, maps: Tensor, nodes: Tensor, labels: Tensor, edges: Tensor, predicates: Tensor
    ) -> dict[str, Tensor]:
        """Logits by "node", "edge" and "map"."""
        return {"node": self.node(nodes, labels), "edge": self.edge(edges, predicates), "map": self.whole(maps)}

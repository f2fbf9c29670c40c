"""Training of an edge detector: every stage of a HEDNet and their fusion against boundaries that people drew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..data import Batch, Source
from ..errors import ConfigError, DataError
from ..gan.night import HEDNet, save_edges
from ..losses.boundary import boundary_loss
from ..options import build_options
from ..structures import IGNORE
from .objective import OBJECTIVES, Phase

__all__ = ["EdgesConfig", "EdgesObjective"]

CLASSES = ("background", "boundary")


@dataclass(frozen=True)
class EdgesConfig:
    """An edge detector and how it learns.

    Attributes:
        net: Keywords of HEDNet.
        net_lr_scale: Factor on the learning rate of the network below the side branches.
        positive_factor: See `boundary_loss`.
    """

    net: dict[str, Any] = field(default_factory=dict)
    net_lr_scale: float = 0.1
    positive_factor: float = 1.1


class EdgesObjective:
    """One phase: the sum of the boundary losses of all stages and of the fused map.

    Source: Xie and Tu 2015, arXiv:1504.06375, equation 4 with equal weights.
    """

    def __init__(self, config: EdgesConfig) -> None:
        self.config = config
        self.net = HEDNet(**config.net)
        self.module = nn.ModuleDict({"net": self.net})
        below = [p for p in self.net.net.parameters() if p.requires_grad]
        above = [*self.net.sides.parameters(), *self.net.fuse.parameters()]
        self.phases = (
            Phase("train", [{"params": below, "lr_scale": config.net_lr_scale}, {"params": above}], self.loss),
        )

    def before_step(self, step: int) -> None:
        """Nothing is prepared."""

    def after_step(self, step: int) -> None:
        """Nothing follows."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Give {"loss", "fused"} for images with maps of the classes background and boundary."""
        targets = batch.targets.get("segmentation", [])
        if not targets or any(t is None or tuple(t.classes) != CLASSES for t in targets):
            raise DataError(f"a batch of '{batch.source}' has no boundary maps; use data of format boundary.")
        ids = torch.stack([t.ids for t in targets]).unsqueeze(1).to(batch.images.device)
        share = torch.where(ids == IGNORE, -1, ids).to(torch.float32)
        found = [
            boundary_loss(logits.float(), share, positive_factor=self.config.positive_factor)
            for logits in self.net.all_logits(batch.images)
        ]
        return {"loss": torch.stack(found).sum(), "fused": found[-1].detach()}

    def export(self, module: nn.Module, path: Path) -> Path:
        """Write the detector into the folder `path`."""
        inside: Any = module["net"] if isinstance(module, nn.ModuleDict) else module
        return save_edges(path, inside, self.config.net, {})


@OBJECTIVES.register("edges")
def build_edges_objective(sources: Mapping[str, Source], seed: int, **options: Any) -> EdgesObjective:
    """Build an edge detector to train on sources of boundaries; options are the fields of EdgesConfig."""
    for name, source in sources.items():
        if tuple(source.classes.get("segmentation", ())) != CLASSES:
            raise ConfigError(f"part '{name}' has no boundaries; open it with format boundary.")
    return EdgesObjective(build_options(EdgesConfig, options, "objective.options"))

"""A pre-norm transformer block whose attention and MLP may each be dense or a mixture of experts."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.ops import stochastic_depth

from .moe import MoEMlp
from .moe_attention import MoEAttention
from .routing import Routing, TaskRows
from .routing_sums import routing_statistics

__all__ = ["Block", "LayerScale", "NORM_EPS"]

NORM_EPS = 1e-6  # as in timm vision transformers


class LayerScale(nn.Module):
    """Multiply channels by a learned vector that starts at `value`. Source: arXiv:2103.17239, section 3."""

    def __init__(self, width: int, value: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), value))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Block(nn.Module):
    """x + attn(norm1(x)), then x + mlp(norm2(x)), with optional layer scale and stochastic depth.

    Args:
        width: D.
        attn: Dense attention or `MoEAttention`.
        mlp: Dense MLP or `MoEMlp`.
        layer_scale: Initial layer scale, or None for none.
        drop_path: Probability of skipping a branch for one image, in training only.
        norm_eps: Epsilon of the layer norms.
    """

    def __init__(
        self,
        width: int,
        attn: nn.Module,
        mlp: nn.Module,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
        norm_eps: float = NORM_EPS,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=norm_eps)
        self.attn = attn
        self.ls1 = nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)
        self.norm2 = nn.LayerNorm(width, eps=norm_eps)
        self.mlp = mlp
        self.ls2 = nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)
        self.drop_path = drop_path

    def forward(
        self,
        x: Tensor,
        tasks: TaskRows | None = None,
        record: bool = False,
        collect: bool = False,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, list[dict[str, Tensor]]]:
        """Transform tokens (B, N, D).

        Args:
            tasks: Task of each image; not needed when both parts are dense.
            record: Give the statistics of each routed part, attention first.
            collect: Put the decision for every token into them.
            generator: Source of routing noise.
        """
        statistics: list[dict[str, Tensor]] = []
        for norm, part, scale in ((self.norm1, self.attn, self.ls1), (self.norm2, self.mlp, self.ls2)):
            if isinstance(part, MoEAttention | MoEMlp):
                if tasks is None:
                    raise AssertionError("a routed block was called without tasks")
                routing: Routing
                y, routing = part(norm(x), tasks, generator)
                if record:
                    statistics.append(routing_statistics(routing, tasks, collect))
            else:
                y = part(norm(x))
            x = x + stochastic_depth(scale(y), self.drop_path, "row", self.training)
        return x, statistics

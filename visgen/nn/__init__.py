"""Layers."""

from .attention import Attention
from .grouped_linear import grouped_linear
from .mlp import Mlp
from .moe import MoEMlp
from .moe_attention import MoEAttention
from .pos_embed import ConvPosition, LearnedPosition, SinCosPosition
from .routing import Router, Routing, TaskRows, route_top_k, select_tasks
from .routing_sums import routing_statistics

__all__ = [
    "Attention",
    "ConvPosition",
    "LearnedPosition",
    "Mlp",
    "MoEAttention",
    "MoEMlp",
    "Router",
    "Routing",
    "SinCosPosition",
    "TaskRows",
    "grouped_linear",
    "route_top_k",
    "routing_statistics",
    "select_tasks",
]

"""The experts of a model as things to see, cut out, tune, add and budget."""

from .banks import expert_banks, find_route, join_experts, split_experts
from .picture import draw_curves, draw_heat_map
from .stats import ExpertStats, LayerStats, collect_expert_stats

__all__ = [
    "ExpertStats",
    "LayerStats",
    "collect_expert_stats",
    "draw_curves",
    "draw_heat_map",
    "expert_banks",
    "find_route",
    "join_experts",
    "split_experts",
]

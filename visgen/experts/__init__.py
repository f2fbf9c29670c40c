"""The experts of a model as things to see, cut out, tune, add and budget."""

from .banks import expert_banks, find_route, join_experts, split_experts
from .budget import Budget, budget_cost, near_duplicates, reset_budget, set_budget
from .cost import StepCost, measure_costs
from .extend import ExtendReport, add_task
from .extract import ExtractReport, extract_experts, extract_task
from .finetune import FinetuneReport, finetune
from .picture import draw_curves, draw_heat_map
from .proof import FrozenPartMoved, MovementReport, check_movement, tensor_hashes
from .selection import Selection, parse_selection
from .start import add_experts
from .stats import ExpertStats, LayerStats, collect_expert_stats
from .trainable import Trainable, set_trainable
from .usage import measure_usage

__all__ = [
    "Budget",
    "ExtendReport",
    "add_task",
    "budget_cost",
    "near_duplicates",
    "reset_budget",
    "set_budget",
    "ExpertStats",
    "ExtractReport",
    "FinetuneReport",
    "FrozenPartMoved",
    "LayerStats",
    "MovementReport",
    "Selection",
    "StepCost",
    "Trainable",
    "add_experts",
    "check_movement",
    "collect_expert_stats",
    "draw_curves",
    "draw_heat_map",
    "expert_banks",
    "extract_experts",
    "extract_task",
    "find_route",
    "finetune",
    "join_experts",
    "measure_costs",
    "measure_usage",
    "parse_selection",
    "set_trainable",
    "split_experts",
    "tensor_hashes",
]

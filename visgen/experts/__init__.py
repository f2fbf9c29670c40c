"""The experts of a model as things to see, cut out, tune, add and budget."""

from .banks import expert_banks, find_route, join_experts, split_experts

__all__ = ["expert_banks", "find_route", "join_experts", "split_experts"]

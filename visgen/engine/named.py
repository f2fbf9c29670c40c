"""Runs of a named objective: what is not a model with heads of tasks, such as a GAN."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ..config import RunConfig
from ..data import Source
from ..errors import ConfigError
from ..options import call_with
from ..task import OBJECTIVES, Objective

__all__ = ["build_objective"]


def build_objective(config: RunConfig, sources: Mapping[str, Source]) -> Objective:
    """Build the objective that `objective.name` calls, its first weights drawn from `config.seed`.

    Args:
        config: The run file.
        sources: The opened training parts by name.
    Raises:
        ConfigError, UnknownName: The name or an option is not known, or evaluation parts are given.
    """
    if config.data.val:
        raise ConfigError(
            f"data.val has {', '.join(config.data.val)}, but objective '{config.objective.name}' has no heads to "
            "measure while it trains; leave data.val out and measure what the run leaves."
        )
    build = OBJECTIVES.get(config.objective.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        built: Objective = call_with(build, config.objective.options, "objective.options", sources, config.seed)
    return built

"""Which experts each task uses, measured on labelled or unlabelled images in evaluation mode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..data import Source
from ..errors import ConfigError
from ..metrics import routing_summary
from .evaluate import evenly_spaced

__all__ = ["measure_routing"]


@torch.no_grad()
def measure_routing(model: Any, sources: Mapping[str, list[Source]], limit: int | None = None) -> list[dict[str, Any]]:
    """Measure P(e|t) of every routed layer and what follows from it.

    Args:
        model: A MultiTaskModel whose backbone routes by task.
        sources: Task key -> sources whose images go through that task's routers; each image weighs by its tokens.
        limit: Images per source, evenly spaced; None uses all.
    Returns:
        One dict per routed layer: `layer`, `kind`, the fields of `visgen.metrics.RoutingSummary`, `probabilities`
        (T x E, P(e|t)) and `load` (T x E, share of the task's tokens that select e).
    Raises:
        ConfigError: The backbone has no routed layer.
    """
    layers = getattr(model.backbone, "routed_layers", ())
    if not layers:
        raise ConfigError("this model's backbone routes nothing, so there are no experts to measure; use vit_moe.")
    was_training = model.training
    model.eval()
    tasks = tuple(sources)
    sums = [torch.zeros(len(tasks), layer.num_experts, dtype=torch.float64) for layer in layers]
    chosen = [torch.zeros_like(s) for s in sums]
    rows = torch.zeros(len(tasks), dtype=torch.float64)
    for t, task in enumerate(tasks):
        for source in sources[task]:
            for index in evenly_spaced(len(source), limit):
                features = model.backbone.suffix(model.backbone.prefix(source[index].image[None]), task, collect=True)
                found = features.extras["routing"]
                rows[t] += float(found[0]["rows"].sum())
                for i, one in enumerate(found):
                    sums[i][t] += one["probabilities"].sum(0).double()
                    chosen[i][t] += one["selected"].sum(0).double()
    model.train(was_training)
    report = []
    for layer, total, picked in zip(layers, sums, chosen, strict=True):
        probabilities, load = total / rows[:, None], picked / rows[:, None]
        summary = routing_summary(probabilities, tasks, layer.top_k, load=load)
        report.append(
            {
                "layer": layer.name,
                "kind": layer.kind,
                **summary.to_dict(),
                "probabilities": [[round(v, 4) for v in row] for row in probabilities.tolist()],
                "load": [[round(v, 4) for v in row] for row in load.tolist()],
            }
        )
    return report

"""Which experts each task uses, measured on labelled or unlabelled images in evaluation mode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..data import Source
from ..errors import ConfigError, DataError
from ..metrics import routing_summary
from ..structures.working_size import resize_for_work
from .evaluate import evenly_spaced

__all__ = ["RoutingSums", "add_up_routing", "measure_routing", "sum_routing"]


@dataclass(frozen=True)
class RoutingSums:
    """Sums over the tokens of each of T tasks in one routed layer with E experts, all float64.

    Attributes:
        name, kind: Module path, and "attention" or "mlp".
        top_k: Experts per token that the layer was built with.
        probabilities: Router probabilities (T, E).
        selected: Visits (T, E).
        gates: Gates given to each expert (T, E).
        entropy: Entropy in nats of the router probabilities of a token (T,).
        rows: Tokens (T,).
    """

    name: str
    kind: str
    top_k: int
    probabilities: Tensor
    selected: Tensor
    gates: Tensor
    entropy: Tensor
    rows: Tensor


@torch.no_grad()
def add_up_routing(
    model: Any, tasks: Sequence[str], batches: Iterable[tuple[Tensor, Sequence[int]]]
) -> list[RoutingSums]:
    """Add up what routers decide about batches, over all processes, in evaluation mode.

    Args:
        model: A MultiTaskModel.
        tasks: Router names, T of them.
        batches: Images (B, 3, H, W) and which of `tasks` they go through; each process its own.
    Returns:
        One per routed layer; a task that no batch names has 0 rows.
    Raises:
        ConfigError: The backbone has no routed layer.
    """
    layers = getattr(model.backbone, "routed_layers", ())
    if not layers:
        raise ConfigError("this model's backbone routes nothing, so there are no experts to measure; use vit_moe.")
    found = [
        RoutingSums(layer.name, layer.kind, layer.top_k, *_zeros(len(tasks), layer.num_experts)) for layer in layers
    ]
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        for images, wanted in batches:
            state = model.prefix(images.to(device))
            for t in wanted:
                features = model.backbone.suffix(state, tasks[t], collect=True)
                for sums, one in zip(found, features.extras["routing"], strict=True):
                    _add(sums, t, one)
    finally:
        model.train(was_training)
    _reduce(found)
    return found


def sum_routing(
    model: Any,
    sources: Mapping[str, Sequence[Source]],
    limit: int | None = None,
    *,
    max_side: int | None = None,
    min_side: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[RoutingSums]:
    """Send pictures through the routers of their tasks and add up what the routers decide.

    Exact, not a running average. With several processes each takes every n-th picture, and all get the sums.

    Args:
        model: A MultiTaskModel whose backbone routes by task.
        sources: Router name -> sources whose images go through it; each image weighs by its tokens. The same source
            under several routers is read once.
        limit: Images per source, evenly spaced; None uses all.
        max_side, min_side: Bounds of the longer side, as in prediction; None feeds images as they are.
        progress: Called with (images done, images in all).
    Raises:
        ConfigError: The backbone has no routed layer.
        DataError: A task without an image.
    """
    tasks = tuple(sources)
    rank, world = _process()
    distinct = {id(source): source for task in tasks for source in sources[task]}
    plan = [
        (source, index, [t for t, task in enumerate(tasks) if any(other is source for other in sources[task])])
        for source in distinct.values()
        for index in evenly_spaced(len(source), limit)
    ]

    def pictures() -> Iterator[tuple[Tensor, Sequence[int]]]:
        for number, (source, index, wanted) in enumerate(plan):
            if number % world == rank:
                yield resize_for_work(source[index].image, max_side, min_side)[None], wanted
            if progress is not None:
                progress(number + 1, len(plan))

    found = add_up_routing(model, tasks, pictures())
    without = [task for task, rows in zip(tasks, found[0].rows.tolist(), strict=True) if not rows]
    if without or not tasks:
        raise DataError(
            f"no image was given for {', '.join(without) or 'any task'}; name data for it, or leave it out."
        )
    return found


def measure_routing(model: Any, sources: Mapping[str, list[Source]], limit: int | None = None) -> list[dict[str, Any]]:
    """Measure P(e|t) of every routed layer and what follows from it.

    Args:
        model, sources, limit: As in `sum_routing`; `visgen.experts.collect_expert_stats` gives more.
    Returns:
        One dict per routed layer: `layer`, `kind`, the fields of `visgen.metrics.RoutingSummary`, `probabilities`
        (T x E, P(e|t)) and `load` (T x E, share of the task's tokens that select e).
    Raises:
        ConfigError: The backbone has no routed layer.
    """
    report = []
    for sums in sum_routing(model, sources, limit):
        rows = sums.rows[:, None]
        probabilities, load = sums.probabilities / rows, sums.selected / rows
        summary = routing_summary(probabilities, tuple(sources), sums.top_k, load=load)
        report.append(
            {
                "layer": sums.name,
                "kind": sums.kind,
                **summary.to_dict(),
                "probabilities": [[round(v, 4) for v in row] for row in probabilities.tolist()],
                "load": [[round(v, 4) for v in row] for row in load.tolist()],
            }
        )
    return report


def _zeros(tasks: int, experts: int) -> list[Tensor]:
    shapes = [(tasks, experts)] * 3 + [(tasks,)] * 2
    return [torch.zeros(shape, dtype=torch.float64) for shape in shapes]


def _add(sums: RoutingSums, t: int, one: Mapping[str, Tensor]) -> None:
    sums.probabilities[t] += one["probabilities"].sum(0).double().cpu()
    sums.selected[t] += one["selected"].sum(0).double().cpu()
    sums.entropy[t] += one["entropy"].sum().double().cpu()
    sums.rows[t] += one["rows"].sum().double().cpu()
    experts, gates = one["experts"].flatten().cpu(), one["weights"].flatten().double().cpu()
    sums.gates[t].scatter_add_(0, experts, gates)


def _process() -> tuple[int, int]:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def _reduce(found: Sequence[RoutingSums]) -> None:
    """One sum over all processes for all layers."""
    if _process()[1] == 1:
        return
    tensors = [t for s in found for t in (s.probabilities, s.selected, s.gates, s.entropy, s.rows)]
    flat = torch.cat([t.flatten() for t in tensors])
    torch.distributed.all_reduce(flat)
    for target, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        target.copy_(part.view_as(target))

"""What each task does with the experts: load, importance, gates, entropy, and how much task and expert tell of another.

All figures are exact sums over the images given, in evaluation mode.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data import Source
from ..engine.routing import RoutingSums, sum_routing
from ..errors import DataError, UnknownName, nearest
from ..metrics.routing import dead_experts, routing_summary
from ..structures.png import write_atomically
from .banks import find_route

__all__ = ["ExpertStats", "LayerStats", "collect_expert_stats"]

FORMAT = 1


@dataclass(frozen=True)
class LayerStats:
    """One routed layer; matrices are (T, E) float64, tasks in the order of `ExpertStats.tasks`.

    Attributes:
        name, kind: Module path ("blocks.2.mlp"), and "attention" or "mlp".
        top_k: Experts per token that the layer was built with.
        load: Share of a task's tokens that visit the expert; a row sums to the experts a token visits.
        importance: Mean router probability P(e|t); rows sum to 1.
        gates: Mean gate; rows sum to 1 when gates are normalised.
        entropy: Mean entropy in nats of a token's router probabilities (T,): 0 decided, log E undecided.
    """

    name: str
    kind: str
    top_k: int
    load: Tensor
    importance: Tensor
    gates: Tensor
    entropy: Tensor

    @property
    def num_experts(self) -> int:
        return self.load.shape[1]

    def dead(self, task: int | None = None) -> list[int]:
        """Experts that no token visited: of one task, or of all when None."""
        return dead_experts(self.load if task is None else self.load[task : task + 1])


@dataclass(frozen=True)
class ExpertStats:
    """Use of the experts by each task.

    Attributes:
        tasks: Routers that were measured.
        rows: Tokens of each.
        layers: In the order of the network.
        model, data: What the caller calls them.
    """

    tasks: tuple[str, ...]
    rows: tuple[int, ...]
    layers: tuple[LayerStats, ...]
    model: str = ""
    data: Mapping[str, Sequence[str]] | None = None

    def layer(self, name: str) -> LayerStats:
        """The figures of one layer; UnknownName with the nearest name."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        names = [layer.name for layer in self.layers]
        raise UnknownName(f"layer '{name}' is not in these statistics{nearest(name, names)} They have {names}.")

    def task(self, name: str) -> int:
        """The row of a task; UnknownName with the nearest name."""
        if name not in self.tasks:
            raise UnknownName(
                f"task '{name}' was not measured{nearest(name, self.tasks)} These statistics are of {list(self.tasks)}."
            )
        return self.tasks.index(name)

    def summary(self) -> list[dict[str, Any]]:
        """Per layer what `visgen.metrics.RoutingSummary` holds, with `layer`, `kind`, `k` and `by_task`.

        The last has, for each task, the mean entropy of a token in units of log E, how many experts take 90 % of its
        visits, and those that it never visits (`dead`).
        """
        found = []
        for layer in self.layers:
            routing = routing_summary(layer.importance, self.tasks, layer.top_k, load=layer.load).to_dict()
            scale = math.log(layer.num_experts) or 1.0
            of_tasks = {
                task: {
                    "entropy": float(layer.entropy[t]) / scale,
                    "experts_for_90_percent": _needed(layer.load[t], 0.9),
                    "dead": layer.dead(t),
                }
                for t, task in enumerate(self.tasks)
            }
            found.append({"layer": layer.name, "kind": layer.kind, "k": layer.top_k, **routing, "by_task": of_tasks})
        return found

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, and enough for `from_dict`."""
        layers = [
            {
                "name": layer.name,
                "kind": layer.kind,
                "top_k": layer.top_k,
                **{key: getattr(layer, key).tolist() for key in ("load", "importance", "gates", "entropy")},
            }
            for layer in self.layers
        ]
        return {
            "format": FORMAT,
            "model": self.model,
            "data": {k: list(v) for k, v in (self.data or {}).items()},
            "tasks": list(self.tasks),
            "rows": list(self.rows),
            "summary": self.summary(),
            "layers": layers,
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> ExpertStats:
        """Read what `to_dict` gave.

        Raises:
            DataError: A field is missing or of the wrong shape, or the format is not this one.
        """
        if value.get("format") != FORMAT:
            raise DataError(f"expert statistics have format {value.get('format')!r}; this visgen reads {FORMAT}.")
        try:
            keys = ("load", "importance", "gates", "entropy")
            layers = tuple(
                LayerStats(
                    one["name"],
                    one["kind"],
                    one["top_k"],
                    *(torch.tensor(one[key], dtype=torch.float64) for key in keys),
                )
                for one in value["layers"]
            )
            tasks, rows = tuple(value["tasks"]), tuple(value["rows"])
            stats = cls(tasks, rows, layers, value.get("model", ""), value.get("data"))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"expert statistics cannot be read: {error!r}; write them with `save`.") from error
        for layer in layers:
            if layer.load.ndim != 2 or len(layer.load) != len(tasks) or layer.importance.shape != layer.load.shape:
                raise DataError(f"layer '{layer.name}' has load {tuple(layer.load.shape)} for {len(tasks)} tasks.")
        return stats

    def save(self, path: str | Path) -> Path:
        """Write them as JSON."""
        text = json.dumps(self.to_dict(), indent=1) + "\n"
        return write_atomically(Path(path), text.encode())

    @classmethod
    def load(cls, path: str | Path) -> ExpertStats:
        """Read a file that `save` wrote; DataError when there is none or it is not one."""
        try:
            value = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"expert statistics '{path}' cannot be read: {error}; write them with `save`.") from error
        if not isinstance(value, dict):
            raise DataError(f"expert statistics '{path}' hold a {type(value).__name__}; write them with `save`.")
        return cls.from_dict(value)


def collect_expert_stats(
    model: Any,
    sources: Mapping[str, Sequence[Source] | Source],
    limit: int | None = None,
    *,
    max_side: int | None = None,
    min_side: int | None = None,
    name: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> ExpertStats:
    """Measure how each task uses the experts of every routed layer.

    Args:
        model: A `MultiTaskModel` whose backbone routes by task.
        sources: Task, head or router name -> data whose pictures are sent through it; labels are not read. To ask what
            the routers make of the same pictures, give one source to several tasks.
        limit: Pictures per source, evenly spaced; None for all.
        max_side, min_side: Bounds of the longer side; the model's own when None.
        name: What the model is called in the result.
        progress: Called with (pictures done, pictures in all).
    Raises:
        ConfigError: The model routes nothing.
        UnknownName: A name that is no task, head or router of the model.
        DataError: A task without a picture.
    """
    by_route: dict[str, list[Source]] = {}
    for key, given in sources.items():
        several = list(given) if isinstance(given, Sequence) else [given]
        by_route.setdefault(find_route(model, key), []).extend(several)
    found = sum_routing(
        model,
        by_route,
        limit,
        max_side=max_side or getattr(model, "max_side", None),
        min_side=min_side or getattr(model, "min_side", None) or None,
        progress=progress,
    )
    data = {route: [source.name for source in several] for route, several in by_route.items()}
    rows = tuple(int(r) for r in found[0].rows.tolist())
    return ExpertStats(tuple(by_route), rows, tuple(map(_layer, found)), name, data)


def _layer(sums: RoutingSums) -> LayerStats:
    rows = sums.rows[:, None]
    return LayerStats(
        sums.name,
        sums.kind,
        sums.top_k,
        sums.selected / rows,
        sums.probabilities / rows,
        sums.gates / rows,
        sums.entropy / sums.rows,
    )


def _needed(load: Tensor, share: float) -> int:
    """How many experts, most visited first, take this share of the visits."""
    visits = load.sort(descending=True).values.cumsum(0)
    return int((visits < share * float(visits[-1]) - 1e-12).sum()) + 1

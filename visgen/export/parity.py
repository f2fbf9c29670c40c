"""Does a file answer as the model does, and would the check have noticed a lost expert?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError
from ..nn.routing import Routing
from .dense import routed_parts
from .graph import HeadGraph, each_output
from .probe import Probes, find_probes

__all__ = ["TOLERANCE", "check_parity", "difference", "require_reach"]

TOLERANCE = 1e-3  # of |a - b| / (1 + |b|)
CLEARANCE = 3  # an expert counts as checked when leaving it out changes the output by this many times the difference

Run = Callable[[np.ndarray], Sequence[np.ndarray]]


def difference(found: Any, wanted: Any) -> float:
    """The largest |found - wanted| / (1 + |wanted|): absolute for small numbers, relative for large ones."""
    a, b = np.asarray(found, dtype=np.float64), np.asarray(wanted, dtype=np.float64)
    if a.shape != b.shape:
        raise ConfigError(
            f"an exported graph gives shape {a.shape} where the model gives {b.shape}; it is not the same."
        )
    gap = np.abs(a - b) / (1 + np.abs(b))
    return float(gap.max(initial=0.0)) if np.isfinite(gap).all() else float("inf")


def require_reach(probes: Probes) -> None:
    """Raise ConfigError unless the probes reach every expert that the task can select."""
    missed = {name: experts for name, experts in probes.missed.items() if experts}
    if missed:
        where = "; ".join(f"{name}: {', '.join(map(str, experts))}" for name, experts in missed.items())
        raise ConfigError(
            f"no probe picture reached these experts: {where}. An export that lost them would pass unseen, so nothing "
            "is written; cut them out first (visgen experts extract), or give photographs that use them as probes."
        )


def check_parity(
    graph: HeadGraph, probes: Probes, run: Run, other_sizes: list[tuple[int, int]] | None = None
) -> dict[str, Any]:
    """Compare an exported graph with the model on pictures that reach every expert.

    Args:
        graph: The sparse graph, which is the reference.
        probes: From `find_probes`, on this graph.
        run: The exported graph: float32 arrays (B, 3, H, W) to its outputs.
        other_sizes: More (H, W) to compare at, for a graph that takes any.
    Returns:
        What was compared, the largest difference, and the least change that leaving out one expert would have made.
    Raises:
        ConfigError: An expert was not reached, the outputs differ by more than `TOLERANCE`, or an expert says so little
            on the probes that its loss would hide in rounding.
    """
    require_reach(probes)
    wanted = [_outputs(graph, image) for image in probes.images]
    gaps = [_gap(run(i.numpy()), w) for i, w in zip(probes.images, wanted, strict=True)]
    batch = torch.cat([probes.images[0], probes.images[-1]])
    both = [np.concatenate(pair) for pair in zip(wanted[0], wanted[-1], strict=True)]
    gaps.append(_gap(run(batch.numpy()), both))
    for size in other_sizes or ():
        more = find_probes(graph, size)
        gaps += [_gap(run(image.numpy()), _outputs(graph, image)) for image in more.images[:2]]
    worst = max(gaps)
    if not worst <= TOLERANCE:
        raise ConfigError(
            f"the exported graph differs from the model by {worst:.2e} of |a - b| / (1 + |b|), more than "
            f"{TOLERANCE:g}, on one of {len(gaps)} probe pictures; nothing is written."
        )
    effects = _effects(graph, probes, wanted)
    weak = [name for name, effect in effects.items() if effect < CLEARANCE * worst]
    if weak:
        raise ConfigError(
            f"leaving out {', '.join(weak)} would change the probes by less than {CLEARANCE} times the difference seen "
            f"({worst:.1e}), so the check says nothing about it; nothing is written. Cut such experts out first "
            "(visgen experts extract)."
        )
    return {
        "pictures": len(gaps),
        "measure": "max |a - b| / (1 + |b|)",
        "tolerance": TOLERANCE,
        "largest_difference": worst,
        "experts_reached": {name: sorted(found) for name, found in probes.reached.items()},
        "least_effect_of_an_expert": min(effects.values()) if effects else None,
    }


def _outputs(graph: HeadGraph, images: Tensor) -> list[np.ndarray]:
    with torch.no_grad():
        return [output.numpy() for output in each_output(graph(images))]


def _gap(found: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> float:
    return max(difference(a, b) for a, b in zip(found, wanted, strict=True))


def _effects(graph: HeadGraph, probes: Probes, wanted: list[list[np.ndarray]]) -> dict[str, float]:
    """Expert -> how much its own probe picture changes when what it puts out is 0."""
    effects = {}
    for name, part in routed_parts(graph):
        for expert, at in probes.reached[name].items():
            with _silenced(part, expert):
                effects[f"{name} expert {expert}"] = _gap(_outputs(graph, probes.images[at]), wanted[at])
    return effects


@contextmanager
def _silenced(part: Any, expert: int) -> Iterator[None]:
    """While open, one expert of a routed part adds nothing: the gates of its slots are 0."""

    def mute(module: Any, inputs: Any, routing: Routing) -> Routing:
        return replace(routing, weights=routing.weights.masked_fill(routing.experts == expert, 0))

    handle = part.router.register_forward_hook(mute)
    try:
        yield
    finally:
        handle.remove()

"""Pictures that send some token to every expert, so that a check on them sees every expert."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..nn.routing import Routing
from .dense import routed_parts, selectable
from .graph import HeadGraph

__all__ = ["Probes", "find_probes"]

TIE = 1e-5  # gap between the last selected score and the next, below which rounding may swap two experts
CANDIDATES = 40  # random pictures looked at
STRONG = 0.01  # share of all gates of a picture that an expert should have there, to be worth no further search
STEPS, RATE = 40, 0.2  # of the search by gradient for an expert
STARTS = 12  # pictures that the search for an expert which no picture reached begins with


@dataclass
class Probes:
    """Pictures for a parity check.

    Attributes:
        images: Each (1, 3, H, W).
        reached: Routed part -> expert -> position in `images` of the picture on which it has the largest share.
        missed: Routed part -> experts that the task may select and that no picture reached.
    """

    images: list[Tensor] = field(default_factory=list)
    reached: dict[str, dict[int, int]] = field(default_factory=dict)
    missed: dict[str, list[int]] = field(default_factory=dict)


def find_probes(graph: HeadGraph, size: tuple[int, int], extra: Tensor | None = None, seed: int = 0) -> Probes:
    """Look for pictures that together reach every expert which the task of a graph can select.

    Photographs and random pictures come first; each expert takes the one on which it has the largest share of the
    gates. For an expert that none of them reaches, or hardly, a picture is changed along the gradient of that expert's
    router score. Pictures on which two experts are nearly tied for the last place are left out: there, two correct
    computations may differ.

    Args:
        graph: The sparse graph, which is the reference.
        size: (H, W) of the pictures.
        extra: More pictures (N, 3, H, W) to begin with, photographs for one.
        seed: Of the random pictures.
    """
    parts = dict(routed_parts(graph))
    wanted = [(name, expert) for name, part in parts.items() for expert in selectable(part, graph.route)]
    candidates = _random_pictures(size, seed) if extra is None else torch.cat([extra, _random_pictures(size, seed)])
    best: dict[tuple[str, int], tuple[float, Tensor]] = {}
    for image in candidates.split(1):
        _offer(best, graph, image)
    for name, expert in wanted:
        share, start = best.get((name, expert), (0.0, candidates[:1]))
        if share < STRONG:
            starts = [start] if share else list(candidates[:: len(candidates) // STARTS].split(1))[:STARTS]
            for image in starts:
                for better in _search(graph, name, expert, image):
                    _offer(best, graph, better)
                if best.get((name, expert), (0.0,))[0] > 0:
                    break
    found = Probes(reached={name: {} for name in parts}, missed={name: [] for name in parts})
    places: dict[int, int] = {}
    for name, expert in wanted:
        if (name, expert) not in best:
            found.missed[name].append(expert)
            continue
        image = best[name, expert][1]
        if id(image) not in places:
            places[id(image)] = len(found.images)
            found.images.append(image)
        found.reached[name][expert] = places[id(image)]
    if not found.images:  # a model that routes nothing
        found.images = [candidates[:1], candidates[-1:]]
    return found


def _offer(best: dict[tuple[str, int], tuple[float, Tensor]], graph: HeadGraph, image: Tensor) -> None:
    """Note a picture under each expert that has a larger share on it than before, unless it has a tie."""
    with torch.no_grad(), _watched(graph) as seen:
        graph(image)
    if any(_smallest_gap(routing) < TIE for routing in seen.values()):
        return
    for name, routing in seen.items():
        kept = routing.weights if routing.kept is None else routing.weights * routing.kept
        shares = torch.zeros(int(routing.experts.max()) + 1).index_add_(0, routing.experts.flatten(), kept.flatten())
        for expert, share in enumerate((shares / shares.sum()).tolist()):
            if share > best.get((name, expert), (0.0,))[0]:
                best[name, expert] = (share, image)


@contextmanager
def _watched(graph: nn.Module) -> Iterator[dict[str, Routing]]:
    """While open, collect what each routed part decides."""
    seen: dict[str, Routing] = {}

    def note(name: str) -> object:
        def hook(module: nn.Module, inputs: object, output: tuple[Tensor, Routing]) -> None:
            seen[name] = output[1]

        return hook

    handles = [part.register_forward_hook(note(name)) for name, part in routed_parts(graph)]  # type: ignore[arg-type]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _open_scores(routing: Routing) -> Tensor:
    """Scores (..., E), minus infinity where the task may not go."""
    view = routing.view
    return (
        routing.logits if view is None or view.closed is None else routing.logits.masked_fill(view.closed, -torch.inf)
    )


def _smallest_gap(routing: Routing) -> float:
    """The least gap, over all tokens, between the last score that was selected and the best one that was not."""
    scores, k = _open_scores(routing), routing.experts.shape[-1]
    if scores.shape[-1] == k:
        return float("inf")
    top = scores.topk(k + 1, dim=-1).values
    return float((top[..., k - 1] - top[..., k]).min())


def _random_pictures(size: tuple[int, int], seed: int) -> Tensor:
    """(CANDIDATES, 3, H, W): coarse and fine random patterns of different contrast."""
    generator = torch.Generator().manual_seed(seed)
    pictures = []
    for i in range(CANDIDATES):
        cells = (2, 4, 8, 16, 32)[i % 5]
        coarse = torch.rand(1, 3, cells, cells, generator=generator)
        contrast, centre = torch.rand(2, generator=generator).tolist()
        smooth = F.interpolate(coarse, size=size, mode="bilinear" if i % 2 else "nearest")
        pictures.append(((smooth - 0.5) * (0.3 + 1.7 * contrast) + 0.25 + 0.5 * centre).clamp(0, 1))
    return torch.cat(pictures)


def _search(graph: HeadGraph, name: str, expert: int, start: Tensor) -> Iterator[Tensor]:
    """Change a picture so that more of its tokens choose `expert` of part `name`; gives some pictures on the way."""
    free = torch.logit(start.clamp(0.02, 0.98)).requires_grad_()
    optimizer = torch.optim.Adam([free], lr=RATE)
    for step in range(1, STEPS + 1):
        with torch.enable_grad(), _watched(graph) as seen:
            graph(free.sigmoid())
            routing = seen[name]
            behind = [score for score in range(routing.logits.shape[-1]) if _expert_of(routing, score) == expert]
            scores = routing.logits
            lead = scores[..., behind].amax(-1) - scores.mean(-1)  # (1, N)
            # the best tokens first, then all: one token is enough to reach it, many make it count
            goal = lead.topk(max(1, lead.shape[-1] // 4)).values.mean()
            (gradient,) = torch.autograd.grad(-goal, free)
        free.grad = gradient
        optimizer.step()
        if step % 10 == 0:
            yield free.detach().sigmoid()


def _expert_of(routing: Routing, score: int) -> int:
    view = routing.view
    return score if view is None or view.index is None else int(view.index[score])

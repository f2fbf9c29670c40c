"""What made features are worth: their likeness to real ones, and whether classes can be told across."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data import Source, Subset, collate, triplet_counts
from ..errors import ConfigError
from ..gan.compositional import box_cover, build_perturbation, count_table, graph_vectors
from ..metrics.generative import neighbourhood_figures
from ..task.compositional import CompositionalObjective, fill_bank
from ..task.compositional_saving import load_compositional
from ..task.map_batch import STRIDE
from .evaluate import evenly_spaced

__all__ = ["classify_regions", "measure_made"]

SIDE = 2  # cells of a region that comparisons see, by averaging
BATCH = 16
# Density and coverage that real boxes must reach before those of made ones mean anything, and how many times chance a
# classifier must reach across, for made features to be more than noise.
SOUND, TOLD, TAUGHT = 0.8, 3.0, 2.0


@torch.no_grad()
def _regions(
    made: CompositionalObjective, source: Source, rng: torch.Generator, kind: str
) -> tuple[Tensor, Tensor, list[float]]:
    """Regions (n, C SIDE SIDE) and classes (n,) of all boxes: "real", "made" of true graphs, or of "new" ones.

    Also, for "new", the share of the change to a map that lies inside a changed box that no other box overlaps.
    """
    tiles, labels, inside = [], [], []
    for begin in range(0, len(source), BATCH):
        samples = [source[i] for i in range(begin, min(begin + BATCH, len(source)))]
        seen = made.see(collate(samples, source.heads, source.name))
        true, _, changed, _ = made.change(seen, rng)
        graph, maps = (changed if kind == "new" else true), seen.maps
        if kind != "real":
            maps = made.make(graph, rng)
        nodes, _ = made.head.pool(maps, STRIDE * graph.boxes, graph.ends[:0], graph.image)
        tiles.append(F.adaptive_avg_pool2d(nodes, SIDE).flatten(1))
        labels.append(graph.labels)
        if kind == "new":
            inside += _kept_inside(made, true, changed, rng)
    return torch.cat(tiles), torch.cat(labels), inside


def _kept_inside(made: CompositionalObjective, true: Any, changed: Any, rng: torch.Generator) -> list[float]:
    """The share of the squared change inside the box, where one lone box of a picture takes another class."""
    cover = box_cover(true)
    alone = (torch.einsum("ihw,jhw->ij", cover, cover) * (true.image[:, None] == true.image[None]) > 0).sum(1) == 1
    moved = (true.labels != changed.labels) & alone
    found = []
    for image in range(len(true)):
        mine = (moved & (true.image == image)).nonzero()[:, 0]
        if len(mine) == 0:
            continue
        labels = true.labels.clone()
        labels[mine[0]] = changed.labels[mine[0]]
        before, after = made.make_pair(true, true.with_labels(labels), int(mine[0]), rng)
        change = (after[image] - before[image]).square().sum(0)
        found.append(float((change * cover[mine[0]]).sum() / change.sum().clamp(min=1e-12)))
    return found


def classify_regions(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], classes: int, seed: int = 0) -> float:
    """Train a linear classifier on regions and give its balanced accuracy on others.

    Args:
        train, test: Features (N, D) and classes (N,).
        classes: Number of classes.
        seed: Of the first weights.
    Returns:
        Mean over the classes of `test` of the share that is named right; chance is 1 over their number.
    """
    mean, std = train[0].mean(0), train[0].std(0).clamp(min=1e-6)
    x, y = (train[0] - mean) / std, train[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = torch.nn.Linear(x.shape[1], classes)
    optimiser = torch.optim.AdamW(layer.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(200):
        loss = F.cross_entropy(layer(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        right = layer((test[0] - mean) / std).argmax(1) == test[1]
    return float(torch.stack([right[test[1] == c].float().mean() for c in test[1].unique()]).mean())


def measure_made(folder: str | Path, train: Source, val: Source, seed: int = 0, most: int = 1000) -> dict[str, Any]:
    """Measure the generator of a finished run.

    Args:
        folder: The folder "last" of a run with `second: generated`.
        train: What it was trained on; regions are shown from here.
        val: Other pictures of the same kind.
        seed: Of draws.
        most: Pictures used of each source, evenly spaced.
    Returns:
        `density` and `coverage` (and precision, recall) of real validation boxes, of made ones, and of made ones of new
        compositions, each against real training boxes; `made_test` (a classifier of real boxes on made ones) and
        `made_train` (of made ones on real ones) beside `real` and `chance`; `inside`, the mean share of a class change
        that stays in its box; `passed`, which of the checks behind these figures hold.
    Raises:
        ConfigError: The run has no generator.
    """
    left = load_compositional(folder)
    if left.generator is None:
        raise ConfigError(f"'{folder}' has no generator; measure a run with second: generated.")
    counts = count_table(triplet_counts(train), left.classes, left.predicates)
    made = CompositionalObjective(left.config, left.classes, left.predicates, left.channels, counts)
    made.module["head"], made.module["generator"] = left.head, left.generator
    made.head, made.generator = left.head, left.generator
    made.perturb = made.perturb or build_perturbation({"name": "graphn"}, counts, graph_vectors(counts))
    some = Subset(train, evenly_spaced(len(train), most))
    others = Subset(val, evenly_spaced(len(val), most))
    made.bank = fill_bank(made, {"train": some}, seed)
    rng = torch.Generator().manual_seed(seed)
    found = {
        "train": _regions(made, some, rng, "real"),
        "val": _regions(made, others, rng, "real"),
        "made": _regions(made, others, rng, "made"),
        "new": _regions(made, others, rng, "new"),
    }
    count = min(len(regions) for regions, _, _ in found.values())
    picked = {k: torch.randperm(len(r), generator=rng)[:count] for k, (r, _, _) in found.items()}
    real = found["train"][0][picked["train"]]
    figures: dict[str, Any] = {
        name: neighbourhood_figures(real, found[name][0][picked[name]]) for name in ("val", "made", "new")
    }
    sets = {name: (regions, labels) for name, (regions, labels, _) in found.items()}
    number = len(left.classes)
    figures["chance"] = 1 / len(sets["val"][1].unique())
    figures["real"] = classify_regions(sets["train"], sets["val"], number, seed)
    figures["made_test"] = classify_regions(sets["train"], sets["made"], number, seed)
    figures["new_test"] = classify_regions(sets["train"], sets["new"], number, seed)
    figures["made_train"] = classify_regions(sets["made"], sets["val"], number, seed)
    inside = found["new"][2]
    figures["inside"] = sum(inside) / len(inside) if inside else 0.0
    figures["boxes"] = count
    figures["passed"] = {
        "real boxes cover real boxes": min(figures["val"]["density"], figures["val"]["coverage"]) >= SOUND,
        "made boxes are told by real ones": figures["made_test"] >= TOLD * figures["chance"],
        "real boxes are told by made ones": figures["made_train"] >= TAUGHT * figures["chance"],
    }
    return figures

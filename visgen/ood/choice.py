"""Which of many ways to score becomes the default: chosen on some images, held against the present one on others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, nearest
from ..metrics import mean_auroc, ood_figures, paired_auroc
from .threshold import kept_share, threshold_keeping

__all__ = ["DEFAULT_SCORE", "Way", "choose_score", "choose_training", "default_score", "table_of_halves"]

DEFAULT_SCORE = "max_logit_mahalanobis"
"""The score of an OOD head that names none. `tasks/ood/eval.py` holds the others against it."""

MOST, NEIGHBOUR = 2000, 10  # vectors that a bank keeps, and which neighbour counts

Way = tuple[Tensor, Mapping[str, Tensor]]
"""What a way to score gave: for the inside, and for each outside by name; (N,), or (S, N) for S trainings."""


def default_score(task: str, images: int) -> tuple[str, dict[str, Any]]:
    """Give the score of a new OOD head, and its options, by the task of the head that it stands on.

    The choices are those of `tasks/ood/eval.py` and `dense.py` on validation images.

    Args:
        task: Of the head below.
        images: Training images that there are.
    """
    if task == "segmentation":
        return "joint_energy", {}
    if task == "detection":
        bank = min(MOST, images)
        return "knn", {"bank": bank, "k": min(NEIGHBOUR, bank)}
    return DEFAULT_SCORE, {}


def choose_score(
    choose: Mapping[str, Way], report: Mapping[str, Way], present: str, seed: int = 0, draws: int = 1000
) -> dict[str, Any]:
    """Take the way with the best mean AUROC on some images, and see on others whether it beats the present one.

    Args:
        choose, report: Name to scores of the images to choose on, and of other images of the same kinds.
        present: Name of the way that is in use.
        seed, draws: Of the bootstrap over images; see `paired_auroc`.
    Returns:
        `present`, `best`, the mean AUROC of every way on the images to choose on (`ranking`, best first), the
        `difference` of best less present on the other images with its interval, and `replaces`: whether the best is
        another one and the interval lies above zero.
    Raises:
        ConfigError: The present way is not among them, or the two halves name other ways.
    """
    if present not in choose or set(choose) != set(report):
        raise ConfigError(
            f"present score '{present}' is not among both halves{nearest(present, choose)} Give all on both."
        )
    means = {name: mean_auroc(*way) for name, way in choose.items()}
    ranking = dict(sorted(means.items(), key=lambda pair: -pair[1]))
    best = next(iter(ranking))
    rng = torch.Generator().manual_seed(seed)
    difference = paired_auroc(report[present], report[best], rng, draws)
    return {
        "present": present,
        "best": best,
        "ranking": ranking,
        "difference": difference,
        "replaces": best != present and difference["low"] > 0,
    }


def choose_training(
    values: Mapping[str, Sequence[Mapping[str, Mapping[str, Tensor]]]], present: tuple[str, str], seed: int = 0
) -> dict[str, Any]:
    """Take the best way to train with the best score for it on every other picture; the rest is for the difference.

    Args:
        values: Way to train to its runs, one a seed: score to part ("val" and the outsides) to values (N,).
        present: The way to train and the score in use.
        seed: Of the bootstrap.
    Returns:
        What `choose_score` gives, over names "TRAINING, SCORE"; each AUROC is the mean over the runs.
    """
    ways: tuple[dict[str, Way], dict[str, Way]] = {}, {}
    for training, runs in values.items():
        for name in runs[0]:
            seen = {part: torch.stack([run[name][part] for run in runs]) for part in runs[0][name]}
            for start, way in enumerate(ways):
                half = {part: scores[:, start::2] for part, scores in seen.items()}
                way[f"{training}, {name}"] = half.pop("val"), half
    return choose_score(*ways, ", ".join(present), seed)


def table_of_halves(
    values: Mapping[str, Mapping[str, Tensor]], sides: Sequence[str], present: str, keep: float = 0.95
) -> dict[str, Any]:
    """Give the figures of many scores on two halves of held-out images, and whether one of them replaces the present.

    Args:
        values: Score to part to its values (N,); the parts are "val0" and "val1", and for each side "SIDE0", "SIDE1".
        sides: Names of the outsides.
        present: Score in use.
        keep: Share of the inside images of half 0 that the threshold keeps.
    Returns:
        {"half_0", "half_1": {score: {side: `ood_figures` and `ood_found`, the share of the outside above the threshold;
        `id_kept`, the share of the inside at or below it, and `threshold`}}, "choice": what `choose_score` gives}.
    """
    tables: tuple[dict[str, Any], dict[str, Any]] = {}, {}
    ways: tuple[dict[str, Way], dict[str, Way]] = {}, {}
    for name, seen in values.items():
        threshold = threshold_keeping(seen["val0"], keep)
        for half in (0, 1):
            inside, outside = seen[f"val{half}"], {side: seen[f"{side}{half}"] for side in sides}
            ways[half][name] = inside, outside
            tables[half][name] = {
                side: {**ood_figures(inside, scores), "ood_found": 1 - kept_share(scores, threshold)}
                for side, scores in outside.items()
            }
            tables[half][name] |= {"id_kept": kept_share(inside, threshold), "threshold": threshold}
    return {"half_0": tables[0], "half_1": tables[1], "choice": choose_score(*ways, present)}

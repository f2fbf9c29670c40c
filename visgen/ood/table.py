"""Every score on one fitted classifier: the rows of a result table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from ..metrics import ood_figures
from ..nn.readout import Readout
from .score import build_score
from .threshold import kept_share, threshold_keeping

__all__ = ["score_table"]


def score_table(
    names: Iterable[str],
    logits: Mapping[str, Tensor],
    features: Mapping[str, Tensor],
    labels: Tensor,
    readout: Readout | None = None,
    *,
    keep: float = 0.95,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Give, for each score, the figures of every outside and what its threshold keeps.

    Statistics come from "train" and the threshold from every other row of "val"; the rest of "val" tells what it keeps.
    No outside is used to fit or to set anything.

    Args:
        names: Scores.
        logits, features: "train", "val" and any number of outsides to (N, K) and (N, D).
        labels: Classes of "train" (N,).
        readout: The classifier's last layer.
        keep: Share of in-distribution images that the threshold keeps.
        options: Score to keywords of it.
    Returns:
        Score -> {outside: `ood_figures`, "id_kept": share}.
    """
    classes, width = logits["train"].shape[1], features["train"].shape[1]
    found: dict[str, Any] = {}
    for name in names:
        score = build_score(name, classes, width, **(options or {}).get(name, {}))
        score.fit(logits["train"], features["train"], labels, readout)
        seen = {part: score(logits[part], features[part]) for part in logits if part != "train"}
        inside = seen.pop("val")
        threshold = threshold_keeping(inside[::2], keep)
        found[name] = {side: ood_figures(inside, outside) for side, outside in seen.items()}
        found[name]["id_kept"] = kept_share(inside[1::2], threshold)
    return found

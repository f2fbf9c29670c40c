"""Every score on one fitted classifier: the rows of a result table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from ..metrics import ood_figures
from ..nn.readout import Readout
from .score import OODScore, build_score
from .threshold import kept_share, threshold_keeping

__all__ = ["fit_scores", "score_table", "table_of"]


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
    fitted = fit_scores(names, logits, features, labels, readout, options=options)
    return table_of({name: values for name, (_, values) in fitted.items()}, keep)


def table_of(values: Mapping[str, Mapping[str, Tensor]], keep: float = 0.95) -> dict[str, Any]:
    """Give what `score_table` gives, from the values (N,) of each score for "val" and the outsides."""
    found: dict[str, Any] = {}
    for name, seen in values.items():
        inside = seen["val"]
        threshold = threshold_keeping(inside[::2], keep)
        found[name] = {side: ood_figures(inside, outside) for side, outside in seen.items() if side != "val"}
        found[name]["id_kept"] = kept_share(inside[1::2], threshold)
    return found


def fit_scores(
    names: Iterable[str],
    logits: Mapping[str, Tensor],
    features: Mapping[str, Tensor],
    labels: Tensor,
    readout: Readout | None = None,
    *,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, tuple[OODScore, dict[str, Tensor]]]:
    """Fit each score to "train" and give it with its values (N,) for the other parts; arguments as in `score_table`."""
    classes, width = logits["train"].shape[1], features["train"].shape[1]
    found = {}
    for name in names:
        score = build_score(name, classes, width, **(options or {}).get(name, {}))
        score.fit(logits["train"], features["train"], labels, readout)
        found[name] = score, {part: score(logits[part], features[part]) for part in logits if part != "train"}
    return found

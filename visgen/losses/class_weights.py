"""One meaning of `class_weights` for every task: null, "auto", or a weight for each named class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..errors import ConfigError, UnknownName, nearest

__all__ = ["class_weight_vector"]

# A class 10,000 times rarer than the median would otherwise weigh 100 times as much and one mislabelled pixel of it
# would steer a whole batch.
_LOWEST, _HIGHEST = 0.1, 10.0


def class_weight_vector(
    counts: Tensor | Sequence[float] | None,
    classes: Sequence[str],
    spec: str | Mapping[str, float] | None,
) -> Tensor | None:
    """Turn the setting `class_weights` into a loss weight for each class.

    "auto" with n_c labelled items (images, boxes or pixels) of class c and f_c = n_c / sum(n):
    r_c = sqrt(median(n) / n_c), limited to [0.1, 10], and w_c = r_c / sum_c(f_c r_c). The median is over the classes
    that occur. The expected weight of an item is then 1, so that the loss keeps its size and the learning rate its
    meaning; a class that never occurs gets 1.

    Args:
        counts: Items of each class (K,), >= 0; needed by "auto" only.
        classes: Names of the K classes, in the order of their ids.
        spec: None (no weights), "auto", or {class name: weight >= 0}; classes left out of the mapping weigh 1.
    Returns:
        Weights (K,) float32, or None when `spec` is None.
    Raises:
        ConfigError: An unknown word, a negative or infinite weight, only zeros, or "auto" without usable counts.
        UnknownName: The mapping names a class that is not in `classes`.
    Source: the square root of median-frequency balancing (Eigen and Fergus 2015, arXiv:1411.4734, which
        uses median / frequency without root or limits); the scaling to an expected weight of 1 is ours.
    """
    if spec is None:
        return None
    if isinstance(spec, str):
        if spec != "auto":
            raise ConfigError(f"class_weights is '{spec}'; use null, auto, or a mapping of class names to weights.")
        return _automatic(counts, classes)
    weights = torch.ones(len(classes), dtype=torch.float32)
    position = {name: i for i, name in enumerate(classes)}
    for name, weight in spec.items():
        if name not in position:
            raise UnknownName(
                f"class_weights names '{name}', which is not one of the {len(classes)} classes"
                f"{nearest(name, classes)} Known: {', '.join(classes)}."
            )
        if not math.isfinite(weight) or weight < 0:
            raise ConfigError(f"class_weights gives '{name}' the weight {weight}; weights are finite and >= 0.")
        weights[position[name]] = weight
    if float(weights.sum()) == 0:
        raise ConfigError("class_weights are 0 for every class, so no loss would be left; give one class more than 0.")
    return weights


def _automatic(counts: Tensor | Sequence[float] | None, classes: Sequence[str]) -> Tensor:
    if counts is None:
        raise ConfigError("class_weights is 'auto' but no class counts were given; count the training labels first.")
    n = torch.as_tensor(counts, dtype=torch.float64)
    if n.shape != (len(classes),):
        raise ConfigError(
            f"class counts have shape {tuple(n.shape)} but there are {len(classes)} classes; give one each."
        )
    if not bool(torch.isfinite(n).all()) or bool((n < 0).any()) or float(n.sum()) == 0:
        raise ConfigError(f"class counts are {n.tolist()}; they must be finite, >= 0 and not all 0.")
    seen = n > 0
    median = torch.quantile(n[seen], 0.5)
    raw = torch.sqrt(median / n[seen]).clamp(_LOWEST, _HIGHEST)
    weights = torch.ones_like(n)
    weights[seen] = raw / (n[seen] / n.sum() * raw).sum()
    return weights.to(torch.float32)

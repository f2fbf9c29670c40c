"""How wide the features of a class lie: in angle and in norm, told apart."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import DataError

__all__ = ["feature_spread"]


def feature_spread(features: Tensor, labels: Tensor) -> dict[str, float]:
    """Give intra-class radii of features (N, D) with classes (N,).

    Returns:
        `angle`: mean angle in degrees of a feature to its class's mean direction; `sphere`: root mean square distance
        from the class mean after normalising each feature to length 1 (0 to 1); `norm` and `norm_spread`: mean length
        and standard deviation of the length over the mean length; `between`: mean angle between the mean directions of
        two classes, so that shrinking everything alike can be told from telling classes apart.
    """
    if features.ndim != 2 or labels.shape != features.shape[:1] or len(features) < 2:
        raise DataError(f"features are {tuple(features.shape)}, labels {tuple(labels.shape)}; give (N, D) and (N,).")
    features = features.double()
    unit = F.normalize(features, dim=1)
    names = labels.unique()
    means = torch.stack([unit[labels == name].mean(0) for name in names])
    centres = F.normalize(means, dim=1)
    place = torch.searchsorted(names, labels)
    cosine = (unit * centres[place]).sum(1).clamp(-1, 1)
    radius = (unit - means[place]).square().sum(1).mean().sqrt()
    length = features.norm(dim=1)
    found = {
        "angle": float(cosine.arccos().rad2deg().mean()),
        "sphere": float(radius),
        "norm": float(length.mean()),
        "norm_spread": float(length.std() / length.mean()),
    }
    if len(names) > 1:
        above = torch.triu_indices(len(names), len(names), 1)
        found["between"] = float((centres @ centres.T)[above[0], above[1]].clamp(-1, 1).arccos().rad2deg().mean())
    return found

"""How unusual the choice of experts for an image is, beside the choices for the training images."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import ConfigError, DataError
from ..nn.readout import Readout
from .score import OOD_SCORES, OODScore

__all__ = ["RoutingUsage"]


@OOD_SCORES.register("routing")
class RoutingUsage(OODScore):
    """Kullback-Leibler divergence of an image's expert usage from the mean usage of the nearest training class.

    The features are the shares u (B, D) in which the tokens of an image chose each expert of each routed layer, layer
    after layer, so that the shares of one layer sum to 1; the divergence sums over the layers. Class usages are mixed
    with `blend` of the mean usage of all training images, so that an expert that a class never used is possible.

    Args:
        blend: Above 0 and at most 1; 1 compares with the mean of all classes.
    """

    usage: Tensor

    def __init__(self, classes: int, dim: int, blend: float = 0.1) -> None:
        super().__init__(classes, dim)
        if not 0 < blend <= 1:
            raise ConfigError(f"blend of the routing score is {blend}; it must be above 0 and at most 1.")
        self.blend = blend
        self.register_buffer("usage", torch.zeros(classes, dim))

    def _fit(self, logits: Tensor, features: Tensor, labels: Tensor, readout: Readout | None) -> None:
        _check_shares(features)
        whole = features.mean(0) + 1e-6  # an expert that nothing ever chose
        counts = torch.bincount(labels, minlength=self.classes)[:, None]
        sums = features.new_zeros(self.classes, self.dim).index_add(0, labels, features)
        own = torch.where(counts > 0, sums / counts.clamp(min=1), whole)
        self.usage.copy_((1 - self.blend) * own + self.blend * whole)

    def _class_distances(self, logits: Tensor, features: Tensor) -> Tensor:
        _check_shares(features)
        entropy = torch.special.xlogy(features, features).sum(1, keepdim=True)
        return entropy - features @ self.usage.float().log().T

    def _score(self, logits: Tensor, features: Tensor) -> Tensor:
        return self._class_distances(logits, features).amin(1)


def _check_shares(features: Tensor) -> None:
    sums = features.sum(1)
    if bool((features < 0).any() or ((sums - sums.round()).abs() > 1e-3).any() or (sums < 0.5).any()):
        raise DataError(
            "the routing score got features that are no shares of experts; give the head the usage of a mixture-of-"
            "experts backbone (reads: routing)."
        )

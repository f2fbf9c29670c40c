"""Scores that read the logits alone and need no statistics."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError
from .score import OOD_SCORES, OODScore

__all__ = ["MSP", "Energy", "JointEnergy", "MaxLogit"]


@OOD_SCORES.register("msp")
class MSP(OODScore):
    """Minus the largest softmax probability (Hendrycks and Gimpel 2017, arXiv:1610.02136)."""

    def _score(self, logits: Tensor, features: Tensor) -> Tensor:
        return -logits.softmax(dim=1).amax(1)


@OOD_SCORES.register("max_logit")
class MaxLogit(OODScore):
    """Minus the largest logit (Hendrycks et al. 2022, arXiv:1911.11132)."""

    def _score(self, logits: Tensor, features: Tensor) -> Tensor:
        return -logits.amax(1)


@OOD_SCORES.register("energy")
class Energy(OODScore):
    """-T logsumexp(logits / T) (Liu et al. 2020, arXiv:2010.03759)."""

    def __init__(self, classes: int, dim: int, temperature: float = 1.0) -> None:
        super().__init__(classes, dim)
        if temperature <= 0:
            raise ConfigError(f"temperature of the energy score is {temperature}; it must be above 0.")
        self.temperature = temperature

    def _score(self, logits: Tensor, features: Tensor) -> Tensor:
        return -self.temperature * (logits / self.temperature).logsumexp(dim=1)


@OOD_SCORES.register("joint_energy")
class JointEnergy(OODScore):
    """- sum over k of log(1 + exp(logit_k)): the energy of a classifier that may name several classes, such as the
    detection head (Wang et al. 2021, arXiv:2109.14162, section 3.2)."""

    def _score(self, logits: Tensor, features: Tensor) -> Tensor:
        return -F.softplus(logits).sum(dim=1)

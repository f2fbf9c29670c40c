"""Auxiliary classifier: a second head that names the class."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from .protocol import CONDITIONS, Condition

__all__ = ["AuxiliaryClassifier"]


@CONDITIONS.register("auxiliary")
class AuxiliaryClassifier(Condition):
    """The discriminator learns the class of real images, the generator to be put into its own class.

    It only maximises log p(y | x) of the fakes, which narrows each class (Gong et al. 2019, arXiv:1907.02690).

    Args:
        weight: Factor on both cross entropies.
    Source: Odena, Olah and Shlens 2017, arXiv:1610.09585; the discriminator's term on fakes is left out.
    """

    def __init__(self, width: int, n_classes: int, weight: float = 1.0) -> None:
        super().__init__(width, n_classes)
        self.weight = weight
        self.classifier = spectral_norm(nn.Linear(width, n_classes))

    def d_loss(self, h_real: Tensor, y_real: Tensor | None, h_fake: Tensor, y_fake: Tensor | None) -> Tensor:
        return self.weight * F.cross_entropy(self.classifier(h_real), y_real)  # type: ignore[arg-type]

    def g_loss(self, h_fake: Tensor, y_fake: Tensor | None) -> Tensor:
        return self.weight * F.cross_entropy(self.classifier(h_fake), y_fake)  # type: ignore[arg-type]

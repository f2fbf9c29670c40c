"""Does a translation pass for a night? A judge of day and night that learned from photographs."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ...errors import DataError
from ...metrics.generative import FeatureNetwork

__all__ = ["DayNight"]


class DayNight:
    """Logistic regression from the features of a frozen network to day (0) and night (1).

    Args:
        network: Sees whole pictures.
        decay: Weight of the squared coefficients over standardised features.
    """

    def __init__(self, network: FeatureNetwork, decay: float = 1e-2) -> None:
        self.network, self.decay = network, decay
        self._weights: Tensor | None = None

    def see(self, images: Iterable[Tensor]) -> Tensor:
        """Features (N, D) of pictures (3, H, W) uint8, of any sizes."""
        return self.network.see(image[None] for image in images).features.double()

    def fit(self, day: Tensor, night: Tensor) -> DayNight:
        """Learn from features (N, D) of photographs by day and by night; gives self."""
        if not len(day) or not len(night):
            raise DataError(f"a judge of day and night got {len(day)} and {len(night)} pictures; give some of each.")
        x = torch.cat([day, night]).double()
        self._mean, self._std = x.mean(0), x.std(0).clamp(min=1e-6)
        x, y = self._ready(x), torch.cat([torch.zeros(len(day)), torch.ones(len(night))]).double()
        # both times weigh the same, however many pictures there are of each
        share = torch.where(y > 0, 0.5 / len(night), 0.5 / len(day))
        weights = torch.zeros(x.shape[1], dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimiser.zero_grad()
            logits = x @ weights
            fit = torch.nn.functional.binary_cross_entropy_with_logits(logits, y, weight=share, reduction="sum")
            value: Tensor = fit + self.decay * weights[:-1].square().sum()
            value.backward()
            return value

        optimiser.step(loss)  # type: ignore[no-untyped-call]
        self._weights = weights.detach()
        return self

    def night(self, features: Tensor) -> Tensor:
        """Probability (N,) that each picture shows a night."""
        if self._weights is None:
            raise DataError("the judge of day and night has not learned yet; call fit first.")
        return (self._ready(features.double()) @ self._weights).sigmoid()

    def _ready(self, x: Tensor) -> Tensor:
        scaled = (x - self._mean) / self._std / x.shape[1] ** 0.5
        return torch.cat([scaled, torch.ones(len(x), 1, dtype=torch.float64)], dim=1)

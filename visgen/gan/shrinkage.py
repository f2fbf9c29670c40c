"""Does a regulariser shrink what each region occupies in a discriminator's feature space? Measured, not assumed."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import DataError
from ..metrics.generative import feature_spread
from .architecture import Discriminator, mix_features
from .regulariser.adaptive_mix import draw_mixing, mix_similarity

__all__ = ["measure_shrinkage"]


@torch.no_grad()
def measure_shrinkage(
    discriminator: Discriminator, images: Tensor, labels: Tensor | None = None, batch_size: int = 50, seed: int = 0
) -> dict[str, float]:
    """Measure a discriminator on images that it was not trained on.

    Args:
        discriminator: In evaluation mode.
        images: uint8 (N, 3, H, W); a last incomplete batch is left out of `mix`.
        labels: Classes (N,) for the radii; None takes all images as one class.
        batch_size: Images that are mixed with each other.
        seed: Of weights and permutations.
    Returns:
        What `feature_spread` gives for the last map, flattened, and `mix`: the mean cosine between features of mixtures
        and mixtures of features, without noise, which AdaptiveMix maximises.
    """
    if len(images) < batch_size:
        raise DataError(f"{len(images)} images are fewer than one batch of {batch_size}; give more or a smaller batch.")
    rng = torch.Generator().manual_seed(seed)
    maps, cosines = [], []
    for part in images.split(batch_size):
        x = part.float() / 127.5 - 1
        f = discriminator.features(x)
        maps.append(f.maps[-1].flatten(1))
        if len(part) == batch_size:
            weight, order = draw_mixing(len(x), 1.0, rng)
            mixed = discriminator.features(torch.lerp(x[order], x, weight))
            cosines.append(mix_similarity(mixed.maps[-1], mix_features(f, weight, order).maps[-1], 0.0, rng))
    features = torch.cat(maps)
    classes = torch.zeros(len(features), dtype=torch.int64) if labels is None else labels
    return {**feature_spread(features, classes), "mix": float(torch.stack(cosines).mean())}

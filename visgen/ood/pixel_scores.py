"""Out-of-distribution scores of every pixel, from the logits of a dense classifier such as a segmentation head."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..errors import ConfigError, DataError, nearest

__all__ = ["PIXEL_SCORES", "pixel_scores"]

PIXEL_SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    "max_logit": lambda logits: -logits.amax(1),
    "msp": lambda logits: -logits.softmax(1).amax(1),
    "energy": lambda logits: -logits.logsumexp(1),
}


def pixel_scores(logits: Tensor, name: str = "max_logit") -> Tensor:
    """Score every cell of a map of logits; higher is less like the classes that the head knows.

        logits, _ = model(images, "segmentation.camvid")
        scores = visgen.ood.pixel_scores(logits)  # at the stride of the head; interpolate it like the logits

    Args:
        logits: (B, K, h, w), K >= 2.
        name: "max_logit", "msp" (minus the largest probability) or "energy" (temperature 1).
    Returns:
        (B, h, w) float32.
    Raises:
        ConfigError: Another name.
        DataError: Logits of another shape.
    Source: Hendrycks et al. 2022, arXiv:1911.11132, section 4, for the largest logit of each pixel.
    """
    if name not in PIXEL_SCORES:
        raise ConfigError(
            f"pixel score '{name}' is not known{nearest(name, PIXEL_SCORES)} Known: {', '.join(PIXEL_SCORES)}."
        )
    if logits.ndim != 4 or logits.shape[1] < 2:
        raise DataError(f"pixel scores got logits {tuple(logits.shape)}; they must be (B, K, h, w) with K >= 2.")
    return PIXEL_SCORES[name](logits.float())

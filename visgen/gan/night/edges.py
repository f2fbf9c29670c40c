"""Edges of a picture: what a day-to-night generator must leave where it is.

Two detectors need no training: `SobelEdge` is a teacher that works everywhere at once, `canny` is the outside judge
that no generator is trained against.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import label
from torch import Tensor, nn

from ...errors import DataError
from ...nn.blur import blur
from ...nn.luma import luma
from ...nn.offset_sample import sample_offset

__all__ = ["EdgeTeacher", "SobelEdge", "canny", "log_luminance"]

DARK = 0.03  # about 8 grey levels: below it a camera's noise is larger than the picture


@runtime_checkable
class EdgeTeacher(Protocol):
    """Gives edge logits (B, 1, H, W) for images (B, 3, H, W) in [0, 1]; the sigmoid is the probability of an edge."""

    def __call__(self, images: Tensor) -> Tensor: ...


def log_luminance(images: Tensor) -> Tensor:
    """Logarithm of the luminance (B, 1, H, W) of images (B, 3, H, W) in [0, 1], so that dimming is a shift."""
    return (luma(images).unsqueeze(1).clamp(min=0) + DARK).log()


class SobelEdge(nn.Module):
    """Edge logits without parameters: the log-luminance gradient over its mean around each pixel.

    Args:
        window: Side of the neighbourhood in pixels, odd.
        floor: Gradient that counts as none, so that even ground has no edges.
        ratio: Gradient over its neighbourhood at which an edge is as likely as not.
        sharpness: Slope of the logit.
    """

    def __init__(self, window: int = 15, floor: float = 0.1, ratio: float = 1.5, sharpness: float = 2.0) -> None:
        super().__init__()
        if window % 2 == 0 or window < 3 or floor <= 0:
            raise DataError(f"window is {window} and floor {floor}; use an odd window from 3 and a floor above 0.")
        self.window, self.floor, self.ratio, self.sharpness = window, floor, ratio, sharpness

    def forward(self, images: Tensor) -> Tensor:
        gradient = torch.linalg.vector_norm(_sobel(log_luminance(images)), dim=1, keepdim=True)
        around = F.avg_pool2d(gradient, self.window, 1, self.window // 2, count_include_pad=False)
        return self.sharpness * (gradient / (around + self.floor) - self.ratio)


def canny(image: Tensor, sigma: float = 1.4, low: float = 0.04, high: float = 0.1) -> Tensor:
    """Edges of one image by gradient, non-maximum suppression and hysteresis on the log-luminance.

    Args:
        image: (3, H, W) in [0, 1].
        sigma: Of the Gaussian blur, in pixels.
        low, high: Thresholds on the gradient per pixel of the log-luminance: a crest above `low` stays where it is
            connected to one above `high`.
    Returns:
        (H, W) bool.
    Source: Canny 1986, doi:10.1109/TPAMI.1986.4767851.
    """
    if image.ndim != 3 or image.shape[0] != 3:
        raise DataError(f"an image is {tuple(image.shape)}; canny takes one RGB image (3, H, W).")
    if not 0 < low <= high:
        raise DataError(f"low is {low} and high {high}; use 0 < low <= high.")
    step = _sobel(blur(log_luminance(image[None]), sigma))[0]
    strength = torch.linalg.vector_norm(step, dim=0)
    way = step / strength.clamp(min=1e-12)
    crest = (strength >= sample_offset(strength, way)) & (strength > sample_offset(strength, -way)) & (strength >= low)
    groups, count = label(crest.numpy(), structure=np.ones((3, 3)))
    strong = np.zeros(count + 1, dtype=bool)
    strong[np.unique(groups[(strength >= high).numpy()])] = True
    strong[0] = False
    return torch.from_numpy(strong[groups])


def _sobel(x: Tensor) -> Tensor:
    """Gradient (B, 2, H, W) per pixel of a map (B, 1, H, W): along x, along y."""
    smooth, slope = x.new_tensor([1.0, 2.0, 1.0]) / 4, x.new_tensor([-1.0, 0.0, 1.0]) / 2
    kernel = torch.stack([smooth[:, None] * slope, slope[:, None] * smooth])[:, None]
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel)

"""What keeps a translated picture in step with the one it was made from."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["distillation_loss", "edge_consistency", "patch_nce"]


def edge_consistency(day: Tensor, night: Tensor) -> Tensor:
    """Mean difference of two edge maps as probabilities: |sigmoid(night) - sigmoid(day)|.

    Args:
        day: Edge logits (B, 1, H, W) of the pictures by day, from a detector that does not learn.
        night: Edge logits of their translations, from the student or the same detector.
    """
    return (night.sigmoid() - day.sigmoid()).abs().mean()


def distillation_loss(day: Tensor, student_day: Tensor, student_night: Tensor) -> Tensor:
    """Mean difference in logits of a student from its teacher's edges by day, on both versions of a picture.

    Args:
        day: Edge logits of the teacher for the picture by day.
        student_day, student_night: Those of the student for the picture and for its translation.
    Source: Mohwald et al. 2023, arXiv:2309.16351; the target is the day's on both sides.
    """
    return (student_day - day).abs().mean() + (student_night - day).abs().mean()


def patch_nce(query: Tensor, key: Tensor, temperature: float = 0.07) -> Tensor:
    """Cross entropy of finding, for each patch of one picture, the same patch among those of another.

    Args:
        query: Features (B, P, D) of P patches of the translated pictures.
        key: Features of the same patches of the originals; no gradient goes there.
        temperature: Divides the cosines.
    Returns:
        A scalar; log P for features that say nothing.
    Source: Park et al. 2020 (CUT), arXiv:2007.15651, equation 2; negatives are the other patches of the same picture.
    """
    query, key = F.normalize(query, dim=-1), F.normalize(key.detach(), dim=-1)
    logits = query @ key.transpose(1, 2) / temperature  # (B, P, P)
    places = torch.arange(logits.shape[1], device=logits.device).expand(len(logits), -1)
    return F.cross_entropy(logits.flatten(0, 1), places.flatten())

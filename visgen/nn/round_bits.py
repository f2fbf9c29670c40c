"""Matrices with few significant bits: their files compress better, and nothing else about them changes."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import ConfigError

__all__ = ["round_bits"]


def round_bits(value: Tensor, bits: int | None) -> Tensor:
    """Give a matrix (or a tensor of more axes) with so many significant bits, to nearest; vectors stay as they are.

    Args:
        value: Any shape.
        bits: 1 to 11, half precision's own; None leaves the tensor as it is.
    Raises:
        ConfigError: Another number of bits.
    """
    if bits is not None and not 1 <= bits <= 11:
        raise ConfigError(f"bits is {bits}; half precision has 11 significant bits: use 1 to 11, or None.")
    if bits is None or value.dim() < 2:
        return value
    mantissa, exponent = torch.frexp(value.float())
    return torch.ldexp((mantissa * 2**bits).round() / 2**bits, exponent).to(value.dtype)

"""What passes from a backbone to a head: a pyramid of maps and one vector per image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

__all__ = ["STRIDES", "Features"]

STRIDES = (4, 8, 16, 32)


@dataclass
class Features:
    """Output of a backbone for images (B, 3, H, W).

    Attributes:
        pyramid: Maps (B, D_s, ceil(H/s), ceil(W/s)) for the strides s = 4, 8, 16, 32.
        token: One vector per image, (B, D).
        aux: Auxiliary losses or logged scalars by name.
        extras: Anything more, such as the routing statistics of a mixture of experts.
    """

    pyramid: dict[int, Tensor]
    token: Tensor
    aux: dict[str, Tensor] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)

"""One labelled image: what every source yields and every transform takes and gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import DataError

__all__ = ["Sample"]


class Sample:
    """An image with its typed targets and a little history.

    Sources may hold the image as bytes per channel (uint8), which a transform resizes and crops several times faster
    than floats; `image` always reads as float32 in [0, 1], whatever is held in `pixels`.

    Args:
        image: RGB (3, H, W), float32 in [0, 1] or uint8 in 0..255.
        targets: Task key ("classification", "detection", ...) to typed value; instance masks, in step with the boxes of
            "detection", go under "masks".
        meta: Plain values that tell where the sample comes from ("id", "path", "source", ...).
    Raises:
        DataError: The image is not (3, H, W) or neither float32 nor uint8.
    """

    __slots__ = ("meta", "pixels", "targets")

    def __init__(
        self, image: Tensor, targets: Mapping[str, Any] | None = None, meta: Mapping[str, Any] | None = None
    ) -> None:
        if image.ndim != 3 or image.shape[0] != 3 or image.dtype not in (torch.float32, torch.uint8):
            raise DataError(
                f"a sample's image is {tuple(image.shape)} {image.dtype}; it must be RGB (3, H, W), float32 in [0, 1] "
                "or uint8; use visgen.load_image to read pictures."
            )
        self.pixels = image
        self.targets: dict[str, Any] = dict(targets or {})
        self.meta: dict[str, Any] = dict(meta or {})

    @property
    def image(self) -> Tensor:
        """The image as float32 (3, H, W) in [0, 1]."""
        return self.pixels.to(torch.float32).div_(255.0) if self.pixels.dtype == torch.uint8 else self.pixels

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return int(self.pixels.shape[1]), int(self.pixels.shape[2])

    def replace(
        self,
        image: Tensor | None = None,
        targets: Mapping[str, Any] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Sample:
        """Give a copy with some parts changed; targets that are not changed stay the same objects."""
        return Sample(
            self.pixels if image is None else image,
            self.targets if targets is None else targets,
            self.meta if meta is None else meta,
        )

    def __repr__(self) -> str:
        names = ", ".join(f"{k}={type(v).__name__}" for k, v in self.targets.items())
        return f"Sample(image={tuple(self.pixels.shape)} {self.pixels.dtype}, {names})"

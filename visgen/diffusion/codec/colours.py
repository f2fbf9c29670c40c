"""Colours that a picture can be decoded from: the corners of the RGB cube by name, and finer grids by number."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import DataError, nearest

__all__ = ["CUBE", "DEFAULT_ORDER", "colour_values", "grid_colours", "nearest_colours"]

CUBE = {
    "black": (0.0, 0.0, 0.0),
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "blue": (0.0, 0.0, 1.0),
    "yellow": (1.0, 1.0, 0.0),
    "magenta": (1.0, 0.0, 1.0),
    "cyan": (0.0, 1.0, 1.0),
    "white": (1.0, 1.0, 1.0),
}
"""The colours that keep the largest distance from one another; black is the background."""

DEFAULT_ORDER = ("red", "green", "blue", "yellow", "magenta", "cyan", "white")
"""Colours of classes for which the instruction names none, in the order of the classes."""

SHARPNESS = 8.0  # softmax over squared distances: a clean corner gets 0.9997 against its nearest neighbour


def colour_values(names: Sequence[str]) -> Tensor:
    """RGB values (n, 3) in [0, 1] of colour names; raises DataError for a name that is no corner of the cube."""
    for name in names:
        if name not in CUBE:
            raise DataError(
                f"colour '{name}' cannot be drawn{nearest(name, CUBE)} A picture keeps {', '.join(CUBE)} apart."
            )
    return torch.tensor([CUBE[name] for name in names], dtype=torch.float32).reshape(-1, 3)


def grid_colours(count: int) -> tuple[Tensor, int]:
    """The first `count` colours (count, 3) of the smallest grid that also holds black, and its levels per channel.

    The corners of the cube come first in `DEFAULT_ORDER`; black, the background, is none of them.

    Raises:
        DataError: More than 215.
    """
    levels = next((n for n in (2, 3, 4, 6) if n**3 > count), None)
    if levels is None:
        raise DataError(f"{count} classes need {count} colours, but a picture keeps 215 apart; ask in several passes.")
    steps = torch.linspace(0, 1, levels)
    rest = torch.cartesian_prod(steps, steps, steps)
    corner = ((rest == 0) | (rest == 1)).all(dim=1)
    colours = torch.cat((colour_values(DEFAULT_ORDER), rest[~corner]))
    return colours[:count], levels


def nearest_colours(picture: Tensor, colours: Tensor) -> Tensor:
    """How much each pixel of a picture (3, h, w) looks like each colour (n, 3): (n, h, w), summing to 1 over n."""
    apart = ((picture[None] - colours[:, :, None, None]) ** 2).sum(dim=1)
    return (-SHARPNESS * apart).softmax(dim=0)

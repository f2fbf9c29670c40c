"""A contact sheet: each scene as a row of day, night, semantic map, depth and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from .config import SEMANTIC_CLASSES
from .scene import Scene, render

__all__ = ["contact_sheet"]


def contact_sheet(scenes: Sequence[Scene], path: str | Path, scale: int = 1) -> Path:
    """Write a picture with one row for each scene, and give its path.

    Args:
        scenes: Scenes of one size; a time that a scene lacks is rendered.
        scale: Whole-number enlargement.
    """
    rows = []
    for scene in scenes:
        if set(scene.images) != {"day", "night"}:
            scene = render(scene.seed, replace(scene.config, time="both"))
        tiles = [scene.images["day"], scene.images["night"], _semantic(scene), _depth(scene), _boxes(scene)]
        rows.append(np.concatenate(tiles, axis=1))
    sheet = Image.fromarray(np.concatenate(rows, axis=0))
    if scale > 1:
        sheet = sheet.resize((sheet.width * scale, sheet.height * scale), Image.Resampling.NEAREST)
    path = Path(path)
    sheet.save(path)
    return path


def _semantic(scene: Scene) -> np.ndarray:
    """Class colours: hues by golden angle, so that neighbours in the list differ; ignored is white."""
    number = np.arange(len(SEMANTIC_CLASSES))
    hue = (number * 0.61803) % 1 * 6
    value = np.where(number % 3 == 0, 230, np.where(number % 3 == 1, 180, 120))
    ramp = np.stack([np.abs(hue - 3) - 1, 2 - np.abs(hue - 2), 2 - np.abs(hue - 4)], axis=1)
    table = np.full((256, 3), 255, np.uint8)
    table[: len(number)] = (np.clip(ramp, 0.1, 1) * value[:, None]).astype(np.uint8)
    return table[scene.semantic]


def _depth(scene: Scene) -> np.ndarray:
    """Logarithmic grey from 0.5 m (white) to 65 m (dark); missing is blue."""
    metres = np.maximum(scene.depth, 0.5)
    grey = (255 * (1 - np.log(metres / 0.5) / np.log(130))).clip(0, 255).astype(np.uint8)
    picture = np.stack([grey] * 3, axis=2)
    picture[scene.depth == 0] = (20, 30, 90)
    return picture


def _boxes(scene: Scene) -> np.ndarray:
    picture = Image.fromarray(scene.images["day"])
    draw = ImageDraw.Draw(picture)
    for o in scene.objects:
        x1, y1, x2, y2 = o.box
        colour = (255, 60, 60) if o.unseen else (255, 230, 60)
        draw.rectangle((x1, y1, x2 - 1, y2 - 1), outline=colour)
        draw.text((x1 + 2, y1), o.kind, fill=colour)
    return np.asarray(picture)

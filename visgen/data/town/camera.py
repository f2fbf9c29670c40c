"""A pinhole camera. World: x right, y up, z forward, metres. Camera: x right, y down, z forward."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

__all__ = ["Camera"]


@dataclass(frozen=True)
class Camera:
    """Perspective camera with square pixels.

    Args:
        size: Image height and width.
        focal: Focal length in pixels.
        position: World position (x, y, z) in metres; y is the height above the ground.
        yaw: Turn to the right, radians.
        pitch: Turn downwards, radians.
        roll: Clockwise turn of the camera about its axis, radians.
    """

    size: tuple[int, int]
    focal: float
    position: tuple[float, float, float]
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0

    @cached_property
    def rotation(self) -> np.ndarray:
        """World-to-camera rotation (3, 3) float64."""
        cy, sy = math.cos(self.yaw), math.sin(self.yaw)
        cp, sp = math.cos(self.pitch), math.sin(self.pitch)
        cr, sr = math.cos(self.roll), math.sin(self.roll)
        turn = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
        tilt = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
        spin = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
        return spin @ np.diag([1.0, -1.0, 1.0]) @ tilt @ turn

    def rays(self) -> tuple[np.ndarray, np.ndarray]:
        """Ray slopes at pixel centres: x / z of every column (W,) and y / z of every row (H,), float64."""
        height, width = self.size
        columns = (np.arange(width) + 0.5 - width / 2) / self.focal
        rows = (np.arange(height) + 0.5 - height / 2) / self.focal
        return columns, rows

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """World points (..., 3) in camera coordinates (..., 3); the last one is the depth z."""
        return (np.asarray(points, dtype=np.float64) - np.asarray(self.position)) @ self.rotation.T

    def project(self, points: np.ndarray) -> np.ndarray:
        """World points (..., 3) to (column, row, depth) with pixel edges as units; only depth > 0 is in front."""
        local = self.to_camera(points)
        depth = local[..., 2]
        safe = np.where(np.abs(depth) < 1e-6, 1e-6, depth)
        column = self.focal * local[..., 0] / safe + self.size[1] / 2
        row = self.focal * local[..., 1] / safe + self.size[0] / 2
        return np.stack([column, row, depth], axis=-1)

    def project_point(self, x: float, y: float, z: float) -> tuple[float, float, float]:
        """One world point to (column, row, depth), without arrays."""
        x, y, z = x - self.position[0], y - self.position[1], z - self.position[2]
        (a, b, c), (d, e, f), (g, h, i) = self._rows
        depth = g * x + h * y + i * z
        scale = self.focal / (depth if abs(depth) > 1e-6 else 1e-6)
        return (
            scale * (a * x + b * y + c * z) + self.size[1] / 2,
            scale * (d * x + e * y + f * z) + self.size[0] / 2,
            depth,
        )

    @cached_property
    def _rows(self) -> list[list[float]]:
        return self.rotation.tolist()

"""Solid primitives in bulk: blocks, balls and tubes with materials and lights, ready to be rasterised."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

__all__ = ["BALL", "BLOCK", "TUBE", "Light", "Material", "Parts", "Solids"]

BLOCK, BALL, TUBE = 0, 1, 2
Vector = tuple[float, float, float]

# Corners of the unit block: bit 0 is x, bit 1 is y, bit 2 is z.
_CORNERS = np.array([[(i & 1) * 2 - 1, (i >> 1 & 1) * 2 - 1, (i >> 2 & 1) * 2 - 1] for i in range(8)], float)
# Faces -x +x -y +y -z +z, each a cycle of four corners.
_FACES = np.array([[0, 2, 6, 4], [1, 3, 7, 5], [0, 1, 5, 4], [2, 3, 7, 6], [0, 1, 3, 2], [4, 5, 7, 6]])
_FACE_U = np.array([2, 2, 0, 0, 0, 0])  # axis that runs along the face: z for the x faces, else x
_FACE_V = np.array([1, 1, 2, 2, 1, 1])


@dataclass(frozen=True)
class Material:
    """A surface finish; colours are linear RGB albedo, `scale` is the texture period in metres."""

    colour: Vector
    texture: str = "plain"
    second: Vector = (0.5, 0.5, 0.5)
    scale: float = 0.5
    phase: float = 0.0
    glow: float = 0.0  # radiance it emits by night
    glow_colour: Vector = (1.0, 0.85, 0.6)
    gloss: float = 0.0


@dataclass(frozen=True)
class Light:
    """A lamp: world position, radiant intensity (RGB), and for a beam its unit axis and cosine of the half angle."""

    position: Vector
    intensity: Vector
    axis: Vector | None = None
    cosine: float = -1.0
    visible: bool = True
    instance: int = -1


@dataclass
class Parts:
    """Collects primitives; an object frame (origin on the ground, front towards +z) is set by `place`."""

    rows: list[list[float]] = field(default_factory=list)
    materials: list[Material] = field(default_factory=list)
    lights: list[Light] = field(default_factory=list)
    banned: frozenset[str] = frozenset()  # textures that turn plain
    evidence: tuple[int, int] = (0, 0)  # rows of the last arm or cord that shows a relation
    _frame: tuple = (0.0, 0.0, 0.0, 1.0, 0.0, 1.0)
    _ids: tuple[int, int] = (-1, 0)

    def place(self, x: float, y: float, z: float, yaw: float, scale: float, instance: int, semantic: int) -> None:
        """Start an object: what follows is in its frame and belongs to `instance` (-1 none) and class `semantic`."""
        self._frame = (x, y, z, math.cos(yaw), math.sin(yaw), scale)
        self._ids = (instance, semantic)

    def material(self, colour: Vector, texture: str = "plain", **finish: object) -> int:
        """Add a material and give its number; a banned texture becomes plain."""
        if texture in self.banned:
            texture = "plain"
        self.materials.append(Material(colour, texture, **finish))  # type: ignore[arg-type]
        return len(self.materials) - 1

    def world(self, point: Vector) -> Vector:
        """A point of the current object frame in world coordinates."""
        x, y, z, c, s, k = self._frame
        px, py, pz = point
        return (x + k * (c * px + s * pz), y + k * py, z + k * (c * pz - s * px))

    def turn(self, axis: Vector) -> Vector:
        """A direction of the current object frame in world coordinates."""
        _, _, _, c, s, _ = self._frame
        return (c * axis[0] + s * axis[2], axis[1], c * axis[2] - s * axis[0])

    def _add(
        self, shape: int, centre: Vector, basis: tuple[Vector, Vector, Vector], material: int, mould: tuple
    ) -> None:
        # Kept in the object's frame, with the frame; `Solids` turns them all into the world at once.
        self.rows.append([shape, *self._ids, material, *centre, *basis[0], *basis[1], *basis[2], *mould, *self._frame])

    def block(
        self,
        centre: Vector,
        size: Vector,
        material: int,
        taper: tuple[float, float] = (1, 1),
        shift: tuple[float, float] = (0, 0),
        pitch: float = 0.0,
    ) -> None:
        """A box of full `size`; `taper` scales its top, `shift` moves it (x, z metres), `pitch` tips it forward."""
        hx, hy, hz = size[0] / 2, size[1] / 2, size[2] / 2
        c, s = math.cos(pitch), math.sin(pitch)
        basis = ((hx, 0.0, 0.0), (0.0, hy * c, hy * s), (0.0, -hz * s, hz * c))
        self._add(BLOCK, centre, basis, material, (*taper, shift[0] / hx, shift[1] / hz))

    def ball(self, centre: Vector, radii: Vector, material: int) -> None:
        """An ellipsoid with radii along the axes of the object frame."""
        self._add(BALL, centre, ((radii[0], 0, 0), (0, radii[1], 0), (0, 0, radii[2])), material, (1, 1, 0, 0))

    def tube(self, centre: Vector, radius: float, length: float, material: int, axis: str = "y") -> None:
        """A closed cylinder along `axis`."""
        r, h = radius, length / 2
        basis = {
            "y": ((r, 0.0, 0.0), (0.0, h, 0.0), (0.0, 0.0, r)),
            "x": ((0.0, r, 0.0), (h, 0.0, 0.0), (0.0, 0.0, r)),
            "z": ((r, 0.0, 0.0), (0.0, 0.0, h), (0.0, r, 0.0)),
        }[axis]
        self._add(TUBE, centre, basis, material, (1, 1, 0, 0))

    def rod(self, start: Vector, end: Vector, thickness: float, material: int) -> None:
        """A thin square bar between two points."""
        dx, dy, dz = end[0] - start[0], end[1] - start[1], end[2] - start[2]
        length = math.sqrt(dx * dx + dy * dy + dz * dz) or 1e-6
        dx, dy, dz = dx / length, dy / length, dz / length
        # A direction across the bar: axis x up, or axis x right where the bar stands upright.
        sx, sy, sz = (-dz, 0.0, dx) if abs(dy) < 0.9 else (0.0, dz, -dy)
        k = thickness / 2 / math.sqrt(sx * sx + sy * sy + sz * sz)
        sx, sy, sz = sx * k, sy * k, sz * k
        other = (sy * dz - sz * dy, sz * dx - sx * dz, sx * dy - sy * dx)
        centre = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, (start[2] + end[2]) / 2)
        h = length / 2
        self._add(BLOCK, centre, ((sx, sy, sz), (dx * h, dy * h, dz * h), other), material, (1, 1, 0, 0))

    def lamp(
        self, point: Vector, intensity: Vector, axis: Vector | None = None, cosine: float = -1.0, visible: bool = True
    ) -> None:
        """A light in the object frame."""
        self.lights.append(
            Light(self.world(point), intensity, self.turn(axis) if axis else None, cosine, visible, self._ids[0])
        )

    def solids(self) -> Solids:
        """The primitives as arrays."""
        return Solids(self.table())

    def table(self) -> np.ndarray:
        """One row of 26 numbers for each primitive."""
        return np.array(self.rows, dtype=np.float64).reshape(-1, 26)


class Solids:
    """Arrays over N primitives, world frame: shape, instance, semantic, material (N,), centre (N, 3), basis (N, 3, 3).

    `corners` (N, 8, 3); blocks have `planes` (N, 6, 4) with n . p <= h inside, unit normals; `axes` (N, 3, 3) are the
    unit columns of `basis`; `face_u`, `face_v` (N, 6, 3) run along the faces.
    """

    def __init__(self, rows: np.ndarray) -> None:
        self.shape, self.instance, self.semantic, self.material = rows[:, :4].astype(np.int64).T
        mould = rows[:, 16:20]
        x, y, z, cosine, sine, scale = rows[:, 20:26].T
        frame = np.zeros((len(rows), 3, 3))
        frame[:, 0, 0] = frame[:, 2, 2] = scale * cosine
        frame[:, 0, 2], frame[:, 2, 0], frame[:, 1, 1] = scale * sine, -scale * sine, scale
        self.centre = np.einsum("nij,nj->ni", frame, rows[:, 4:7]) + np.stack([x, y, z], axis=1)
        self.basis = frame @ rows[:, 7:16].reshape(-1, 3, 3).transpose(0, 2, 1)
        unit = np.repeat(_CORNERS[None], len(rows), axis=0)
        top = _CORNERS[:, 1] > 0
        unit[:, top, 0] = unit[:, top, 0] * mould[:, 0, None] + mould[:, 2, None]
        unit[:, top, 2] = unit[:, top, 2] * mould[:, 1, None] + mould[:, 3, None]
        self.corners = self.centre[:, None] + unit @ self.basis.transpose(0, 2, 1)
        face = self.corners[:, _FACES]  # (N, 6, 4, 3)
        normal = np.cross(face[:, :, 2] - face[:, :, 0], face[:, :, 3] - face[:, :, 1])
        length = np.linalg.norm(normal, axis=2, keepdims=True)
        flat = length[..., 0] < 1e-9  # a ridge or a point: no face there
        normal = normal / np.maximum(length, 1e-9)
        middle = face.mean(axis=2)
        outward = np.sign(np.einsum("nfk,nfk->nf", normal, middle - self.corners.mean(axis=1)[:, None]))
        normal = normal * np.where(outward == 0, 1, outward)[..., None]
        height = np.einsum("nfk,nfk->nf", normal, middle)
        self.planes = np.concatenate([normal, height[..., None]], axis=2)
        self.planes[flat] = (0, 0, 0, 1)
        norms = np.linalg.norm(self.basis, axis=1, keepdims=True)
        self.axes = self.basis / np.maximum(norms, 1e-9)
        columns = self.axes.transpose(0, 2, 1)  # (N, axis, 3)
        self.face_u = columns[:, _FACE_U]
        self.face_v = columns[:, _FACE_V]

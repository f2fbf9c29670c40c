"""Exact visible surfaces: every primitive is intersected with the ray of every pixel in its window.

The ray through a pixel is position + z * (x, y, 1), so z is the depth and its inverse w is affine in (x, y) on a
plane; the z-buffer holds w (larger is nearer, 0 is the sky).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .camera import Camera
from .parts import BLOCK, TUBE, Solids

__all__ = ["FACES", "Surfaces", "rasterise"]

FACES = 6
"""Surface number = FACES * primitive + face; curved sides are face 0, the ends of a tube faces 1 and 2."""
_NEAR = 0.15  # metres; primitives that reach closer are not drawn


@dataclass
class Surfaces:
    """`inverse_depth` (H, W) float32 per metre and `surface` (H, W) int32; -1 - p is background plane p, -9 the sky."""

    inverse_depth: np.ndarray
    surface: np.ndarray


def rasterise(camera: Camera, solids: Solids, planes: np.ndarray, inside: bool) -> Surfaces:
    """Find the nearest surface of every pixel.

    Args:
        camera: The pinhole camera.
        solids: Primitives in world coordinates.
        planes: Background planes (P, 4), n . p = h; the ground of a street, the six sides of a room.
        inside: True when the camera stands inside the convex hull of the planes (n . p <= h), as in a room.
    """
    x, y = camera.rays()
    inverse, surface = _background(camera, planes, inside, x, y)
    if len(solids.shape):
        _draw(camera, solids, x, y, inverse, surface)
    return Surfaces(inverse, surface)


def _background(camera: Camera, planes: np.ndarray, inside: bool, x: np.ndarray, y: np.ndarray) -> tuple:
    position = np.asarray(camera.position)
    slope = planes[:, :3] @ camera.rotation.T  # (P, 3)
    gap = planes[:, 3] - planes[:, :3] @ position  # positive inside
    slope = slope / np.where(np.abs(gap) < 1e-9, 1e-9, gap)[:, None]
    w = slope[:, 0, None, None] * x + (slope[:, 1, None] * y + slope[:, 2, None])[:, :, None]
    side = w.argmax(axis=0) if inside else w.argmin(axis=0)
    inverse = np.take_along_axis(w, side[None], 0)[0]
    surface = np.where(inverse > 1e-5, -1 - side, -9).astype(np.int32)
    return np.maximum(inverse, 0).astype(np.float32), surface


def _windows(camera: Camera, solids: Solids) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixel windows (N, 4) as row0, row1, col0, col1; which are worth drawing, nearest first; largest w (N,)."""
    height, width = camera.size
    local = camera.to_camera(solids.corners)
    depth = local[..., 2]
    nearest = depth.min(axis=1)
    behind = nearest < _NEAR
    crossing = behind & (depth.max(axis=1) > _NEAR) & (solids.shape == BLOCK)
    plane = local[..., :2] / np.where(depth < _NEAR, np.inf, depth)[..., None]
    seen = depth >= _NEAR
    low = np.where(seen[..., None], plane, np.inf).min(axis=1)
    high = np.where(seen[..., None], plane, -np.inf).max(axis=1)
    for n in np.flatnonzero(crossing):
        cut = _cut_edges(local[n])
        low[n], high[n] = np.minimum(low[n], cut.min(axis=0)), np.maximum(high[n], cut.max(axis=0))
    middle = np.array([width / 2, height / 2])
    limit = np.array([width, height])
    first = np.clip(np.floor(low * camera.focal + middle), 0, limit)
    last = np.clip(np.ceil(high * camera.focal + middle), 0, limit)
    drawn = (last > first).all(axis=1) & (~behind | crossing)
    windows = np.zeros((len(drawn), 4), np.int64)
    windows[drawn] = np.stack([first[:, 1], last[:, 1], first[:, 0], last[:, 0]], axis=1)[drawn]
    order = np.flatnonzero(drawn)
    return windows, order[np.argsort(nearest[order], kind="stable")], 1 / np.maximum(nearest, _NEAR)


_EDGES = np.array([(i, i | bit) for bit in (1, 2, 4) for i in range(8) if not i & bit])


def _cut_edges(corners: np.ndarray) -> np.ndarray:
    """Where the edges of a block (8, 3) pass the near plane, as x / z and y / z (E, 2)."""
    a, b = corners[_EDGES[:, 0]], corners[_EDGES[:, 1]]
    passes = (a[:, 2] < _NEAR) != (b[:, 2] < _NEAR)
    a, b = a[passes], b[passes]
    share = ((_NEAR - a[:, 2]) / (b[:, 2] - a[:, 2]))[:, None]
    return (a + share * (b - a))[:, :2] / _NEAR


def _draw(
    camera: Camera, solids: Solids, x: np.ndarray, y: np.ndarray, inverse: np.ndarray, surface: np.ndarray
) -> None:
    turn = camera.rotation
    position = np.asarray(camera.position)
    windows, order, nearest = _windows(camera, solids)
    # Inverse depth at which a ray meets the plane of each face. A convex block is entered at the last of the planes
    # that face the camera and only if none of the others was left before: max(others) <= min(facing).
    gaps = np.einsum("nfk,k->nf", solids.planes[..., :3], position) - solids.planes[..., 3]  # positive: camera outside
    facing = gaps > 1e-9
    ranks = np.argsort(~facing, axis=1, kind="stable")
    slopes = (solids.planes[..., :3] @ turn.T) / -np.where(np.abs(gaps) < 1e-9, -1e-9, gaps)[..., None]
    slopes = np.take_along_axis(slopes, ranks[..., None], axis=1).astype(np.float32)
    fronts = facing.sum(axis=1)
    toward = np.linalg.inv(solids.basis)
    origins = np.einsum("nij,nj->ni", toward, position - solids.centre)
    directions = toward @ turn.T
    x32, y32 = x.astype(np.float32), y.astype(np.float32)
    for n in order.tolist():
        r0, r1, c0, c1 = windows[n].tolist()
        z = inverse[r0:r1, c0:c1]
        if z.min() >= nearest[n]:
            continue  # all that it could cover is nearer already
        if solids.shape[n] == BLOCK:
            front = int(fronts[n])
            if not front:
                continue  # the camera is inside
            w, hit, face = _block(slopes[n], front, ranks[n], x32[c0:c1], y32[r0:r1])
        else:
            found = _quadric(origins[n], directions[n], solids.shape[n] == TUBE, x[c0:c1], y[r0:r1, None])
            if found is None:
                continue
            w, hit, face = found
        hit &= w > z
        np.copyto(z, w, where=hit, casting="same_kind")
        np.copyto(surface[r0:r1, c0:c1], face + n * FACES, where=hit, casting="same_kind")


def _block(slope: np.ndarray, front: int, ranks: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple:
    """Entry w of a convex block, where the ray hits it, and through which face; `slope` lists facing planes first."""
    q = (slope[:, 1, None] * y + slope[:, 2, None])[:, :, None] + slope[:, 0, None, None] * x
    if front == 1:
        w, face = q[0], ranks[0]
    elif front == 2:
        w = np.minimum(q[0], q[1])
        face = np.where(q[1] < q[0], ranks[1], ranks[0])
    else:
        face = ranks[q[:front].argmin(axis=0)]
        w = q[:front].min(axis=0)
    hit = q[front] <= w
    for other in range(front + 1, len(q)):
        hit &= q[other] <= w
    hit &= w > 0
    return w, hit, face


def _quadric(origin: np.ndarray, direction: np.ndarray, tube: bool, x: np.ndarray, y: np.ndarray) -> tuple | None:
    """The same for the unit ball, or the unit tube around the local y axis."""
    keep = np.array([1.0, 0.0, 1.0]) if tube else np.ones(3)
    constant = float((keep * origin * origin).sum() - 1)
    b = direction.T @ (keep * origin)
    form = direction.T @ (keep[:, None] * direction)
    if constant <= 1e-9:
        return _cap_only(origin, direction, b, form, constant, x, y) if tube else None
    e = np.outer(b, b) - constant * form
    inner = e[0, 0] * x * x + 2 * e[0, 2] * x + e[2, 2]
    outer = e[1, 1] * y * y + 2 * e[1, 2] * y
    square = inner + outer + (2 * e[0, 1] * y) * x
    hit = square >= 0
    root = np.sqrt(np.maximum(square, 0)) / constant
    middle = (b[0] * x + (b[1] * y + b[2])) / -constant
    w = middle + root
    face: np.ndarray | int = 0
    if tube:
        along = direction[1, 0] * x + (direction[1, 1] * y + direction[1, 2])
        if abs(origin[1]) > 1:
            cap = along / (np.sign(origin[1]) - origin[1])
            on_cap = cap < w
            w = np.where(on_cap, cap, w)
            hit &= w >= middle - root
            face = np.where(on_cap, 1 if origin[1] > 1 else 2, 0)
        hit &= np.abs(origin[1] * w + along) <= w * (1 + 1e-7)
    hit &= w > 0
    return w, hit, face


def _cap_only(
    origin: np.ndarray,
    direction: np.ndarray,
    b: np.ndarray,
    form: np.ndarray,
    constant: float,
    x: np.ndarray,
    y: np.ndarray,
) -> tuple | None:
    """A tube seen end on, from within its endless continuation."""
    if abs(origin[1]) <= 1:
        return None
    along = direction[1, 0] * x + (direction[1, 1] * y + direction[1, 2])
    w = along / (np.sign(origin[1]) - origin[1])
    quadratic = form[0, 0] * x * x + 2 * form[0, 2] * x + form[2, 2] + form[1, 1] * y * y + 2 * form[1, 2] * y
    quadratic = quadratic + 2 * form[0, 1] * y * x
    linear = b[0] * x + (b[1] * y + b[2])
    hit = quadratic + 2 * linear * w + constant * w * w <= 0
    hit &= w > 0
    return w, hit, 1 if origin[1] > 1 else 2

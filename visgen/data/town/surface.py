"""From visible surfaces to their properties: position, normal, albedo, gloss and glow of every pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .config import SEMANTIC_CLASSES
from .layout import World
from .parts import BLOCK, TUBE, Material, Solids
from .raster import FACES, Surfaces
from .textures import PATTERNS, cell_hash, noise, pattern_fade, speckle

__all__ = ["Pixels", "resolve"]

_SPARE = 9  # table rows after the primitives: background planes, and the sky as the last


@dataclass
class Pixels:
    """Per-pixel properties, flat over N = H * W; vectors are (3, N) float32 in world coordinates.

    `lit` is the share 0..1 of its material's glow that a pixel emits by night, `daylight` marks window panes of a room.
    """

    size: tuple[int, int]
    position: np.ndarray
    normal: np.ndarray
    albedo: np.ndarray
    gloss: np.ndarray
    glow: np.ndarray
    depth: np.ndarray
    sky: np.ndarray
    daylight: np.ndarray
    level: np.ndarray  # ground or floor
    semantic: np.ndarray
    instance: np.ndarray


def resolve(world: World, solids: Solids, surfaces: Surfaces) -> Pixels:
    """Look up what every pixel shows."""
    height, width = surfaces.surface.shape
    count = len(solids.shape)
    sky_row = count * FACES + _SPARE - 1
    surface = surfaces.surface.ravel()
    row = np.where(surface >= 0, surface, count * FACES - 1 - surface)
    sky = row == sky_row
    w = surfaces.inverse_depth.ravel()
    depth = np.where(sky, np.float32(200), 1 / np.maximum(w, np.float32(1e-5))).astype(np.float32)
    position = _positions(world, depth)
    table, owner = _surface_table(world, solids)
    columns = np.take(table, row, axis=1)
    normal = columns[:3]
    part = owner[row]
    _bend_normals(solids, position, row, part, normal)
    u = np.einsum("kn,kn->n", columns[3:6], position) + columns[6]
    v = np.einsum("kn,kn->n", columns[7:10], position) + columns[10]
    materials = [*world.parts.materials, Material((0.0, 0.0, 0.0))]
    material = np.concatenate(
        [
            np.repeat(solids.material, FACES),
            np.array(world.plane_materials),
            np.full(_SPARE - len(world.plane_materials), len(materials) - 1),
        ]
    )[row]
    classes = np.concatenate(
        [
            np.repeat(solids.semantic, FACES),
            np.array(world.plane_classes),
            np.zeros(_SPARE - len(world.plane_classes), int),
        ]
    )
    semantic = classes[row].astype(np.uint8)
    instance = np.concatenate([np.repeat(solids.instance, FACES), np.full(_SPARE, -1)])[row].astype(np.int16)
    footprint = depth * np.float32(1 / world.camera.focal)
    facing = (
        np.abs(np.einsum("kn,kn->n", normal, position - np.array(world.camera.position, np.float32)[:, None])) / depth
    )
    footprint /= np.maximum(facing, np.float32(0.15))
    albedo, gloss, glow, daylight = _finish(materials, material, u, v, footprint)
    level = (row == count * FACES) & ~sky
    if world.ground is not None:
        _paint_ground(world, position, level, footprint, albedo, semantic)
    grain = speckle(u, v)
    albedo *= np.float32(0.84) + np.float32(0.32) * grain
    semantic[sky] = SEMANTIC_CLASSES.index("sky")
    return Pixels(
        (height, width), position, normal, albedo, gloss, glow, depth, sky, daylight, level, semantic, instance
    )


def _positions(world: World, depth: np.ndarray) -> np.ndarray:
    """World positions (3, N) of pixels with known depth."""
    x, y = world.camera.rays()
    turn = world.camera.rotation
    out = []
    for axis in range(3):
        slope = (turn[0, axis] * x + turn[1, axis] * y[:, None] + turn[2, axis]).astype(np.float32).ravel()
        out.append(slope * depth + np.float32(world.camera.position[axis]))
    return np.stack(out)


def _surface_table(world: World, solids: Solids) -> tuple[np.ndarray, np.ndarray]:
    """Rows (11, S): normal, u axis and offset, v axis and offset of every surface; and the primitive it belongs to."""
    count = len(solids.shape)
    rows = np.zeros((count + 2, FACES, 11))
    block = solids.shape == BLOCK
    rows[:count, :, 0:3] = solids.planes[..., :3]
    rows[:count, :, 3:6] = solids.face_u
    rows[:count, :, 7:10] = solids.face_v
    x, y, z = solids.axes[..., 0], solids.axes[..., 1], solids.axes[..., 2]
    curved = ~block
    rows[:count][curved, 0, 3:6] = ((x + z) * 0.7)[curved]
    rows[:count][curved, 0, 7:10] = (y + 0.3 * x)[curved]
    for face, sign in ((1, 1), (2, -1)):
        rows[:count][curved, face, 0:3] = sign * y[curved]
        rows[:count][curved, face, 3:6] = x[curved]
        rows[:count][curved, face, 7:10] = z[curved]
    # Facades count their storeys from the ground: v starts at the foot of the block.
    foot = solids.centre - np.abs(solids.basis).sum(axis=2) * np.array([0, 1, 0])
    rows[:count, :, 6] = -np.einsum("nfk,nk->nf", rows[:count, :, 3:6], foot)
    rows[:count, :, 10] = -np.einsum("nfk,nk->nf", rows[:count, :, 7:10], foot)
    table = rows.reshape(-1, 11)[: count * FACES + _SPARE]
    inward = -1 if world.ground is None else 1
    for index, plane in enumerate(world.planes):
        normal = plane[:3] * inward
        upright = abs(normal[1]) < 0.5
        table[count * FACES + index, :3] = normal
        table[count * FACES + index, 3:6] = (abs(normal[2]), 0, abs(normal[0])) if upright else (1, 0, 0)
        table[count * FACES + index, 7:10] = (0, 1, 0) if upright else (0, 0, 1)
    owner = np.minimum(np.arange(count * FACES + _SPARE) // FACES, max(count - 1, 0))
    return np.ascontiguousarray(table.T, dtype=np.float32), owner


def _bend_normals(solids: Solids, position: np.ndarray, row: np.ndarray, part: np.ndarray, normal: np.ndarray) -> None:
    """Give balls and tube sides the normal of their curve."""
    if not len(solids.shape):
        return
    curved_rows = np.zeros(row.max() + 1, bool)
    sides = np.flatnonzero(solids.shape != BLOCK) * FACES
    curved_rows[sides[sides < len(curved_rows)]] = True
    where = np.flatnonzero(curved_rows[row])
    if not len(where):
        return
    inverse = np.linalg.inv(solids.basis)
    keep = np.where((solids.shape == TUBE)[:, None], np.array([1.0, 0.0, 1.0]), 1.0)
    form = np.einsum("nki,nk,nkj->nij", inverse, keep, inverse).astype(np.float32)
    owner = part[where]
    offset = position[:, where] - solids.centre.astype(np.float32)[owner].T
    bent = np.einsum("nij,jn->in", form[owner], offset)
    bent /= np.maximum(np.sqrt(np.einsum("in,in->n", bent, bent)), np.float32(1e-9))
    normal[:, where] = bent


def _finish(
    materials: list[Material], material: np.ndarray, u: np.ndarray, v: np.ndarray, footprint: np.ndarray
) -> tuple:
    """Albedo (3, N), gloss, glow (3, N) and the daylight mark of every pixel."""
    scale = np.array([1 / m.scale for m in materials], np.float32)[material]
    phase = np.array([m.phase for m in materials], np.float32)[material]
    u = u * scale
    u += phase
    v = v * scale
    fine = footprint * scale
    first = np.array([m.colour for m in materials], np.float32).T
    second = np.array([m.second for m in materials], np.float32).T
    albedo = np.take(first, material, axis=1)
    gloss = np.array([m.gloss for m in materials], np.float32)[material]
    shine = np.array([[m.glow * c for c in m.glow_colour] for m in materials], np.float32).T
    glow = np.take(shine, material, axis=1)
    names = sorted({m.texture for m in materials} & set(PATTERNS))
    code = np.array([names.index(m.texture) if m.texture in names else -1 for m in materials])[material]
    for number, name in enumerate(names):
        where = np.flatnonzero(code == number)
        if not len(where):
            continue
        pu, pv = u[where], v[where]
        if name == "emblem":
            pu, pv = pu - phase[where], pv - np.float32(3.5)
        value = pattern_fade(name, PATTERNS[name](pu, pv), fine[where])
        mine = material[where]
        albedo[:, where] += (np.take(second, mine, axis=1) - albedo[:, where]) * value
        if name == "windows":
            lit = cell_hash(np.floor(pu), np.floor(pv), mine)
            glow[:, where] *= value * np.maximum(lit - np.float32(0.62), 0) * np.float32(3.5)
            gloss[where] = value * np.float32(0.8)
        elif name in ("painting", "stripes"):
            glow[:, where] *= np.float32(0.25) + value
    daylight = np.array([m.texture == "daylight" for m in materials])[material]
    return albedo, gloss, glow, daylight


def _paint_ground(
    world: World,
    position: np.ndarray,
    level: np.ndarray,
    footprint: np.ndarray,
    albedo: np.ndarray,
    semantic: np.ndarray,
) -> None:
    """Road, markings, sidewalk and grass on the ground of a street."""
    ground = world.ground
    assert ground is not None
    where = np.flatnonzero(level)
    x, z, fine = position[0, where], position[2, where], footprint[where]
    far = np.abs(x)
    road = far < ground.road
    walk = ~road & (far < ground.road + ground.walk)
    names = SEMANTIC_CLASSES
    semantic[where] = np.where(road, names.index("road"), np.where(walk, names.index("sidewalk"), names.index("grass")))
    rough = noise(x * np.float32(1.3), z * np.float32(1.3), 0.9)
    tone = np.float32(0.13 * ground.tint) * (np.float32(0.75) + np.float32(0.5) * rough)
    colour = np.stack([tone, tone, tone * np.float32(1.03)])
    sheer = np.clip(1.5 - fine / 0.25, 0, 1)
    dash = (far < 0.07) & (z * 0.16 - np.floor(z * 0.16) < 0.5)
    border = np.abs(far - (ground.road - 0.18)) < 0.05
    mark = dash | border
    if ground.crossing is not None:
        zebra = (z > ground.crossing) & (z < ground.crossing + 3) & (x - np.floor(x) < 0.5)
        mark = np.where(np.abs(z - ground.crossing - 1.5) < 1.8, zebra, mark)
    paint = mark & road
    colour[:, paint] += (np.float32(0.55) - colour[:, paint]) * (0.35 + 0.65 * sheer[paint])
    u, v = x - np.floor(x), z - np.floor(z)
    joint = ((u < 0.04) | (v < 0.04)) * sheer
    slab = (np.float32(0.30) + np.float32(0.12) * rough) * (1 - np.float32(0.35) * joint)
    curb = walk & (far < ground.road + 0.16)
    colour[:, walk] = slab[walk] * np.array([[1.0], [0.97], [0.92]], np.float32)
    colour[:, curb] = np.float32(0.42)
    grass = ~road & ~walk
    blade = np.float32(0.5) + noise(x[grass] * 2, z[grass] * 2, 0.7)
    colour[:, grass] = blade * np.array([[0.075], [0.15], [0.035]], np.float32)
    albedo[:, where] = colour

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

    `glow` is what a pixel emits by night, `daylight` marks window panes of a room, `level` the ground or floor.
    """

    size: tuple[int, int]
    position: np.ndarray
    normal: np.ndarray
    albedo: np.ndarray
    gloss: np.ndarray
    glow: np.ndarray | None
    depth: np.ndarray
    sky: np.ndarray
    daylight: np.ndarray
    level: np.ndarray
    semantic: np.ndarray
    instance: np.ndarray


def resolve(world: World, solids: Solids, surfaces: Surfaces, night: bool = True) -> Pixels:
    """Look up what every pixel shows; glow is left out where no `night` is asked for."""
    height, width = surfaces.surface.shape
    count = len(solids.shape)
    sky_row = count * FACES + _SPARE - 1
    surface = surfaces.surface.ravel()
    row = np.where(surface >= 0, surface, count * FACES - 1 - surface).astype(np.intp)
    sky = row == sky_row
    w = surfaces.inverse_depth.ravel()
    depth = np.where(sky, np.float32(200), 1 / np.maximum(w, np.float32(1e-5))).astype(np.float32)
    position = _positions(world, depth)
    table, owner = _surface_table(world, solids)
    columns = np.take(table, row, axis=1)
    normal = columns[:3]
    part = owner[row]
    _bend_normals(solids, position, row, part, normal)
    u = _dot(columns[3:6], position) + columns[6]
    v = _dot(columns[7:10], position) + columns[10]
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
    toward = position - np.array(world.camera.position, np.float32)[:, None]
    facing = np.abs(_dot(normal, toward)) / depth
    footprint /= np.maximum(facing, np.float32(0.15))
    albedo, gloss, glow = _finish(materials, material, u, v, footprint, night)
    daylight = np.array([m.texture == "daylight" for m in materials])[material]
    level = (row == count * FACES) & ~sky
    if world.ground is not None:
        _paint_ground(world, position, level, footprint, albedo, semantic)
    grain = speckle(u, v)
    albedo *= np.float32(0.84) + np.float32(0.32) * grain
    semantic[sky] = SEMANTIC_CLASSES.index("sky")
    return Pixels(
        (height, width), position, normal, albedo, gloss, glow, depth, sky, daylight, level, semantic, instance
    )


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Scalar products of the columns of two (3, N) arrays."""
    product = a[0] * b[0]
    product += a[1] * b[1]
    product += a[2] * b[2]
    return product


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
    materials: list[Material], material: np.ndarray, u: np.ndarray, v: np.ndarray, footprint: np.ndarray, night: bool
) -> tuple:
    """Albedo (3, N), gloss (N,), and for the night glow (3, N) of every pixel."""
    scale = np.array([1 / m.scale for m in materials], np.float32)
    phase = np.array([m.phase for m in materials], np.float32)
    first = np.array([m.colour for m in materials], np.float32).T
    second = np.array([m.second for m in materials], np.float32).T
    albedo = np.take(first, material, axis=1)
    gloss = np.array([m.gloss for m in materials], np.float32)[material]
    glow = None
    if night:
        shine = np.array([[m.glow * c for c in m.glow_colour] for m in materials], np.float32).T
        glow = np.take(shine, material, axis=1)
    names = sorted({m.texture for m in materials} & set(PATTERNS))
    code = np.array([names.index(m.texture) if m.texture in names else -1 for m in materials], np.int8)[material]
    for number, name in enumerate(names):
        where = np.flatnonzero(code == number)
        if not len(where):
            continue
        mine = material[where]
        per_metre = scale[mine]
        pu, pv = u[where] * per_metre, v[where] * per_metre
        if name == "emblem":
            pv -= np.float32(3.5)  # the emblem sits in the middle of a sign's plate, which hangs about there
        else:
            pu += phase[mine]
        value = pattern_fade(name, PATTERNS[name](pu, pv), footprint[where] * per_metre)
        base = np.take(first, mine, axis=1)
        base += (np.take(second, mine, axis=1) - base) * value
        albedo[:, where] = base
        if name == "windows":
            gloss[where] = value * np.float32(0.8)
        if glow is not None and name == "windows":
            lit = cell_hash(np.floor(pu), np.floor(pv), mine)
            glow[:, where] *= value * np.maximum(lit - np.float32(0.62), 0) * np.float32(3.5)
        elif glow is not None and name in ("painting", "stripes"):
            glow[:, where] *= np.float32(0.25) + value
    return albedo, gloss, glow


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
    x, z = position[0, where], position[2, where]
    far = np.abs(x)
    road = far < ground.road
    zone = np.where(road, 0, np.where(far < ground.road + ground.walk, 1, 2))
    semantic[where] = np.array([SEMANTIC_CLASSES.index(n) for n in ("road", "sidewalk", "grass")], np.uint8)[zone]
    sheer = np.clip(1.5 - footprint[where] / np.float32(0.25), 0, 1)
    cut = z * np.float32(0.16)
    mark = (far < 0.07) & (cut - np.floor(cut) < 0.5)
    mark |= np.abs(far - np.float32(ground.road - 0.18)) < 0.05
    u = x - np.floor(x)
    if ground.crossing is not None:
        zebra = (z > ground.crossing) & (z < ground.crossing + 3) & (u < 0.5)
        mark = np.where(np.abs(z - np.float32(ground.crossing + 1.5)) < 1.8, zebra, mark)
    joint = ((u < 0.04) | (z - np.floor(z) < 0.04)) & (zone == 1)
    zone[mark & road] = 3
    zone[(far >= ground.road) & (far < ground.road + 0.16)] = 4
    #           road  sidewalk grass  mark  curb
    base = np.array([0.75, 0.30, 0.5, 0.55, 0.42], np.float32)[zone]
    rough = np.array([0.5, 0.12, 1.0, 0.0, 0.0], np.float32)[zone]
    tone = base + rough * noise(x * np.float32(1.5), z * np.float32(1.5), 1.0)
    tone *= 1 - np.float32(0.35) * joint * sheer
    tone *= np.where(zone == 3, np.float32(0.5) + np.float32(0.5) * sheer, np.float32(1))
    asphalt = 0.13 * ground.tint
    tints = np.array(
        [[asphalt, 1.0, 0.075, 1.0, 1.0], [asphalt, 0.97, 0.15, 1.0, 1.0], [asphalt * 1.03, 0.92, 0.035, 1.0, 1.0]],
        np.float32,
    )
    colour = np.take(tints, zone, axis=1)
    colour *= tone
    albedo[:, where] = colour

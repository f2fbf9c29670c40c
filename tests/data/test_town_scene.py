"""The renderer: exact geometry against an independent ray tracer, laws of projection and light, exact labels."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Callable
from random import Random

import numpy as np
import pytest

from visgen.data.town import KINDS, SEMANTIC_CLASSES, Scene, TownConfig, render
from visgen.data.town.camera import Camera
from visgen.data.town.config import IGNORED
from visgen.data.town.layout import World
from visgen.data.town.night import _shine
from visgen.data.town.parts import BALL, BLOCK, TUBE, Light, Parts, Solids
from visgen.data.town.raster import FACES, rasterise
from visgen.data.town.room import lay_out_room
from visgen.data.town.street import lay_out_street
from visgen.data.town.surface import resolve

SMALL = TownConfig(size=(96, 128), time="both")
GROUND = np.array([[0.0, 1.0, 0.0, 0.0]])


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """Six streets and six rooms, by day and by night, a third of them with something strange."""
    return [
        render(seed, TownConfig(size=(96, 128), time="both", preset=preset, ood_share=0.34, max_depth=65.5))
        for preset in ("street", "room")
        for seed in range(6)
    ]


def digest(scene: Scene) -> str:
    parts = [scene.images["day"], scene.images["night"], scene.semantic, scene.instance, scene.depth]
    text = repr((scene.objects, scene.relations, scene.caption("day"), scene.instructions()))
    return hashlib.sha256(b"".join(p.tobytes() for p in parts) + text.encode()).hexdigest()


def test_same_seed_gives_same_bytes_also_in_another_process() -> None:
    here = [digest(render(seed, SMALL)) for seed in (3, 4)]
    assert here == [digest(render(seed, SMALL)) for seed in (3, 4)]
    code = (
        "from test_town_scene import *\nfrom visgen.data.town import render\n"
        "print(*[digest(render(seed, SMALL)) for seed in (4, 3)])"
    )
    folder = __file__.rsplit("/", 1)[0]
    process = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = [{folder!r}, {sys.path[0]!r}, '.']\n{code}"],
        capture_output=True,
        text=True,
        env={"PYTHONHASHSEED": "77", "PATH": "", "OMP_NUM_THREADS": "1"},
        check=True,
    )
    assert process.stdout.split() == here[::-1]


def test_other_seeds_give_other_scenes() -> None:
    assert len({digest(render(seed, TownConfig(size=(48, 64), time="both"))) for seed in range(15)}) == 15


def test_day_and_night_share_every_label() -> None:
    for seed in range(4):
        day, night = (render(seed, TownConfig(size=(96, 128), time=t)) for t in ("day", "night"))
        both = render(seed, SMALL)
        for field in ("semantic", "instance", "depth"):
            assert np.array_equal(getattr(day, field), getattr(night, field)), field
        assert day.objects == night.objects == both.objects and day.relations == night.relations
        assert np.array_equal(both.images["day"], day.images["day"])
        assert np.array_equal(both.images["night"], night.images["night"])
        if day.preset == "street":
            assert night.images["night"].mean() < 0.7 * day.images["day"].mean()


def test_night_is_no_function_of_the_day_pixels() -> None:
    mixed = total = 0
    for seed in range(6):
        scene = render(seed, TownConfig(size=(96, 128), time="both", preset="street", degrade=False))
        day = (scene.images["day"] // 4).reshape(-1, 3).astype(np.int64) @ [1, 256, 65536]
        night = scene.images["night"].reshape(-1, 3).mean(axis=1)
        _, group, size = np.unique(day, return_inverse=True, return_counts=True)
        spread = np.array([np.ptp(night[group == g]) for g in np.flatnonzero(size >= 5)])
        mixed, total = mixed + int((spread > 40).sum()), total + len(spread)
    assert total > 500 and mixed > 0.2 * total, (mixed, total)


def test_boxes_bound_the_masks_and_masks_agree_with_semantics(scenes: list[Scene]) -> None:
    first = SEMANTIC_CLASSES.index(KINDS[0])
    for scene in scenes:
        masks = scene.masks()
        assert len(masks) == len(scene.labelled) > 0
        assert masks.sum(axis=0).max() <= 1
        for o, mask in zip(scene.labelled, masks, strict=True):
            rows, columns = np.nonzero(mask)
            assert o.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert o.area == len(rows) >= scene.config.min_pixels
            assert set(scene.semantic[mask]) == {first + o.label} and KINDS[o.label] == o.kind
            if (scene.depth[mask] > 0).all():
                assert o.depth == pytest.approx(float(np.median(scene.depth[mask])), rel=1e-4)
        surroundings = scene.instance < 0
        assert scene.semantic[surroundings].max() < first <= scene.semantic[~surroundings].min()


def test_out_of_distribution_flag_and_mask_are_exact() -> None:
    kinds = textures = 0
    for seed in range(24):
        scene = render(seed, TownConfig(size=(96, 128), ood_share=0.5))
        strange = [o for o in scene.objects if o.unseen]
        assert scene.ood == bool(strange) == bool(scene.ood_mask.any())
        for o in strange:
            pixels = scene.instance == o.instance
            assert np.array_equal(pixels, scene.ood_mask) and pixels.sum() == o.area
            if o.unseen == "kind":
                kinds += 1
                assert o.label == -1 and o.kind in scene.config.unseen_kinds
                assert np.array_equal(scene.semantic == IGNORED, pixels)
            else:
                textures += 1
                assert o.label >= 0 and o.texture in scene.config.unseen_textures
        if not strange:
            assert not (scene.semantic == IGNORED).any()
            assert all(o.texture not in scene.config.unseen_textures for o in scene.objects)
    assert kinds >= 3 and textures >= 3
    assert not any(render(seed, TownConfig(size=(48, 64))).ood for seed in range(10))


@pytest.mark.parametrize("lay_out", [lay_out_street, lay_out_room])
def test_ordinary_scenes_use_no_unseen_texture_and_no_held_out_kind(lay_out: Callable[..., World]) -> None:
    config = TownConfig(unseen_textures=("zigzag", "bricks", "checker"), unseen_kinds=("person", "chair", "rocket"))
    for seed in range(12):
        world = lay_out(config, Random(seed), None, None)
        assert not {m.texture for m in world.parts.materials} & set(config.unseen_textures)
        assert not {t.kind for t in world.things} & set(config.unseen_kinds)
    plain = lay_out(TownConfig(textures=False), Random(1), None, None)
    used = {m.texture for m in plain.parts.materials}
    assert not used & {"noise", "stripes", "bands", "checker", "bricks", "planks"}


def trace(camera: Camera, solids: Solids, row: int, column: int) -> tuple[float, int]:
    """Depth and primitive of the nearest hit of one pixel's ray, by the textbook: slabs and quadratics."""
    x = (column + 0.5 - camera.size[1] / 2) / camera.focal
    y = (row + 0.5 - camera.size[0] / 2) / camera.focal
    start, ray = np.array(camera.position), np.array([x, y, 1.0]) @ camera.rotation
    best, who = np.inf, -1
    for n in range(len(solids.shape)):
        if solids.shape[n] == BLOCK:
            enter, leave = 0.0, np.inf
            for normal, height in zip(solids.planes[n, :, :3], solids.planes[n, :, 3], strict=True):
                speed, gap = ray @ normal, height - start @ normal
                if abs(speed) < 1e-12:
                    leave = leave if gap >= 0 else -1.0
                elif speed < 0:
                    enter = max(enter, gap / speed)
                else:
                    leave = min(leave, gap / speed)
            hit = enter if 0 < enter <= leave else np.inf
        else:
            turn = np.linalg.inv(solids.basis[n])
            o, d = turn @ (start - solids.centre[n]), turn @ ray
            keep = np.array([1, solids.shape[n] == BALL, 1])
            a, b, c = (keep * d * d).sum(), (keep * o * d).sum(), (keep * o * o).sum() - 1
            times = [(-b - s * np.sqrt(b * b - a * c)) / a for s in (1, -1)] if b * b > a * c else []
            if solids.shape[n] == TUBE:
                times = [t for t in times if abs(o[1] + t * d[1]) <= 1]
                ends = [(e - o[1]) / d[1] for e in (-1, 1)]
                times += [t for t in ends if (o[0] + t * d[0]) ** 2 + (o[2] + t * d[2]) ** 2 <= 1]
            hit = min((t for t in times if t > 0), default=np.inf)
        if hit < best:
            best, who = hit, n
    return best, who


@pytest.mark.parametrize("lay_out", [lay_out_street, lay_out_room])
def test_every_pixel_shows_the_nearest_surface(lay_out: Callable[..., World]) -> None:
    right = total = 0
    for seed in range(3):
        world = lay_out(TownConfig(size=(96, 128)), Random(seed), None, None)
        solids = world.parts.solids()
        depths = world.camera.to_camera(solids.corners)[..., 2]
        drawn = (depths.min(axis=1) > 0.2) | ((solids.shape == BLOCK) & (depths.max(axis=1) > 0.2))
        near = Solids(np.array(world.parts.rows)[drawn])
        seen = rasterise(world.camera, near, world.planes, inside=world.ground is None)
        rng = Random(seed)
        for _ in range(60):
            row, column = rng.randrange(96), rng.randrange(128)
            depth, who = trace(world.camera, near, row, column)
            found = 1 / max(float(seen.inverse_depth[row, column]), 1e-9)
            if seen.surface[row, column] < 0:
                right += depth > found * (1 - 1e-4)  # a wall, the ground or the sky is nearer
            else:
                right += who == seen.surface[row, column] // FACES and abs(found - depth) < 1e-3 * depth
            total += 1
    assert right >= 0.99 * total, (right, total)  # a ray through an edge may go either way


def one_block(distance: float, tall: float = 1.0) -> np.ndarray:
    parts = Parts()
    parts.place(0.0, 0.5, distance + 0.5, 0.0, 1.0, 0, 11)
    parts.block((0, tall / 2, 0), (1.0, tall, 1.0), parts.material((0.5, 0.5, 0.5)))
    camera = Camera((240, 320), 300.0, (0.0, 1.0, 0.0))
    return rasterise(camera, parts.solids(), GROUND, inside=False).surface >= 0


def test_an_object_twice_as_far_is_half_as_tall() -> None:
    for distance in (3.0, 5.0, 10.0):
        near, far = one_block(distance).any(axis=1).sum(), one_block(2 * distance).any(axis=1).sum()
        assert near == pytest.approx(300 / distance, abs=1) and far == pytest.approx(near / 2, abs=1)


def test_ground_depth_follows_the_horizon_law() -> None:
    camera = Camera((200, 100), 120.0, (0.4, 1.5, 3.0))
    seen = rasterise(camera, Parts().solids(), GROUND, inside=False)
    for row in (120, 150, 199):
        assert 1 / seen.inverse_depth[row, 10] == pytest.approx(120 * 1.5 / (row + 0.5 - 100), rel=1e-5)
    assert (seen.surface[:100] == -9).all()


def test_the_nearer_of_two_objects_wins() -> None:
    parts = Parts()
    for instance, z in enumerate((6.0, 4.0)):
        parts.place(0.3 * instance, 0.0, z, 0.3, 1.0, instance, 11)
        parts.block((0, 0.5, 0), (1.0, 1.0, 1.0), parts.material((0.5, 0.5, 0.5)))
    camera = Camera((96, 128), 120.0, (0.0, 1.0, 0.0))
    together = rasterise(camera, parts.solids(), GROUND, inside=False)
    alone = [rasterise(camera, Solids(np.array([row])), GROUND, inside=False) for row in parts.rows]
    both = (alone[0].surface >= 0) & (alone[1].surface >= 0)
    assert both.sum() > 200
    assert (together.surface[both] // FACES == 1).all()
    assert np.array_equal(together.inverse_depth, np.maximum(alone[0].inverse_depth, alone[1].inverse_depth))


def test_a_lamp_falls_off_with_the_square_of_the_distance() -> None:
    world = lay_out_street(TownConfig(size=(96, 128)), Random(0), None, None)
    solids = Parts().solids()
    pixels = resolve(world, solids, rasterise(world.camera, solids, GROUND, inside=False))
    x, _, z = world.camera.position
    for height in (2.0, 4.0):
        irradiance = np.zeros_like(pixels.position)
        lamp = np.array([x, height, z + 8.0])
        _shine(world, pixels, Light(tuple(lamp), (40.0, 20.0, 10.0)), irradiance)
        toward = lamp[:, None] - pixels.position
        square = (toward**2).sum(axis=0)
        expected = 40 * height / square**1.5  # intensity * cosine / distance^2 on level ground
        near = pixels.level & (square < 60)
        assert near.sum() > 300
        assert irradiance[0, near] == pytest.approx(expected[near], rel=0.02)
        assert irradiance[1] * 2 == pytest.approx(irradiance[0])


def test_depth_ranges_are_those_of_streets_and_rooms(scenes: list[Scene]) -> None:
    sky = SEMANTIC_CLASSES.index("sky")
    for scene in scenes:
        valid = scene.depth[scene.depth > 0]
        if scene.preset == "room":
            assert (scene.depth > 0).all() and valid.max() < 11 and 0.8 < np.median(valid) < 7
        else:
            assert (scene.depth[scene.semantic == sky] == 0).all() and valid.max() <= 65.5
            assert np.percentile(valid, 5) > 1.5 and np.percentile(valid, 95) > 12
    short = render(1, TownConfig(size=(96, 128), preset="street", max_depth=20.0))
    full = render(1, TownConfig(size=(96, 128), preset="street"))
    assert np.array_equal(short.depth, np.where(full.depth > 20, 0, full.depth)) and (full.depth > 20).any()


@pytest.mark.parametrize("preset", ["street", "room"])
def test_a_scene_takes_well_under_a_tenth_of_a_second(preset: str) -> None:
    config = TownConfig(preset=preset, time="night")
    render(0, config)
    start = time.process_time()
    for seed in range(12):
        render(seed, config)
    assert (time.process_time() - start) / 12 < 0.1

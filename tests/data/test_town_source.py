"""Town scenes as samples, as a data format, as files, and as a contact sheet; and what the configuration refuses."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visgen.data import build_source
from visgen.data.source import Source
from visgen.data.town import (
    KINDS,
    SEMANTIC_CLASSES,
    TownConfig,
    TownSource,
    contact_sheet,
    instruct_scenes,
    night_town,
    render,
    toy_vg,
    write_dataset,
)
from visgen.data.town import write as write_module
from visgen.errors import ConfigError, DataError, UnknownName
from visgen.structures import rle_to_mask

SMALL = TownConfig(size=(64, 96))


def test_a_sample_carries_the_scene() -> None:
    source = TownSource(10, TownConfig(size=(64, 96), ood_share=1.0))
    assert isinstance(source, Source) and len(source) == 10
    sample, scene = source[3], render(source.scene_seed(3), source.config)
    assert np.array_equal(sample.pixels.permute(1, 2, 0).numpy(), scene.images["day"])
    boxes, masks = sample.targets["detection"], sample.targets["masks"]
    assert boxes.xyxy.tolist() == [list(map(float, o.box)) for o in scene.labelled]
    assert boxes.labels.tolist() == masks.labels.tolist() == [o.label for o in scene.labelled]
    assert np.array_equal(masks.masks.numpy(), scene.masks())
    assert np.array_equal(sample.targets["segmentation"].ids.numpy(), scene.semantic)
    assert np.array_equal(sample.targets["depth"].metres.numpy(), scene.depth)
    assert sample.targets["classification"].label == max(scene.labelled, key=lambda o: o.area).label
    meta = json.loads(json.dumps(sample.meta))
    assert meta["ood"] is True and meta["scene"] == scene.preset and meta["time"] == "day"
    assert [o["kind"] for o in meta["objects"]] == [o.kind for o in scene.labelled]
    assert np.array_equal(np.asarray(rle_to_mask(meta["ood_mask"])), scene.ood_mask)
    assert [tuple(r) for r in meta["relations"]] == scene.relations


def test_heads_and_classes_follow_the_tasks() -> None:
    source = TownSource(2, SMALL, tasks=("segmentation", "depth"))
    assert source.heads == {"segmentation": "segmentation.town", "depth": "depth"}
    assert source.classes == {"segmentation": SEMANTIC_CLASSES, "depth": ()}
    assert set(source[0].targets) == {"segmentation", "depth"}
    assert TownSource(2, SMALL).classes["detection"] == KINDS


def test_a_source_survives_pickling_and_repeats() -> None:
    source = TownSource(5, SMALL, seed=2)
    again = pickle.loads(pickle.dumps(source))
    first, second = source[4], again[4]
    assert (first.pixels == second.pixels).all() and first.meta == second.meta
    with pytest.raises(IndexError, match="index 5 is outside source 'town.mixed' of 5"):
        source[5]


def test_splits_and_seeds_share_no_scene() -> None:
    seeds = [
        TownSource(10**7, SMALL, seed=seed, split=split).scene_seed(i)
        for split in ("train", "val", "test")
        for seed in (0, 1, 99)
        for i in (0, 10**7 - 1)
    ]
    assert len(set(seeds)) == len(seeds)


def test_time_both_lists_each_scene_by_day_and_by_night() -> None:
    source = TownSource(4, TownConfig(size=(64, 96), time="both"))
    day, night, other = source[0], source[1], source[2]
    assert (day.meta["time"], night.meta["time"]) == ("day", "night") and day.meta["seed"] == night.meta["seed"]
    assert other.meta["seed"] == day.meta["seed"] + 1
    assert (day.targets["segmentation"].ids == night.targets["segmentation"].ids).all()
    assert not (day.pixels == night.pixels).all()


def test_the_format_town_reads_its_options() -> None:
    source = build_source("town:street?night=1&count=7&size=64x96&objects=2,4&seed=3", split="val", tasks=("depth",))
    assert isinstance(source, TownSource)
    assert (len(source), source.seed, source.split, source.tasks) == (7, 3, "val", ("depth",))
    assert source.config == TownConfig(size=(64, 96), preset="street", time="night", objects=(2, 4))
    assert source[0].meta["scene"] == "street" and source[0].meta["time"] == "night"
    named = build_source("town:toy_vg?composition=heldout&relation_share=0.5&size=64x64")
    assert named.config == toy_vg("heldout", relation_share=0.5, size=(64, 64))  # type: ignore[attr-defined]
    held = build_source("town:room?holdout_triplets=person/holding/ball,box/on/table&composition=seen&textures=0")
    assert held.config.holdout_triplets == (("person", "holding", "ball"), ("box", "on", "table"))  # type: ignore[attr-defined]
    assert held.config.textures is False  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("town:stret", UnknownName, "preset 'stret' is not known; did you mean 'street'"),
        ("town:room?obects=1,2", ConfigError, "town option 'obects' is not known; did you mean 'objects'"),
        ("town:room?count=many", ConfigError, "town option count is 'many'; give a number"),
        ("town:room?night=perhaps", ConfigError, "town option night is 'perhaps'"),
        ("town:room?textures=2", ConfigError, "town option textures is '2'"),
        ("town:room?tasks=depht", UnknownName, "task 'depht' has no town labels; did you mean 'depth'"),
        ("town:room?count=0", ConfigError, "length is 0"),
        ("town:room?seed=100", ConfigError, "seed is 100; use 0 to 99"),
    ],
)
def test_the_format_town_names_what_is_wrong(spec: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message.replace("?", r"\?")):
        build_source(spec)


def test_values_of_another_kind_are_named() -> None:
    assert build_source("town:street", textures=0, favour={"car": 2.0}).config.favour == (("car", 2.0),)  # type: ignore[attr-defined]
    for key, value in {"unseen_kinds": True, "max_depth": None, "tasks": 1, "count": float("inf")}.items():
        with pytest.raises(ConfigError, match=f"town option {key} is {value}"):
            build_source("town:street", **{key: value})


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"size": (31, 64)}, ConfigError, r"size is \(31, 64\)"),
        ({"size": 64}, ConfigError, "size is 64; give two whole numbers"),
        ({"size": (64.5, 64)}, ConfigError, r"size is \(64.5, 64\); give two whole numbers"),
        ({"objects": (5, 2)}, ConfigError, r"objects is \(5, 2\)"),
        ({"links": (-1, 2)}, ConfigError, r"links is \(-1, 2\)"),
        ({"focal": (0.1, 1.0)}, ConfigError, r"focal is \(0.1, 1.0\)"),
        ({"max_depth": 80.0}, ConfigError, "max_depth is 80.0; use 1 to 65.535"),
        ({"min_pixels": 0}, ConfigError, "min_pixels is 0"),
        ({"ood_share": 1.5}, ConfigError, "ood_share is 1.5"),
        ({"relation_share": float("nan")}, ConfigError, "relation_share is nan"),
        ({"time": "dusk"}, UnknownName, "time 'dusk' is not known"),
        ({"unseen_kinds": ("cra",)}, UnknownName, "unseen kind 'cra' is not known; did you mean 'car'"),
        ({"absent_kinds": ("rocket",)}, UnknownName, "absent kind 'rocket'"),
        ({"unseen_textures": ("plain",)}, ConfigError, "unseen_textures holds 'plain'"),
        ({"ood_share": 0.1, "unseen_kinds": (), "unseen_textures": ()}, ConfigError, "ood_share is 0.1 but no kind"),
        ({"holdout_triplets": (("car", "on"),)}, ConfigError, "has 2 parts"),
        ({"holdout_triplets": (("car", "eats", "box"),)}, UnknownName, "predicate 'eats'"),
        ({"favour": {"rocket": 2.0}}, UnknownName, "favoured kind 'rocket'"),
        ({"favour": (("car", 0),)}, ConfigError, r"favour holds \('car', 0\)"),
        ({"distance": (5.0, 5.0)}, ConfigError, r"distance is \(5.0, 5.0\)"),
        ({"composition": "heldout"}, ConfigError, "composition is 'heldout' but holdout_triplets is empty"),
    ],
)
def test_the_configuration_names_what_is_wrong(fields: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        TownConfig(**fields)


def test_a_favoured_kind_is_drawn_oftener_and_a_factor_of_one_changes_nothing() -> None:
    def kinds(preset: str, **changes: object) -> list[str]:
        source = TownSource(25, TownConfig(size=(64, 96), preset=preset, min_pixels=1, **changes), tasks=("depth",))  # type: ignore[arg-type]
        return [o["kind"] for sample in source for o in sample.meta["objects"]]

    usual = kinds("street")
    assert kinds("street", favour={"dog": 1.0}, distance=(3, 42)) == usual
    assert kinds("street", favour={"dog": 20.0}).count("dog") > 3 * usual.count("dog") > 0
    assert kinds("street", favour={"car": 0.01}).count("car") < usual.count("car") / 3
    assert kinds("room", favour={"bottle": 20.0}).count("bottle") > 1.5 * kinds("room").count("bottle")
    assert build_source("town:street?favour=dog:20,car:0.5").config.favour == (("dog", 20.0), ("car", 0.5))


def test_distance_moves_street_objects() -> None:
    def depths(distance: tuple[float, float]) -> list[float]:
        config = TownConfig(size=(64, 96), preset="street", links=(0, 0), min_pixels=1, distance=distance)
        source = TownSource(12, config, tasks=("depth",))
        found = [o for sample in source for o in sample.meta["objects"] if o["kind"] in ("car", "person", "dog")]
        return [o["depth"] for o in found]

    near, far = depths((3, 8)), depths((15, 42))
    assert sum(near) / len(near) < 12 < 16 < sum(far) / len(far)


def test_presets_are_what_they_say() -> None:
    assert night_town(time="night").preset == "street" and toy_vg().relation_share == 0.1
    hidden = set(instruct_scenes().absent_kinds)
    assert hidden == {"truck", "bench", "sofa", "plant"} and not instruct_scenes(heldout_kinds=True).absent_kinds
    for seed in range(12):
        assert not {o.kind for o in render(seed, instruct_scenes(size=(64, 64))).objects} & hidden


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TownSource]:
    config = TownConfig(size=(64, 96), time="both", ood_share=0.5, holdout_triplets=(("bottle", "on", "table"),))
    steps: list[int] = []
    out = write_dataset(config, 4, tmp_path_factory.mktemp("made") / "town", seed=5, split="val", progress=steps.append)
    assert steps == [1, 2, 3, 4]
    return out, TownSource(8, config, 5, split="val")


def test_written_files_read_back_as_the_source(written: tuple[Path, TownSource]) -> None:
    out, source = written
    coco = build_source(f"coco:{out}", split="val", targets=("detection", "masks", "segmentation"))
    semantic = build_source(f"semantic:{out}", split="val")
    depth = build_source(f"depth:{out}", split="depth_val")
    assert len(coco) == len(semantic) == len(depth) == 8
    assert coco.classes["detection"] == KINDS and semantic.classes["segmentation"] == SEMANTIC_CLASSES
    for i in range(8):
        made, read = source[i], coco[i]
        assert (made.pixels == read.pixels).all()
        assert read.targets["detection"].xyxy.tolist() == made.targets["detection"].xyxy.tolist()
        assert read.targets["detection"].labels.tolist() == made.targets["detection"].labels.tolist()
        assert (read.targets["masks"].masks == made.targets["masks"].masks).all()
        assert (semantic[i].targets["segmentation"].ids == made.targets["segmentation"].ids).all()
        assert np.abs(depth[i].targets["depth"].metres - made.targets["depth"].metres).max() <= 5.1e-4


def test_written_scene_graphs_and_sidecar(written: tuple[Path, TownSource]) -> None:
    out, source = written
    graphs = json.loads((out / "scene_graph" / "val.json").read_text())
    assert graphs["objects"] == list(KINDS) and graphs["zero_shot_triplets"] == [["bottle", "on", "table"]]
    metas = [json.loads(line) for line in (out / "meta.jsonl").read_text().splitlines()]
    for i, image in enumerate(graphs["images"]):
        sample = source[i]
        assert metas[i] == json.loads(json.dumps(sample.meta))
        assert (out / "scene_graph" / image["file"]).resolve().is_file()
        rows = [[r["subject_id"], r["predicate"], r["object_id"]] for r in image["relations"]]
        assert rows == metas[i]["relations"]
        for o, box in zip(image["objects"], sample.targets["detection"].xyxy.tolist(), strict=True):
            x, y, w, h = o["bbox"]
            assert [x, y, x + w, y + h] == box and o["category"] == metas[i]["objects"][o["id"]]["kind"]
    record = json.loads((out / "town.json").read_text())
    assert (record["seed"], record["split"], record["count"], record["images"]) == (5, "val", 4, 8)
    assert TownConfig(**record["config"]) == source.config


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = write_module.render

    def fails_late(seed: int, config: TownConfig) -> object:
        if seed % 10 == 2:
            raise OSError("disk full")
        return real(seed, config)

    monkeypatch.setattr(write_module, "render", fails_late)
    with pytest.raises(OSError, match="disk full"):
        write_dataset(SMALL, 5, tmp_path / "town")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "there").mkdir()
    with pytest.raises(DataError, match="there exists; write_dataset makes a new one"):
        write_dataset(SMALL, 1, tmp_path / "there")


def test_contact_sheet_shows_five_views_of_each_scene(tmp_path: Path) -> None:
    path = contact_sheet([render(seed, SMALL) for seed in range(2)], tmp_path / "sheet.png", scale=2)
    with Image.open(path) as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape == (2 * 2 * 64, 2 * 5 * 96, 3)
    assert np.array_equal(pixels[: 2 * 64 : 2, : 2 * 96 : 2], render(0, SMALL).images["day"])
    tiles = [pixels[:128, i * 192 : (i + 1) * 192].astype(float).mean() for i in range(5)]
    assert len(set(tiles)) == 5

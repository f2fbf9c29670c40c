"""Folds without a common camera, draws of stored maps, and what each arm shows under which name."""

from __future__ import annotations

import json
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from visgen.backbones import BACKBONES
from visgen.config import load_run
from visgen.data import build_source
from visgen.engine.night import ARMS, PlacesStudy, folds_of
from visgen.errors import ConfigError, DataError
from visgen.gan.night import NightGenerator
from visgen.shipped import shipped_path

NAMES = ("arch", "bridge", "canal", "dome", "east", "fog")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("night")
    places: dict[str, dict[str, list[str]]] = {}
    for number, name in enumerate(NAMES):
        for time in ("day", "night"):
            (base / time).mkdir(exist_ok=True)
            for i in range(0 if (name, time) == ("fog", "day") else 2):
                pixels = np.random.default_rng(number).integers(0, 256, (8, 12, 3)) // (4 if time == "night" else 1)
                noise = np.random.default_rng(100 * number + i).integers(0, 20, (8, 12, 3))
                picture = Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8)).resize((48, 40))
                picture.save(base / time / f"{name}_{i}.png")
                places.setdefault(name, {}).setdefault(time, []).append(f"{time}/{name}_{i}.png")
    (base / "pairs.json").write_text(json.dumps({"places": places}), encoding="utf-8")
    return base


@pytest.fixture(scope="module")
def study(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> PlacesStudy:
    words = ["train.steps=2", "optim.warmup_steps=0", "data.train.places.batch_size=6", "model.options.weights=null"]
    config = load_run(shipped_path("configs/night/places.yaml"), words, ".")
    torch.manual_seed(0)
    backbone = BACKBONES.get("timm")(model="test_resnet").eval()
    generators = {name: NightGenerator(nn.Identity()) for name in ("edges", "free")}
    both = [p for fold in folds_of(build_source(f"places:{folder}", "all")) for p in fold]
    source = build_source(f"places:{folder}", "all", places=both)
    return PlacesStudy(
        config, backbone, source, ["bridge", "dome"], generators, (32, 48), tmp_path_factory.mktemp("places")
    )


@pytest.mark.parametrize("name", ["A3", "A4"])
def test_an_arm_of_streets_alone_is_refused(study: PlacesStudy, name: str) -> None:
    with pytest.raises(ConfigError, match=f"arm '{name}' is of the street experiment alone"):
        study.run(name, ARMS[name], 0)


def test_folds_take_every_second_place_with_both_times(folder: Path) -> None:
    source = build_source(f"places:{folder}", "all")
    assert folds_of(source) == [["arch", "canal", "east"], ["bridge", "dome"]]
    few = build_source(f"places:{folder}", "all", places=["arch", "dome", "fog"])
    with pytest.raises(DataError, match="2 places have pictures by day and by night"):
        folds_of(few)


def test_no_tested_place_is_trained_on(study: PlacesStudy) -> None:
    trained = {study.labels[i].place for i in (*study.day, *study.night)}
    assert trained == {"arch", "canal", "east"} and {study.labels[i].place for i in study.test} == {"bridge", "dome"}
    for arm in ARMS.values():
        draws = study._draws(arm, 0)
        assert {t.place for t in draws.batches(0)[0].targets["retrieval"]} <= trained


def test_draws_are_a_function_of_seed_and_step(study: PlacesStudy) -> None:
    draws = study._draws(ARMS["A5"], 3)
    first, again = draws.batches(5)[0], study._draws(ARMS["A5"], 3).batches(5)[0]
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, draws.batches(6)[0].images)
    places = [t.place for t in first.targets["retrieval"]]
    assert places == ["arch", "canal", "east"] * 2


def test_wrong_and_real_nights_bear_their_names(study: PlacesStudy) -> None:
    wrong, right = study._draws(ARMS["A8"], 0), study._draws(ARMS["A5"], 0)
    assert [t.place for t in right.night_labels][::2] == ["arch", "canal", "east"]
    assert [t.place for t in wrong.night_labels][::2] == ["canal", "east", "arch"]
    real = study._draws(ARMS["A9"], 0)
    assert {t.time for t in real.night_labels} == {"night"}
    for row, label in enumerate(real.labels):
        assert {real.night_labels[n].place for n in real.of[row]} == {label.place}


def test_a_trained_head_is_measured_on_the_tested_places(study: PlacesStudy) -> None:
    vectors = study.read(study.run("A0", ARMS["A0"], 0))
    found = study.by_place(vectors)
    assert set(found["night"]) == set(found["day"]) == {"bridge", "dome"}
    assert all(0 <= value <= 1 for row in found.values() for value in row.values())
    # with the descriptors of a perfect head every query finds its place
    places = [study.labels[i].place for i in study.test]
    perfect = torch.eye(2)[[["bridge", "dome"].index(p) for p in places]]
    assert study.by_place(perfect)["night"] == {"bridge": 1.0, "dome": 1.0}


def test_other_photographs_are_places_of_their_own(study: PlacesStudy, tmp_path: Path) -> None:
    fields = {f: getattr(study, f) for f in ("config", "backbone", "tested", "generators", "size")}
    others = build_source(f"imagefolder:{_folder_of_pictures(tmp_path / 'pictures')}", "train")
    more = PlacesStudy(**fields, source=study.source, out=tmp_path, others=others)
    draws = more._draws(ARMS["A9"], 0)
    labels = [t.place for t in draws.batches(0)[0].targets["retrieval"]]
    assert labels[:4] == ["arch", "canal", "east", "arch"]  # six pictures: four of places, one pair of another
    assert labels[4] == labels[5] and labels[4].startswith("other/")
    single = [n for n, label in enumerate(draws.labels) if label.place.startswith("other/")]
    assert len(single) == 3 and all(draws.of[n] == [] for n in single)  # nobody has photographed them by night
    assert all(more._draws(ARMS["A5"], 0).of[n] == [n] for n in single)
    wrong = more._draws(ARMS["A8"], 0)
    assert all(a.place != b.place for a, b in zip(wrong.labels, wrong.night_labels, strict=True))
    assert more.test == study.test
    cuts = more._maps("jitter")[more._cut_from]
    assert not torch.equal(cuts[0], cuts[1])


def _folder_of_pictures(base: Path) -> Path:
    place = base / "train" / "any"
    place.mkdir(parents=True)
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{i}.png")
    return base


def test_descriptors_of_other_settings_are_refused(study: PlacesStudy) -> None:
    first = study.read(study.run("A0", ARMS["A0"], 0))
    assert torch.equal(study.read(study.run("A0", ARMS["A0"], 0)), first)
    longer = copy(study)
    longer.config = replace(study.config, train=replace(study.config.train, steps=3))
    with pytest.raises(ConfigError, match=r"A0-0/descriptors\.safetensors is of other .*: steps was 2 and is 3; use"):
        longer.run("A0", ARMS["A0"], 0)
    longer.config = replace(study.config, optim=replace(study.config.optim, lr=0.5))
    with pytest.raises(ConfigError, match="optim was .*lr=0.5"):
        longer.run("A0", ARMS["A0"], 0)

"""`visgen data list`, `check` and `make`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from visgen.data import FORMATS, build_source
from visgen.data.catalogue import list_datasets
from visgen.gan.architecture.translator import ResNetTranslator
from visgen.gan.night import save_night


def test_formats_and_cards_are_listed(visgen: Callable[..., Any], visgen_json: Callable[..., Any]) -> None:
    listed = visgen_json("data", "list")
    assert listed["formats"] == list(FORMATS)
    cards = list_datasets()
    assert list(listed["data"]) == [card.name for card in cards]
    shown = visgen("data", "list").stdout
    for card in cards:
        assert card.name in shown
        assert listed["data"][card.name]["counts"] == dict(card.counts)
        assert visgen("data", "list", card.name).stdout.strip() == card.text.strip()
    wrong = visgen("data", "list", "no-such-set")
    assert wrong.exit_code == 2
    assert "no-such-set" in wrong.stderr


def test_a_sound_data_set_passes(visgen: Callable[..., Any], visgen_json: Callable[..., Any], datasets: Path) -> None:
    spec = f"semantic:{datasets / 'street'}"
    report = visgen_json("data", "check", spec)
    assert report["ok"] is True
    assert {split: numbers["samples"] for split, numbers in report["splits"].items()} == {"train": 4, "val": 4}
    assert report["splits"]["val"]["histogram"]["segmentation"] == {"sky": 0.5, "road": 0.5}
    one = visgen_json("data", "check", spec, "--split", "val", "--limit", 2)
    assert {split: numbers["samples"] for split, numbers in one["splits"].items()} == {"val": 2}
    assert spec in visgen("data", "check", spec).stdout


def test_a_broken_data_set_fails_with_exit_code_1(
    visgen: Callable[..., Any], visgen_json: Callable[..., Any], datasets: Path, tmp_path: Path
) -> None:
    import shutil

    broken = tmp_path / "street"
    shutil.copytree(datasets / "street", broken)
    torn = broken / "images" / "val2.png"
    torn.write_bytes(torn.read_bytes()[:100])
    shutil.copy(broken / "images" / "train0.png", broken / "images" / "val0.png")
    report = visgen_json("data", "check", f"semantic:{broken}", code=1)
    kinds = {finding["kind"]: finding for finding in report["findings"] if finding["level"] == "error"}
    assert "val2" in str(kinds["unreadable"]["examples"])
    assert kinds["same image in both splits"]["count"] == 1
    assert visgen("data", "check", f"semantic:{broken}").exit_code == 1


def test_options_reach_the_reader(visgen: Callable[..., Any], visgen_json: Callable[..., Any], datasets: Path) -> None:
    spec = f"depth:{datasets / 'garden'}"
    report = visgen_json("data", "check", spec, "--option", "scale=500")
    assert report["splits"]["val"]["depth"]["max"] == pytest.approx(8, rel=0.01)
    wrong = visgen("data", "check", spec, "--option", "scael=500")
    assert wrong.exit_code == 2
    assert "scael" in wrong.stderr
    assert visgen("data", "check", "depht:x").exit_code == 2
    assert build_source(spec, "val").heads == {"depth": "depth"}


def test_scenes_are_made_and_open_in_three_layouts(
    visgen: Callable[..., Any], visgen_json: Callable[..., Any], tmp_path: Path
) -> None:
    out = tmp_path / "town"
    words = ("data", "make", "town:street?size=64x96", out, "--count", 2, "--split", "val", "--seed", 3)
    made = visgen_json(*words)
    assert (made["scenes"], made["split"]) == (2, "val")
    direct = build_source("town:street?size=64x96", "val", count=2, seed=3)
    for spec, split, task in (
        ("coco", "val", "detection"),
        ("semantic", "val", "segmentation"),
        ("depth", "depth_val", "depth"),
    ):
        source = build_source(f"{spec}:{out}", split)
        assert len(source) == 2
        for i in range(2):
            assert torch.equal(source[i].image, direct[i].image)
            assert task in source[i].targets
    assert torch.equal(
        build_source(f"semantic:{out}", "val")[1].targets["segmentation"].ids, direct[1].targets["segmentation"].ids
    )
    assert len(build_source(made["opens_as"][3], "val")) == 2  # the scene graphs
    again = visgen(*words)
    assert again.exit_code == 2
    assert "exists" in again.stderr


def test_count_and_seed_of_the_address_count_where_no_option_gives_them(
    visgen_json: Callable[..., Any], tmp_path: Path
) -> None:
    spec = "town:street?size=64x96&count=2&seed=7"
    made = visgen_json("data", "make", spec, tmp_path / "a")
    assert (made["scenes"], made["seed"]) == (2, 7)
    written, direct = build_source(f"coco:{tmp_path / 'a'}"), build_source(spec)
    assert len(written) == 2 and all(torch.equal(written[i].image, direct[i].image) for i in range(2))
    made = visgen_json("data", "make", spec, tmp_path / "b", "--count", 1, "--seed", 0)
    assert (made["scenes"], made["seed"]) == (1, 0)
    made = visgen_json("data", "make", f"{spec}&time=both", tmp_path / "c")  # two pictures of one scene
    assert made["scenes"] == 1 and len(build_source(f"coco:{tmp_path / 'c'}")) == 2


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("coco:x", "write town:PRESET for scenes or night:GENERATOR"),
        ("town:stret", "did you mean 'street'"),
        ("town:street?sice=1", "sice"),
    ],
)
def test_only_known_scenes_are_made(visgen: Callable[..., Any], tmp_path: Path, spec: str, message: str) -> None:
    result = visgen("data", "make", spec, tmp_path / "out")
    assert result.exit_code == 2
    assert message in result.stderr
    assert not list(tmp_path.iterdir())


def test_pictures_are_turned_to_night(
    visgen: Callable[..., Any], visgen_json: Callable[..., Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    options = {"name": "resnet", "channels": 4, "blocks": 0}
    save_night(tmp_path / "gan", ResNetTranslator(channels=4, blocks=0), options, 32)
    (tmp_path / "day").mkdir()
    Image.new("RGB", (40, 30), (200, 210, 220)).save(tmp_path / "day" / "a.png")
    words = ("data", "make", f"night:{tmp_path / 'gan'}", tmp_path / "out")
    refused = visgen(*words)
    assert refused.exit_code == 2 and "name their folder with --from" in refused.stderr
    refused = visgen(*words, "--from", tmp_path / "day", "--seed", 9)
    assert refused.exit_code == 2 and "--seed and --split are for town:PRESET" in refused.stderr
    assert visgen_json(*words, "--from", tmp_path / "day")["pictures"] == 1
    with Image.open(tmp_path / "out" / "night" / "a.png") as night:
        assert night.size == (40, 30)

"""Places and times of a photograph come from pairs.json; lists and names choose among them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visgen.data import build_source
from visgen.errors import ConfigError, DataError, UnknownName


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    places: dict[str, dict[str, list[str]]] = {}
    for i, (place, time) in enumerate([("square", "day"), ("square", "night"), ("bridge", "day"), ("bridge", "night")]):
        (tmp_path / time).mkdir(exist_ok=True)
        file = f"{time}/{place}_{i}.png"
        Image.fromarray(np.full((40, 48, 3), 50 * i, dtype=np.uint8)).save(tmp_path / file)
        places.setdefault(place, {})[time] = [file]
    places["tower"] = {"night": ["night/square_1.png"]}
    (tmp_path / "pairs.json").write_text(json.dumps({"places": places}), encoding="utf-8")
    (tmp_path / "val_day.txt").write_text("bridge_2.png\n", encoding="utf-8")
    (tmp_path / "val_night.txt").write_text("night/bridge_3.png\n", encoding="utf-8")
    return tmp_path


def shown(source) -> list[tuple[str, str]]:  # type: ignore[no-untyped-def]
    return [(s.targets["retrieval"].place, s.targets["retrieval"].time) for s in source]


def test_every_picture_knows_its_place_and_time(folder: Path) -> None:
    source = build_source(f"places:{folder}", "all")
    found = [source[i] for i in range(len(source))]
    assert [(s.meta["place"], s.meta["time"]) for s in found][:3] == [
        ("square", "day"),
        ("square", "night"),
        ("bridge", "day"),
    ]
    assert found[1].targets["retrieval"].name == "square (night)" and int(found[1].pixels[0, 0, 0]) == 50
    assert source.heads == {"retrieval": "retrieval"} and source.classes == {"retrieval": ()}


def test_lists_places_and_times_choose(folder: Path) -> None:
    assert shown(build_source(f"places:{folder}", "val")[i] for i in range(2)) == [
        ("bridge", "day"),
        ("bridge", "night"),
    ]
    chosen = build_source(f"places:{folder}", "all", places=["square"], times=["night"])
    assert shown([chosen[0]]) == [("square", "night")] and len(chosen) == 1
    written = build_source(f"places:{folder}?places=square,bridge&times=night", "all")
    assert shown(written[i] for i in range(len(written))) == [("square", "night"), ("bridge", "night")]


def test_what_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(UnknownName, match=r"places has 'sqare'.*did you mean 'square'"):
        build_source(f"places:{folder}", "all", places=["sqare"])
    with pytest.raises(UnknownName, match=r"times has 'dusk'.*day, night"):
        build_source(f"places:{folder}", "all", times=["dusk"])
    with pytest.raises(ConfigError, match="places is empty"):
        build_source(f"places:{folder}", "all", places=[])
    with pytest.raises(DataError, match="no split 'test_day'"):
        build_source(f"places:{folder}", "test")
    with pytest.raises(ConfigError, match="option 'time' behind the folder"):
        build_source(f"places:{folder}?time=day", "all")
    with pytest.raises(DataError, match="no picture in split 'val'"):
        build_source(f"places:{folder}", "val", places=["square"])
    (folder / "night" / "square_1.png").unlink()
    with pytest.raises(DataError, match="which is missing"):
        build_source(f"places:{folder}", "all")
    (folder / "pairs.json").write_text("[]", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read as"):
        build_source(f"places:{folder}", "all")


def test_the_night_set(data_root: Path) -> None:
    if not (data_root / "night" / "pairs.json").is_file():
        pytest.skip(f"no night set under {data_root}")
    source = build_source(f"places:{data_root}/night", "val")
    assert len(source) == 27 and {p for _, p, _ in source.rows} == {"campus_road", "castle_town"}

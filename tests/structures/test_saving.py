"""Saving: every file readable, none torn, none of another source replaced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from visgen.errors import DataError
from visgen.structures import Boxes, Classification, DepthMap, OODVerdict, Result, SceneGraph, SemanticMap
from visgen.structures.saving import stem_of

SIZE = (30, 40)
NAMES = ("cat", "dog", "tree")


def make(source: str | None = "holiday/dog.jpg", **changes: Any) -> Result:
    fields: dict[str, Any] = {
        "segmentation": {"streets": SemanticMap(torch.arange(1200).reshape(SIZE) // 500, NAMES)},
        "depth": DepthMap(torch.full(SIZE, 2.5)),
        "size": SIZE,
        "image": np.full((*SIZE, 3), 99, dtype=np.uint8),
    }
    return Result(source=source, **{**fields, **changes})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_and_what_they_hold(tmp_path: Path) -> None:
    result = make(
        classification=Classification(torch.tensor([0.25, 0.5, 0.25]), NAMES),
        detection=Boxes(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), SIZE, NAMES),
    )
    paths = result.save(tmp_path / "new" / "out")
    assert [p.name for p in paths] == [
        "dog-overview.png",
        "dog-classification.png",
        "dog-detection.png",
        "dog-segmentation-streets.png",
        "dog-segmentation-streets-ids.png",
        "dog-depth.png",
        "dog-depth-mm.png",
        "dog-result.json",
    ]
    assert names(tmp_path / "new" / "out") == sorted(p.name for p in paths)  # no temporary file stays
    by_name = {p.name: p for p in paths}
    ids = np.array(Image.open(by_name["dog-segmentation-streets-ids.png"]))
    assert np.array_equal(ids, result.segmentation["streets"].ids.numpy())
    assert torch.equal(DepthMap.load_png(by_name["dog-depth-mm.png"]).metres, result.depth.metres)
    assert Result.from_json(by_name["dog-result.json"].read_bytes()).to_dict() == result.to_dict()
    assert json.loads(by_name["dog-result.json"].read_bytes())["saved"]["files"] == [p.name for p in paths[:-1]]


def test_six_tasks_have_a_picture_each(tmp_path: Path) -> None:
    boxes = Boxes(torch.tensor([[1.0, 2, 30, 20], [5, 5, 9, 9]]), torch.tensor([1, 0]), SIZE, NAMES)
    result = make(
        classification=Classification(torch.tensor([0.25, 0.5, 0.25]), NAMES),
        detection=boxes,
        ood=OODVerdict(0.5, 1.0, 0.95, "energy"),
        scene_graph=SceneGraph(boxes, torch.tensor([[0, 1, 0]]), ("on",)),
    )
    paths = {p.name: p for p in result.save(tmp_path)}
    tasks = ("classification", "detection", "segmentation-streets", "depth", "ood", "scene_graph", "overview")
    for task in tasks:
        with Image.open(paths[f"dog-{task}.png"]) as picture:
            assert picture.mode == "RGB" and picture.width >= 512
    assert Result.from_json(paths["dog-result.json"].read_bytes()).to_dict() == result.to_dict()


def test_depth_that_png_cannot_hold_goes_to_npz(tmp_path: Path) -> None:
    far = DepthMap(torch.full(SIZE, 80.0))
    paths = {p.name: p for p in make(depth=far).save(tmp_path)}
    assert "dog-depth-mm.png" not in paths
    assert torch.equal(DepthMap.load_npz(paths["dog-depth.npz"]).metres, far.metres)


def test_the_same_source_replaces_its_files(tmp_path: Path) -> None:
    first = make().save(tmp_path)
    assert make(depth=DepthMap(torch.full(SIZE, 3.0))).save(tmp_path) == first
    assert DepthMap.load_png(tmp_path / "dog-depth-mm.png").metres.max() == 3.0


def test_another_source_of_the_same_name_gets_a_suffix(tmp_path: Path) -> None:
    make("a/dog.jpg").save(tmp_path)
    kept = (tmp_path / "dog-result.json").read_bytes()
    second = make("b/dog.jpg").save(tmp_path)
    third = make("https://example.org/x/dog.png?size=2").save(tmp_path)
    assert {p.name.split("-")[1] for p in second} == {"1"} and third[0].name == "dog-2-overview.png"
    assert (tmp_path / "dog-result.json").read_bytes() == kept
    assert make("b/dog.jpg").save(tmp_path) == second


def test_sources_without_a_name_never_share_files(tmp_path: Path) -> None:
    first, second = make(None).save(tmp_path), make(None).save(tmp_path)
    assert first[0].name == "image-overview.png" and second[0].name == "image-1-overview.png"


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "dog-depth.png").write_text("mine")
    (tmp_path / "dog-1-result.json").write_text("{}")
    assert make().save(tmp_path)[-1].name == "dog-2-result.json"
    assert (tmp_path / "dog-depth.png").read_text() == "mine"
    assert (tmp_path / "dog-1-result.json").read_text() == "{}"


def test_an_error_is_saved_as_json_alone(tmp_path: Path) -> None:
    (path,) = Result(source="torn.jpg", error="torn").save(tmp_path)
    assert path.name == "torn-result.json" and Result.from_json(path.read_text()).error == "torn"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(DataError, match="out' is a file; Result.save needs a folder"):
        make().save(tmp_path / "out")


def test_label_sets_whose_names_clean_alike_keep_apart(tmp_path: Path) -> None:
    one = make().segmentation["streets"]
    paths = make(segmentation={"a/b c": one, "a/b_c": one}).save(tmp_path)
    assert len({p.name for p in paths}) == len(paths) == 8


@pytest.mark.parametrize(
    ("source", "stem"),
    [
        (None, "image"),
        ("", "image"),
        ("photo.jpg", "photo"),
        ("/a/b.c/photo.tar.gz", "photo.tar"),
        (r"C:\pictures\my photo.JPG", "my_photo"),
        ("https://example.org/a/caf%C3%A9.png?x=/y.jpg#top", "café"),
        ("https://example.org/", "image"),
        ("walk.mp4#12", "walk_12"),
        ("image-3", "image-3"),
        (".hidden", "hidden"),
        ("../..", "image"),
        ("a\0b*?.png", "a_b"),
        ("写" * 200 + ".png", "写" * 26),
    ],
)
def test_stems(source: str | None, stem: str) -> None:
    assert stem_of(source) == stem


def test_maps_of_an_earlier_answer_go_when_the_source_is_saved_again(tmp_path: Path) -> None:
    make().save(tmp_path)
    (tmp_path / "dog-notes.txt").write_text("mine")
    outside = tmp_path.parent / f"{tmp_path.name}-kept.txt"
    outside.write_text("kept")
    record = json.loads((tmp_path / "dog-result.json").read_text())
    record["saved"]["files"] += [f"../{outside.name}", "gone.png", 3]  # as no visgen writes it
    (tmp_path / "dog-result.json").write_text(json.dumps(record))
    again = make(segmentation=None, depth=DepthMap(torch.full(SIZE, 250.0))).save(tmp_path)
    assert names(tmp_path) == sorted([*(path.name for path in again), "dog-notes.txt"])
    assert "dog-depth.npz" in names(tmp_path) and outside.read_text() == "kept"

"""A Result holds every kind of answer, draws it, saves it and comes back from JSON unchanged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from visgen import Result
from visgen.structures import (
    VALUES,
    Boxes,
    Classification,
    ClassLabel,
    DepthMap,
    Descriptor,
    Masks,
    OODLabel,
    OODVerdict,
    PlaceLabel,
    SceneGraph,
    SemanticMap,
    value_from_dict,
)
from visgen.task import FURTHER_TASK_KEYS, TASK_KEYS

SIZE = (60, 80)
NAMES = ("cat", "dog", "tree")


def boxes() -> Boxes:
    xyxy = torch.tensor([[2.0, 3.0, 30.5, 40.25], [10.0, 10.0, 79.0, 59.0]])
    return Boxes(xyxy, torch.tensor([0, 2]), SIZE, NAMES, scores=torch.tensor([0.75, 0.5]))


def masks() -> Masks:
    planes = torch.zeros(2, *SIZE, dtype=torch.bool)
    planes[0, 5:20, 5:30] = True
    planes[1, 30:, 40:] = True
    return Masks(planes, torch.tensor([1, 2]), NAMES)


def semantic_map() -> SemanticMap:
    ids = torch.zeros(SIZE, dtype=torch.int64)
    ids[:, 40:] = 2
    ids[:3] = 255
    return SemanticMap(ids, NAMES, name="pets")


def depth_map() -> DepthMap:
    metres = torch.linspace(0.5, 8, SIZE[1]).expand(SIZE).clone()
    metres[:3] = 0
    return DepthMap((metres * 1000).round() / 1000)


def scene_graph() -> SceneGraph:
    triplets = torch.tensor([[0, 1, 1], [1, 0, 0]])
    return SceneGraph(boxes(), triplets, ("behind", "in front of"), scores=torch.tensor([0.25, 0.5]))


# Registered value -> (the task that it answers, an example).
EXAMPLES: dict[str, tuple[str, Callable[[], Any]]] = {
    Classification.type_name: ("classification", lambda: Classification(torch.tensor([0.5, 0.25, 0.25]), NAMES)),
    ClassLabel.type_name: ("classification", lambda: ClassLabel(1, NAMES)),
    Boxes.type_name: ("detection", boxes),
    Masks.type_name: ("detection", masks),
    SemanticMap.type_name: ("segmentation", semantic_map),
    DepthMap.type_name: ("depth", depth_map),
    OODVerdict.type_name: ("ood", lambda: OODVerdict(3.5, 2.25, 0.95, "energy", torch.linspace(0, 4, 12).view(3, 4))),
    OODLabel.type_name: ("ood", lambda: OODLabel(True)),
    SceneGraph.type_name: ("scene_graph", scene_graph),
    Descriptor.type_name: ("retrieval", lambda: Descriptor(torch.tensor([0.6, 0.0, -0.8]))),
    PlaceLabel.type_name: ("retrieval", lambda: PlaceLabel("square", "night")),
}


def photograph() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def result_with(name: str) -> Result:
    task, example = EXAMPLES[name]
    return Result(**{task: example()}, size=SIZE, source="dog.jpg", image=photograph(), timing={"model": 0.01})


def full_result() -> Result:
    return Result(
        classification=EXAMPLES[Classification.type_name][1](),
        detection=boxes(),
        segmentation={"pets": semantic_map(), "rooms": semantic_map()},
        depth=depth_map(),
        size=SIZE,
        source="dog.jpg",
        image=photograph(),
    )


def test_every_registered_value_has_an_example() -> None:
    assert set(EXAMPLES) == set(VALUES.names())


def test_the_fields_are_the_task_keys() -> None:
    empty = Result()
    assert all(getattr(empty, task) is None for task in (*TASK_KEYS, *FURTHER_TASK_KEYS))
    assert [task for task, _, _ in full_result().answers()] == [
        "classification",
        "detection",
        "segmentation",
        "segmentation",
        "depth",
    ]


@pytest.mark.parametrize("name", VALUES.names())
def test_each_value_survives_json(name: str) -> None:
    value = EXAMPLES[name][1]()
    stored = json.loads(json.dumps(value.to_dict()))
    assert stored["type"] == name
    again = value_from_dict(stored)
    assert type(again) is type(value)
    assert again.to_dict() == value.to_dict()


@pytest.mark.parametrize("name", VALUES.names())
def test_a_result_with_each_value_survives_json(name: str) -> None:
    result = result_with(name)
    again = Result.from_json(result.to_json())
    assert again.to_dict() == result.to_dict()
    assert again.size == SIZE and again.source == "dog.jpg"


def test_several_label_sets_of_a_task_survive_json() -> None:
    again = Result.from_dict(json.loads(json.dumps(full_result().to_dict())))
    assert list(again.segmentation) == ["pets", "rooms"]
    assert torch.equal(again.segmentation["pets"].ids, semantic_map().ids)
    assert torch.equal(again.depth.metres, depth_map().metres)


@pytest.mark.parametrize("name", VALUES.names())
def test_each_value_draws_over_a_photograph_without_changing_it(name: str) -> None:
    image = photograph()
    before = image.copy()
    picture = np.asarray(EXAMPLES[name][1]().draw(image))
    assert picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.uint8
    assert picture.std() > 0
    assert np.array_equal(image, before)


@pytest.mark.parametrize("name", VALUES.names())
def test_plot_and_save_give_readable_files(name: str, tmp_path: Path) -> None:
    result = result_with(name)
    assert isinstance(result.plot(), Image.Image)
    paths = result.save(tmp_path / "out")
    assert paths and all(Path(p).is_file() for p in paths)
    pictures = [p for p in paths if Path(p).suffix == ".png"]
    assert pictures
    for picture in pictures:
        with Image.open(picture) as opened:
            opened.load()
    stored = [p for p in paths if Path(p).suffix == ".json"]
    assert [Result.from_json(Path(p).read_text(encoding="utf-8")).to_dict() for p in stored] == [result.to_dict()]


def test_tables_for_other_tools() -> None:
    result = full_result()
    pandas = pytest.importorskip("pandas")
    table = result.to_pandas()
    assert isinstance(table, pandas.DataFrame) and len(table) >= 4
    coco = result.to_coco()
    rows = [a for a in coco["annotations"] if a["bbox"] == pytest.approx([2.0, 3.0, 28.5, 37.25])]
    assert len(rows) == 1
    pytest.importorskip("supervision")
    detections = result.to_supervision()
    assert detections.xyxy.tolist() == boxes().xyxy.tolist()


@pytest.mark.parametrize(
    ("fields", "fragment"),
    [
        ({"depth": 3}, "depth of Result is a int"),
        ({"classification": {}}, "classification of Result is an empty dictionary"),
        ({"segmentation": {"pets": "grass"}}, "segmentation of Result is a str"),
    ],
)
def test_a_wrong_answer_is_refused_with_its_value(fields: dict[str, Any], fragment: str) -> None:
    with pytest.raises(ValueError, match=fragment):
        Result(**fields)

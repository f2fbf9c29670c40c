"""Result: answers, JSON that comes back, and the overview sheet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from visgen.errors import DataError, UnknownName
from visgen.structures import (
    Boxes,
    Classification,
    ClassLabel,
    DepthMap,
    OODVerdict,
    Result,
    SceneGraph,
    SemanticMap,
    class_palette,
)
from visgen.structures import result as result_module
from visgen.structures.palette import depth_colours
from visgen.structures.result import FURTHER, TASKS
from visgen.structures.sheet import Panel

SIZE = (30, 40)
NAMES = ("cat", "dog", "tree")


def photograph() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def full(**changes: Any) -> Result:
    ids = torch.arange(1200).reshape(SIZE) // 500
    fields: dict[str, Any] = {
        "classification": {"pets": Classification(torch.tensor([0.25, 0.5, 0.25]), NAMES)},
        "detection": Boxes(torch.tensor([[1.0, 2, 30, 20]]), torch.tensor([1]), SIZE, NAMES, torch.tensor([0.5])),
        "segmentation": SemanticMap(ids, NAMES, name="streets"),
        "depth": DepthMap(torch.linspace(1, 9, 1200).reshape(SIZE).mul(1000).round().div(1000)),
        "request": {"do": ["everything"]},
        "path": "moe",
        "source": "holiday/dog.jpg",
        "size": SIZE,
        "timing": {"read": 0.25, "model": 0.5},
        "image": photograph(),
    }
    return Result(**{**fields, **changes})


def graph() -> SceneGraph:
    boxes = Boxes(torch.tensor([[1.0, 2, 30, 20], [5, 5, 9, 9]]), torch.tensor([1, 0]), SIZE, NAMES)
    return SceneGraph(boxes, torch.tensor([[0, 1, 0]]), ("on", "under"), torch.tensor([0.75]))


def test_answers_are_listed_in_the_order_of_the_tasks() -> None:
    rows = [(task, label_set, type(value)) for task, label_set, value in full().answers()]
    assert rows == [
        ("classification", "pets", Classification),
        ("detection", "", Boxes),
        ("segmentation", "streets", SemanticMap),
        ("depth", "", DepthMap),
    ]
    assert Result().answers() == []


def test_json_comes_back() -> None:
    result = full()
    back = Result.from_json(result.to_json(indent=2))
    assert back.to_dict() == result.to_dict()
    assert torch.equal(back.depth.metres, result.depth.metres)
    assert torch.equal(back.segmentation.ids, result.segmentation.ids)
    assert back.classification["pets"].label == "dog"
    assert (back.size, back.path, back.source, back.timing) == (SIZE, "moe", "holiday/dog.jpg", result.timing)
    assert back.image is None  # pictures do not go into JSON


def test_an_error_comes_back() -> None:
    back = Result.from_json(Result(source="torn.jpg", error="torn.jpg cannot be decoded").to_json())
    assert (back.error, back.size, back.answers()) == ("torn.jpg cannot be decoded", None, [])


def test_a_request_that_knows_its_dictionary_is_written_as_it() -> None:
    class Request:
        def to_dict(self) -> dict[str, str]:
            return {"verb": "segment"}

    assert json.loads(Result(request=Request()).to_json())["request"] == {"verb": "segment"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classification": "cat"}, "classification of Result is a str; it must be Classification or ClassLabel"),
        ({"depth": ClassLabel(0, NAMES)}, "depth of Result is a ClassLabel; it must be DepthMap, or a dictionary"),
        ({"segmentation": {}}, "segmentation of Result is an empty dictionary; use None"),
        ({"depth": {3: full().depth}}, "depth of Result has the label set 3; label sets are named by strings"),
        ({"depth": {"kitti": None}}, "depth of Result is a NoneType"),
        ({"ood": 0.5}, "ood of Result is a float; it must be OODVerdict or OODLabel"),
        ({"scene_graph": graph().boxes}, "scene_graph of Result is a Boxes; it must be SceneGraph, or a dictionary"),
        ({"size": [30, 40]}, r"size of Result is \[30, 40\]; it must be a tuple"),
        ({"image": np.zeros((3, 4, 4))}, r"image of Result has shape \(3, 4, 4\) and dtype float64"),
    ],
)
def test_the_door(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Result(**fields)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"format": "visgen.result.99"}, DataError, r"format of Result is 'visgen.result.99'; this version reads"),
        ({"depth": 3}, DataError, "depth of the result is a int; it must be a dictionary or null"),
        (
            {"depth": {"type": "dept_map"}},
            UnknownName,
            "typed value 'dept_map' is not registered; did you mean 'depth_map'",
        ),
        ({"depth": {"type": "depth_map"}}, DataError, "the dictionary of DepthMap lacks 'form'"),
        ({"detection": {"type": "boxes", "boxes": 5}}, DataError, "the dictionary of 'boxes' is broken|lacks"),
        ({"size": [1, "a"]}, DataError, r"size of Result is \(1, 'a'\)"),
        ({"size": 3}, DataError, "size of Result is 3"),
    ],
)
def test_broken_dictionaries_are_named(change: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        Result.from_dict({**full().to_dict(), **change})


def test_no_result_and_no_json() -> None:
    with pytest.raises(DataError, match="the dictionary of Result lacks 'format'"):
        Result.from_dict({"answer": 42})
    with pytest.raises(DataError, match="the text is no JSON"):
        Result.from_json("{")
    with pytest.raises(DataError, match="Result is read from a dictionary, not from a list"):
        Result.from_json("[]")


def held(picture: Image.Image, colours: Any) -> list[bool]:
    packed = np.asarray(picture).astype(np.int64) @ np.array([65536, 256, 1])
    return np.isin(np.asarray(colours, dtype=np.int64) @ np.array([65536, 256, 1]), packed).tolist()


def test_the_sheet_shows_photograph_and_every_answer() -> None:
    sheet = full().plot()
    assert sheet.mode == "RGB"
    assert held(sheet, class_palette(3)) == [True] * 3  # the legend of the map
    assert all(held(sheet, depth_colours(np.array([0.0, 1.0]))))  # near and far
    shown = np.asarray(Image.fromarray(photograph()).resize((520, 390), Image.Resampling.BICUBIC))
    whole = np.asarray(sheet)
    corner = [tuple(c) for c in np.argwhere((whole == shown[0, 0]).all(axis=-1)).tolist()]
    assert any(np.array_equal(whole[y : y + 390, x : x + 520], shown) for y, x in corner)


def test_each_answer_adds_a_panel() -> None:
    alone = Result(source="dog.jpg", image=photograph()).plot()
    with_depth = Result(source="dog.jpg", image=photograph(), depth=full().depth).plot()
    everything = full().plot()
    area = [sheet.width * sheet.height for sheet in (alone, with_depth, everything)]
    assert area[0] < area[1] < area[2]


def test_the_photograph_comes_from_the_source_when_none_is_held(tmp_path: Path) -> None:
    Image.fromarray(photograph()).save(tmp_path / "dog.png")
    named = full(image=None, source=str(tmp_path / "dog.png"))
    assert np.array_equal(named.picture(), photograph())
    assert np.array_equal(np.asarray(named.plot()), np.asarray(named.plot(photograph())))
    Image.new("RGB", (9, 9)).save(tmp_path / "dog.png")
    assert named.picture() is None  # another picture took its name
    (tmp_path / "dog.png").write_text("no picture")
    assert named.picture() is None
    assert full(image=None, source="https://example.org/dog.jpg").picture() is None
    assert full(image=None, source=None).plot().height > 0  # drawn on grey


def test_results_with_nothing_to_show_are_drawn() -> None:
    for result in (Result(), Result(error="torn", source="a.jpg"), full(image=None, source="gone.jpg")):
        assert isinstance(result.plot(), Image.Image)


def test_two_label_sets_of_one_task_are_two_panels() -> None:
    both = full(segmentation={"a": full().segmentation, "b": full().segmentation})
    assert [label_set for task, label_set, _ in both.answers() if task == "segmentation"] == ["a", "b"]
    ground = class_palette(3)[0].astype(np.int64) @ np.array([65536, 256, 1])  # one legend square in each panel
    swatches = [
        int((np.asarray(r.plot()).astype(np.int64) @ np.array([65536, 256, 1]) == ground).sum()) for r in (full(), both)
    ]
    assert swatches[1] == 2 * swatches[0] > 0
    assert Result.from_dict(both.to_dict()).to_dict() == both.to_dict()


def test_six_tasks_come_back_from_json() -> None:
    result = full(ood=OODVerdict(0.5, 1.0, 0.95, "energy"), scene_graph=graph())
    assert [task for task, _, _ in result.answers()] == [task for task in TASKS if task not in FURTHER]
    back = Result.from_json(result.to_json())
    assert back.to_dict() == result.to_dict()
    assert torch.equal(back.scene_graph.triplets, graph().triplets)
    assert torch.equal(back.scene_graph.boxes.xyxy, graph().boxes.xyxy)
    assert back.scene_graph.names == (("dog", "on", "cat"),) and float(back.scene_graph.scores[0]) == 0.75


def test_low_panels_stand_below_the_photograph_and_every_question_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Panel] = []
    real = result_module.overview_sheet
    monkeypatch.setattr(
        result_module,
        "overview_sheet",
        lambda head, note, panels, wide: asked.extend(panels) or real(head, note, panels, wide),
    )
    full(ood=OODVerdict(0.5, 1.0, 0.95, "energy"), scene_graph=graph()).plot()
    assert [(panel.title, panel.below) for panel in asked] == [
        ("Photograph", False),
        ("What is it? (pets)", True),
        ("Is it unusual?", True),
        ("What is where?", False),
        ("What is each region? (streets)", False),
        ("How far away is it?", False),
        ("How do things relate?", False),
    ]
    assert all(panel.picture.height < 200 for panel in asked if panel.below)
    asked.clear()
    odds = torch.tensor([0.25, 0.5, 0.25])
    for verdict in (OODVerdict(2.0, 1.0), OODVerdict(1.0, 1.0), OODVerdict(2.0)):
        Result(classification=Classification(odds, NAMES, verdict)).plot()
    assert [panel.title for panel in asked] == ["What is it? Looks unusual", "What is it?", "What is it?"]

"""From an instruction to heads and narrowed answers, with the classes of the shipped model and all six tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from visgen.errors import ConfigError, UnknownName
from visgen.pipelines.plan import Plan, plan_instruction
from visgen.pipelines.skills import Skills
from visgen.shipped import shipped_path
from visgen.structures import Boxes, Classification, DepthMap, SceneGraph, SemanticMap

HEADS = json.loads(shipped_path("model_zoo/weights/visgen-tiny.json").read_text())["model"]["heads"]
CALTECH = tuple(HEADS["classification.caltech100"]["classes"])
CAMVID = tuple(HEADS["segmentation.camvid"]["classes"])
COCO = tuple(HEADS["segmentation.coco"]["classes"])
THINGS = COCO[1:]
PREDICATES = ("above", "below", "contains", "in", "left of", "on", "overlaps", "right of", "under")
ALL_SIX = Skills(
    {
        "classification.caltech100": "classification",
        "detection": "detection",
        "segmentation.camvid": "segmentation",
        "segmentation.coco": "segmentation",
        "depth": "depth",
        "ood": "ood",
        "scene_graph": "scene_graph",
    },
    {
        "classification.caltech100": CALTECH,
        "detection": THINGS,
        "segmentation.camvid": CAMVID,
        "segmentation.coco": COCO,
        "depth": (),
        "ood": (),
        "scene_graph": THINGS,
    },
    {"scene_graph": PREDICATES},
    {"segmentation": "segmentation.coco"},
)
BOTH = ("segmentation.coco", "segmentation.camvid")


def plan(instruction: Any, heads: list[str] | None = None) -> Plan:
    return plan_instruction(instruction, ALL_SIX, heads)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("find all the cars and the people", ["1. detection: car and person - answered by detection"]),
        ("how far is everything?", ["1. depth: everything - answered by depth"]),
        (
            "segment the road and tell me whether anything looks unusual",
            ["1. segmentation: road - answered by segmentation.camvid", "2. ood: everything - answered by ood"],
        ),
        ("what is on the table?", ["1. scene_graph: ? on dining table - answered by scene_graph"]),
        ("segment the car", ["1. segmentation: car - answered by segmentation.coco and segmentation.camvid"]),
        ("segment everything", ["1. segmentation: everything - answered by segmentation.coco"]),
        (
            "segment everything but the sky",
            ["1. segmentation: everything, without sky - answered by segmentation.camvid"],
        ),
        (
            "segment everything but the cat",
            ["1. segmentation: everything, without cat - answered by segmentation.coco"],
        ),
        ("is there a motorbike?", ["1. classification: Motorbikes - answered by classification.caltech100"]),
        ("is it an airplane?", ["1. classification: airplanes - answered by classification.caltech100"]),
        ("is there a face?", ["1. classification: Faces - answered by classification.caltech100"]),
        ("find the stop sign", ["1. detection: stop sign - answered by detection"]),
        ("is there a stop sign?", ["1. classification: stop_sign - answered by classification.caltech100"]),
        ("is there a cat?", ["1. detection: cat - answered by detection"]),
        ("can you see the sky?", ["1. segmentation: sky - answered by segmentation.camvid"]),
        ("how far is the car?", ["1. depth: car - answered by depth, where segmentation.coco sees car"]),
        ("how far is the road?", ["1. depth: road - answered by depth, where segmentation.camvid sees road"]),
        (
            "find one dog and segment it",
            [
                "1. detection: one instance of dog - answered by detection",
                "2. segmentation: one instance of dog - answered by segmentation.coco, in the best box of detection",
            ],
        ),
        ("is anything odd about the car?", ["1. ood: car - answered by ood, about the whole picture"]),
        ("what overlaps the person?", ["1. scene_graph: ? overlaps person - answered by scene_graph"]),
        ("what does the bowl contain?", ["1. scene_graph: bowl contains ? - answered by scene_graph"]),
        ("what is underneath the table?", ["1. scene_graph: ? under dining table - answered by scene_graph"]),
    ],
)
def test_the_plan_in_plain_words(text: str, lines: list[str]) -> None:
    assert plan(text).explain().splitlines() == lines


SENTENCES = json.loads((Path(__file__).parents[1] / "language" / "sentences.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("vocabulary", SENTENCES["vocabularies"])
def test_every_sentence_that_is_understood_has_a_plan(vocabulary: str) -> None:
    """All the hand-written sentences, with one head per task that knows the classes of their vocabulary."""
    classes = SENTENCES["vocabularies"][vocabulary]
    entries = [e for group in ("sentences", "written_after_the_parser") for e in SENTENCES[group] if "plan" in e]
    entries = [entry for entry in entries if entry.get("vocabulary", "full") == vocabulary]
    relations = [request["relation"] for e in entries for request in e["plan"] if request.get("relation")]
    known = {"scene_graph": tuple(dict.fromkeys(r[1] for r in relations if r[1]))} if "scene_graph" in classes else {}
    skills = Skills({task: task for task in classes}, {task: tuple(names) for task, names in classes.items()}, known)
    assert entries
    for entry in entries:
        found = plan_instruction(entry["text"], skills)
        asked = [(r["task"], tuple(r.get("classes", ())), tuple(r.get("exclude", ()))) for r in entry["plan"]]
        assert [(s.request.task, s.request.classes, s.request.exclude) for s in found.steps] == asked, entry["text"]
        assert all(s.heads == (s.request.task,) for s in found.steps), entry["text"]
        assert len(found.explain().splitlines()) == len(asked)


def test_without_an_instruction_every_head_answers_and_nothing_is_narrowed() -> None:
    whole = Plan(("depth", "detection"), ALL_SIX)
    assert whole.running == whole.heads == ("depth", "detection")
    assert (
        whole.explain() == "1. depth: everything - answered by depth\n2. detection: everything - answered by detection"
    )
    values = {"depth": object(), "detection": object()}
    assert whole.answer(values, lambda value: value) == (values, None)


def test_helpers_run_but_do_not_answer() -> None:
    found = plan("how far is the car and how far is the sky?")
    assert found.heads == ("depth",)
    assert found.running == ("depth", "segmentation.coco", "segmentation.camvid")
    assert found.tasks == ("depth", "segmentation")
    assert plan("segment the car and tell me how far it is").running == (*BOTH, "depth")


def test_named_heads_alone_answer() -> None:
    only = ["segmentation.coco", "segmentation.camvid"]
    assert plan("segment everything", only).heads == BOTH
    assert plan("segment everything", ["segmentation.camvid"]).heads == ("segmentation.camvid",)
    assert plan("segment the car", ["segmentation.camvid"]).heads == ("segmentation.camvid",)
    # where things are may be said by any head
    assert plan("how far is the dog?", ["depth"]).running == ("depth", "segmentation.coco")
    with pytest.raises(
        ConfigError, match=r"asks for detection \(detection: dog\), but .* made for depth, ood; ask only"
    ):
        plan("how far is everything and find the dog", ["depth", "ood"])
    with pytest.raises(
        UnknownName, match=r"'road' is not known to segmentation\.coco.*segmentation\.camvid can answer"
    ):
        plan("segment the road", ["segmentation.coco"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("find the unicorn", "'unicorn' in 'find the unicorn' is no class that the model knows"),
        ("fnid the dog", "'fnid' names no task; did you mean 'find'"),
        ("what is standing on the table?", "relation 'standing on' .* did you mean 'on'. It knows above, below"),
        ("who is riding the horse?", "relation 'riding' in 'who is riding the horse' is not known to scene_graph"),
        ("segment one car and one road", "asks for one of several, .* none knows car and road; ask for all of them"),
        ("", "the instruction is empty"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_runs(text: str, message: str) -> None:
    with pytest.raises(UnknownName, match=message):
        plan(text)


def test_a_list_of_names_is_a_detection_of_all_of_them() -> None:
    sentence, listed = plan("find all the cars and the people"), plan(["cars", "The people"])
    assert (
        [s.request.classes for s in listed.steps] == [s.request.classes for s in sentence.steps] == [("car", "person")]
    )
    assert listed.heads == ("detection",)
    assert listed.to_dict()["instruction"] == ["cars", "The people"]
    assert plan(["sky", "car"], ["segmentation.camvid"]).heads == ("segmentation.camvid",)


# Answers about one picture of 2 x 4 pixels: a car on the left, a person on the right. ---------------------------------


def values() -> dict[str, Any]:
    car, person = THINGS.index("car"), THINGS.index("person")
    corners = torch.tensor([[0.0, 0, 2, 2], [2, 0, 4, 2], [0, 0, 1, 1]])
    boxes = Boxes(corners, torch.tensor([car, person, car]), (2, 4), THINGS, torch.tensor([0.9, 0.8, 0.4]))
    coco = torch.tensor([[car + 1, car + 1, person + 1, person + 1]] * 2)
    road, auto = CAMVID.index("road"), CAMVID.index("car")
    odds = torch.full((100,), 0.005)
    odds[CALTECH.index("Motorbikes")] = 0.505
    triplets = torch.tensor([[0, 1, PREDICATES.index("left of")], [1, 0, PREDICATES.index("right of")]])
    return {
        "classification.caltech100": Classification(odds, CALTECH),
        "detection": boxes,
        "segmentation.coco": SemanticMap(coco, COCO, name="coco"),
        "segmentation.camvid": SemanticMap(torch.tensor([[auto, auto, road, road]] * 2), CAMVID, name="camvid"),
        "depth": DepthMap(torch.tensor([[1.0, 3, 5, 7]] * 2)),
        "ood": object(),
        "scene_graph": SceneGraph(boxes, triplets, PREDICATES, torch.tensor([0.6, 0.7])),
    }


def answer(instruction: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    given, record = plan(instruction).answer(values(), lambda value: value)
    assert record is not None
    assert json.loads(json.dumps(record)) == record
    return given, record["answers"]


def test_boxes_are_those_of_the_classes_with_their_number() -> None:
    given, answers = answer("how many cars and dogs are there?")
    assert list(given) == ["detection"]
    assert given["detection"].names == ("car", "car")
    assert answers == [{"count": {"car": 2, "dog": 0}}]
    given, answers = answer("find one car")
    assert given["detection"].scores.tolist() == pytest.approx([0.9]) and answers == [{"count": {"car": 1}}]


def test_clauses_about_one_task_join_and_keep_their_own_figures() -> None:
    given, answers = answer("find the cars. Then count the people.")
    assert given["detection"].names == ("car", "person", "car")
    assert answers == [{"count": {"car": 2}}, {"count": {"person": 1}}]


def test_classification_stays_whole_and_the_record_has_the_odds() -> None:
    given, answers = answer("is there a motorbike or an airplane?")
    assert given["classification.caltech100"].probabilities.shape == (100,)
    assert answers == [{"probability": {"Motorbikes": pytest.approx(0.505), "airplanes": pytest.approx(0.005)}}]


def test_maps_keep_the_asked_classes_in_every_label_set_that_knows_them() -> None:
    given, answers = answer("segment the car and the road")
    assert list(given) == list(BOTH)
    assert given["segmentation.coco"].ids[0].tolist() == [COCO.index("car")] * 2 + [255] * 2
    assert given["segmentation.camvid"].shares() == values()["segmentation.camvid"].shares()
    assert answers == [{"share": {"car": 0.5, "road": 0.5}}]
    given, answers = answer("segment one car")
    assert given["segmentation.coco"].ids[0].tolist() == [COCO.index("car")] * 2 + [255] * 2


def test_one_of_several_classes_is_the_best_box_of_each() -> None:
    found = values()
    wide = found["detection"].xyxy.clone()
    wide[0, 2] = 3  # the box of the car reaches over the person, whose own box begins at 3
    wide[1, 0] = 3
    found["detection"] = Boxes(wide, found["detection"].labels, (2, 4), THINGS, found["detection"].scores)
    given, _ = plan("segment one car and one person").answer(found, lambda value: value)
    car, person = COCO.index("car"), COCO.index("person")
    assert given["segmentation.coco"].ids[0].tolist() == [car, car, 255, person]
    assert list(given) == ["segmentation.coco", "segmentation.camvid"]
    assert plan("how far is one car?").running == ("depth", "segmentation.coco", "detection")


def test_depth_is_read_where_the_class_is() -> None:
    given, answers = answer("how far is the car?")
    assert list(given) == ["depth"] and given["depth"].metres[0].tolist() == [1, 3, 0, 0]
    assert answers == [{"median": {"car": 2.0}}]
    given, answers = answer("how far is everything but the car?")
    assert given["depth"].metres[0].tolist() == [0, 0, 5, 7] and answers == [{}]
    given, answers = answer("how far are the car, the road and the dog?")
    assert given["depth"].metres[0].tolist() == [1, 3, 5, 7]
    assert answers == [{"median": {"car": 2.0, "road": 6.0, "dog": None}}]


def test_the_figures_of_one_are_its_own_whatever_else_is_asked() -> None:
    found = values()
    corners = found["detection"].xyxy.clone()
    corners[0, 2] = 1  # the best car is the left half of what the map calls car
    found["detection"] = Boxes(corners, found["detection"].labels, (2, 4), THINGS, found["detection"].scores)

    def figures(text: str) -> list[dict[str, Any]]:
        return plan(text).answer(found, lambda value: value)[1]["answers"]  # type: ignore[index]

    one, every = "segment one car", "segment the car"
    assert figures(f"{one}. {every}") == [{"share": {"car": 0.25}}, {"share": {"car": 0.5}}]
    one, every = "how far is one car", "how far is the car"
    assert figures(f"{one} and {every}") == [{"median": {"car": 1.0}}, {"median": {"car": 2.0}}]
    assert figures(one) + figures(every) == figures(f"{one} and {every}")


def test_depth_falls_back_to_boxes_where_no_map_knows_the_class() -> None:
    heads = ("detection", "depth")
    skills = Skills({h: ALL_SIX.tasks[h] for h in heads}, {h: ALL_SIX.classes[h] for h in heads})
    found = plan_instruction("how far is one car?", skills)
    assert found.running == ("depth", "detection")
    given, record = found.answer(values(), lambda value: value)
    assert given["depth"].metres[0].tolist() == [1, 3, 0, 0]
    assert record is not None and record["helpers"] == [["detection"]]


def test_the_graph_answers_a_question() -> None:
    given, _ = answer("what is to the left of the person?")
    assert given["scene_graph"].names == (("car", "left of", "person"),)
    given, _ = answer("what is on the table?")
    assert len(given["scene_graph"]) == 0
    given, _ = answer("what is the car left of and is anything strange?")
    assert given["ood"] is not None and list(given) == ["scene_graph", "ood"]


def test_limits_come_after_narrowing_and_before_a_place_is_read() -> None:
    def strict(value: Any) -> Any:
        return value.select(value.scores >= 0.85) if isinstance(value, Boxes) else value

    given, record = plan("count the people and the cars").answer(values(), strict)
    assert given["detection"].names == ("car",)
    assert record is not None and record["answers"] == [{"count": {"person": 0, "car": 1}}]


def test_a_head_that_does_not_know_a_class_does_not_count_it() -> None:
    heads = {"detection.a": ("car", "dog"), "detection.b": ("person", "dog")}
    skills = Skills(dict.fromkeys(heads, "detection"), heads, {}, {"detection": "detection.a"})
    plan = plan_instruction("count the cars and the people", skills)
    xyxy = torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 40]])
    cars = Boxes(xyxy[:1], torch.tensor([0]), (64, 64), heads["detection.a"], torch.tensor([0.9]))
    people = Boxes(xyxy, torch.tensor([0, 0]), (64, 64), heads["detection.b"], torch.tensor([0.9, 0.8]))
    _, request = plan.answer({"detection.a": cars, "detection.b": people}, lambda value: value)
    assert request["answers"] == [{"count": {"car": 1, "person": 2}}]

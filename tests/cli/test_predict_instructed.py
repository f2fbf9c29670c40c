"""`visgen predict --do` and `--explain`, and the columns for boxes and relations."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from visgen import pipeline
from visgen.cli.predict import _Counted, _print_list, _row
from visgen.errors import ImageError
from visgen.structures import Boxes, Classification, DepthMap, OODVerdict, Result, SceneGraph
from visgen.task import build_model
from visgen.zoo import save_pretrained

from .conftest import BACKBONE


@pytest.fixture(scope="module")
def finder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model that finds people (scores near 0.4), cars (0.6) and dogs (0.05), maps and measures; saved."""
    torch.manual_seed(0)
    heads = {
        "detection": {"task": "detection", "classes": ("person", "car", "dog")},
        "segmentation": {"task": "segmentation", "classes": ("sky", "road", "car")},
        "depth": {"task": "depth"},
    }
    model = build_model({"backbone": {"name": "vit_moe", **BACKBONE}, "heads": heads, "max_side": 64})
    with torch.no_grad():
        model.head("detection").classify.bias.copy_(torch.tensor([0.4, 0.6, 0.05]).logit())  # type: ignore[union-attr]
    return save_pretrained(model, tmp_path_factory.mktemp("models") / "finder")


def test_do_answers_what_was_asked_and_nothing_else(
    visgen_json: Callable[..., Any], finder: Path, photographs: Path
) -> None:
    words = "find all the cars and the people"
    (row,) = visgen_json("predict", photographs / "a.png", "--model", finder, "--do", words)
    expected = pipeline(model=finder, device="cpu")(photographs / "a.png", words)
    assert row["request"] == expected.request
    assert torch.allclose(Result.from_dict(row).detection.xyxy, expected.detection.xyxy)
    assert row["segmentation"] is row["depth"] is None


def test_the_table_counts_what_was_found(visgen: Callable[..., Any], finder: Path, photographs: Path) -> None:
    result = visgen("predict", photographs / "a.png", "--model", finder, "--do", "how many cars and dogs are there?")
    assert result.exit_code == 0, result.stderr
    boxes = pipeline("detection", finder, device="cpu")(photographs / "a.png").detection
    cars = Counter(boxes.names)["car"]
    assert "found" in result.stdout and f"{cars} car, 0 dog" in result.stdout
    assert "depth" not in result.stdout and "person" not in result.stdout
    every = visgen("predict", photographs / "a.png", "--model", finder, "--task", "detection", "--threshold", 0)
    assert "dog" in every.stdout or sum(Counter(boxes.names).values()) == 100


def test_do_writes_files_beside_json(
    visgen_json: Callable[..., Any], finder: Path, photographs: Path, tmp_path: Path
) -> None:
    words = ("predict", photographs / "a.png", "--model", finder, "--do", "segment the road", "--out", tmp_path / "out")
    (row,) = visgen_json(*words)
    saved = json.loads((tmp_path / "out" / "a-result.json").read_text())
    assert saved["request"] == row["request"]
    assert sorted(p.name for p in (tmp_path / "out").glob("*.png")) == [
        *("a-overview.png", "a-segmentation-ids.png", "a-segmentation.png")
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fnid the cars", "did you mean 'find'"),
        ("find the carr", "did you mean 'car'"),
        ("find the sky", "class 'sky' is not known to detection. segmentation knows it"),
        ("what is on the car?", "asks for scene_graph, which this model does not have"),
        ("", "the instruction is empty"),
    ],
)
@pytest.mark.parametrize("extra", [(), ("--explain",), ("--json",)])
def test_what_is_not_understood_is_a_mistake_and_writes_nothing(
    visgen: Callable[..., Any],
    finder: Path,
    photographs: Path,
    tmp_path: Path,
    text: str,
    message: str,
    extra: tuple[str, ...],
) -> None:
    out = tmp_path / "out"
    result = visgen("predict", photographs / "a.png", "--model", finder, "--do", text, "--out", out, *extra)
    assert result.exit_code == 2 and result.stdout == ""
    assert result.stderr.startswith("error: ") and message in result.stderr
    assert not out.exists()


def test_an_instruction_outside_the_tasks_named_is_a_mistake(
    visgen: Callable[..., Any], finder: Path, photographs: Path
) -> None:
    result = visgen("predict", photographs, "--model", finder, "--task", "depth", "--do", "find the cars")
    assert result.exit_code == 2
    assert "asks for detection (detection: car), but this pipeline was made for depth" in result.stderr


def test_explain_alone_says_the_plan_and_runs_nothing(
    visgen: Callable[..., Any], visgen_json: Callable[..., Any], finder: Path
) -> None:
    words = ("predict", "--model", finder, "--explain", "--do", "count the cars and tell me how far the road is")
    result = visgen(*words)
    assert result.exit_code == 0 and result.stderr == ""
    assert result.stdout.splitlines() == [
        "1. detection: how many of car - answered by detection",
        "2. depth: road - answered by depth, where segmentation sees road",
    ]
    found = visgen_json(*words)
    assert found["heads"] == [["detection"], ["depth"]] and found["helpers"] == [[], ["segmentation"]]
    whole = visgen("predict", "--model", finder, "--explain")
    assert whole.stdout.splitlines()[0] == "1. detection: everything - answered by detection"


def test_explain_with_pictures_goes_before_the_answers_on_standard_error(
    visgen: Callable[..., Any], finder: Path, photographs: Path
) -> None:
    words = ("predict", photographs / "a.png", "--model", finder, "--do", "find the cars", "--explain")
    result = visgen(*words, "--json")
    assert result.stderr.splitlines()[0] == "1. detection: car - answered by detection"
    assert len(json.loads(result.stdout)) == 1


def test_without_input_there_is_nothing_to_do(visgen: Callable[..., Any], finder: Path, tmp_path: Path) -> None:
    for words in (("predict",), ("predict", "--do", "find the cars")):
        result = visgen(*words, "--model", finder)
        assert result.exit_code == 2 and "no INPUT is given" in result.stderr
    result = visgen("predict", "--explain", "--model", finder, "--out", tmp_path / "out")
    assert result.exit_code == 2 and "nothing to write" in result.stderr


def boxes() -> Boxes:
    corners = torch.tensor([[0.0, 0, 2, 2], [1, 1, 3, 3], [2, 0, 4, 4], [0, 2, 2, 4]])
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6])
    return Boxes(corners, torch.tensor([0, 0, 1, 2]), (4, 4), ("cup", "dining table", "person"), scores)


def cell(result: Result, column: str) -> str:
    from visgen.cli.predict import _COLUMNS

    return _row(result)[_COLUMNS.index(column)]


def test_the_found_column_by_hand() -> None:
    assert cell(Result(detection=boxes()), "found") == "2 cup, 1 dining table, 1 person"
    assert cell(Result(detection=boxes().select(torch.zeros(4, dtype=torch.bool))), "found") == "nothing"
    request = {"answers": [{"count": {"person": 1}}, {"count": {"dog": 0}}]}
    assert cell(Result(detection=boxes().where("person"), request=request), "found") == "1 person, 0 dog"


def test_an_answer_brings_its_own_verdict_into_the_table() -> None:
    odds, verdict = torch.tensor([0.7, 0.3]), OODVerdict(2.0, 1.0, 0.95, "energy")
    known = Classification(odds, ("owl", "cat"), verdict)
    assert cell(Result(classification=known), "familiar?") == "unusual (score 2.00 > 1.00)"
    both = Result(classification={"pets": known}, detection=replace(boxes(), ood=OODVerdict(0.5)))
    expected = "classification (pets): unusual (score 2.00 > 1.00)\ndetection: score 0.50, no threshold"
    assert cell(both, "familiar?") == expected
    asked = Result(classification=known, ood=OODVerdict(0.5, 1.0))
    assert cell(asked, "familiar?") == "looks familiar (score 0.50 <= 1.00)"
    assert cell(Result(classification=Classification(odds, ("owl", "cat"))), "familiar?") == ""


def test_the_relations_column_by_hand() -> None:
    triplets = torch.tensor([[0, 2, 0], [1, 2, 0], [3, 2, 1], [2, 3, 1], [0, 1, 1]])
    graph = SceneGraph(boxes(), triplets, ("on", "left of"), torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5]))
    expected = "cup on dining table, person left of dining table, dining table left of person"
    assert cell(Result(scene_graph=graph), "relations") == expected
    assert cell(Result(scene_graph=graph.select(torch.zeros(5, dtype=torch.bool))), "relations") == "nothing"


def test_questions_are_answered_by_their_figures() -> None:
    odds = Classification(torch.tensor([0.7, 0.2, 0.1]), ("owl", "cat", "dog"))
    request = {"answers": [{"probability": {"cat": 0.2, "dog": 0.1}}]}
    assert cell(Result(classification=odds), "class") == "owl 70%"
    assert cell(Result(classification=odds, request=request), "class") == "cat 20%, dog 10%"
    depth = DepthMap(torch.tensor([[1.0, 3.0]]))
    far = {"answers": [{"median": {"car": 1.0, "dog": None}}]}
    column = "depth: median (min - max)"
    assert cell(Result(depth=depth, request=far), column) == "car 1.00 m, dog not seen"
    assert cell(Result(depth=depth, request={"answers": [{"median": {"dog": None}}]}), column) == "dog not seen"
    twice = {"answers": [{"median": {"car": 1.0}}, {"median": {"car": 1.5}}, {"median": {"car": 1.0}}]}
    assert cell(Result(depth=depth, request=twice), column) == "car 1.00 m, car (2) 1.50 m"
    one = {"answers": [{"median": {"car": 2.0}}]}
    assert cell(Result(depth=depth, request=one), column) == "2.00 m (1.00 - 3.00)"


def test_a_question_about_the_whole_picture_keeps_its_answer_beside_others() -> None:
    odds = Classification(torch.tensor([0.7, 0.2, 0.1]), ("owl", "cat", "dog"))
    whole, cat = ({"task": "classification", "classes": names} for names in ([], ["cat"]))
    request = {"requests": [whole, cat], "answers": [{}, {"probability": {"cat": 0.2}}]}
    assert cell(Result(classification=odds, request=request), "class") == "owl 70%\ncat 20%"
    assert cell(Result(classification=odds, request={**request, "requests": [cat]}), "class") == "cat 20%"
    depth = DepthMap(torch.tensor([[1.0, 3.0]]))
    asked = [{"task": "depth", "classes": []}, {"task": "depth", "classes": ["dog"]}]
    far = {"requests": asked, "answers": [{}, {"median": {"dog": None}}]}
    assert cell(Result(depth=depth, request=far), "depth: median (min - max)") == "2.00 m (1.00 - 3.00)\ndog not seen"


def test_answers_in_sets_count_the_classes_of_their_own() -> None:
    found = {
        "find cup": boxes().where("cup"),
        "find dog": replace(boxes().select(torch.zeros(4).bool()), classes=("dog",)),
    }
    found["find cup"] = replace(found["find cup"], classes=("cup",))
    request = {"answers": [{"count": {"cup": 2}}, {"count": {"dog": 0}}, {"count": {"cup": 1}}]}
    assert cell(Result(detection=found, request=request), "found") == "find cup: 2 cup\nfind dog: 0 dog"


def test_a_list_that_breaks_off_can_still_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(good: int) -> Any:
        yield from (Result(source=f"{k}.png") for k in range(good))
        raise ImageError("no picture")

    for good, sources in ((2, ["0.png", "1.png"]), (0, None)):
        with pytest.raises(ImageError, match="no picture"):
            _print_list(_Counted(broken(good), None))
        printed = capsys.readouterr().out
        assert [row["source"] for row in json.loads(printed)] == sources if sources else printed == ""

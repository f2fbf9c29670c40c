"""`visgen predict`: tables, JSON, files, several inputs, unreadable ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from visgen import pipeline
from visgen.cli.predict import _Counted, _print_list
from visgen.structures import Result


@pytest.fixture
def torn(photographs: Path, tmp_path: Path) -> Path:
    path = tmp_path / "torn.png"
    path.write_bytes((photographs / "a.png").read_bytes()[:200])
    return path


def test_json_holds_what_the_pipeline_says(
    visgen_json: Callable[..., Any], model_folder: Path, photographs: Path
) -> None:
    rows = visgen_json("predict", photographs / "a.png", photographs / "b.png", "--model", model_folder)
    assert [row["source"] for row in rows] == [str(photographs / n) for n in ("a.png", "b.png")]
    expected = pipeline(model=model_folder, device="cpu")(photographs / "a.png")
    found = Result.from_dict(rows[0])
    assert torch.equal(found.classification.probabilities, expected.classification.probabilities)
    assert list(found.segmentation) == ["street", "pets"]
    assert torch.equal(found.segmentation["pets"].ids, expected.segmentation["pets"].ids)
    assert torch.allclose(found.depth.metres, expected.depth.metres, atol=6e-4)  # PNG millimetres


def test_the_table_names_file_class_shares_and_depth(
    visgen: Callable[..., Any], model_folder: Path, photographs: Path
) -> None:
    result = visgen("predict", photographs, "--model", model_folder, "--batch-size", 2)
    assert result.exit_code == 0
    expected = pipeline(model=model_folder, device="cpu")(photographs / "a.png")
    line = next(x for x in result.stdout.splitlines() if "a.png" in x)
    assert f"{expected.classification.label} {expected.classification.score:.0%}" in line
    first = expected.segmentation["street"].shares()[0]
    assert f"street: {first[1]} {first[2]:.0%}" in line
    assert f"{expected.depth.summary()['median']:.2f} m" in line
    assert [n for n in ("a.png", "b.png", "c.png") if n in result.stdout] == ["a.png", "b.png", "c.png"]


def test_tasks_are_chosen_and_their_columns_shown(
    visgen: Callable[..., Any], model_folder: Path, photographs: Path
) -> None:
    photo = photographs / "a.png"
    result = visgen("predict", photo, "--model", model_folder, "--task", "depth", "--task", "segmentation.pets")
    header = result.stdout.splitlines()[1]
    assert "depth" in header and "segmentation" in header and "class" not in header
    assert "sky" not in result.stdout
    wrong = visgen("predict", photo, "--model", model_folder, "--task", "dept")
    assert wrong.exit_code == 2
    assert "did you mean 'depth'" in wrong.stderr
    absent = visgen("predict", photo, "--model", model_folder, "--task", "detection")
    assert "task 'detection' is not in this model" in absent.stderr


def test_out_holds_pictures_and_json(
    visgen: Callable[..., Any], model_folder: Path, photographs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = visgen("predict", photographs / "a.png", "--model", model_folder, "--out", out)
    files = sorted(p.name for p in out.iterdir())
    assert f"wrote {len(files)} files to {out}" in result.stderr
    assert {"a-overview.png", "a-depth.png", "a-segmentation-street.png", "a-result.json"} <= set(files)
    saved = Result.from_dict(json.loads((out / "a-result.json").read_text()))
    assert saved.size == (48, 64)


def test_unreadable_pictures_are_recorded_and_told_by_exit_code_1(
    visgen: Callable[..., Any], visgen_json: Callable[..., Any], model_folder: Path, photographs: Path, torn: Path
) -> None:
    words = ("predict", photographs / "a.png", torn, "missing.png", "--model", model_folder)
    rows = visgen_json(*words, code=1)
    assert [row["error"] is None for row in rows] == [True, False, False]
    assert "torn.png" in rows[1]["error"] and "missing.png" in rows[2]["error"]
    result = visgen(*words)
    assert result.exit_code == 1
    assert "2 of 3 pictures could not be read" in result.stderr
    assert "not read: " in result.stdout
    skipped = visgen_json(*words, "--on-error", "skip", code=1)
    assert [row["source"] for row in skipped] == [str(photographs / "a.png")]
    told = visgen(*words, "--on-error", "skip").stderr
    assert "2 of 3 pictures could not be read; first: " in told and "torn.png" in told
    raised = visgen(*words, "--on-error", "raise")
    assert raised.exit_code == 2
    assert "torn.png" in raised.stderr


def test_nothing_readable_is_exit_code_2(visgen: Callable[..., Any], model_folder: Path, torn: Path) -> None:
    result = visgen("predict", torn, "--model", model_folder, "--json")
    assert result.exit_code == 2
    assert len(json.loads(result.stdout)) == 1
    assert "torn.png" in result.stderr


def test_an_empty_folder_is_a_mistake(visgen: Callable[..., Any], model_folder: Path, tmp_path: Path) -> None:
    result = visgen("predict", tmp_path, "--model", model_folder)
    assert result.exit_code == 2
    assert "holds no pictures" in result.stderr


def test_private_addresses_need_permission(visgen: Callable[..., Any], model_folder: Path) -> None:
    result = visgen("predict", "http://127.0.0.1:1/a.png", "--model", model_folder)
    assert result.exit_code == 2
    assert "not a public internet address" in result.stderr
    allowed = visgen("predict", "http://127.0.0.1:1/a.png", "--model", model_folder, "--allow-private")
    assert "could not be fetched" in allowed.stderr


def test_a_folder_that_cannot_be_written_is_a_message(
    visgen: Callable[..., Any], model_folder: Path, photographs: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    result = visgen("predict", photographs / "a.png", "--model", model_folder, "--out", tmp_path / "file" / "out")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert "file" in result.stderr


def test_a_file_name_cannot_take_over_the_terminal(
    visgen: Callable[..., Any], model_folder: Path, photographs: Path, tmp_path: Path
) -> None:
    name = "red\x1b[31m\r\x9b2Jname.png"
    (tmp_path / name).write_bytes(b"junk")
    for words in ((tmp_path / name,), (tmp_path / name, photographs / "a.png")):
        result = visgen("predict", *words, "--model", model_folder, "--task", "depth")
        assert result.exit_code in (1, 2)
        assert not set("\x1b\x9b\r") & set(result.stdout + result.stderr)
        assert r"red\x1b[31m\r\x9b2Jname.png" in result.stderr


def test_an_interrupt_leaves_a_whole_list_and_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    def answers() -> Iterator[Result]:
        yield Result(source="a.png", size=(2, 2))
        yield Result(source="b.png", size=(2, 2))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _print_list(_Counted(answers(), None))
    assert [row["source"] for row in json.loads(capsys.readouterr().out)] == ["a.png", "b.png"]


def test_names_are_told_below_the_folder_that_was_given(
    visgen: Callable[..., Any], model_folder: Path, photographs: Path, tmp_path: Path
) -> None:
    for part in ("first", "second"):
        (tmp_path / "in" / part).mkdir(parents=True)
        (tmp_path / "in" / part / "a.png").write_bytes((photographs / "a.png").read_bytes())
    told = visgen("predict", tmp_path / "in", "--model", model_folder, "--task", "depth").stdout
    assert "first/a.png" in told and "second/a.png" in told


def test_the_folder_of_a_run_says_where_its_model_is(
    visgen: Callable[..., Any], model_folder: Path, photographs: Path, tmp_path: Path
) -> None:
    (tmp_path / "run" / "last").mkdir(parents=True)
    told = visgen("predict", photographs / "a.png", "--model", tmp_path / "run")
    assert told.exit_code == 2 and f"its model is '{tmp_path / 'run' / 'last'}'" in told.stderr.replace("\n", " ")

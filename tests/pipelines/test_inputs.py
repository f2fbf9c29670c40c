"""What counts as one picture, a list or a stream, and that nothing is opened before its turn."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from visgen.errors import ImageError
from visgen.pipelines.inputs import chain_inputs, open_inputs


def save(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)
    return path


@pytest.mark.parametrize(
    ("inputs", "form", "total"),
    [
        ("a.png", "one", 1),
        (Path("a.png"), "one", 1),
        ("https://example.com/a.png", "one", 1),
        (b"bytes", "one", 1),
        (io.BytesIO(b"bytes"), "one", 1),
        (Image.new("RGB", (4, 4)), "one", 1),
        (np.zeros((4, 4, 3), np.uint8), "one", 1),
        (np.zeros((4, 4), np.uint8), "one", 1),
        (torch.zeros(3, 4, 4), "one", 1),
        (np.zeros((2, 4, 4, 3), np.uint8), "list", 2),
        (torch.zeros(5, 3, 4, 4), "list", 5),
        (["a.png", b"x"], "list", 2),
        (("a.png",), "list", 1),
        ([], "list", 0),
        (iter(["a.png"]), "stream", None),
        ((x for x in "ab"), "stream", None),
        (map(str, "ab"), "stream", None),
    ],
)
def test_the_form_follows_the_input(inputs: Any, form: str, total: int | None) -> None:
    opened = open_inputs(inputs)
    assert (opened.form, opened.total) == (form, total)


@pytest.mark.parametrize("inputs", [3, None, {"a.png": 1}, {"a.png"}, object()])
def test_other_types_are_refused_by_name(inputs: Any) -> None:
    with pytest.raises(ImageError, match=f"cannot read pictures from a {type(inputs).__name__}"):
        open_inputs(inputs)


def test_a_folder_is_searched_below_and_sorted_by_path(tmp_path: Path) -> None:
    names = ["b.PNG", "a/z.jpg", "a/c.webp", "10.bmp", "9.bmp"]
    for name in names:
        save(tmp_path / name)
    for name in ("notes.txt", ".hidden.png", ".git/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    opened = open_inputs(tmp_path)
    assert (opened.form, opened.total) == ("list", 5)
    assert [i.source for i in opened.items] == sorted(str(tmp_path / n) for n in names)


def test_an_empty_folder_and_an_empty_pattern_are_errors(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ImageError, match=f"folder '{tmp_path}' holds no pictures"):
        open_inputs(tmp_path)
    with pytest.raises(ImageError, match=r"\*\.png' matches no file"):
        open_inputs(str(tmp_path / "*.png"))


def test_a_pattern_gives_files_in_order_also_recursively(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "sub/c.png"):
        save(tmp_path / name)
    assert [Path(i.source).name for i in open_inputs(str(tmp_path / "*.png")).items] == ["a.png", "b.png"]
    found = [i.source for i in open_inputs(f"{tmp_path}/**/*.png").items]
    assert found == [str(tmp_path / n) for n in ("a.png", "b.png", "sub/c.png")]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tmp_path: Path) -> None:
    path = save(tmp_path / "photo[1].png")
    assert [i.source for i in open_inputs(str(path)).items] == [str(path)]


def test_sources_are_named_by_path_or_position(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png")
    with Image.open(path) as picture:
        items = open_inputs([str(path), path, picture, np.zeros((4, 4, 3)), b"x"]).items
        assert [i.source for i in items] == [str(path)] * 3 + ["item 3", "item 4"]


@pytest.mark.parametrize(("name", "kind"), [("", "a folder"), ("*.png", "a glob pattern"), ("a.mp4", "a video")])
def test_several_pictures_inside_a_list_are_refused_when_their_turn_comes(tmp_path: Path, name: str, kind: str) -> None:
    items = list(open_inputs([b"x", str(tmp_path / name)]).items)
    with pytest.raises(ImageError, match=f"item 1, .* is {kind} inside a list"):
        items[1].read()


def test_a_file_opened_as_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("hello")
    with path.open() as file, pytest.raises(ImageError, match=r"open it in binary mode \('rb'\)"):
        next(open_inputs(file).items).read()


def test_a_generator_is_drawn_one_item_at_a_time() -> None:
    drawn: list[int] = []

    def pictures() -> Any:
        for i in itertools.count():
            drawn.append(i)
            yield np.zeros((4, 4, 3), np.uint8)

    items = open_inputs(pictures()).items
    assert drawn == []
    for expected in range(3):
        assert next(items).source == f"item {expected}"
    assert drawn == [0, 1, 2]


def test_chained_inputs_keep_their_order_and_count(tmp_path: Path) -> None:
    first, folder = save(tmp_path / "first.png"), tmp_path / "folder"
    for name in ("b.png", "a.png"):
        save(folder / name)
    opened = chain_inputs([first, folder, "https://example.com/c.png"])
    assert (opened.form, opened.total) == ("stream", 4)
    expected = [str(first), str(folder / "a.png"), str(folder / "b.png"), "https://example.com/c.png"]
    assert [i.source for i in opened.items] == expected
    assert chain_inputs([iter([first]), folder]).total is None

"""A table of a page holds what its record holds, as links that lead to the number."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from visgen.errors import DataError
from visgen.metrics import Figure, fill_table, summarise

PAGE = "# Title\n\n<!-- table a -->\nold\n<!-- end a -->\n\nafter <!-- table b -->\n"


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    page, record = tmp_path / "tasks" / "x" / "README.md", tmp_path / "results" / "r.json"
    page.parent.mkdir(parents=True)
    record.parent.mkdir()
    page.write_text(PAGE)
    values = {"metrics": {"top:4": {"top1": summarise([0.5, 0.7]), "count": 1234, "over head": -0.0004, "text": "x"}}}
    record.write_text(json.dumps(values))
    return page, record


def test_numbers_become_links_and_the_rest_of_the_page_stays(places: tuple[Path, Path]) -> None:
    page, record = places
    at = ("metrics", "top:4")
    row = ["`top:4`", Figure((*at, "count")), Figure((*at, "top1")), Figure((*at, "over head"), 2, " ms")]
    for _ in range(2):  # a second time changes nothing
        fill_table(page, "a", record, ["arm", "n", "top1", "d"], [row])
    link = "../../results/r.json#metrics.top:4"
    assert page.read_text() == PAGE.replace(
        "old\n",
        "\n| arm | n | top1 | d |\n| --- | ---: | ---: | ---: |\n"
        f"| `top:4` | [1234]({link}.count) | [0.600]({link}.top1.mean) ± [0.141]({link}.top1.std) "
        f"| [-0.00]({link}.over%20head) ms |\n\n",
    )


@pytest.mark.parametrize(
    ("name", "cell", "message"),
    [
        ("c", Figure(("metrics",)), "has no lines '<!-- table c -->' and '<!-- end c -->'"),
        ("a", Figure(("metrics", "top:5")), r"results/r\.json' has nothing at 'metrics\.top:5'"),
        ("a", Figure(("metrics", "top:4", "text")), r"holds 'x' at 'metrics\.top:4\.text', which is no number"),
    ],
)
def test_what_does_not_fit_is_told(places: tuple[Path, Path], name: str, cell: Figure, message: str) -> None:
    page, record = places
    with pytest.raises(DataError, match=message):
        fill_table(page, name, record, ["x"], [[cell]])
    with pytest.raises(DataError, match="has 2 cells but its header 1"):
        fill_table(page, "a", record, ["x"], [["a", "b"]])
    assert page.read_text() == PAGE

"""Every figure shown has a record.

The rule, for the README, the model cards, the recipes' READMEs and `docs/`: a measured number is written as a link to
its record, `[0.683](model_zoo/results/camvid.json#metrics.mIoU)`. What follows `#` is the path to the value inside the
file, keys and list positions joined by dots. The number must equal the record's value to the digits printed; with
a `%` the value is a share (0.932 reads 93.2 %), and a unit such as `ms` may follow. Numbers in code spans and code
blocks are settings, not figures. In tables every decimal number and percentage is a figure; in running text,
percentages, times in ms and decimals below one are.
"""

from __future__ import annotations

import json
import re
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

PLACES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "model_zoo/cards/*.md", "tasks/**/*.md", "docs/**/*.md")
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s]*results/[^)\s#]*\.json)#([^)\s]+)\)")
PRINTED = re.compile(r"^\s*([-+]?\d+(?:\.\d+)?)\s*(%?)")
IN_TABLE = re.compile(r"(?<![\w.])\d+\.\d+(?!\.?\d)|(?<![\w.])\d+ ?%")
IN_TEXT = re.compile(r"(?<![\w.])0\.\d+(?!\.?\d)|(?<![\w.])\d+(?:\.\d+)? ?%|(?<![\w.])\d+(?:\.\d+)? ?ms\b")


def shown_lines(text: str) -> list[tuple[int, str]]:
    """Number and text of the lines outside code blocks and front matter, code spans taken out."""
    lines, is_code = [], False
    body = re.sub(r"\A---\n.*?\n---\n", lambda m: "\n" * m.group().count("\n"), text, flags=re.DOTALL)
    for number, line in enumerate(body.splitlines(), start=1):
        if line.lstrip().startswith(("```", "~~~")):
            is_code = not is_code
        elif not is_code:
            lines.append((number, re.sub(r"`[^`]*`", "", line)))
    return lines


def bare_figures(text: str) -> list[str]:
    """Numbers that look like results and carry no link to a record, as "line N: number"."""
    found = []
    for number, line in shown_lines(text):
        rest = re.sub(r"\]\([^)]*\)", "]", LINK.sub("", line))
        pattern = IN_TABLE if line.lstrip().startswith("|") else IN_TEXT
        found += [f"line {number}: {m.group()}" for m in pattern.finditer(rest)]
    return found


def lookup(value: Any, path: str) -> Any:
    """Follow "a.b.0" into nested dicts and lists; keys may themselves hold dots, so the longest key that fits wins."""
    if not path:
        return value
    if isinstance(value, list):
        head, _, rest = path.partition(".")
        return lookup(value[int(head)], rest)
    if isinstance(value, dict):
        for key in sorted(value, key=len, reverse=True):
            if path == key or path.startswith(f"{key}."):
                return lookup(value[key], path[len(key) + 1 :])
    raise KeyError(path)


def disagreement(printed: str, value: Any) -> str:
    """Give "" when the printed number is the value to the digits printed, else what is wrong."""
    match = PRINTED.match(printed)
    if not match:
        return f"'{printed}' does not begin with a number"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"the record holds {value!r}, which is no number"
    number, percent = Decimal(match[1]), bool(match[2])
    exact = Decimal(repr(value)) * (100 if percent else 1)
    step = Decimal(1).scaleb(-len(match[1].partition(".")[2]))
    # Half a printed step of slack: rounding half up, half even and by binary floats all pass.
    if abs(number - exact) <= step / 2:
        return ""
    return f"'{printed}' but the record holds {exact.quantize(step / 10, ROUND_HALF_EVEN)}{' %' if percent else ''}"


def link_problems(text: str, folder: Path) -> list[str]:
    """Links to records whose file, path or value does not fit the printed number."""
    problems = []
    for printed, target, path in LINK.findall(text):
        record = folder / unquote(target)
        if not record.is_file():
            problems.append(f"[{printed}]: no record {target}")
            continue
        try:
            value = lookup(json.loads(record.read_text(encoding="utf-8")), unquote(path))
        except (KeyError, IndexError, ValueError):
            problems.append(f"[{printed}]: record {target} has nothing at '{path}'")
            continue
        if wrong := disagreement(printed, value):
            problems.append(f"[{printed}]({target}#{path}): {wrong}")
    return problems


def pages(root: Path) -> list[Path]:
    return sorted({p for pattern in PLACES for p in root.glob(pattern)})


def test_every_figure_has_a_record_and_agrees_with_it(root: Path) -> None:
    assert root / "README.md" in pages(root)
    problems = []
    for page in pages(root):
        text = page.read_text(encoding="utf-8")
        name = page.relative_to(root)
        problems += [f"{name}: {p}" for p in link_problems(text, page.parent)]
        problems += [f"{name} {p} has no link to a record" for p in bare_figures(text)]
    assert not problems, "\n".join(problems)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    (tmp_path / "results").mkdir()
    values = {"metrics": {"mIoU": 0.68349, "IoU/sky": 0.9, "a.b": [1.25, 60.4]}, "name": "x"}
    (tmp_path / "results" / "r.json").write_text(json.dumps(values), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    "line",
    [
        "| a | [0.683](results/r.json#metrics.mIoU) |",
        "reaches [68.3 %](results/r.json#metrics.mIoU)",
        "| [0.90](results/r.json#metrics.IoU/sky) | [60 ms](results/r.json#metrics.a.b.1) |",
        "[1.2](results/r.json#metrics.a.b.0) and [1.3](results/r.json#metrics.a.b.0)",
        "| `lr 0.001` | 3 seeds | 320x240 | torch 2.11.0 |",
        "Python 3.11, Apache-2.0, 16 MiB; `0.5`",
    ],
)
def test_a_good_line_passes(record: Path, line: str) -> None:
    assert link_problems(line, record) == []
    assert bare_figures(line) == []


@pytest.mark.parametrize(
    ("line", "fragment"),
    [
        ("[0.684](results/r.json#metrics.mIoU)", "the record holds 0.6835"),
        ("[68.4 %](results/r.json#metrics.mIoU)", "the record holds 68.35 %"),
        ("[0.683](results/r.json#metrics.top1)", "has nothing at 'metrics.top1'"),
        ("[0.683](results/none.json#metrics.mIoU)", "no record results/none.json"),
        ("[good](results/r.json#metrics.mIoU)", "does not begin with a number"),
        ("[1](results/r.json#name)", "which is no number"),
    ],
)
def test_a_link_that_does_not_agree_is_found(record: Path, line: str, fragment: str) -> None:
    (problem,) = link_problems(line, record)
    assert fragment in problem


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("| camvid | 0.683 |", "0.683"),
        ("| camvid | 93.2 % |", "93.2"),
        ("it reaches 93 % top-1", "93 %"),
        ("AbsRel is 0.16", "0.16"),
        ("takes 41 ms", "41 ms"),
        ("see [0.68](results/r.json) for it", "0.68"),
    ],
)
def test_a_figure_without_a_record_is_found(line: str, number: str) -> None:
    assert [f.split(": ")[1] for f in bare_figures(line)][:1] == [number]


def test_code_blocks_and_front_matter_are_no_figures() -> None:
    assert bare_figures("---\nx: 0.5\n---\n```\n0.5\n```\ntext\n") == []
    assert bare_figures("---\nx: 0.5\n---\n```\n0.5\n```\n0.25\n") == ["line 7: 0.25"]

"""Markdown tables whose every number is a link into a record, kept between two marks of a page."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError

__all__ = ["Figure", "fill_table"]


@dataclass(frozen=True)
class Figure:
    """A number of a record.

    Args:
        path: Keys to it, such as ("metrics", "camvid", "mIoU"); to a number, or to what `summarise` gives, which is
            shown as mean and standard deviation.
        digits: Digits after the point; whole numbers have none.
        unit: Written after it.
    """

    path: tuple[str, ...]
    digits: int = 3
    unit: str = ""


def fill_table(
    page: str | Path, name: str, record: str | Path, header: Sequence[str], rows: Sequence[Sequence[str | Figure]]
) -> None:
    """Write a table between the lines `<!-- table NAME -->` and `<!-- end NAME -->` of a page.

    Args:
        page: A Markdown file that holds the two lines.
        name: Which of its tables.
        record: The record's file; the links are relative to the page.
        header: Titles of the columns.
        rows: Cells: text as it is, or a figure of the record.
    Raises:
        DataError: The page lacks the lines, a row has another length than the header, or the record has no number at a
            figure's path.
    """
    page, record = Path(page), Path(record)
    text, values = page.read_text(encoding="utf-8"), json.loads(record.read_text(encoding="utf-8"))
    marks = re.compile(rf"(<!-- table {re.escape(name)} -->\n).*?(<!-- end {re.escape(name)} -->)", re.DOTALL)
    if not marks.search(text):
        raise DataError(f"'{page}' has no lines '<!-- table {name} -->' and '<!-- end {name} -->'; add them.")
    target = os.path.relpath(record, page.parent).replace(os.sep, "/")
    lines = [list(header), ["---", *["---:"] * (len(header) - 1)]]
    for row in rows:
        if len(row) != len(header):
            raise DataError(f"a row of table '{name}' has {len(row)} cells but its header {len(header)}.")
        lines.append([cell if isinstance(cell, str) else _shown(cell, values, target) for cell in row])
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    page.write_text(marks.sub(lambda m: m[1] + "\n" + table + "\n" + m[2], text), encoding="utf-8")


def _shown(figure: Figure, values: Any, target: str) -> str:
    found = values
    for key in figure.path:
        if not isinstance(found, dict) or key not in found:
            raise DataError(f"the record '{target}' has nothing at '{'.'.join(figure.path)}'.")
        found = found[key]
    where = f"{target}#{'.'.join(figure.path)}".replace(" ", "%20")
    if isinstance(found, dict) and {"mean", "std"} <= found.keys():
        mean, std = (_number(found[key], figure.digits) for key in ("mean", "std"))
        return f"[{mean}]({where}.mean) ± [{std}]({where}.std){figure.unit}"
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise DataError(f"the record '{target}' holds {found!r} at '{'.'.join(figure.path)}', which is no number.")
    return f"[{_number(found, figure.digits)}]({where}){figure.unit}"


def _number(value: float, digits: int) -> str:
    return str(value) if isinstance(value, int) else f"{value:.{digits}f}"

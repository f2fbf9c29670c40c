"""The data sets that visgen knows how to get: one manifest per folder of data/."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DataError, UnknownName, nearest
from ..shipped import shipped_path

__all__ = ["DatasetCard", "dataset_card", "list_datasets", "read_manifest"]


@dataclass(frozen=True)
class DatasetCard:
    """What the manifest of a data set says.

    Args:
        name: Its folder in data/.
        title: One line.
        tasks: Task keys that it has targets for.
        format: One of visgen.data.FORMATS; read it as "FORMAT:PATH" with `options`.
        options: Options of the reader.
        counts: Split to number of samples after prepare.py.
        terms: Licence or terms, in one line.
        home: The publisher's page.
        files: What to fetch: dicts with "url", "name", "md5" and "sha256" (None where the publisher states none).
        folder: Where card.md and manifest.json lie.
    """

    name: str
    title: str
    tasks: tuple[str, ...]
    format: str
    counts: Mapping[str, int]
    terms: str
    home: str
    files: tuple[Mapping[str, Any], ...]
    folder: Path
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The card, in Markdown."""
        return (self.folder / "card.md").read_text(encoding="utf-8")

    def to_dict(self) -> dict[str, Any]:
        """Give the manifest's values as plain JSON-able values."""
        values = {k: v for k, v in vars(self).items() if k != "folder"}
        return {**values, "tasks": list(self.tasks), "files": [dict(f) for f in self.files]}


def read_manifest(folder: Path) -> DatasetCard:
    """Read the manifest.json of a folder.

    Raises:
        DataError: It is missing, not JSON, or lacks a key.
    """
    file = folder / "manifest.json"
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        return DatasetCard(
            name=folder.name,
            title=data["title"],
            tasks=tuple(data["tasks"]),
            format=data["format"],
            counts=dict(data["counts"]),
            terms=data["terms"],
            home=data["home"],
            files=tuple(data["files"]),
            folder=folder,
            options=dict(data.get("options", {})),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"manifest {file} cannot be read: {error!r}; see data/README.md for what it holds.") from error


def list_datasets() -> list[DatasetCard]:
    """Give the cards of all data sets in data/, by name; folders without a format (the samples) are left out."""
    found = []
    for file in sorted(shipped_path("data").glob("*/manifest.json")):
        if "format" in json.loads(file.read_text(encoding="utf-8")):
            found.append(read_manifest(file.parent))
    return found


def dataset_card(name: str) -> DatasetCard:
    """Give one card; raises UnknownName with the nearest known name."""
    cards = {card.name: card for card in list_datasets()}
    if name not in cards:
        raise UnknownName(f"data set '{name}' has no card{nearest(name, cards)} Known: {', '.join(cards)}.")
    return cards[name]

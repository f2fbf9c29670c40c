"""Photographs of places at several times: TIME/FILE.jpg and pairs.json, which says what shows which place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qsl

from ...errors import ConfigError, DataError, UnknownName, nearest
from ...structures import PlaceLabel
from ..sample import Sample
from ..source import READERS
from .files import read_list, read_pixels, require_folder

__all__ = ["Places"]


class Places:
    """Pictures with the place that each shows; `meta` has "place" and "time".

    Args:
        path: The set's folder. Its `pairs.json` has `places`: {name: {time: [files]}}, files seen from the folder.
            Options may follow it: "FOLDER?places=square,bridge&times=day".
        split: "all", or the files that the lists SPLIT_TIME.txt name, one per line.
        places: Take these places only; None takes all that have a picture.
        times: Take these times only, such as [day]; None takes all.
    Raises:
        ConfigError: `places` or `times` is empty.
        DataError: Missing folder, file or list, a pairs.json of another form, or nothing left.
        UnknownName: A place or a time that the set does not have.
    """

    def __init__(
        self,
        path: str | Path,
        split: str = "all",
        *,
        places: Sequence[str] | None = None,
        times: Sequence[str] | None = None,
    ) -> None:
        folder, _, query = str(path).partition("?")
        given_here = dict(parse_qsl(query))
        for key in given_here:
            if key not in ("places", "times"):
                raise ConfigError(f"places: option '{key}' behind the folder is not known; use places and times.")
        places = given_here["places"].split(",") if "places" in given_here else places
        times = given_here["times"].split(",") if "times" in given_here else times
        self.base = require_folder(folder, "places")
        self.name = self.base.name
        self.heads = {"retrieval": "retrieval"}
        self.classes: dict[str, tuple[str, ...]] = {"retrieval": ()}
        table = self._table()
        all_times = sorted({time for files in table.values() for time in files})
        for what, given, known in (("places", places, list(table)), ("times", times, all_times)):
            if given is not None and not list(given):
                raise ConfigError(f"places: {what} is empty; leave it out for all, or name some.")
            for name in given or ():
                if name not in known:
                    raise UnknownName(
                        f"places: {what} has '{name}', which {self.base} lacks{nearest(str(name), known)} "
                        f"It has {', '.join(known)}."
                    )
        listed = None if split == "all" else self._listed(split, all_times)
        self.rows = [
            (file, place, time)
            for place, by_time in table.items()
            for time, files in by_time.items()
            for file in files
            if (places is None or place in places)
            and (times is None or time in times)
            and (listed is None or file in listed)
        ]
        if not self.rows:
            raise DataError(f"places set {self.base} has no picture in split '{split}' with these places and times.")
        for file, _, _ in self.rows:
            if not (self.base / file).is_file():
                raise DataError(f"places set {self.base}: pairs.json names {file}, which is missing.")

    def _table(self) -> dict[str, dict[str, list[str]]]:
        path = self.base / "pairs.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8-sig"))["places"]
            return {
                str(place): {str(time): [str(f) for f in files] for time, files in times.items()}
                for place, times in found.items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path} cannot be read as {{'places': {{NAME: {{TIME: [FILES]}}}}}}: {type(error).__name__} {error}."
            ) from error

    def _listed(self, split: str, times: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for time in times:
            lines = read_list(self.base / f"{split}_{time}.txt", f"places set {self.base}")
            # a line may be written from the set's folder or from that of the time
            found |= {line if (self.base / line).is_file() else f"{time}/{line}" for line in lines}
        return found

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is outside source '{self.name}' of {len(self)}.")
        file, place, time = self.rows[index]
        path = self.base / file
        meta = {"id": path.stem, "path": str(path), "place": place, "time": time}
        return Sample(read_pixels(path), {"retrieval": PlaceLabel(place, time)}, meta)


READERS.register("places")(Places)

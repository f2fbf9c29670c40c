"""Sources of samples: the contract, the readers' registry, and wrappers that keep labels as they are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ..errors import ConfigError, DataError, UnknownName, nearest
from ..options import call_with
from ..registry import Registry
from .sample import Sample

__all__ = ["FORMATS", "READERS", "Concat", "Mapped", "MissingSplit", "Source", "Subset", "build_source", "split_spec"]

FORMATS = (
    *("boundary", "coco", "depth", "imagefolder", "maps", "npz", "ood", "parquet", "places", "scene-graph", "semantic"),
    *("town", "unpaired", "unpaired-sources", "vg150", "vrd"),
)
"""The formats that `build_source` reads; each has a member of READERS."""

READERS: Registry[Callable[..., Any]] = Registry(
    "data format", "A callable (path: str, split: str, **options) that gives a Source."
)


class MissingSplit(DataError):
    """The data set is there, but it has no such split; the message names those it has."""


@runtime_checkable
class Source(Protocol):
    """Map-style, deterministic and picklable: item i is the same sample every time it is asked for.

    Attributes:
        name: Short name, used in logs and errors.
        heads: Task key to head name, such as {"segmentation": "segmentation.camvid"}.
        classes: Task key to class names, () for a task without classes.
    """

    name: str
    heads: dict[str, str]
    classes: dict[str, tuple[str, ...]]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


def split_spec(spec: str) -> tuple[str, str]:
    """Cut "format:PATH" into its two parts, with ~ and $VARIABLES of the environment filled in.

    Raises:
        ConfigError: There is no colon, or a variable in the path is not set.
        UnknownName: The format is not one of FORMATS.
    """
    form, colon, path = spec.partition(":")
    if not colon or not path:
        raise ConfigError(f"data '{spec}' has no format; write FORMAT:PATH with FORMAT one of {', '.join(FORMATS)}.")
    if form not in FORMATS and form not in READERS:
        known = sorted({*FORMATS, *READERS})
        raise UnknownName(f"data format '{form}' is not known{nearest(form, known)} Known: {', '.join(known)}.")
    path = os.path.expanduser(os.path.expandvars(path))
    if "$" in path:
        raise ConfigError(
            f"data path '{path}' names an environment variable that is not set; set it or write the path."
        )
    return form, path


def is_one_file(spec: str, options: Mapping[str, Any] | None = None) -> bool:
    """Whether a data set is one file that its reader does not divide: it gives the same pictures for every split."""
    return Path(split_spec(spec)[1]).is_file() and (options or {}).get("val_share") is None


def build_source(spec: str, split: str = "train", **options: Any) -> Source:
    """Open a data set in a public layout.

    Args:
        spec: "FORMAT:PATH", for example "imagefolder:pets" or "semantic:$VISGEN_DATA/camvid".
        split: Part of the set, as its layout names it.
        options: The reader's own options.
    Raises:
        UnknownName, ConfigError: The format or an option is not known.
        DataError: The files do not keep to the format.
    """
    form, path = split_spec(spec)
    if form not in READERS:
        # Readers register themselves when imported; only the one that is asked for is.
        import_module("visgen.data.town" if form == "town" else f"visgen.data.readers.{form.replace('-', '_')}")
    return call_with(READERS.get(form), options, f"data '{spec}'", path, split)


class _Wrapper:
    """Shares name, heads and classes with the source inside."""

    def __init__(self, source: Source, name: str | None = None) -> None:
        self.source = source
        self.name = name or source.name
        self.heads = dict(source.heads)
        self.classes = dict(source.classes)

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name}, {len(self)} samples)"


class Subset(_Wrapper):
    """Some samples of a source, in the order given (an index may come twice).

    Args:
        source: Any source.
        indices: Positions 0..len(source)-1.
    Raises:
        DataError: An index lies outside the source.
    """

    def __init__(self, source: Source, indices: Sequence[int], name: str | None = None) -> None:
        super().__init__(source, name)
        self.indices = [int(i) for i in indices]
        for i in self.indices:
            if not 0 <= i < len(source):
                raise DataError(
                    f"index {i} is outside source '{source.name}' of {len(source)}; use 0..{len(source) - 1}."
                )

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        return self.source[self.indices[index]]


class Mapped(_Wrapper):
    """A source whose samples go through a fixed function (an evaluation resize, a caption writer)."""

    def __init__(self, source: Source, function: Callable[[Sample], Sample], name: str | None = None) -> None:
        super().__init__(source, name)
        self.function = function

    def __getitem__(self, index: int) -> Sample:
        return self.function(self.source[index])


class Concat:
    """Several sources one after the other, as one source of the same heads and classes.

    Raises:
        DataError: No source, or two that differ in heads or classes.
    """

    def __init__(self, sources: Sequence[Source], name: str | None = None) -> None:
        if not sources:
            raise DataError("Concat got 0 sources; give at least one.")
        first = sources[0]
        for other in sources[1:]:
            if dict(other.heads) != dict(first.heads) or dict(other.classes) != dict(first.classes):
                raise DataError(
                    f"sources '{first.name}' (heads {dict(first.heads)}) and '{other.name}' (heads {dict(other.heads)})"
                    " differ in heads or classes; a Concat needs them equal: put them into a Mixture instead."
                )
        self.sources = list(sources)
        self.name = name or "+".join(s.name for s in sources)
        self.heads = dict(first.heads)
        self.classes = dict(first.classes)
        self._ends: list[int] = []
        for source in sources:
            self._ends.append(len(source) + (self._ends[-1] if self._ends else 0))

    def __len__(self) -> int:
        return self._ends[-1]

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is outside source '{self.name}' of {len(self)}.")
        start = 0
        for source, end in zip(self.sources, self._ends, strict=True):
            if index < end:
                return source[index - start]
            start = end
        raise AssertionError("unreachable: index was checked against the last end")

"""Segmentation as a picture: white on black for one class, one colour per class for several."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...errors import DataError
from ...language import TaskRequest
from ...structures import IGNORE, Masks, SemanticMap
from .colours import DEFAULT_ORDER, colour_values, grid_colours, nearest_colours
from .letterbox import Letterbox
from .protocol import Codec, Size, label_of, one_class, settle

__all__ = ["BinaryMask", "ClassPalette", "Palette"]


class _Segmentation(Codec):
    """The value is a SemanticMap or Masks; decoding gives a SemanticMap over the classes of the request, 255 where none
    of them is, with the probability of that choice as `confidence`."""

    task = "segmentation"

    def valid(self, value: SemanticMap | Masks, request: TaskRequest, size: Size) -> Tensor:
        """(h, w) bool: labelled pixels of the photograph."""
        box = Letterbox.fit(value.size, size)
        if isinstance(value, Masks):
            return box.region()
        return box.place_map(value.ids[None], fill=IGNORE)[0] != IGNORE

    def soft(self, picture: Tensor, request: TaskRequest) -> Tensor:
        """Probability of the background and of each class, (1 + K, h, w), of a picture in [0, 1]."""
        raise NotImplementedError

    def _read(self, picture: Tensor, request: TaskRequest, size: Size) -> SemanticMap:
        box = Letterbox.fit(size, (int(picture.shape[1]), int(picture.shape[2])))
        odds = box.undo(self.soft(picture, request))
        best, ids = odds.max(dim=0)  # a tie goes to the background, which comes first
        ids = torch.where(ids == 0, IGNORE, ids - 1)
        return SemanticMap(ids.to(torch.int64), request.classes, best.clamp(0, 1).to(torch.float32))


class BinaryMask(_Segmentation):
    """White where the class is, black elsewhere; the brightness is its probability."""

    name = "seg.binary"
    tolerance: ClassVar[dict[str, float]] = {"n16": 0.98, "n32": 0.98, "blur": 0.98, "half": 0.98, "jpg": 0.98}

    def check_request(self, request: TaskRequest) -> None:
        super().check_request(request)
        one_class(request, self.name)

    def _draw(self, value: Any, request: TaskRequest, size: Size) -> Tensor:
        mask = class_mask(value, one_class(request, self.name), self.name)
        return Letterbox.fit(value.size, size).place_map(mask[None].to(torch.float32)).expand(3, -1, -1).clone()

    def soft(self, picture: Tensor, request: TaskRequest) -> Tensor:
        inside = settle(picture.mean(dim=0, keepdim=True))
        return torch.cat((1 - inside, inside))


class Palette(_Segmentation):
    """Each class in a corner of the RGB cube, at most seven; colours that the request does not name follow an order."""

    name = "seg.palette"
    most: ClassVar[int] = len(DEFAULT_ORDER)
    tolerance: ClassVar[dict[str, float]] = {
        "n16": 0.9976,
        "n32": 0.9976,
        "blur": 0.9976,
        "half": 0.9976,
        "jpg": 0.9976,
    }

    def check_request(self, request: TaskRequest) -> None:
        super().check_request(request)
        if not 1 <= len(request.classes) <= self.most:
            raise DataError(
                f"codec {self.name} draws 1..{self.most} classes, but the request names {len(request.classes)}; name "
                "fewer, or use visgen.diffusion.codec.passes to ask in several passes."
            )
        self.colours(request)

    def colours(self, request: TaskRequest) -> Tensor:
        """The colour (K, 3) of each class of a request."""
        return colour_values(colour_names(request))

    def _draw(self, value: Any, request: TaskRequest, size: Size) -> Tensor:
        box = Letterbox.fit(value.size, size)
        picture = torch.zeros(3, *size)
        for name, colour in zip(request.classes, self.colours(request), strict=True):
            mask = box.place_map(class_mask(value, name, self.name)[None])[0]
            picture[:, mask] = colour[:, None]
        return picture

    def soft(self, picture: Tensor, request: TaskRequest) -> Tensor:
        colours = torch.cat((torch.zeros(1, 3), self.colours(request)))
        return nearest_colours(settle(picture, self._levels(request)), colours)

    def _levels(self, request: TaskRequest) -> int:
        return 2


class ClassPalette(Palette):
    """One pass for a closed list of up to 215 classes in a grid of 3, 4 or 6 levels; boundaries suffer (see the tests).

    Its colours go by the order of the classes, since they have no names.
    """

    name = "seg.closed"
    most = 215
    tolerance: ClassVar[dict[str, float]] = {"n16": 0.99, "n32": 0.97, "blur": 0.92, "half": 0.92, "jpg": 0.92}

    def colours(self, request: TaskRequest) -> Tensor:
        if request.colours:
            raise DataError(f"codec {self.name} numbers its colours, but the request names {request.colours[0][1]}.")
        return grid_colours(len(request.classes))[0]

    def _levels(self, request: TaskRequest) -> int:
        return grid_colours(len(request.classes))[1]


def colour_names(request: TaskRequest) -> tuple[str, ...]:
    """The colour of each class of a request: the one it names, else the next free one of `DEFAULT_ORDER`.

    Raises:
        DataError: Two classes in one colour, black for a class, or a colour for a class that is not asked for.
    """
    named = dict(request.colours)
    for name, colour in request.colours:
        if name not in request.classes:
            raise DataError(f"colour '{colour}' is for '{name}', which the request does not ask for; name it there.")
        if colour == "black":
            raise DataError(f"'{name}' is to be black, which is the background; choose another colour.")
    if len(set(named.values())) < len(named):
        raise DataError(f"the colours {', '.join(named.values())} repeat; give each class a colour of its own.")
    free = iter([colour for colour in DEFAULT_ORDER if colour not in named.values()])
    return tuple(named[name] if name in named else next(free) for name in request.classes)


def class_mask(value: Any, name: str, codec: str) -> Tensor:
    """(H, W) bool: where a SemanticMap or Masks has a class; raises DataError for another value or label set."""
    if isinstance(value, SemanticMap):
        return value.ids == label_of(name, value.classes, codec)
    if isinstance(value, Masks):
        return value.masks[value.labels == label_of(name, value.classes, codec)].any(dim=0)
    raise DataError(f"codec {codec} draws a SemanticMap or Masks, not a {type(value).__name__}.")


def merge_passes(maps: list[SemanticMap]) -> SemanticMap:
    """Put the answers of several passes over one photograph together: each pixel takes its most confident class.

    Raises:
        DataError: No map, or maps without confidence.
    """
    if not maps or any(m.confidence is None for m in maps):
        raise DataError(f"{len(maps)} maps were given to merge; it needs at least one, each with its confidence.")
    classes = tuple(name for m in maps for name in m.classes)
    odds, ids, offset = [], [], 0
    for m in maps:
        assert m.confidence is not None
        odds.append(m.confidence.where(m.ids != IGNORE, 0.0))
        ids.append((m.ids + offset).where(m.ids != IGNORE, IGNORE))
        offset += len(m.classes)
    best, which = torch.stack(odds).max(dim=0)
    merged = torch.stack(ids).gather(0, which[None])[0]
    empty = torch.stack([m.confidence for m in maps if m.confidence is not None]).amin(dim=0)
    return replace(maps[0], ids=merged, classes=classes, confidence=best.where(merged != IGNORE, empty))

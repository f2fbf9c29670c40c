"""Classes as flat colours: yes or no, or the lit panel of several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...errors import DataError
from ...language import TaskRequest
from ...structures import Boxes, Classification, ClassLabel, Masks, SemanticMap
from .colours import colour_values
from .protocol import Codec, Size, label_of, one_class, unit

__all__ = ["ColourFlag", "PanelGrid", "flag_colours"]

SHARPNESS = 8.0  # of the sigmoid over squared colour distances, and of the softmax over panels
FLAG = {"yes": "green", "no": "red"}


class ColourFlag(Codec):
    """The whole picture in one colour when the class is there and in another when not.

    The value is a ClassLabel, or Boxes, Masks or a SemanticMap, of which the class is there or not. Decoding gives a
    Classification of ("dog", "not dog"). The request may name the colours of "yes" and "no"; they are green and red.
    """

    name = "cls.flag"
    task = "classification"
    tolerance: ClassVar[dict[str, float]] = {"n16": 1.0, "n32": 1.0, "blur": 1.0, "half": 1.0, "jpg": 1.0}

    def check_request(self, request: TaskRequest) -> None:
        super().check_request(request)
        one_class(request, self.name)
        flag_colours(request)

    def _draw(self, value: Any, request: TaskRequest, size: Size) -> Tensor:
        colour = colour_values(flag_colours(request))[0 if _is_there(value, request.classes[0], self.name) else 1]
        return colour[:, None, None].expand(3, *size).clone()

    def _read(self, picture: Tensor, request: TaskRequest, size: Size) -> Classification:
        yes, no = colour_values(flag_colours(request))
        rows, columns = (max(0, math.floor(side * 0.1)) for side in picture.shape[1:])  # the central 80 %
        middle = picture[:, rows : picture.shape[1] - rows, columns : picture.shape[2] - columns].mean(dim=(1, 2))
        margin = SHARPNESS * (((middle - no) ** 2).sum() - ((middle - yes) ** 2).sum())
        name = request.classes[0]
        return Classification(torch.stack((margin, -margin)).div(2).softmax(dim=0), (name, f"not {name}"))


class PanelGrid(Codec):
    """A grid with one cell per class in the order of the request, of which the right one is white.

    The value is a ClassLabel; where its class is none of the request's, no cell is lit. Decoding gives a Classification
    of the classes of the request.
    """

    name = "cls.panel"
    task = "classification"
    most: ClassVar[int] = 16
    tolerance: ClassVar[dict[str, float]] = {"n16": 1.0, "n32": 1.0, "blur": 1.0, "half": 1.0, "jpg": 1.0}

    def check_request(self, request: TaskRequest) -> None:
        super().check_request(request)
        if not 2 <= len(request.classes) <= self.most:
            raise DataError(
                f"codec {self.name} draws 2..{self.most} classes, but the request names {len(request.classes)}; name "
                "the labels to choose from."
            )
        if request.colours:
            raise DataError(
                f"codec {self.name} lights one of {len(request.classes)} panels, but the request names the colour "
                f"'{request.colours[0][1]}'; ask for one class, or without colours."
            )

    def _draw(self, value: Any, request: TaskRequest, size: Size) -> Tensor:
        if not isinstance(value, ClassLabel):
            raise DataError(f"codec {self.name} draws a ClassLabel, not a {type(value).__name__}.")
        picture = torch.zeros(3, *size)
        for name, (rows, columns) in zip(request.classes, _cells(len(request.classes), size), strict=True):
            if name == value.name:
                picture[:, rows, columns] = 1
        return picture

    def pool(self, pictures: Sequence[Tensor], requests: Sequence[TaskRequest]) -> Classification:
        """Read several panels (3, h, w) as one: the cells of all of them compete by their brightness.

        Raises:
            DataError: As `decode`, of any of them.
        """
        for request in requests:
            self.check_request(request)
        return self._compare([unit(picture) for picture in pictures], requests)

    def _read(self, picture: Tensor, request: TaskRequest, size: Size) -> Classification:
        return self._compare([picture], [request])

    def _compare(self, pictures: Sequence[Tensor], requests: Sequence[TaskRequest]) -> Classification:
        means: list[Tensor] = []
        for picture, request in zip(pictures, requests, strict=True):
            canvas = (int(picture.shape[1]), int(picture.shape[2]))
            means += [picture[:, rows, columns].mean() for rows, columns in _cells(len(request.classes), canvas)]
        # a cell of no pixels, on a canvas of fewer rows than the grid has, is never lit
        names = tuple(name for request in requests for name in request.classes)
        return Classification((SHARPNESS * torch.stack(means).nan_to_num()).softmax(dim=0), names)


def flag_colours(request: TaskRequest) -> tuple[str, str]:
    """The colours of yes and no; raises DataError when they are the same or not those of "yes" and "no"."""
    named = {**FLAG, **dict(request.colours)}
    if set(named) != set(FLAG):
        raise DataError(f"a yes-or-no request has colours for {', '.join(named)}; it may name those of yes and no.")
    colour_values(tuple(named.values()))
    if named["yes"] == named["no"]:
        raise DataError(f"yes and no are both {named['yes']}; give them different colours.")
    return named["yes"], named["no"]


def _is_there(value: Any, name: str, codec: str) -> bool:
    if isinstance(value, ClassLabel):
        return value.label == label_of(name, value.classes, codec)
    if isinstance(value, (Boxes, Masks)):
        return bool((value.labels == label_of(name, value.classes, codec)).any())
    if isinstance(value, SemanticMap):
        return bool((value.ids == label_of(name, value.classes, codec)).any())
    raise DataError(f"codec {codec} draws a ClassLabel, Boxes, Masks or SemanticMap, not a {type(value).__name__}.")


def _cells(count: int, size: Size) -> list[tuple[slice, slice]]:
    """The cells of a grid, nearly square, row by row."""
    across = math.ceil(math.sqrt(count))
    down = math.ceil(count / across)
    edge = lambda n, parts, whole: slice(n * whole // parts, (n + 1) * whole // parts)  # noqa: E731
    return [(edge(k // across, down, size[0]), edge(k % across, across, size[1])) for k in range(count)]

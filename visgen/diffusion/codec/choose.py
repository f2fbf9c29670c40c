"""Which codec draws a request, and the requests of one picture each that a larger one falls apart into."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from ...errors import DataError
from ...language import TaskRequest
from .classification import ColourFlag, PanelGrid
from .depth import AffineDepth, LogDepth
from .detection import BoxLayers
from .detection_other import BoxDiscs, BoxFrames
from .ood import ScoreMap
from .protocol import Codec, CodecSettings
from .scene_graph import TripletRegions
from .segmentation import BinaryMask, ClassPalette, Palette

__all__ = ["CODECS", "codec_for", "passes"]

CODECS: Mapping[str, type[Codec]] = {
    codec.name: codec
    for codec in (
        BinaryMask, Palette, ClassPalette, BoxLayers, BoxFrames, BoxDiscs, LogDepth, AffineDepth, ColourFlag, PanelGrid,
        ScoreMap, TripletRegions,
    )
}  # fmt: skip
"""Every codec that needs no more than settings, by name."""


def codec_for(request: TaskRequest, settings: CodecSettings | None = None) -> Codec:
    """Give the codec that draws a request by default.

    Raises:
        DataError: No picture answers it as it stands: no class to draw, too many, or no single relation. `passes` gives
            requests that fit.
    """
    one = len(request.classes) == 1
    kind: type[Codec] = {
        "segmentation": BinaryMask if one and not request.colours else Palette,
        "detection": BoxLayers,
        "depth": LogDepth,
        "classification": ColourFlag if one else PanelGrid,
        "ood": ScoreMap,
        "scene_graph": TripletRegions,
    }[request.task]
    codec = kind(settings)
    codec.check_request(request)
    return codec


def passes(
    request: TaskRequest, classes: Sequence[str] = (), fits: Callable[[TaskRequest], bool] | None = None
) -> list[TaskRequest]:
    """Split a request into such that one picture each can answer.

    Args:
        request: Any request.
        classes: The classes that "everything" stands for; what the request excludes is left out.
        fits: Tells of a part of a list of classes whether it may stand, as when its sentence must not be too long; the
            parts get smaller until all may, or cannot get smaller.
    Returns:
        One request or more. Boxes take one class each, segmentation up to seven, the panels of classification two to
        sixteen, split evenly; a scene graph without a relation asks for every ordered pair of its classes.
    Raises:
        DataError: It names no class and `classes` is empty, or it asks for the relations of one class.
    """
    if request.task in ("depth", "ood") or request.relation is not None:
        return [request]
    names = [name for name in request.classes or classes if name not in request.exclude]
    if not names:
        raise DataError(
            f"the {request.task} of everything needs the names of everything; name the classes in the instruction."
        )
    if request.task == "scene_graph":
        if len(names) == 1:
            raise DataError(
                f"relations are drawn pair by pair, but the request names '{names[0]}' alone; name two classes."
            )
        pairs = [(a, b) for a in names for b in names if a != b]
        return [replace(request, classes=(), exclude=(), relation=(a, None, b)) for a, b in pairs]
    most = {"detection": 1, "segmentation": Palette.most, "classification": PanelGrid.most}[request.task]
    fewest = 2 if request.task == "classification" else 1  # a panel of one class would be a yes or no
    parts: list[TaskRequest] = []
    for count in range(math.ceil(len(names) / most), max(1, len(names) // fewest) + 1):
        cuts = pairwise(len(names) * k // count for k in range(count + 1))
        parts = [_part(request, tuple(names[start:end])) for start, end in cuts]
        if fits is None or all(map(fits, parts)):
            break
    return parts


def _part(request: TaskRequest, names: tuple[str, ...]) -> TaskRequest:
    of = lambda pairs: tuple(pair for pair in pairs if pair[0] in names or pair[0] in ("yes", "no"))  # noqa: E731
    return replace(request, classes=names, exclude=(), colours=of(request.colours), attributes=of(request.attributes))

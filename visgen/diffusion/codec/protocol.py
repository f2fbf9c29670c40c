"""What every codec offers: a typed value to a picture in [-1, 1], and any picture back to a typed value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import ConfigError, DataError
from ...language import TaskRequest
from .letterbox import Letterbox

__all__ = ["Codec", "CodecSettings", "median3", "one_class", "settle"]

Size = tuple[int, int]
MOST_PREDICATES = 12  # levels of green that stay apart under noise of 32/255 (spec of the triplet codec)


@dataclass(frozen=True)
class CodecSettings:
    """What the codecs of one model agree on.

    Args:
        near, far: Metres at the ends of the depth scale, 0 < near < far; depth outside is drawn at the ends.
        predicates: Names of the relations that a picture can tell, at most 12; empty where there are none.
        ood_levels: Rising scores that cut the range of an OOD score into equal shares; a score is drawn as the share
            of them that it exceeds. Empty draws scores that lie in [0, 1] as they are.
    Raises:
        ConfigError: A value breaks these rules.
    """

    near: float = 0.5
    far: float = 80.0
    predicates: tuple[str, ...] = ()
    ood_levels: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.near < self.far < float("inf"):
            raise ConfigError(f"the depth range is {self.near}..{self.far} m; it needs 0 < near < far.")
        if len(self.predicates) > MOST_PREDICATES:
            raise ConfigError(
                f"{len(self.predicates)} predicates do not fit the {MOST_PREDICATES} levels of a picture; give fewer."
            )
        if any(a >= b for a, b in zip(self.ood_levels, self.ood_levels[1:], strict=False)):
            raise ConfigError("ood_levels do not rise; give the quantiles of a score in order, each once.")


class Codec:
    """Base of all codecs. Pictures are float32 (3, h, w) in [-1, 1]; black (-1) is "nothing".

    A codec takes one request, which names the class and the colours, and one size of canvas; the value lies letterboxed
    on it. Decoding takes any picture, also noise, and gives a value with scores, at the size of the photograph.

    Attributes:
        name: Its name in tables, such as "seg.binary".
        task: Task key.
        tolerance: What decoding keeps under the corruptions of `tests/diffusion/codec`, asserted there.
    """

    name: ClassVar[str]
    task: ClassVar[str]
    tolerance: ClassVar[Mapping[str, float]] = {}

    def __init__(self, settings: CodecSettings | None = None) -> None:
        self.settings = settings or CodecSettings()

    def encode(self, value: Any, request: TaskRequest, size: Size) -> Tensor:
        """Draw a typed value.

        Args:
            value: The target of the task; what of it is drawn depends on the request.
            request: One request of this task.
            size: (h, w) of the canvas.
        Returns:
            (3, h, w) float32 in [-1, 1].
        Raises:
            DataError: The value cannot be drawn for this request; the message says why.
        """
        self.check_request(request)
        return self._draw(value, request, size) * 2 - 1

    def decode(self, picture: Tensor, request: TaskRequest, size: Size) -> Any:
        """Read a picture.

        Args:
            picture: (3, h, w) of any float type; values are cut to [-1, 1], what is no number reads as black.
            request: The request that it answers.
            size: (H, W) of the photograph, which the value shall have.
        Returns:
            The typed value, with scores.
        Raises:
            DataError: The picture is not (3, h, w), or the request does not fit the codec.
        """
        self.check_request(request)
        return self._read(unit(picture), request, size)

    def valid(self, value: Any, request: TaskRequest, size: Size) -> Tensor:
        """(h, w) bool: where the picture of `encode` is known, so that a loss may count there."""
        return Letterbox.fit(value.size, size).region() if hasattr(value, "size") else torch.ones(size).bool()

    def check_request(self, request: TaskRequest) -> None:
        """Raise DataError unless the request fits."""
        if request.task != self.task:
            raise DataError(f"the request asks for {request.task}, but codec {self.name} draws {self.task}.")

    def _draw(self, value: Any, request: TaskRequest, size: Size) -> Tensor:
        """As `encode`, in [0, 1]."""
        raise NotImplementedError

    def _read(self, picture: Tensor, request: TaskRequest, size: Size) -> Any:
        """As `decode`, from a clean float32 picture in [0, 1]."""
        raise NotImplementedError


def unit(picture: Tensor) -> Tensor:
    """Bring a picture (3, h, w) in [-1, 1] to float32 in [0, 1] on the CPU; raises DataError for another shape."""
    if not isinstance(picture, Tensor) or picture.ndim != 3 or picture.shape[0] != 3 or 0 in picture.shape:
        shape = tuple(picture.shape) if isinstance(picture, Tensor) else type(picture).__name__
        raise DataError(f"a picture to decode is {shape}; it must be a tensor (3, h, w) in [-1, 1].")
    plain = picture.detach().to("cpu", torch.float32).nan_to_num(nan=-1.0, posinf=1.0, neginf=-1.0)
    return (plain.clamp(-1, 1) + 1) / 2


def median3(maps: Tensor) -> Tensor:
    """The median of each 3 x 3 neighbourhood of maps (C, h, w); beyond the edge the edge goes on."""
    padded = F.pad(maps[None], (1, 1, 1, 1), mode="replicate")[0]
    around = padded.unfold(1, 3, 1).unfold(2, 3, 1).flatten(3)  # (C, h, w, 9)
    return around.median(dim=-1).values


def settle(maps: Tensor, levels: int = 2, limit: float = 0.02) -> Tensor:
    """Take the noise out of maps (C, h, w) whose clean values are `levels` even steps of [0, 1].

    A map that lies on its levels (off by less than `limit` on average) is clean and comes back as it is, so that lines
    of one pixel survive; any other gets the median of 3 x 3.
    """
    steps = levels - 1
    off = (maps * steps - (maps * steps).round()).abs().mean() / steps
    return maps if float(off) < limit else median3(maps)


def one_class(request: TaskRequest, codec: str) -> str:
    """The only class of a request; raises DataError when it names none or several."""
    if len(request.classes) != 1:
        raise DataError(
            f"codec {codec} draws one class, but the request names {len(request.classes)}"
            f"{': ' + ', '.join(request.classes) if request.classes else ''}; use visgen.diffusion.codec.passes to ask "
            "for one after the other."
        )
    return request.classes[0]


def label_of(name: str, classes: Sequence[str], codec: str) -> int:
    """The id of a class in the label set of a target; raises DataError where the set cannot say whether it is there."""
    if name not in classes:
        raise DataError(
            f"codec {codec} was asked for '{name}', which is none of the {len(classes)} labelled classes; whether it "
            "is in the picture is not known, so ask for a labelled class."
        )
    return tuple(classes).index(name)

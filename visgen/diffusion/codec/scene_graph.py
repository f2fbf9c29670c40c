"""Relations as pictures: one triplet as two filled regions and a level of green, or a matrix of all pairs."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import DataError
from ...language import TaskRequest
from ...structures import Boxes, SceneGraph
from .colours import grid_colours, nearest_colours
from .detection import components, pixel_boxes
from .letterbox import Letterbox
from .protocol import Codec, CodecSettings, Size, settle

__all__ = ["PairMatrix", "TripletRegions"]

LOW, RANGE = 32.0, 223.0  # green of a union starts above black, so that "no relation" is no predicate
SOMETHING = "something"  # the class of an end that the request leaves open
MOST_NODES = 8


class TripletRegions(Codec):
    """The subject's box in red, the object's in blue, and over both a level of green that tells the predicate.

    The value is a SceneGraph; the first triplet that fits the request (the best one, where there are scores) is drawn,
    and black where none fits. Decoding gives a SceneGraph of at most one triplet, whose score is how clear both regions
    and the level are. An end that the request leaves open comes back as "something".
    """

    name = "sgg.triplet"
    task = "scene_graph"
    tolerance: ClassVar[dict[str, float]] = {"n16": 1.0, "n32": 1.0, "blur": 1.0, "half": 1.0, "jpg": 1.0}

    def check_request(self, request: TaskRequest) -> None:
        super().check_request(request)
        if request.relation is None:
            raise DataError(f"codec {self.name} draws one relation; ask how one thing relates to another.")
        if not self.settings.predicates:
            raise DataError(f"codec {self.name} needs the predicates that a picture can tell; give them as settings.")
        predicate = request.relation[1]
        if predicate is not None and predicate not in self.settings.predicates:
            raise DataError(
                f"predicate '{predicate}' is not one that a picture can tell: {', '.join(self.settings.predicates)}."
            )

    def level(self, predicate: int) -> float:
        """The green of a predicate in [0, 1]."""
        return (LOW + (predicate + 0.5) * RANGE / len(self.settings.predicates)) / 255

    def find(self, value: SceneGraph, request: TaskRequest) -> int | None:
        """The row of the triplet that is drawn, None where none fits."""
        assert request.relation is not None
        fits = [
            row
            for row, names in enumerate(value.names)
            if all(want is None or want == name for want, name in zip(request.relation, names, strict=True))
            and names[1] in self.settings.predicates
        ]
        if not fits or value.scores is None:
            return fits[0] if fits else None
        return max(fits, key=lambda row: float(value.scores[row]) if value.scores is not None else 0.0)

    def _draw(self, value: Any, request: TaskRequest, size: Size) -> Tensor:
        if not isinstance(value, SceneGraph):
            raise DataError(f"codec {self.name} draws a SceneGraph, not a {type(value).__name__}.")
        picture = torch.zeros(3, *size)
        row = self.find(value, request)
        if row is None:
            return picture
        subject, target, predicate = value.triplets[row].tolist()
        box = Letterbox.fit(value.size, size)
        for channel, node in ((0, subject), (2, target)):
            for x1, y1, x2, y2 in pixel_boxes(value.boxes.select(torch.tensor([node])), box):
                picture[channel, y1:y2, x1:x2] = 1
                level = self.level(self.settings.predicates.index(value.predicates[predicate]))
                picture[1, y1:y2, x1:x2] = level
        return picture

    def _read(self, picture: Tensor, request: TaskRequest, size: Size) -> SceneGraph:
        assert request.relation is not None
        box = Letterbox.fit(size, (int(picture.shape[1]), int(picture.shape[2])))
        inside = picture[:, : box.inside[0], : box.inside[1]]
        ends = settle(inside[[0, 2]])
        subject, target = (_largest(channel) for channel in ends)
        names = (request.relation[0] or SOMETHING, request.relation[2] or SOMETHING)
        classes = tuple(dict.fromkeys(names))
        if subject is None or target is None:
            nothing = Boxes(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), box.source, classes, torch.zeros(0))
            return SceneGraph(nothing, torch.zeros(0, 3, dtype=torch.int64), self.settings.predicates, torch.zeros(0))
        union = torch.zeros(inside.shape[1:], dtype=torch.bool)
        scores = []
        for channel, (x1, y1, x2, y2) in ((0, subject), (2, target)):
            union[y1:y2, x1:x2] = True
            scores.append(float(inside[channel, y1:y2, x1:x2].mean()))
        predicate, margin = self._predicate(inside[1][_eroded(union)])
        labels = torch.tensor([classes.index(name) for name in names])
        corners = box.undo_boxes(torch.tensor([subject, target], dtype=torch.float32))
        boxes = Boxes(corners, labels, box.source, classes, torch.tensor(scores, dtype=torch.float32))
        score = torch.tensor([scores[0] * scores[1] * margin], dtype=torch.float32)
        return SceneGraph(boxes, torch.tensor([[0, 1, predicate]]), self.settings.predicates, score)

    def _predicate(self, green: Tensor) -> tuple[int, float]:
        """The predicate whose level is nearest to the median green, and how near: 1 on it, 0 half a step away."""
        count = len(self.settings.predicates)
        place = (float(green.median()) * 255 - LOW) * count / RANGE - 0.5
        best = min(count - 1, max(0, round(place)))
        return best, max(0.0, 1 - 2 * abs(place - best))


class PairMatrix(Codec):
    """Experimental: N x N cells for N <= 8 known boxes; cell (i, j) has the colour of the predicate from i to j.

    It does not lie over the photograph, so a network is expected to learn it poorly.

    Args:
        settings: With the predicates, at most 26.
        boxes: The nodes, in the order of rows and columns.
    """

    name = "sgg.matrix"
    task = "scene_graph"
    tolerance: ClassVar[dict[str, float]] = {"blur": 1.0, "jpg": 1.0}

    def __init__(self, settings: CodecSettings, boxes: Boxes) -> None:
        super().__init__(settings)
        if not 1 <= len(boxes) <= MOST_NODES:
            raise DataError(f"codec {self.name} draws 1..{MOST_NODES} boxes, not {len(boxes)}; keep the best.")
        self.boxes = boxes

    def valid(self, value: Any, request: TaskRequest, size: Size) -> Tensor:
        return torch.ones(size, dtype=torch.bool)

    def _draw(self, value: Any, request: TaskRequest, size: Size) -> Tensor:
        if not isinstance(value, SceneGraph) or len(value.boxes) != len(self.boxes):
            raise DataError(f"codec {self.name} draws a SceneGraph over its {len(self.boxes)} boxes.")
        picture = torch.zeros(3, *size)
        colours = grid_colours(len(self.settings.predicates))[0]
        for subject, target, predicate in value.triplets.tolist():
            rows, columns = self._cell(subject, target, size)
            colour = colours[self.settings.predicates.index(value.predicates[predicate])]
            picture[:, rows, columns] = colour[:, None, None]
        return picture

    def _read(self, picture: Tensor, request: TaskRequest, size: Size) -> SceneGraph:
        colours = torch.cat((torch.zeros(1, 3), grid_colours(len(self.settings.predicates))[0]))
        canvas = (int(picture.shape[1]), int(picture.shape[2]))
        rows_found, scores = [], []
        for subject in range(len(self.boxes)):
            for target in range(len(self.boxes)):
                rows, columns = self._cell(subject, target, canvas)
                cell = picture[:, rows, columns].flatten(1)
                if subject == target or cell.shape[1] == 0:
                    continue
                odds = nearest_colours(cell.median(dim=1).values[:, None, None], colours).flatten()
                best = int(odds.argmax())
                if best:
                    rows_found.append([subject, target, best - 1])
                    scores.append(float(odds[best]))
        triplets = torch.tensor(rows_found, dtype=torch.int64).reshape(-1, 3)
        graph = SceneGraph(self.boxes, triplets, self.settings.predicates, torch.tensor(scores, dtype=torch.float32))
        return graph.ranked()

    def _cell(self, row: int, column: int, size: Size) -> tuple[slice, slice]:
        count = len(self.boxes)
        edge = lambda n, whole: slice(n * whole // count, (n + 1) * whole // count)  # noqa: E731
        return edge(row, size[0]), edge(column, size[1])


def _largest(channel: Tensor) -> tuple[int, int, int, int] | None:
    found = components(channel > 0.5)
    return max(found, key=lambda c: c[4])[:4] if found else None


def _eroded(union: Tensor) -> Tensor:
    """The union without its outermost pixel, which a blur mixes; the union itself where nothing would be left."""
    inner = -F.max_pool2d(-F.pad(union[None].to(torch.float32), (1, 1, 1, 1)), 3, 1)[0] > 0.5
    return inner if bool(inner.any()) else union

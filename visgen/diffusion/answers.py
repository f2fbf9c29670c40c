"""From requests about one photograph to typed answers: the picture of each pass, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..language import TaskRequest
from ..language.phrases import canonical
from ..options import build_options
from ..structures import Boxes, Classification, SceneGraph
from .codec import Codec, CodecSettings, Letterbox, codec_for, merge_passes, passes
from .config import Sampling
from .model import InstructDiffusion

__all__ = ["Answer", "answer_requests", "codec_settings", "merge_answers"]


@dataclass(frozen=True)
class Answer:
    """What was asked, in one or several passes, and what came back.

    Attributes:
        request: The request.
        value: Its typed answer at the size of the photograph.
        parts: The requests of the passes.
        texts: The sentences that the model read, one per pass.
        pictures: What it drew (passes, 3, h, w) in [-1, 1].
        codecs: The name of the codec of each pass.
        sampling: How it was drawn.
    """

    request: TaskRequest
    value: Any
    parts: tuple[TaskRequest, ...]
    texts: tuple[str, ...]
    pictures: Tensor
    codecs: tuple[str, ...]
    sampling: Sampling


def codec_settings(model: InstructDiffusion) -> CodecSettings:
    """Give the codec settings that a model was trained with."""
    return build_options(CodecSettings, model.config.codec, "codec")


def answer_requests(
    model: InstructDiffusion,
    image: Tensor,
    requests: Sequence[TaskRequest],
    *,
    seed: int = 0,
    steps: int | None = None,
    text_scale: float | None = None,
    image_scale: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Answer]:
    """Answer requests about one photograph, all passes of one way of drawing in one batch.

    Args:
        model: The instruction model.
        image: The photograph (3, H, W) in [0, 1], of any size.
        requests: What is asked.
        seed: Of the noise of every pass: an answer does not depend on what else is asked, nor on other photographs.
        steps, text_scale, image_scale: Replace the model's own settings.
        progress: Called with (denoising steps done, steps in all), over all groups.
    Raises:
        DataError: A request that no picture can answer.
    """
    settings, side = codec_settings(model), model.config.size
    size = (int(image.shape[1]), int(image.shape[2]))
    canvas = Letterbox.fit(size, (side, side)).place_image(image) * 2 - 1
    rows: list[tuple[int, TaskRequest, Codec, Sampling]] = []
    for number, request in enumerate(requests):
        chosen = model.config.sampling_of(request.task, steps=steps, text_scale=text_scale, image_scale=image_scale)
        for part in passes(request, model.config.classes.get(request.task, ())):
            rows.append((number, part, codec_for(part, settings), chosen))
    drawn: list[Tensor | None] = [None] * len(rows)
    ways = list(dict.fromkeys(row[3] for row in rows))
    total, before = sum(way.steps for way in ways), 0
    for way in ways:
        members = [k for k, row in enumerate(rows) if row[3] == way]

        def report(done: int, _: int, before: int = before) -> None:
            if progress is not None:
                progress(before + done, total)

        texts = [canonical(rows[k][1]) for k in members]
        pictures = model.answer(canvas[None], texts, way, [seed] * len(members), report)
        for k, picture in zip(members, pictures, strict=True):
            drawn[k] = picture
        before += way.steps
    answers = []
    for number, request in enumerate(requests):
        mine = [k for k, row in enumerate(rows) if row[0] == number]
        kept = [picture for k in mine if (picture := drawn[k]) is not None]
        values = [rows[k][2].decode(picture, rows[k][1], size) for k, picture in zip(mine, kept, strict=True)]
        answers.append(
            Answer(
                request,
                merge_answers(values),
                tuple(rows[k][1] for k in mine),
                tuple(canonical(rows[k][1]) for k in mine),
                torch.stack(kept),
                tuple(rows[k][2].name for k in mine),
                rows[mine[0]][3],
            )
        )
    return answers


def merge_answers(values: Sequence[Any]) -> Any:
    """Put the typed answers of the passes of one request together; a single one comes back as it is."""
    first = values[0]
    if len(values) == 1:
        return first
    if isinstance(first, Boxes):
        return _merge_boxes(values)
    if isinstance(first, Classification):
        names = tuple(name for value in values for name in value.classes)
        return Classification(torch.cat([value.probabilities for value in values]) / len(values), names)
    if isinstance(first, SceneGraph):
        boxes = _merge_boxes([value.boxes for value in values])
        rows, offset = [], 0
        for value in values:
            rows.append(value.triplets + value.triplets.new_tensor([offset, offset, 0]))
            offset += len(value.boxes)
        scores = torch.cat([value.scores for value in values])
        return SceneGraph(boxes, torch.cat(rows), first.predicates, scores).ranked()
    return merge_passes(list(values))


def _merge_boxes(values: Sequence[Boxes]) -> Boxes:
    classes = tuple(dict.fromkeys(name for value in values for name in value.classes))
    labels = [torch.tensor([classes.index(value.classes[k]) for k in value.labels.tolist()]) for value in values]
    scores = [value.scores if value.scores is not None else torch.ones(len(value)) for value in values]
    return Boxes(
        torch.cat([value.xyxy for value in values]),
        torch.cat([part.to(torch.int64) for part in labels]),
        values[0].size,
        classes,
        torch.cat(scores),
    )

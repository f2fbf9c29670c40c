"""From requests about one photograph to typed answers: the picture of each pass, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, DataError
from ..language import TaskRequest, explain
from ..language.phrases import canonical
from ..options import build_options
from ..structures import Boxes, Classification, SceneGraph
from .codec import Codec, CodecSettings, Letterbox, PanelGrid, codec_for, merge_passes, passes
from .config import Sampling
from .model import InstructDiffusion
from .sample import forward_passes

__all__ = ["Answer", "answer_requests", "codec_settings", "merge_answers", "plan_passes", "sampling_for"]

MOST_PASSES = 200  # pictures of one request, as many as the ordered pairs of 14 classes
_AT_A_TIME = 16  # pictures drawn together, which bounds the memory


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


def plan_passes(model: InstructDiffusion, request: TaskRequest) -> list[TaskRequest]:
    """Give the requests, of one picture each, that a model answers a request by; nothing is drawn.

    Raises:
        DataError: No picture answers it, its sentence is too long for the text encoder, or it takes more than 200
            pictures.
    """

    def fits(part: TaskRequest) -> bool:
        return len(model.tokenizer(canonical(part), verbose=False)["input_ids"]) <= model.tokens

    parts = passes(request, model.config.classes.get(request.task, ()), fits)
    if len(parts) > MOST_PASSES:
        raise DataError(
            f"'{explain([request])[3:]}' takes {len(parts)} pictures, and one request may take {MOST_PASSES}; name the "
            "classes that it is about, or fewer of them."
        )
    for part in parts:
        codec_for(part, codec_settings(model))
    model.tokenise([canonical(part) for part in parts])
    return parts


def sampling_for(model: InstructDiffusion, task: str, **changes: Any) -> Sampling:
    """Give how a model draws the answers of a task; `changes` as in `DiffusionConfig.sampling_of`.

    Raises:
        ConfigError: A value that Sampling refuses, or more steps than the noise schedule has.
    """
    chosen, most = model.config.sampling_of(task, **changes), model.last_timestep + 1
    if chosen.steps > most:
        raise ConfigError(f"steps is {chosen.steps} but the noise schedule of the model has {most}; use 1..{most}.")
    return chosen


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
    """Answer requests about one photograph, the passes of one way of drawing in batches of at most 16.

    Args:
        model: The instruction model.
        image: The photograph (3, H, W) in [0, 1], of any size.
        requests: What is asked.
        seed: Of the noise of every pass: an answer does not depend on what else is asked, nor on other photographs.
        steps, text_scale, image_scale: Replace the model's own settings.
        progress: Called with (passes of the denoiser done, passes in all), over all groups.
    Raises:
        ConfigError, DataError: As `sampling_for` and `plan_passes`.
    """
    settings, side = codec_settings(model), model.config.size
    size = (int(image.shape[1]), int(image.shape[2]))
    canvas = Letterbox.fit(size, (side, side)).place_image(image) * 2 - 1
    rows: list[tuple[int, TaskRequest, Codec, Sampling]] = []
    for number, request in enumerate(requests):
        chosen = sampling_for(model, request.task, steps=steps, text_scale=text_scale, image_scale=image_scale)
        for part in plan_passes(model, request):
            rows.append((number, part, codec_for(part, settings), chosen))
    drawn: list[Tensor | None] = [None] * len(rows)
    ways = list(dict.fromkeys(row[3] for row in rows))
    members = [[k for k, row in enumerate(rows) if row[3] == way] for way in ways]
    batches = [some[start : start + _AT_A_TIME] for some in members for start in range(0, len(some), _AT_A_TIME)]
    counts = [forward_passes(model, rows[batch[0]][3]) for batch in batches]
    total, before = sum(counts), 0
    with torch.no_grad():
        encoded = model.encode_image(canvas[None].to(model.device))
    for batch, count in zip(batches, counts, strict=True):
        way = rows[batch[0]][3]

        def report(done: int, _: int, before: int = before) -> None:
            if progress is not None:
                progress(before + done, total)

        texts = [canonical(rows[k][1]) for k in batch]
        pictures = model.answer_encoded(encoded, texts, way, [seed] * len(batch), report)
        for k, picture in zip(batch, pictures, strict=True):
            drawn[k] = picture
        before += count
    answers = []
    for number, request in enumerate(requests):
        mine = [k for k, row in enumerate(rows) if row[0] == number]
        kept = [picture for k in mine if (picture := drawn[k]) is not None]
        parts, codec = tuple(rows[k][1] for k in mine), rows[mine[0]][2]
        if isinstance(codec, PanelGrid):
            value: Any = codec.pool(kept, parts)
        else:
            value = merge_answers(
                [rows[k][2].decode(picture, rows[k][1], size) for k, picture in zip(mine, kept, strict=True)]
            )
        answers.append(
            Answer(
                request,
                value,
                parts,
                tuple(map(canonical, parts)),
                torch.stack(kept),
                tuple(rows[k][2].name for k in mine),
                rows[mine[0]][3],
            )
        )
    return answers


def merge_answers(values: Sequence[Any]) -> Any:
    """Put the typed answers of the passes of one request together; a single one comes back as it is.

    Panels of classes are no case of it: what each says alone does not tell which was brighter; see `PanelGrid.pool`.

    Raises:
        DataError: Several panels of classes.
    """
    first = values[0]
    if len(values) == 1:
        return first
    if isinstance(first, Classification):
        raise DataError(f"{len(values)} panels of classes were to be merged; read them together with PanelGrid.pool.")
    if isinstance(first, Boxes):
        return _merge_boxes(values)
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

"""Measure an instruction model question by question: its answers, the bound of the VAE, and controls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..data import Sample
from ..errors import DataError
from ..structures import IGNORE, Boxes, ClassLabel, DepthMap, Masks, OODLabel, SemanticMap
from ..structures.boxes import box_area, pairwise_iou
from .answers import codec_settings
from .codec import codec_for
from .config import FAST, Sampling
from .model import InstructDiffusion
from .queries import Query, canvas_image

__all__ = [
    "WAYS",
    "Asked",
    "answer_pictures",
    "is_strange",
    "other_samples",
    "read_answers",
    "right_class",
    "score_answer",
    "shuffled_texts",
]

WAYS = ("model", "bound", "shuffled", "other image", "no image", "blank")
"""The model's answers; the true pictures through the VAE; the model's answers to another question about the image, to
the same question about another image, and about an all-black one; and a black answer, which needs no model."""
SAME_BOX = 0.5
FOREIGN = ("segment the person", "find the car", "is there a dog", "is anything unusual", "how far is everything")


@dataclass(frozen=True)
class Asked:
    """One question about one image, and the sentence that asks it."""

    sample: Sample
    query: Query
    text: str


@torch.no_grad()
def answer_pictures(
    model: InstructDiffusion,
    rows: Sequence[Asked],
    way: str = "model",
    *,
    sampling: Sampling | None = FAST,
    batch_size: int = 16,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Tensor]:
    """Give one picture (3, h, w) in [-1, 1] per question.

    Args:
        model: The instruction model.
        rows: Questions.
        way: One of WAYS.
        sampling: How answers are drawn; None draws each as the model does for the task of the question.
        batch_size: Questions at a time.
        seed: Question k is drawn from seed + k.
        progress: Called with (questions done, questions in all).
    Raises:
        DataError: An unknown way, or another image is asked for and there is none.
    """
    if way not in WAYS:
        raise DataError(f"way '{way}' is not known; use one of {', '.join(WAYS)}.")
    settings, size = codec_settings(model), (model.config.size, model.config.size)
    texts = shuffled_texts(rows, seed) if way == "shuffled" else [row.text for row in rows]
    seen = other_samples(rows) if way == "other image" else [row.sample for row in rows]
    found: list[Tensor] = []
    for start in range(0, len(rows), batch_size):
        some = rows[start : start + batch_size]
        if way == "bound":
            true = [row.query.picture(codec_for(row.query.request, settings), size)[0] for row in some]
            pictures = model.decode(model.encode_target(torch.stack(true))).clamp(-1, 1)
        elif way == "blank":
            pictures = torch.full((len(some), 3, *size), -1.0)
        else:
            images = torch.stack([canvas_image(sample, size) for sample in seen[start : start + batch_size]])
            if way == "no image":
                images = torch.full_like(images, -1.0)
            seeds = [seed + start + k for k in range(len(some))]
            chosen = [sampling or model.config.sampling_of(row.query.request.task) for row in some]
            pictures = torch.empty_like(images)
            for how in dict.fromkeys(chosen):
                at = [k for k, one in enumerate(chosen) if one == how]
                drawn = model.answer(images[at], [texts[start + k] for k in at], how, [seeds[k] for k in at])
                pictures[at] = drawn.to(pictures)
        found += list(pictures)
        if progress is not None:
            progress(len(found), len(rows))
    return found


def shuffled_texts(rows: Sequence[Asked], seed: int = 0) -> list[str]:
    """The sentences of the rows, each given to another row that asks something else, drawn with a seed.

    The control for "it follows the instruction": the pictures stay, the words come from elsewhere. Where all rows ask
    the same (depth, ood), the words are those of other tasks.
    """
    texts = [row.text for row in rows]
    if len({row.query.request for row in rows}) < 2:
        foreign = [text for text in FOREIGN if text not in texts]
        return [foreign[k % len(foreign)] for k in range(len(rows))]
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    requests = [row.query.request for row in rows]
    for k in range(len(rows)):
        if requests[order[k]] == requests[k]:
            other = next(
                (
                    j
                    for j in range(len(rows))
                    if requests[order[j]] != requests[k] and requests[order[k]] != requests[j]
                ),
                None,
            )
            if other is not None:
                order[k], order[other] = order[other], order[k]
    return [texts[k] for k in order]


def other_samples(rows: Sequence[Asked]) -> list[Sample]:
    """For each row another image of the rows, half of them further on, so that frames of a clip are far apart.

    The control for "it looks at the image": the words stay, the picture comes from elsewhere.

    Raises:
        DataError: All rows ask about one image.
    """
    images = list({id(row.sample): row.sample for row in rows}.values())
    if len(images) < 2:
        raise DataError("all questions are about one image, so that there is no other one; ask about two or more.")
    place = {id(image): k for k, image in enumerate(images)}
    return [images[(place[id(row.sample)] + len(images) // 2) % len(images)] for row in rows]


def read_answers(model: InstructDiffusion, rows: Sequence[Asked], pictures: Sequence[Tensor]) -> list[Any]:
    """Decode each picture with the codec of its question, at the size of its photograph."""
    settings = codec_settings(model)
    return [
        codec_for(row.query.request, settings).decode(picture, row.query.request, row.sample.size)
        for row, picture in zip(rows, pictures, strict=True)
    ]


def score_answer(query: Query, value: Any) -> dict[str, float]:
    """Score one typed answer against the target of its question; "score" rises with quality, from 0 to 1.

    Segmentation: IoU over the labelled pixels, several classes averaged; of an absent class "area", the share of pixels
    that were painted all the same (of several, their sum), and the score of each is 1 - its own. Detection: F1 of boxes
    that overlap by half, 1 where nothing is and nothing was found; surplus boxes half inside a crowd, or of a class
    that the target does not box completely, do not count. Depth: "AbsRel" on known pixels, and the score is
    max(0, 1 - AbsRel). Classification: 1 when right, a tie is wrong. Scene graphs: 1 when the predicate is right and
    both boxes overlap by half; of an absent pair, 1 when nothing was drawn. OOD: the value under "shade".
    """
    return _SCORES[query.request.task](query, value)


def right_class(query: Query) -> str:
    """The right answer to a question of classification, as its codec names it."""
    if len(query.request.classes) == 1:
        return query.request.classes[0] if query.is_there else f"not {query.request.classes[0]}"
    assert isinstance(query.value, ClassLabel)
    return query.value.name


def is_strange(query: Query) -> bool:
    """Whether the image of a question of OOD detection is, or holds, something out of distribution."""
    target: Any = query.value
    return target.is_ood if isinstance(target, OODLabel) else len(target) > 0


def _segmentation(query: Query, value: SemanticMap) -> dict[str, float]:
    target: Any = query.value
    shares, area = [], 0.0
    known = target.ids != IGNORE if isinstance(target, SemanticMap) else torch.ones(target.size, dtype=torch.bool)
    for name in query.request.classes:
        true = _mask(target, name) & known
        painted = (value.ids == value.classes.index(name)) & known
        if bool(true.any()):
            shares.append(float((true & painted).sum()) / float((true | painted).sum()))
        else:
            own = float(painted.sum()) / max(1, int(known.sum()))
            area += own
            shares.append(1.0 - own)
    scores = {"score": sum(shares) / len(shares)}
    if query.is_there:
        scores["IoU"] = scores["score"]
    else:
        scores["area"] = area
    return scores


def _mask(target: Any, name: str) -> Tensor:
    if isinstance(target, SemanticMap):
        return target.ids == target.classes.index(name)
    assert isinstance(target, Masks)
    return target.masks[target.labels == target.classes.index(name)].any(dim=0)


def _detection(query: Query, value: Boxes) -> dict[str, float]:
    target: Boxes = query.value
    name = query.request.classes[0]
    mine = target.labels == target.classes.index(name)
    crowd = torch.zeros_like(mine) if target.is_crowd is None else mine & target.is_crowd
    true = target.xyxy[mine & ~crowd]
    surplus = _surplus(true, value.xyxy)
    pairs = len(value) - int(surplus.sum())
    surplus &= ~_inside(value.xyxy, target.xyxy[crowd])
    wrong = int(surplus.sum()) if target.complete is None or name in target.complete else 0
    total = len(true) + pairs + wrong
    return {"score": 1.0 if total == 0 else 2 * pairs / total, "boxes": float(len(value))}


def _surplus(true: Tensor, found: Tensor) -> Tensor:
    """Which of the boxes found (n,) have no true box of their own, paired by falling overlap."""
    surplus = torch.ones(len(found), dtype=torch.bool)
    if not (len(true) and len(found)):
        return surplus
    overlap = pairwise_iou(true, found).clone()
    while float(overlap.max()) >= SAME_BOX:
        row, column = divmod(int(overlap.argmax()), overlap.shape[1])
        overlap[row], overlap[:, column] = -1.0, -1.0
        surplus[column] = False
    return surplus


def _inside(boxes: Tensor, regions: Tensor) -> Tensor:
    """Which boxes (n,) lie in one of the regions by half of their own area, as COCO lets crowds excuse boxes."""
    low = torch.maximum(boxes[:, None, :2], regions[None, :, :2])
    high = torch.minimum(boxes[:, None, 2:], regions[None, :, 2:])
    shares = (high - low).clamp(min=0).prod(2) / box_area(boxes).clamp(min=1e-6)[:, None]
    return (shares >= SAME_BOX).any(1)


def _depth(query: Query, value: DepthMap) -> dict[str, float]:
    target: DepthMap = query.value
    known = target.valid
    error = float(((value.metres - target.metres).abs() / target.metres.clamp(min=1e-6))[known].mean())
    return {"AbsRel": error, "score": max(0.0, 1.0 - error)}


def _classification(query: Query, value: Any) -> dict[str, float]:
    odds = value.probabilities
    place = value.classes.index(right_class(query))
    others = torch.cat([odds[:place], odds[place + 1 :]])
    return {"score": float(bool(odds[place] > others.max() + 1e-6))}


def _ood(query: Query, value: Any) -> dict[str, float]:
    return {"score": float((value.score > 0.5) == is_strange(query)), "shade": float(value.score)}


def _scene_graph(query: Query, value: Any) -> dict[str, float]:
    relation = query.request.relation
    assert relation is not None
    if not query.is_there:
        return {"score": float(len(value) == 0)}
    if len(value) == 0:
        return {"score": 0.0}
    wanted = [
        row
        for row, names in enumerate(query.value.names)
        if all(want is None or want == name for want, name in zip(relation, names, strict=True))
    ]
    found = value.boxes.xyxy[value.triplets[0, :2]]
    for row in wanted:
        true = query.value.boxes.xyxy[query.value.triplets[row, :2]]
        overlaps = pairwise_iou(found, true).diagonal()
        if value.names[0][1] == query.value.names[row][1] and bool((overlaps >= SAME_BOX).all()):
            return {"score": 1.0}
    return {"score": 0.0}


_SCORES: dict[str, Callable[[Query, Any], dict[str, float]]] = {
    "segmentation": _segmentation,
    "detection": _detection,
    "depth": _depth,
    "classification": _classification,
    "ood": _ood,
    "scene_graph": _scene_graph,
}

"""The figures of an instruction model: what it was asked, how it did, its bound and its control, as one record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Any

import torch
from torch import Tensor

from ..data import Sample, Source, build_source
from ..data.town.presets import instruct_scenes
from ..diffusion import InstructDiffusion, Query, QueryConfig, Sampling, Wording, draw_queries
from ..diffusion.answers import codec_settings
from ..diffusion.codec import codec_for
from ..diffusion.measure import (
    WAYS,
    Asked,
    answer_pictures,
    is_strange,
    read_answers,
    right_class,
    score_answer,
)
from ..diffusion.reading import read_for
from ..errors import DataError, UnknownName
from ..language import TaskRequest
from ..language.phrases import canonical
from ..metrics import (
    ChoiceMetric,
    DepthMetric,
    OODMetric,
    QueryDetectionMetric,
    QuerySegmentationMetric,
    paired_bootstrap,
)
from ..structures import OODLabel
from .evaluate import evenly_spaced
from .instruct_bound import autoencoder_bound

__all__ = [
    "ask",
    "codec_confusion",
    "dataset_figures",
    "measure_town",
    "phrasing_scores",
    "rescore",
    "summarise_ways",
    "two_objects",
]


def ask(
    model: InstructDiffusion,
    source: Source,
    queries: QueryConfig,
    *,
    limit: int | None = None,
    seed: int = 0,
    split: str = "plain",
    keep: Callable[[Query], bool] | None = None,
) -> list[Asked]:
    """Draw questions about the images of a source, the same for the same seed whatever the split of phrases.

    Args:
        model: Whose text encoder must hold the sentences; longer ones become canonical.
        source: Labelled images.
        queries: How many of which kind.
        limit: Use so many images, evenly spaced.
        seed: Of questions and phrases.
        split: "plain" for the canonical sentence, else a split of `visgen.language.phrases`.
        keep: Leaves out questions for which it is false.
    """
    settings = codec_settings(model)
    rows: list[Asked] = []
    plausible: list[str] = []
    words = Wording(lambda text: len(model.tokenizer(text)["input_ids"]), model.tokens, float(split == "plain"),
                    "train" if split == "plain" else split)  # fmt: skip
    for index in evenly_spaced(len(source), limit):
        sample, random = source[index], Random(f"{seed}/{index}")
        asked: set[TaskRequest] = set()
        for query in draw_queries(sample, queries, settings, random, plausible):
            if query.request in asked:
                continue  # a question asked twice would count twice
            asked.add(query.request)
            if query.is_there:
                plausible.extend(query.request.classes)
            if keep is None or keep(query):
                rows.append(Asked(sample, query, words(query.request, Random(f"{seed}/{index}/{len(rows)}/{split}"))))
        plausible = plausible[-300:]
    if not rows:
        raise DataError(f"no image of '{source.name}' can answer a question; check its targets and the counts.")
    return rows


def rescore(
    model: InstructDiffusion, rows: Sequence[Asked], way: str, *, sampling: Sampling | None = None, seed: int = 0
) -> list[dict[str, float]]:
    """Answer questions one way and score them; see `visgen.diffusion.measure`."""
    return _scores(rows, _answers(model, rows, way, sampling, seed))


def _answers(
    model: InstructDiffusion, rows: Sequence[Asked], way: str, sampling: Sampling | None, seed: int
) -> list[Any]:
    return read_answers(model, rows, answer_pictures(model, rows, way, sampling=sampling, seed=seed))


def _scores(rows: Sequence[Asked], values: Sequence[Any]) -> list[dict[str, float]]:
    """Figures of each question; where some ask for what is there and some for what is not, each kind also by itself."""
    scored = [score_answer(row.query, value) for row, value in zip(rows, values, strict=True)]
    if len({row.query.is_there for row in rows}) == 2:
        for row, figures in zip(rows, scored, strict=True):
            figures["present" if row.query.is_there else "absent"] = figures["score"]
    return scored


def summarise_ways(
    model: InstructDiffusion, rows: Sequence[Asked], *, sampling: Sampling | None = None, seed: int = 0
) -> dict[str, Any]:
    """Give the mean scores of questions by each of WAYS, and the gains of the model over its controls.

    Returns:
        Each way with {figure: mean over questions}, "present" and "absent" being the mean score of questions about what
        is and what is not there, and with the figures of the whole set (`dataset_figures`); "questions", how many, and
        "absent questions"; and for each control ("gain" over shuffled words, "gain over other image" and so on) the
        mean gain in score with the 95 % interval of a paired bootstrap over questions. Ways of another image are left
        out where all questions are about one.
    Raises:
        DataError: No question.
    """
    if not rows:
        raise DataError("there is no question to summarise; ask at least one.")
    given: dict[str, Any] = {}
    columns = {}
    is_one = len({id(row.sample) for row in rows}) == 1
    for way in WAYS:
        if way == "other image" and is_one:
            continue
        values = _answers(model, rows, way, sampling, seed)
        scored = _scores(rows, values)
        columns[way] = torch.tensor([[[figures["score"]] for figures in scored]])
        given[way] = _means(scored) | dataset_figures(rows, values)
    for way in (way for way in columns if way not in ("model", "bound")):
        gain = paired_bootstrap(columns[way], columns["model"], torch.Generator().manual_seed(seed))
        name = "gain" if way == "shuffled" else f"gain over {way}"
        given[name] = {key: float(value) for key, value in gain.items()}
    absent = sum(not row.query.is_there for row in rows)
    return {**given, "questions": len(rows), "absent questions": absent}


def dataset_figures(rows: Sequence[Asked], values: Sequence[Any]) -> dict[str, float]:
    """Figures of answers to questions of one task over the whole set, by `visgen.metrics`.

    Segmentation: "mIoU" pooled over the set, paint on absent classes included. Detection: COCO's "AP" and "AP50", and
    "absent_boxes". Both need questions about absent classes, else they are left out, and precision needs classes that
    are boxed completely. Depth: "RMSE" in metres, "delta1".
    Classification: "mean_accuracy", over yes and no where all are such questions, else over right answers. OOD:
    "AUROC", where both sides are there.

    Returns:
        {} for scene graphs and for questions of several tasks.
    """
    tasks = {row.query.request.task for row in rows}
    has_absent = any(not row.query.is_there for row in rows)
    targets = [row.query.value for row in rows]
    wanted: tuple[str, ...] = ()
    metric: Any = None
    if tasks == {"segmentation"} and has_absent:
        metric, wanted = QuerySegmentationMetric(targets[0].classes), ("mIoU",)
        for row, value in zip(rows, values, strict=True):
            for name in row.query.request.classes:
                metric.update([value], [row.query.value], [name])
    elif tasks == {"detection"} and has_absent:
        metric, wanted = QueryDetectionMetric(targets[0].classes), ("AP", "AP50", "absent_boxes")
        names, images = [row.query.request.classes[0] for row in rows], [id(row.sample) for row in rows]
        metric.update(values, targets, names, images)
    elif tasks == {"depth"}:
        metric, wanted = DepthMetric(), ("RMSE", "delta1")
        metric.update(values, targets)
    elif tasks == {"classification"}:
        metric, wanted = ChoiceMetric(), ("mean_accuracy",)
        right = [right_class(row.query) for row in rows]
        is_flag = all(len(row.query.request.classes) == 1 for row in rows)
        metric.update(values, right, [("no", "yes")[row.query.is_there] for row in rows] if is_flag else None)
    elif tasks == {"ood"}:
        sides = [is_strange(row.query) for row in rows]
        if len(set(sides)) == 2:
            metric, wanted = OODMetric(), ("AUROC",)
            metric.update(values, [OODLabel(side) for side in sides])
    figures = {} if metric is None else metric.compute()
    return {name: figures[name] for name in wanted if name in figures}


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            found.setdefault(name, []).append(float(value))
    return {name: sum(values) / len(values) for name, values in found.items()}


def codec_confusion(
    model: InstructDiffusion, samples: Sequence[Sample], *, seed: int = 0, sampling: Sampling | None = None
) -> dict[str, Any]:
    """Ask each image a question of every task it can answer; see whose true answer each drawn picture is nearest to.

    An image counts with the tasks whose true pictures differ from one another; nearest is by mean squared error.

    Returns:
        "own": share of pictures nearest to the answer that was asked for, "chance": one over the mean number of tasks
        asked, "pictures", and "confusion": asked task to {nearest task: count}.
    """
    settings, size = codec_settings(model), (model.config.size, model.config.size)
    confusion: dict[str, dict[str, int]] = {}
    hits = total = images = 0
    for number, sample in enumerate(samples):
        random = Random(f"{seed}/confusion/{number}")
        asked: dict[str, Query] = {}
        config = QueryConfig(dict.fromkeys(QueryConfig().counts, 1.0), absent=0.0, coloured=0.0, avoid=("building",))
        for query in draw_queries(sample, config, settings, random):
            if query.is_there or query.request.task == "classification":
                asked.setdefault(query.request.task, query)
        true: dict[str, Tensor] = {}
        for task, query in asked.items():
            picture = query.picture(codec_for(query.request, settings), size)[0]
            if all(float((picture - other).square().mean()) > 0.02 for other in true.values()):
                true[task] = picture
        if len(true) < 2:
            continue
        images += 1
        rows = [Asked(sample, asked[task], canonical(asked[task].request)) for task in true]
        for row, drawn in zip(rows, answer_pictures(model, rows, sampling=sampling, seed=seed), strict=True):
            task = row.query.request.task
            nearest = min(true, key=lambda name, drawn=drawn: float((drawn - true[name]).square().mean()))  # type: ignore[misc]
            confusion.setdefault(task, {}).setdefault(nearest, 0)
            confusion[task][nearest] += 1
            hits += nearest == task
            total += 1
    if not total:
        raise DataError("no image can answer two tasks; give images with several kinds of labels.")
    return {"own": hits / total, "chance": images / total, "pictures": total, "confusion": confusion}


def two_objects(
    model: InstructDiffusion,
    samples: Sequence[Sample],
    *,
    least: float = 0.02,
    seed: int = 0,
    sampling: Sampling | None = None,
) -> dict[str, float]:
    """Ask images that hold two kinds for the one and for the other: overlap with the own and with the other mask.

    Args:
        model: The instruction model.
        samples: Images with a map.
        least: Least share of the image that each kind covers.
        seed: Of the choice of kinds.
        sampling: How answers are drawn.
    Returns:
        "own" and "cross": mean IoU with the mask that was asked for and with the other one; "bound": own IoU of the
        true picture through the VAE; "pairs".
    """
    rows: list[Asked] = []
    others: list[Tensor] = []
    for number, sample in enumerate(samples):
        target = sample.targets["segmentation"]
        kinds = [name for _, name, share in target.shares() if share >= least and name not in _STUFF]
        if len(kinds) < 2:
            continue
        pair = Random(f"{seed}/pair/{number}").sample(kinds, 2)
        for name, other in (pair, pair[::-1]):
            request = TaskRequest("segmentation", (name,))
            rows.append(Asked(sample, Query(request, target), canonical(request)))
            others.append(target.ids == target.classes.index(other))
    if not rows:
        raise DataError("no image holds two kinds that are large enough; give more images or lower `least`.")
    found = {}
    for way in ("model", "bound"):
        values = read_answers(model, rows, answer_pictures(model, rows, way, sampling=sampling, seed=seed))
        found[way] = sum(score_answer(r.query, v)["score"] for r, v in zip(rows, values, strict=True)) / len(rows)
        if way == "model":
            cross = 0.0
            for value, other in zip(values, others, strict=True):
                painted = value.ids == 0
                cross += float((painted & other).sum()) / max(1.0, float((painted | other).sum()))
    return {"own": found["model"], "cross": cross / len(rows), "bound": found["bound"], "pairs": len(rows) / 2}


_STUFF = ("sky", "road", "sidewalk", "grass", "wall", "floor", "ceiling", "window", "door", "cord", "building")


def phrasing_scores(
    model: InstructDiffusion,
    source: Source,
    queries: QueryConfig,
    *,
    limit: int | None = None,
    seed: int = 0,
    sampling: Sampling | None = None,
    splits: Sequence[str] = ("plain", "train", "frames", "synonyms"),
) -> dict[str, float]:
    """Give the mean score of the same questions in each split of phrases, and what held-out ones keep of seen ones.

    Returns:
        For each split its mean score when the network reads the sentences themselves; "<split> understood", the share
        of sentences that the parser takes for the question; "<split> parsed", the mean score in use, where the
        network reads what the parser made of a sentence: a refusal or another question scores 0. "<split> kept" and
        "<split> parsed kept" are held-out phrasings over seen ones ("train"), left out where those score 0.
    """
    found = {}
    asked = ask(model, source, queries, limit=limit, seed=seed)
    plain = [v["score"] for v in rescore(model, asked, "model", sampling=sampling)]
    for split in splits:
        rows = ask(model, source, queries, limit=limit, seed=seed, split=split)
        right = [_is_understood(model, row) for row in rows]
        scores = plain if split == "plain" else [v["score"] for v in rescore(model, rows, "model", sampling=sampling)]
        found[split] = sum(scores) / len(scores)
        found[f"{split} understood"] = sum(right) / len(right)
        found[f"{split} parsed"] = sum(s for s, is_right in zip(plain, right, strict=True) if is_right) / len(right)
    for split in ("frames", "synonyms"):
        for way in (split, f"{split} parsed"):
            if way in found and found.get(way.replace(split, "train")):
                found[f"{way} kept"] = found[way] / found[way.replace(split, "train")]
    return found


def _is_understood(model: InstructDiffusion, row: Asked) -> bool:
    """Whether the parser takes the sentence of a question for that question and no other."""
    try:
        read = read_for(model, row.text)
    except UnknownName:
        return False
    return [replace(request, raw="") for request in read] == [replace(row.query.request, raw="")]


def measure_town(model: InstructDiffusion, scenes: int, sampling: Sampling) -> dict[str, Any]:
    """Ask questions of every kind about town scenes that training never sees.

    Args:
        model: The instruction model.
        scenes: How many scenes of the split "val", at 64 px.
        sampling: How answers are drawn.
    Returns:
        Part to figures: "autoencoder", "codec" and "two objects" (see there), one part per task, "absent nouns",
        "colours named", "kinds never shown" (four kinds of object that no training scene holds) and "phrasings".
    """
    tasks = "classification,detection,segmentation,depth,scene_graph"
    source = build_source(f"town:instruct?size=64x64&count={scenes}", "val", tasks=tasks)
    odd = build_source(f"town:instruct?size=64x64&count={scenes}&ood_share=0.5", "val", tasks="segmentation")
    samples = [source[k] for k in range(scenes)]
    unseen = build_source(f"town:instruct?size=64x64&count={scenes}&absent_kinds=", "val", tasks="segmentation")
    found: dict[str, Any] = {"autoencoder": autoencoder_bound(model, samples)}
    found["codec"] = codec_confusion(model, samples, sampling=sampling)
    found["two objects"] = two_objects(model, samples, sampling=sampling)
    parts = {task: ({task: 2.0}, 0.2, 0.0) for task in QueryConfig().counts}
    parts |= {"absent nouns": ({"segmentation": 2.0}, 1.0, 0.0), "colours named": ({"segmentation": 2.0}, 0.0, 1.0)}
    for name, (counts, absent, coloured) in parts.items():
        config = QueryConfig(counts, absent, coloured, least=0.006, avoid=("building",))
        rows = ask(model, odd if name == "ood" else source, config)
        found[name] = summarise_ways(model, rows, sampling=sampling)
    kinds = instruct_scenes().absent_kinds
    config = QueryConfig({"segmentation": 40.0}, 0.0, 0.0, least=0.006)
    rows = []
    with suppress(DataError):  # few scenes may show none of them
        rows = ask(model, unseen, config, keep=lambda query: query.is_there and query.request.classes[0] in kinds)
    if rows:
        found["kinds never shown"] = summarise_ways(model, rows, sampling=sampling)
    mixed = dict.fromkeys(("segmentation", "detection", "depth", "classification"), 1.0)
    asking = QueryConfig(mixed, least=0.006, avoid=("building",))
    found["phrasings"] = phrasing_scores(model, source, asking, sampling=sampling)
    return found

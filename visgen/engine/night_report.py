"""Figures about a day-to-night generator: do labels hold, can things be seen, does it look like night?

Each takes the generator as a function from images (B, 3, H, W) in [0, 1] to the same, and gives plain numbers by name.
"""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..data import Sample, build_source
from ..errors import DataError
from ..gan.night import DayNight, EdgeValidity, box_contrast, darkened, hidden_edges, shift_difference
from ..metrics.generative import kernel_distance
from ..metrics.segmentation import SegmentationMetric
from .evaluate import Predictor

__all__ = [
    "Remembered",
    "consistency_report",
    "edge_report",
    "realism_report",
    "stability_report",
    "town_scenes",
    "translate",
    "visibility_report",
]


class Remembered:
    """A generator that translates each picture once, for reports that look at the same pictures."""

    def __init__(self, generator: Callable[[Tensor], Tensor]) -> None:
        self.generator = generator
        self._known: dict[bytes, Tensor] = {}

    def __call__(self, images: Tensor) -> Tensor:
        key = hashlib.sha256(repr(tuple(images.shape)).encode() + images.contiguous().numpy().tobytes()).digest()
        if key not in self._known:
            self._known[key] = self.generator(images)
        return self._known[key]


Translator = Callable[[Tensor], Tensor]
SHARE_OF_NIGHT = 0.8  # of the figure on labelled nights that translated days must reach
LIGHTS = ("lamp", "window")
FAINT = 0.05  # standard deviation of the log-luminance inside a box below which it counts as hidden


def translate(generator: Translator, picture: Tensor) -> Tensor:
    """The night (3, H, W) uint8 of a picture (3, H, W) uint8, as `NightAugmentation` shows it."""
    night: Tensor = (generator(picture[None].float() / 255)[0] * 255).round().clamp(0, 255).to(torch.uint8)
    return night


def edge_report(generator: Translator, pictures: Sequence[Tensor]) -> dict[str, Any]:
    """`EdgeValidity` over pictures (3, H, W) uint8; the floor pairs each with the night half the list away."""
    if len(pictures) < 2:
        raise DataError(f"edges need a floor from other pictures, and {len(pictures)} was given; give 2 or more.")
    judge = EdgeValidity()
    nights = [translate(generator, picture).float() / 255 for picture in pictures]
    for i, picture in enumerate(pictures):
        judge.update(picture.float() / 255, nights[i], nights[(i + len(nights) // 2) % len(nights)])
    return judge.compute()


def town_scenes(scenes: int, split: str = "val", size: tuple[int, int] | None = None) -> list[tuple[Sample, Sample]]:
    """The same streets by day and by night, (H, W) or the town's own size: pairs that share boxes and maps."""
    asked: dict[str, Any] = {"tasks": "detection,segmentation"} | ({} if size is None else {"size": size})
    source = build_source(f"town:night_town?time=both&count={2 * scenes}", split, **asked)
    return [(source[2 * i], source[2 * i + 1]) for i in range(scenes)]


def consistency_report(
    generator: Translator, segmenter: Predictor, head: str, scenes: Sequence[tuple[Sample, Sample]]
) -> dict[str, Any]:
    """How well a segmenter that learned from labelled nights reads translated days, beside real nights of the scenes.

    Args:
        segmenter: Trained by night; one trained by day would measure how far the domains are apart instead.
        head: Its segmentation head.
        scenes: As `town_scenes` gives them.
    Returns:
        Of "night", "translated", "darkened" and "day" the mIoU over the classes that occur, and the share of pixels
        wrongly called a lamp or a window; "ratio": translated over night; "consistent": whether it is 80 % or more.
    """
    measured: dict[str, SegmentationMetric] = {}
    for number, (day, night) in enumerate(scenes):
        target = day.targets["segmentation"]
        dark = darkened(day.image, torch.Generator().manual_seed(number))
        shown = {"night": night.image, "translated": translate(generator, day.pixels).float() / 255}
        for name, image in {**shown, "darkened": dark, "day": day.image}.items():
            with torch.no_grad():
                answer = segmenter.predict(image[None], [head], sizes=[target.size])[head]
            metric = measured.setdefault(name, SegmentationMetric(target.classes, over="target"))
            metric.update(answer, [target])
    found: dict[str, Any] = {}
    for name, metric in measured.items():
        counts, classes = metric.confusion(), metric.classes
        wrong = {c: int(counts[:, classes.index(c)].sum() - counts.diagonal()[classes.index(c)]) for c in LIGHTS}
        found[name] = {
            "mIoU": metric.compute()["mIoU"],
            **{f"false {c}": n / int(counts.sum()) for c, n in wrong.items()},
        }
    ratio = found["translated"]["mIoU"] / found["night"]["mIoU"]
    return {**found, "ratio": ratio, "consistent": ratio >= SHARE_OF_NIGHT, "scenes": len(scenes)}


def visibility_report(
    generator: Translator, scenes: Sequence[tuple[Sample, Sample]], limit: float = FAINT
) -> dict[str, Any]:
    """Share of boxes whose contrast is below the limit, by day, translated, and in the real night of the scene."""
    hidden: dict[str, int] = {"day": 0, "translated": 0, "night": 0}
    total = 0
    for day, night in scenes:
        boxes = day.targets["detection"].xyxy
        total += len(boxes)
        shown = {"day": day.image, "translated": translate(generator, day.pixels).float() / 255, "night": night.image}
        for name, image in shown.items():
            hidden[name] += int((box_contrast(image, boxes) < limit).sum())
    return {**{name: count / total for name, count in hidden.items()}, "boxes": total, "limit": limit}


def realism_report(
    generator: Translator,
    judge: DayNight,
    train: tuple[Sequence[Tensor], Sequence[Tensor]],
    val: tuple[Sequence[Tensor], Sequence[Tensor]],
    more: Mapping[str, Sequence[Tensor]] | None = None,
) -> dict[str, Any]:
    """Share of translated days that a judge of photographs calls night, and how far they are from nights.

    Args:
        judge: Learns here from the photographs of `train`.
        train, val: Days and nights (3, H, W) uint8; no camera is in both.
        more: Further days by name, on which the judge is asked too.
    Returns:
        "accuracy" of the judge on val by day and by night; for each set of days the share called night as they are,
        translated, and merely darkened (what darkness alone is worth); "KD": a thousand times the kernel distance of
        the training days to the training nights in the same three ways.
    """
    days, nights = (judge.see(side) for side in train)
    judge.fit(days, nights)
    by_day, by_night = (judge.night(judge.see(side)) > 0.5 for side in val)
    accuracy = {"day": float((~by_day).float().mean()), "night": float(by_night.float().mean())}
    found: dict[str, Any] = {"accuracy": accuracy}
    for name, pictures in {"val": val[0], "train": train[0], **(more or {})}.items():
        dark = [_bytes(darkened(p.float() / 255, torch.Generator().manual_seed(i))) for i, p in enumerate(pictures)]
        shown = {"day": pictures, "translated": [translate(generator, p) for p in pictures], "darkened": dark}
        seen = {key: judge.see(images) for key, images in shown.items()}
        found[name] = {key: float((judge.night(f) > 0.5).float().mean()) for key, f in seen.items()}
        found[name]["pictures"] = len(pictures)
        if name == "train":
            found["KD"] = {key: 1e3 * kernel_distance(nights.float(), f.float()) for key, f in seen.items()}
    return found


def stability_report(
    generator: Translator,
    pictures: Sequence[Tensor],
    detectors: Mapping[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]],
) -> dict[str, Any]:
    """How much a shift of the picture changes its night, and whether edges are hidden as faint noise.

    Args:
        pictures: Days (3, H, W) uint8.
        detectors: Name to the edge detectors that look at the day and at the night.
    Returns:
        "shift": mean and largest of `shift_difference` over the pictures; by detector the edge loss before and after
        noise and JPEG, what they "added", and its "rise" (0.3 is 30 %). "dimmed" says the same of the days themselves,
        multiplied until they are as dark as their nights, which hide nothing: a rise counts the more, the closer a
        picture kept to the edges before, so that what was added is what to compare.
    """
    shifts = [shift_difference(generator, p.float() / 255) for p in pictures]
    found: dict[str, Any] = {"shift": {"mean": statistics.fmean(shifts), "largest": max(shifts)}}
    for name, (by_day, by_night) in detectors.items():
        pairs: dict[str, list[tuple[float, float]]] = {"night": [], "dimmed": []}
        for i, picture in enumerate(pictures):
            day, night = picture.float() / 255, translate(generator, picture).float() / 255
            dimmed = _bytes(day * (night.mean() / day.mean()).clamp(max=1)).float() / 255
            pairs["night"].append(hidden_edges(by_day, by_night, day, night, seed=i))
            pairs["dimmed"].append(hidden_edges(by_day, by_day, day, dimmed, seed=i))
        own, dimmed_row = (_rise(pairs[key]) for key in ("night", "dimmed"))
        found[name] = {**own, "dimmed": dimmed_row}
    return {**found, "pictures": len(pictures)}


def _rise(pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
    before, after = (statistics.fmean(side) for side in zip(*pairs, strict=True))
    return {"before": before, "after": after, "added": after - before, "rise": after / before - 1}


def _bytes(image: Tensor) -> Tensor:
    return (image * 255).round().to(torch.uint8)

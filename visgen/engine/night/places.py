"""Place recognition from night to day on photographs, in folds of places that share no camera with the training."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ...config import RunConfig
from ...data import Sample, Source
from ...data.transforms import ColorJitter, Darken, RandomResizedCrop
from ...errors import ConfigError, DataError
from ...gan.night import NightGenerator
from ...metrics.retrieval import RetrievalMetric
from ...structures import Descriptor, PlaceLabel
from ...structures.png import write_atomically
from ...task import HeadSpec, MultiTaskModel, MultiTaskObjective
from ..train import Trainer
from .arms import Arm, translate_all
from .draws import STRIDE, MapDraws, StoredMaps

__all__ = ["PlacesStudy", "folds_of"]

VARIANTS = 4
"""Drawn changes of each picture that are kept: of colours, and of darkening."""


def folds_of(source: Any) -> list[list[str]]:
    """Give the places that are tested in each of two folds: every second one by name, of those with both times.

    Raises:
        DataError: Fewer than four places have pictures of two times.
    """
    times: dict[str, set[str]] = {}
    for _, place, time in source.rows:
        times.setdefault(place, set()).add(time)
    both = sorted(place for place, found in times.items() if len(found) > 1)
    if len(both) < 4:
        raise DataError(f"{len(both)} places have pictures by day and by night; two folds need 4 or more.")
    return [both[0::2], both[1::2]]


@dataclass
class PlacesStudy:
    """Trains a retrieval head on maps of a fixed backbone in every arm, and measures it on places it never saw.

    Args:
        config: Optimiser, steps, head options and `data.train.places`: source, batch size.
        backbone: Fixed; images to Features with stride 32.
        source: All pictures of the places with both times.
        tested: Places of this fold that are tested; all others are trained on.
        generators: "edges" and "free", trained on pictures of the training places only.
        size: (H, W) that every picture is brought to, so that its proportions do not name the camera.
        out: Gets a run for each arm and seed.
        others: Further photographs by day, each trained on as a place of its own, seen in several cuts.
    """

    config: RunConfig
    backbone: nn.Module
    source: Source
    tested: Sequence[str]
    generators: dict[str, NightGenerator]
    size: tuple[int, int]
    out: Path
    others: Source | None = None

    def __post_init__(self) -> None:
        self.samples = [_resized(self.source[i], self.size) for i in range(len(self.source))]
        self._cut_from = len(self.samples)
        for i in range(0 if self.others is None else len(self.others)):
            given = _resized(self.others[i], self.size)  # type: ignore[index]
            label = PlaceLabel(f"other/{i}", "day")
            self.samples.append(given.replace(targets={"retrieval": label}, meta={"id": f"other/{i}"}))
        self.labels: list[PlaceLabel] = [s.targets["retrieval"] for s in self.samples]
        self._kept: dict[str, Tensor] = {}
        trained = [i for i, label in enumerate(self.labels) if label.place not in self.tested]
        self.day = [i for i in trained if self.labels[i].time == "day"]
        self.night = [i for i in trained if self.labels[i].time == "night"]
        self.test = [i for i, label in enumerate(self.labels) if label.place in self.tested]

    def run(self, name: str, arm: Arm, seed: int) -> Path:
        """Train an arm unless it is there; give the file of the descriptors of the tested pictures.

        Raises:
            ConfigError: The arm is not one of photographs, its training was interrupted, or the descriptors that are
                there are of other settings.
        """
        if arm.even or arm.night == "match":
            raise ConfigError(f"arm '{name}' is of the street experiment alone; leave it out of --arms.")
        told = self._told()
        folder = self.out / f"{name}-{seed}"
        file = folder / "descriptors.safetensors"
        if not file.is_file():
            model = self._model(seed)
            draws = self._draws(arm, seed)
            trainer = Trainer(
                MultiTaskObjective(model, loss_options={"retrieval": self._loss()}),
                draws, self.config.optim, self.config.train, folder, seed=seed,
            )  # fmt: skip
            summary = trainer.fit(resume=True)
            if not summary.finished:
                raise ConfigError(f"{folder} ended by {summary.reason} at step {summary.steps}; run the command again.")
            write_atomically(file, save({"vectors": self._describe(model)}, told))
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        with safe_open(file, "pt") as kept:
            before = kept.metadata() or {}
        changed = {key: (before.get(key, "not told"), value) for key, value in told.items() if before.get(key) != value}
        if changed:
            said = "; ".join(f"{key} was {old} and is {new}" for key, (old, new) in changed.items())
            raise ConfigError(f"{file} is of other settings than are asked: {said}; use another `out`.")
        return file

    def _told(self) -> dict[str, str]:
        """What descriptors depend on besides arm and seed."""
        config, others = self.config, 0 if self.others is None else len(self.others)
        return {
            "steps": str(config.train.steps),
            "optim": str(config.optim),
            "batch_size": str(config.data.train["places"].batch_size),
            "head": str(config.model.heads["retrieval"].options),
            "loss": str(self._loss()),
            "size": str(self.size),
            "tested": ", ".join(self.tested),
            "others": str(others),
        }

    def untrained(self, seed: int) -> Tensor:
        """Descriptors of the tested pictures from a head as it starts."""
        return self._describe(self._model(seed))

    def measure(self, vectors: Tensor, gallery: str = "day") -> dict[str, dict[str, float]]:
        """Give the average precision of every tested picture that asks: {"night": {id: value}, "day": {id: value}}.

        Args:
            vectors: A descriptor for each picture of `test`.
            gallery: Time of the pictures that are searched.
        """
        found: dict[str, dict[str, float]] = {}
        for time in ("night", "day"):
            metric = RetrievalMetric(time, gallery)
            metric.update([Descriptor(v) for v in vectors], [self.labels[i] for i in self.test])
            names = [str(self.samples[i].meta["id"]) for i in self.test]
            rows = zip(names, metric.average_precisions(), strict=True)
            found[time] = {name: value for name, value in rows if value is not None}
        return found

    def by_place(self, vectors: Tensor) -> dict[str, dict[str, float]]:
        """Give `measure` as means over the queries of each place: {"night": {place: value}, "day": {place: value}}."""
        place = {str(self.samples[i].meta["id"]): self.labels[i].place for i in self.test}
        found: dict[str, dict[str, float]] = {}
        for time, row in self.measure(vectors).items():
            lists: dict[str, list[float]] = {}
            for name, value in row.items():
                lists.setdefault(place[name], []).append(value)
            found[time] = {name: sum(values) / len(values) for name, values in lists.items()}
        return found

    def read(self, file: Path) -> Tensor:
        """The descriptors that `run` wrote."""
        return load_file(file)["vectors"]

    def _loss(self) -> dict[str, Any]:
        return dict(self.config.objective.loss_options.get("retrieval", {}))

    def _model(self, seed: int) -> MultiTaskModel:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            options = self.config.model.heads["retrieval"].options
            channels = self.backbone.channels[STRIDE]  # type: ignore[index, union-attr]
            return MultiTaskModel(StoredMaps(int(channels)), {"retrieval": HeadSpec("retrieval", options=options)})

    @torch.no_grad()
    def _describe(self, model: MultiTaskModel) -> Tensor:
        maps = self._maps("plain")[torch.tensor(self.test), 0]
        answers = model.predict(maps.float(), ["retrieval"])["retrieval"]
        return torch.stack([a.vector for a in answers])

    def _draws(self, arm: Arm, seed: int) -> MapDraws:
        day = self._maps("jitter" if arm.jitter else "plain")[torch.tensor(self.day)]
        labels = [self.labels[i] for i in self.day]
        of: list[list[int]] = [[n] for n in range(len(self.day))]
        night, night_labels = None, labels
        if arm.night == "real":
            night = self._maps("jitter")[torch.tensor(self.night)]
            night_labels = [self.labels[i] for i in self.night]
            places = [label.place for label in night_labels]
            of = [[n for n, place in enumerate(places) if place == label.place] for label in labels]
        elif arm.night:
            kind = {"wrong": "edges"}.get(arm.night, arm.night)
            night = self._maps(kind)[torch.tensor(self.day)]
        if arm.night == "wrong":  # each place's nights under the name of the next place
            names = sorted({label.place for label in labels})
            following = dict(zip(names, names[1:] + names[:1], strict=True))
            night_labels = [replace(label, place=following[label.place]) for label in labels]
        batch_size = self.config.data.train["places"].batch_size
        return MapDraws(day, night, of, labels, night_labels, batch_size, seed)

    def _maps(self, kind: str) -> Tensor:
        """Maps (N, V, C, h, w) in half precision of all pictures; those that are not needed are zero."""
        if kind not in self._kept:
            self._kept[kind] = self._look(kind)
        return self._kept[kind]

    @torch.no_grad()
    def _look(self, kind: str) -> Tensor:
        jitter, darken = ColorJitter(), Darken(p=1.0)
        cut = RandomResizedCrop(size=self.size, scale=(0.5, 1.0))
        wanted = {"plain": range(self._cut_from), "jitter": [*self.day, *self.night]}.get(kind, self.day)
        nights: dict[int, Tensor] = {}
        if kind in self.generators:
            whole = torch.stack([self.samples[i].pixels for i in self.day])
            nights = dict(zip(self.day, translate_all(self.generators[kind], whole), strict=True))
        variants = 1 if kind == "plain" else VARIANTS
        found: Tensor | None = None
        for i in wanted:
            generator = torch.Generator().manual_seed(i)
            sample = self.samples[i].replace(image=nights[i]) if nights else self.samples[i]
            images = []
            for _ in range(variants):
                shown = cut(sample, generator) if i >= self._cut_from and kind != "plain" else sample
                shown = darken(shown, generator) if kind == "darken" else shown
                images.append((shown if kind == "plain" else jitter(shown, generator)).image)
            maps = self.backbone(torch.stack(images)).pyramid[STRIDE].half()
            if found is None:
                found = torch.zeros(len(self.samples), *maps.shape, dtype=torch.float16)
            found[i] = maps
        assert found is not None
        return found


def _resized(sample: Sample, size: tuple[int, int]) -> Sample:
    image = F.interpolate(sample.image[None], size=size, mode="bilinear", antialias=True, align_corners=False)[0]
    return Sample(
        (image.clamp(0, 1) * 255).round().to(torch.uint8), {"retrieval": sample.targets.get("retrieval")}, sample.meta
    )

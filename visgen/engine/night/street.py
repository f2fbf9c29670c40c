"""NightTown: dense tasks on procedural streets, trained by day and tested by rendered night."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from ...config import RunConfig
from ...data import Cached, Mixture, MixturePart, Sample, Source
from ...data.town import TownSource
from ...data.town.presets import night_town
from ...data.transforms import ByNight, Clahe, ColorJitter, Compose, Darken, HorizontalFlip, OfFew, Transform
from ...errors import ConfigError
from ...gan.night import NightGenerator
from ...metrics.segmentation import image_ious
from ...structures.png import write_atomically
from ...task import MultiTaskModel, MultiTaskObjective, build_model
from ..train import Trainer
from .arms import SHARE, Arm, match_histograms, shift_pictures, translate_all
from .grain import add_grain

__all__ = ["StreetStudy", "gather_measures", "measure_dense", "street_sets"]

TASKS = ("segmentation", "depth")
VARIANTS = 2
"""Ways in which each picture is flipped and jittered."""
EVEN = Clahe(tiles=(4, 6), limit=2.0)  # tiles of 16 x 16 pixels in pictures of 64 x 96


def street_sets(size: tuple[int, int], counts: tuple[int, int, int]) -> dict[str, Cached]:
    """Render the scenes of the experiment.

    Args:
        size: (H, W) of the pictures.
        counts: Scenes of A, C and V.
    Returns:
        "A day" and "A night" (seed 20, split train): the same scenes, the labels of one serve both; "B night" (seed
        22): as many nights of those that teach the generators (seeds 21 and 22, in their run file), whose labels are
        not used; "C" and "V" (seed 23, test, and 24, val): by day at even, by night at odd places.
    """
    a, c, v = counts
    rows = {
        "A day": (a, "day", 20, "train"),
        "A night": (a, "night", 20, "train"),
        "B night": (a, "night", 22, "train"),
        "C": (2 * c, "both", 23, "test"),
        "V": (2 * v, "both", 24, "val"),
    }
    return {
        name: Cached(TownSource(count, night_town(size=size, time=time), seed, split=split, tasks=TASKS)).preload()
        for name, (count, time, seed, split) in rows.items()
    }


@dataclass(frozen=True)
class StreetStudy:
    """Trains and measures arms.

    Args:
        config: Model, optimiser, steps and batch size (`data.train.street.batch_size`), the same for all arms.
        sets: See `street_sets`.
        generators: "edges" and "free", trained on set B.
        out: Gets a run for each arm and seed.
        prepare: Called with each model before its training, such as `PrefixCache.attach`: pictures are flipped and
            jittered in few ways, so that what a fixed backbone gives for them can be kept.
        part: The set that is measured: "C", or "V" while settings are chosen.
        share: Of the pictures that arms from A2 on replace.
        shift: Pixels by which arm A8 moves its pictures against their labels.
        grain: Give what a generator or a histogram made the noise of the nights of set B, which neither of them draws.
    """

    config: RunConfig
    sets: dict[str, Cached]
    generators: dict[str, NightGenerator]
    out: Path
    prepare: Callable[[MultiTaskModel], object] | None = None
    part: str = "C"
    share: float = SHARE
    shift: int = 8
    grain: bool = False

    def run(self, name: str, arm: Arm, seed: int) -> dict[str, Tensor]:
        """Give the measures of an arm and a seed, trained where they are not there yet.

        Returns:
            For "C day" and "C night" (or V), as far as the model has the heads: "<set>/iou" (N, K), NaN for classes
            that a picture does not show, and "<set>/absrel" (N,).
        Raises:
            ConfigError: The measures that are there were taken with other settings.
        """
        told = {key: str(getattr(self, key)) for key in ("part", "share", "shift", "grain")}
        told |= {"steps": str(self.config.train.steps), "optim": str(self.config.optim)}
        told |= {"model": str(self.config.model), "objective": str(self.config.objective)}
        told["batch_size"] = str([part.batch_size for part in self.config.data.train.values()])
        folder = self.out / f"{name}-{seed}"
        file = folder / "measures.safetensors"
        if not file.is_file():
            model = self._train(arm, seed, folder)
            found: dict[str, Tensor] = {}
            for time, first in (("day", 0), ("night", 1)):
                rows = range(first, len(self.sets[self.part]), 2)
                measured = measure_dense(model, self.sets[self.part], rows, prepare=EVEN if arm.even else None)
                found |= {f"{self.part} {time}/{key}": value for key, value in measured.items()}
            write_atomically(file, save(found, told))
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        with safe_open(file, "pt") as kept:
            if (before := kept.metadata()) != told:
                was = {key: (before or {}).get(key) for key, value in told.items() if (before or {}).get(key) != value}
                now = {key: told[key] for key in was}
                raise ConfigError(f"{file} was measured with {was}, and now {now} is asked; use another `out`.")
        return load_file(file)

    def _train(self, arm: Arm, seed: int, folder: Path) -> MultiTaskModel:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = build_model(self._model())
        if self.prepare is not None:
            self.prepare(model)
        changes = Compose([HorizontalFlip(), *([ColorJitter()] if arm.jitter else []), *([EVEN] if arm.even else [])])
        steps: list[Any] = [*self._night(arm), OfFew(changes, VARIANTS)]
        source = _Fed(self.sets["A day"], model)
        part = MixturePart(source, Compose(steps), batch_size=self.config.data.train["street"].batch_size)
        run = Trainer(
            MultiTaskObjective(model), Mixture([part], seed), self.config.optim, self.config.train, folder, seed=seed
        )
        summary = run.fit(resume=True)
        if not summary.finished:
            raise ConfigError(f"{folder} ended by {summary.reason} at step {summary.steps}; run the command again.")
        return model

    def _model(self) -> dict[str, Any]:
        source, given = self.sets["A day"], self.config.model
        heads = {
            head: {"task": task, "classes": source.classes[task], "options": given.heads[head].options}
            for task, head in source.heads.items()
            if head in given.heads
        }
        return {"backbone": {"name": given.backbone, **given.options}, "heads": heads}

    def _night(self, arm: Arm) -> list[Any]:
        """The transform that shows a share of the samples by night; none for a training by day."""
        if not arm.night:
            return []
        day = self.sets["A day"]
        if arm.night == "darken":
            darken, rng = Darken(p=1.0), torch.Generator().manual_seed(0)
            pictures = torch.stack([darken(day[i], rng).pixels for i in range(len(day))])
        elif arm.night == "real":
            pictures = _pixels(self.sets["A night"])
        elif arm.night == "match":
            pictures = match_histograms(_pixels(day), _pixels(self.sets["B night"]))
        else:
            pictures = translate_all(self.generators["free" if arm.night == "free" else "edges"], _pixels(day))
        if self.grain and arm.night not in ("darken", "real"):
            pictures = add_grain(pictures, _pixels(self.sets["B night"]))
        if arm.night == "wrong":
            pictures = shift_pictures(pictures, self.shift)
        names = [str(day[i].meta["id"]) for i in range(len(day))]
        return [ByNight(dict(zip(names, pictures, strict=True)), self.share)]


class _Fed:
    """A source as far as a model has heads for it."""

    def __init__(self, source: Source, model: MultiTaskModel) -> None:
        self.source, self.name = source, source.name
        self.heads = {task: head for task, head in source.heads.items() if head in model.specs}
        self.classes = {task: tuple(source.classes.get(task, ())) for task in self.heads}

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        return self.source[index]


def _pixels(source: Source) -> Tensor:
    return torch.stack([source[i].pixels for i in range(len(source))])


@torch.no_grad()
def measure_dense(
    model: MultiTaskModel,
    source: Source,
    rows: Sequence[int] | range,
    batch_size: int = 20,
    prepare: Transform | None = None,
) -> dict[str, Tensor]:
    """Give of each picture the IoU of each class, "iou" (N, K), and the relative error of depth, "absrel" (N,).

    Args:
        model: Has a head of each of TASKS, or of one.
        source: Samples of one size with both targets.
        rows: Which of them.
        batch_size: Of the answers.
        prepare: Done to each picture first, without chance.
    """
    heads = {task: source.heads[task] for task in TASKS if source.heads[task] in model.specs}
    ious: list[Tensor] = []
    errors: list[float] = []
    for start in range(0, len(rows), batch_size):
        samples: list[Sample] = [source[i] for i in rows[start : start + batch_size]]
        if prepare is not None:
            samples = [prepare(sample, torch.Generator()) for sample in samples]
        answers = model.predict(torch.stack([s.image for s in samples]), list(heads.values()))
        for n, sample in enumerate(samples):
            if "segmentation" in heads:
                target = sample.targets["segmentation"]
                seen = answers[heads["segmentation"]][n]
                ious.append(image_ious(seen.ids, target.ids, len(target.classes)))
            if "depth" in heads:
                true, metres = sample.targets["depth"].metres, answers[heads["depth"]][n].metres
                errors.append(float(((metres - true).abs() / true)[true > 0].mean()))
    return {**({"iou": torch.stack(ious)} if ious else {}), **({"absrel": torch.tensor(errors)} if errors else {})}


def gather_measures(runs: dict[str, dict[int, dict[str, Tensor]]], key: str) -> dict[str, Tensor]:
    """Give a measure of all arms as values (S, N, G), one group where it has none."""
    found = {}
    for arm, by_seed in runs.items():
        values = torch.stack([by_seed[seed][key] for seed in sorted(by_seed)])
        found[arm] = values if values.ndim == 3 else values[..., None]
    return found

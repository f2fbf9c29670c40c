"""The same heads on two backbones, drawn pictures beside them, and what needs no model: one protocol, one budget."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F

from ..config import OptimConfig, TrainConfig
from ..data import Mixture, MixturePart, Source, build_transform
from ..diffusion import InstructDiffusion
from ..metrics import summarise
from ..structures import DepthMap, SemanticMap
from ..task import HeadSpec, MultiTaskModel, MultiTaskObjective, build_model
from ..task.drawn import DrawnModel
from .evaluate import evaluate
from .train import Trainer

__all__ = ["answer_costs", "compare_answers", "constant_answer", "heads_on"]

HEADS: dict[str, dict[str, Any]] = {
    "segmentation.camvid": {"task": "segmentation", "options": {"width": 64, "fine_width": 48}},
    "depth": {"task": "depth", "options": {"width": 64, "fine_width": 48}},
}
FIGURE = {"segmentation": "mIoU", "depth": "AbsRel"}


def heads_on(
    backbone: Mapping[str, Any], classes: tuple[str, ...], weights: Any = None, seed: int = 0
) -> MultiTaskModel:
    """Build fresh heads of segmentation and depth on a frozen backbone.

    Args:
        backbone: Its options, as `build_model` takes them.
        classes: Of segmentation.
        weights: State dict of the backbone; None where the options bring trained weights along.
        seed: Of the heads, and of the adapters of diffusion features, which are trained with them.
    """
    heads = {
        name: {**spec, "classes": classes if spec["task"] == "segmentation" else ()} for name, spec in HEADS.items()
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_model({"backbone": backbone, "heads": heads, "max_side": 320}, load_weights=False)
    if weights is not None:
        model.backbone.load_state_dict(weights)
        model.backbone.requires_grad_(False)
    return model


def compare_answers(
    experts: MultiTaskModel,
    drawing: InstructDiffusion,
    train: Mapping[str, Source],
    val: Mapping[str, Source],
    *,
    steps: int = 150,
    batch_size: int = 4,
    size: tuple[int, int] = (144, 192),
    seeds: tuple[int, ...] = (0, 1, 2),
    limit: int | None = None,
) -> dict[str, Any]:
    """Measure four answers on the same images: heads on experts, heads on diffusion features, pictures, a constant.

    Both backbones stay as they are; fresh heads of one kind (with the adapters of the diffusion features) are trained
    on each with the same batches. Nothing is trained for pictures and constants here.

    Args:
        experts: A model whose backbone is a mixture of experts.
        drawing: The instruction model.
        train, val: Head name to source, for the heads "segmentation.camvid" and "depth".
        steps: Optimiser steps of each training, one batch of each head in turn.
        batch_size: Images per batch.
        size: Images are resized to it for training.
        seeds: One training each.
        limit: Use so many val images.
    Returns:
        Answer to {figure: value, or its summary over seeds}; for what they cost see `answer_costs`.
    """
    classes = tuple(val["segmentation.camvid"].classes["segmentation"])
    found: dict[str, Any] = {}
    for name, build in _arms(experts, drawing, classes).items():
        rows = [_trained(build(seed), train, val, steps, batch_size, size, seed, limit) for seed in seeds]
        found[name] = {key: summarise([row[key] for row in rows]) for key in rows[0]}
    specs = _specs(classes)
    found["picture"] = _measured(DrawnModel(drawing, specs), val, limit)
    constants = {name: constant_answer(source, name.partition(".")[0]) for name, source in train.items()}
    found["constant"] = _measured(_Constant(specs, constants), val, limit)
    return found


def answer_costs(
    experts: MultiTaskModel,
    drawing: InstructDiffusion,
    classes: tuple[str, ...],
    clock: Callable[[Mapping[str, Callable[[], Any]]], Mapping[str, Sequence[float]]],
    *,
    size: tuple[int, int] = (144, 192),
) -> dict[str, dict[str, float]]:
    """Say what the answers of `compare_answers` cost: parameters, and the time for classes and depth of one picture.

    Args:
        experts, drawing: As there.
        classes: Of segmentation.
        clock: Gives the seconds of several runs of each case.
        size: At which heads read the picture, of 240 x 320 pixels; drawn pictures have their canvas.
    Returns:
        Answer to {"parameters", "median_ms"}; a drawn answer takes one picture per class and one for depth.
    """
    picture = torch.rand(1, 3, 240, 320, generator=torch.Generator().manual_seed(0))
    small = F.interpolate(picture, size=size, mode="bilinear", antialias=True)
    models = {name: build(0).eval() for name, build in _arms(experts, drawing, classes).items()}
    cases = {name: partial(model.predict, small, list(HEADS), sizes=[(240, 320)]) for name, model in models.items()}
    cases["picture"] = partial(DrawnModel(drawing, _specs(classes)).predict, picture, list(HEADS))
    weights = {**{name: list(model.parameters()) for name, model in models.items()}, "picture": drawing.parameters()}
    with torch.no_grad():
        seconds = clock(cases)
    return {
        name: {"parameters": sum(p.numel() for p in weights[name]), "median_ms": 1e3 * median(seconds[name])}
        for name in cases
    }


def _specs(classes: tuple[str, ...]) -> dict[str, HeadSpec]:
    return {name: HeadSpec(s["task"], classes if s["task"] == "segmentation" else ()) for name, s in HEADS.items()}


def _arms(
    experts: MultiTaskModel, drawing: InstructDiffusion, classes: tuple[str, ...]
) -> dict[str, Callable[[int], MultiTaskModel]]:
    """Fresh heads of a seed on each of the two backbones."""
    described = {key: value for key, value in experts.config()["backbone"].items() if key != "drop_path"}
    features = {"name": "diffusion_features", "model": drawing, "side": drawing.config.size}
    return {
        "experts and heads": lambda seed: heads_on(described, classes, experts.backbone.state_dict(), seed),
        "diffusion features and heads": lambda seed: heads_on(features, classes, None, seed),
    }


def _trained(
    model: MultiTaskModel,
    train: Mapping[str, Source],
    val: Mapping[str, Source],
    steps: int,
    batch_size: int,
    size: tuple[int, int],
    seed: int,
    limit: int | None,
) -> dict[str, float]:
    transform = build_transform([{"name": "resize", "size": list(size)}, {"name": "horizontal_flip"}])
    parts = [MixturePart(source, transform, 1.0, batch_size, name) for name, source in train.items()]
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            MultiTaskObjective(model),
            Mixture(parts, seed, "round_robin"),
            OptimConfig(lr=2e-3, weight_decay=0.01, warmup_steps=10),
            TrainConfig(steps=steps, threads=1, workers=0, progress="none", device="cpu", save_every=0),
            folder,
            seed=seed,
        )
        trainer.fit()
        model.eval()
        side = max(size)
        return _measured(model, val, limit, side)


def _measured(model: Any, val: Mapping[str, Source], limit: int | None, side: int | None = None) -> dict[str, float]:
    found = {}
    for name, source in val.items():
        figures = evaluate(model, source, name, max_side=side, min_side=side, limit=limit).metrics
        task = name.partition(".")[0]
        found[FIGURE[task]] = figures[FIGURE[task]]
        if task == "segmentation":
            found["IoU/road"] = figures["IoU/road"]
    return found


def constant_answer(source: Source, task: str) -> Any:
    """The best answer that looks at no image: at each place the most frequent class, or the median depth.

    Maps of other sizes than the first are resized to it.
    """
    if task == "depth":
        first = source[0].targets["depth"].metres.shape
        maps = [source[k].targets["depth"].metres for k in range(0, len(source), max(1, len(source) // 120))]
        stack = torch.stack([F.interpolate(m[None, None], size=first, mode="nearest")[0, 0] for m in maps])
        stack[stack == 0] = float("nan")
        whole = stack.nanmedian()
        return DepthMap(stack.nanmedian(dim=0).values.nan_to_num(float(whole)).clamp(min=1e-3))
    targets = [source[k].targets["segmentation"] for k in range(0, len(source), max(1, len(source) // 120))]
    shape, classes = targets[0].ids.shape, targets[0].classes
    counts = torch.zeros(len(classes), *shape)
    for target in targets:
        ids = F.interpolate(target.ids[None, None].float(), size=shape, mode="nearest")[0, 0].long()
        for label in range(len(classes)):
            counts[label] += ids == label
    return SemanticMap(counts.argmax(dim=0), classes)


class _Constant(DrawnModel):
    """Gives the same value for every image."""

    def __init__(self, specs: Mapping[str, HeadSpec], values: Mapping[str, Any]) -> None:
        self._specs, self.values = dict(specs), dict(values)

    def predict(self, images: Any, heads: Any, *, sizes: Any = None, given: Any = None) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in heads:
            value = self.values[name]
            rows: list[Any] = []
            for size in sizes:
                if isinstance(value, DepthMap):
                    rows.append(DepthMap(F.interpolate(value.metres[None, None], size=tuple(size))[0, 0]))
                else:
                    ids = F.interpolate(value.ids[None, None].float(), size=tuple(size), mode="nearest")[0, 0].long()
                    rows.append(SemanticMap(ids, value.classes))
            found[name] = rows
        return found

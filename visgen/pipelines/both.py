"""Both paths on the same pictures: the experts' answers, and how far the instruction model agrees with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..errors import DataError, UnknownName, VisgenError
from ..structures import Boxes, Classification, DepthMap, Result, SemanticMap, picture_of
from ..structures.boxes import pairwise_iou
from .inputs import Inputs, chain_inputs, open_inputs, take_reading
from .instruct import InstructPipeline, InstructPlan
from .pipeline import Pipeline
from .plan import Plan
from .run import RunOptions, check_options, read_item

__all__ = ["BothPlan", "PairedPipeline", "agreement"]

SAME_BOX = 0.5  # IoU from which two boxes are the same thing, as in AP50
NOTHING_ASKED = "no instruction is given; add one, such as 'how far is everything?'."
DELTA = 1.25  # ratio of depths that counts as the same, as in the delta1 metric


@dataclass(frozen=True)
class BothPlan:
    """What each path does; None where it cannot, and then `left_out` says why nothing is drawn beside the experts."""

    experts: Plan | None
    drawn: InstructPlan | None
    left_out: str | None = None

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks asked, of either path."""
        found = [*(self.experts.tasks if self.experts else ()), *(self.drawn.tasks if self.drawn else ())]
        return tuple(dict.fromkeys(found))

    def explain(self) -> str:
        """Give the lines of both plans, and why nothing is drawn."""
        lines = [plan.explain() for plan in (self.experts, self.drawn) if plan is not None]
        return "\n".join([*lines, *([f"nothing is drawn: {self.left_out}"] if self.left_out else ())])

    def to_dict(self) -> dict[str, Any]:
        """Give both plans as one JSON-able dictionary; that of the experts comes first."""
        first = (self.experts or self.drawn).to_dict()  # type: ignore[union-attr]
        paths = [name for name, plan in self._named() if plan is not None]
        return {**first, "paths": paths, **({"left_out": self.left_out} if self.left_out else {})}

    def _named(self) -> tuple[tuple[str, Any], ...]:
        return (("moe", self.experts), ("diffusion", self.drawn))


class PairedPipeline:
    """What `pipeline(path="both")` and, with an instruction model at hand, `path="auto"` give.

    Args:
        experts: The pipeline of the mixture of experts.
        drawn: The pipeline of the instruction model.
        path: "both": each answers, and `Result.request["agreement"]` compares; where the experts do not know what is
            asked, the instruction model's answer stands alone; where that cannot draw it, or there is no instruction,
            the experts' does, and `Result.request["left_out"]` says why. "auto": the experts answer what they know, and
            what they do not know goes to the instruction model.
    """

    def __init__(self, experts: Pipeline, drawn: InstructPipeline, path: str) -> None:
        self.experts, self.drawn, self.path = experts, drawn, path
        self.name = f"{experts.name} and {drawn.name}"

    def __repr__(self) -> str:
        return f"PairedPipeline({self.name}, path={self.path})"

    def plan(self, instruction: str | Sequence[str] | None = None) -> BothPlan:
        """Give what a call would do, without a picture.

        Raises:
            ConfigError, UnknownName: Neither path can; the error is that of the experts.
            DataError: The experts do not know what is asked, and the instruction model does but cannot draw it.
        """
        experts: Plan | None = None
        failure: VisgenError | None = None
        try:
            experts = self.experts.plan(instruction)
        except UnknownName as error:
            failure = error
        drawn: InstructPlan | None = None
        left_out: str | None = NOTHING_ASKED if self.path == "both" and instruction is None else None
        if (self.path == "both" or experts is None) and instruction is not None:
            try:
                drawn = self.drawn.plan(instruction)
            except VisgenError as error:
                if failure is not None and isinstance(error, DataError):
                    raise
                if failure is not None:
                    raise failure from error
                left_out = str(error)
        if experts is None and drawn is None and failure is not None:
            raise failure
        return BothPlan(experts, drawn, left_out)

    def __call__(self, inputs: Any, instruction: str | Sequence[str] | None = None, **options: Any) -> Any:
        """Answer for one or many pictures; options as for `InstructPipeline`, those of drawing for its part alone."""
        plan = self.plan(instruction)
        stream, progress = (options.pop(key, False) for key in ("stream", "progress"))
        reading = take_reading(options)
        limits, drawing = self._settle(plan, options)
        opened = open_inputs(inputs, **reading)
        results = self._run(plan, instruction, opened, options, limits, drawing, progress)
        if stream or opened.form == "stream":
            return results
        return next(results, None) if opened.form == "one" else list(results)

    def chain(
        self, inputs: Sequence[Any], instruction: str | Sequence[str] | None = None, **options: Any
    ) -> Iterator[Result]:
        """Answer for several inputs in a row, lazily."""
        plan = self.plan(instruction)
        progress, reading = options.pop("progress", False), take_reading(options)
        limits, drawing = self._settle(plan, options)
        opened = chain_inputs(inputs, **reading)
        return self._run(plan, instruction, opened, options, limits, drawing, progress)

    def _settle(self, plan: BothPlan, options: dict[str, Any]) -> tuple[RunOptions, dict[str, Any]]:
        """As `InstructPipeline.settle`; `tta` is for the experts, so that some of the answers must be theirs."""
        if plan.experts is not None:
            check_options(plan.experts.tasks, tta=bool(options.get("tta")))
        rest = {key: value for key, value in options.items() if key != "tta" or plan.experts is None}
        return self.drawn.settle(plan.tasks, **rest)

    def _run(
        self,
        plan: BothPlan,
        instruction: str | Sequence[str] | None,
        opened: Inputs,
        options: dict[str, Any],
        limits: RunOptions,
        drawing: dict[str, Any],
        progress: bool,
    ) -> Iterator[Result]:
        shared = {
            key: options[key] for key in ("batch_size", "threshold", "top_k", "max_side", "tta") if key in options
        }
        for number, item in enumerate(opened.items):
            try:
                image = read_item(item, limits.color)
            except (VisgenError, OSError) as error:
                if limits.on_error == "raise":
                    raise
                if limits.on_error == "record":
                    yield Result(source=item.source, error=str(error), request=plan.to_dict())
                continue
            shown = None if item.is_file else picture_of(image)
            result: Result | None = None
            if plan.experts is not None:
                result = self.experts(image, instruction, **shared)
                if plan.left_out:
                    result = replace(result, request={**(result.request or {}), "left_out": plan.left_out})
            if plan.drawn is not None:
                other = self.drawn.draw(image, plan.drawn, number, limits, drawing, progress)
                result = other if result is None else self._joined(result, other)
            assert result is not None
            yield replace(result, source=item.source, image=shown)

    def _joined(self, result: Result, other: Result) -> Result:
        request = {**(result.request or {}), "agreement": agreement(result, other), "other": other.to_dict()}
        timing = {**result.timing, "diffusion": other.timing.get("model", 0.0)}
        return replace(result, request=request, path="both", timing=timing)


def agreement(first: Result, second: Result) -> dict[str, float]:
    """Say how far two results about one picture agree, by task, from 0 to 1.

    Segmentation: mean intersection over union of the classes that both answers can name. Detection: F1 of boxes of one
    class that overlap by half. Depth: share of the pixels within a factor of 1.25. Classification: 1 when the most
    likely of the classes in common is the same; where one says yes or no to a class, 1 when the likeliest class, the
    boxes or the map of the other say so too. Tasks that only one answered, or that share no class, are left out.
    """
    found: dict[str, float] = {}
    for task in ("classification", "detection", "segmentation", "depth"):
        values = [_agreement(a, b) for a in _values(first, task) for b in _values(second, task)]
        if task == "classification":
            values += [*_verdicts(first, second), *_verdicts(second, first)]
        known = [value for value in values if value is not None]
        if known:
            found[task] = sum(known) / len(known)
    return found


def _values(result: Result, task: str) -> list[Any]:
    held = getattr(result, task)
    return list(held.values()) if isinstance(held, dict) else [] if held is None else [held]


def _is_flag(value: Any) -> bool:
    """Whether a value says yes or no to one class, as drawn answers do."""
    return isinstance(value, Classification) and value.classes == (value.classes[0], f"not {value.classes[0]}")


def _verdicts(result: Result, other: Result) -> Iterator[float]:
    """For each class that a result says yes or no to, whether another result says the same; silence is left out."""
    for flag in filter(_is_flag, _values(result, "classification")):
        is_there = _shows(other, flag.classes[0])
        if is_there is not None:
            yield float(is_there == (flag.label == flag.classes[0]))


def _shows(result: Result, name: str) -> bool | None:
    """Whether the first of the answers that know a class takes the image for it, boxes it or paints it."""
    for task in ("classification", "detection", "segmentation"):
        for value in _values(result, task):
            if name in value.classes:
                place = value.classes.index(name)
                if isinstance(value, Classification):
                    return value.label == name
                return bool(((value.labels if isinstance(value, Boxes) else value.ids) == place).any())
    return None


def _agreement(a: Any, b: Any) -> float | None:
    if isinstance(a, DepthMap) and isinstance(b, DepthMap):
        both = a.valid & b.valid
        ratio = torch.maximum(a.metres / b.metres.clamp(min=1e-6), b.metres / a.metres.clamp(min=1e-6))
        return float((ratio[both] < DELTA).float().mean()) if bool(both.any()) else None
    names = [n for n in getattr(a, "classes", ()) if n in getattr(b, "classes", ())]
    if not names:
        return None
    if isinstance(a, SemanticMap) and isinstance(b, SemanticMap):
        shares = []
        for name in names:
            one, two = (value.ids == value.classes.index(name) for value in (a, b))
            union = int((one | two).sum())
            if union:
                shares.append(int((one & two).sum()) / union)
        return sum(shares) / len(shares) if shares else 1.0
    if isinstance(a, Boxes) and isinstance(b, Boxes):
        return _box_f1(a, b, names)
    if isinstance(a, Classification) and isinstance(b, Classification):
        if len(names) == 1 or _is_flag(a) or _is_flag(b):
            return None  # one class alone is always the likeliest
        best = [_likeliest(value, names) for value in (a, b)]
        return float(best[0] == best[1])
    return None


def _likeliest(value: Classification, names: Sequence[str]) -> str:
    return max(names, key=lambda name: float(value.probabilities[value.classes.index(name)]))


def _box_f1(a: Boxes, b: Boxes, names: Sequence[str]) -> float:
    pairs = total = 0
    for name in names:
        one, two = (value.xyxy[value.labels == value.classes.index(name)] for value in (a, b))
        total += len(one) + len(two)
        pairs += _matches(one, two)
    return 1.0 if total == 0 else 2 * pairs / total


def _matches(one: Tensor, two: Tensor) -> int:
    """Pairs of boxes of the two sets that overlap by half, each box in one pair at most, best pairs first."""
    if not (len(one) and len(two)):
        return 0
    overlap, count = pairwise_iou(one, two).clone(), 0
    while float(overlap.max()) >= SAME_BOX:
        row, column = divmod(int(overlap.argmax()), overlap.shape[1])
        overlap[row], overlap[:, column] = -1, -1
        count += 1
    return count

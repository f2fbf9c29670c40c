"""The path of the instruction model: a sentence about any picture to typed answers, read from what it drew."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..diffusion.answers import Answer, answer_requests, plan_passes, sampling_for
from ..diffusion.reading import read_for
from ..errors import ConfigError, UnknownName, VisgenError, nearest
from ..language import TASKS, TaskRequest, explain
from ..structures import Result, picture_of
from .inputs import Inputs, Item, chain_inputs, open_inputs, take_reading
from .plan import Plan, Step
from .run import OnError, RunOptions, check_options, limit_value, read_item
from .skills import Skills

if TYPE_CHECKING:
    from ..diffusion import InstructDiffusion

__all__ = ["InstructPipeline", "InstructPlan"]

MOST_KEY = 100  # characters of a sentence that names one of several answers: files are called by it
DRAWN = Skills({task: task for task in TASKS}, {})  # each task as a head, whose classes are those of the request
WHOLE = {"depth": "how far is everything", "ood": "is anything unusual"}


@dataclass(frozen=True)
class InstructPlan:
    """The requests that a call answers about each picture.

    Args:
        requests: In the order in which they were made.
        instruction: What was typed.
    """

    requests: tuple[TaskRequest, ...]
    instruction: str | tuple[str, ...] | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """The requests, each with the drawings that only say where things are."""
        return tuple(map(_step, self.requests))

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that are drawn."""
        return tuple(dict.fromkeys(task for step in self.steps for task in (*step.heads, *step.helpers)))

    def explain(self) -> str:
        """Give one plain line per request: what is asked, and where the answer is read."""
        lines = explain(self.requests).splitlines()
        return "\n".join(
            f"{line} - drawn by the instruction model{step.aside}" for line, step in zip(lines, self.steps, strict=True)
        )

    def to_dict(self) -> dict[str, Any]:
        """Give the plan as a JSON-able dictionary."""
        typed = list(self.instruction) if isinstance(self.instruction, tuple) else self.instruction
        return {"instruction": typed, "requests": [request.to_dict() for request in self.requests]}


class InstructPipeline:
    """What `pipeline(path="diffusion")` gives: call it with pictures and an instruction.

    Attributes:
        model: The InstructDiffusion.
        name: How it was named.
        tasks: The tasks that may be asked; all when None.
        device: Where it computes.
        path: "diffusion".
    """

    path = "diffusion"

    def __init__(
        self, model: InstructDiffusion, tasks: Sequence[str] | None, *, device: torch.device, name: str
    ) -> None:
        for task in tasks or ():
            if task not in TASKS:
                raise UnknownName(f"task '{task}' is not known{nearest(task, TASKS)} Known: {', '.join(TASKS)}.")
        self.model, self.device, self.name = model, device, name
        self.tasks = None if tasks is None else tuple(tasks)

    def __repr__(self) -> str:
        return f"InstructPipeline({self.name}, device={self.device})"

    def plan(self, instruction: str | Sequence[str] | None = None) -> InstructPlan:
        """Give what a call with this instruction would do, without a picture.

        Without an instruction, the tasks that need no class are asked: depth and ood, or those of them that were named.

        Raises:
            ConfigError, UnknownName: As a call.
            DataError: What is asked is understood but cannot be drawn; see `visgen.diffusion.answers.plan_passes`.
        """
        if instruction is None:
            asked = [task for task in self.tasks or WHOLE if task in WHOLE]
            if not asked or (self.tasks is not None and len(asked) < len(self.tasks)):
                raise ConfigError(
                    "the instruction model is asked for classes by name; give an instruction, such as 'segment the "
                    "road'."
                )
            return InstructPlan(tuple(TaskRequest(task, raw=WHOLE[task]) for task in asked))
        requests = read_for(self.model, instruction, self.tasks or ())
        for request in requests:
            if self.tasks is not None and request.task not in self.tasks:
                raise ConfigError(
                    f"the instruction asks for {request.task} ({explain([request])[3:]}), but this pipeline was made "
                    f"for {', '.join(self.tasks)}; ask only for those, or make it with task=None."
                )
        plan = InstructPlan(requests, instruction if isinstance(instruction, str) else tuple(instruction))
        for row in (row for step in plan.steps for row in _rows(step).values()):
            plan_passes(self.model, row)
        return plan

    def __call__(self, inputs: Any, instruction: str | Sequence[str] | None = None, **options: Any) -> Any:
        """Answer for one or many pictures.

        Args:
            inputs: As for `visgen.pipelines.Pipeline`.
            instruction: What to answer, in English.
            options: `seed` (0 when left out; picture k, counted from 0, uses seed + k), `steps`, `text_scale` and
                `image_scale` (the model's own when left out), `threshold`, `top_k`, `color`, `on_error`, `stream`,
                `progress`, `allow_private`, `every` as for `visgen.pipelines.Pipeline`; `batch_size`, `max_side` change
                nothing and are taken so that the paths are called alike.
        Returns:
            One Result, a list or an iterator, as there. `Result.request` lists for each request the sentences that the
            model read, its codecs and how it was drawn ("drawn"), the sentences of drawings that only said where things
            are ("helpers"), and the figures asked for ("answers").
        Raises:
            ConfigError, ImageError, UnknownName: As there; also for steps or scales that cannot be drawn with.
            DataError: As `plan`.
        """
        plan = self.plan(instruction)
        stream, progress = (options.pop(key, False) for key in ("stream", "progress"))
        reading = take_reading(options)
        limits, drawing = self.settle(plan.tasks, **options)
        opened = open_inputs(inputs, **reading)
        results = self._run(plan, opened, limits, drawing, progress)
        if stream or opened.form == "stream":
            return results
        return next(results, None) if opened.form == "one" else list(results)

    def chain(
        self, inputs: Sequence[Any], instruction: str | Sequence[str] | None = None, **options: Any
    ) -> Iterator[Result]:
        """Answer for several inputs in a row, lazily; options as in a call."""
        plan = self.plan(instruction)
        progress, reading = options.pop("progress", False), take_reading(options)
        limits, drawing = self.settle(plan.tasks, **options)
        return self._run(plan, chain_inputs(inputs, **reading), limits, drawing, progress)

    def settle(
        self,
        tasks: Sequence[str],
        *,
        seed: int | None = None,
        steps: int | None = None,
        text_scale: float | None = None,
        image_scale: float | None = None,
        max_side: int | None = None,
        tta: bool = False,
        batch_size: int = 1,
        threshold: float | None = None,
        top_k: int | None = None,
        color: str = "rgb",
        on_error: OnError = "raise",
    ) -> tuple[RunOptions, dict[str, Any]]:
        """Check the options of a call about `tasks`; give those of reading and showing, and the `drawing` of `answer`.

        Raises:
            ConfigError: As a call.
        """
        shown: dict[str, Any] = {"batch_size": batch_size, "threshold": threshold, "top_k": top_k}
        shown |= {"color": color, "on_error": on_error}
        check_options(tasks, max_side=max_side, seed=seed, **shown)
        if tta:
            raise ConfigError(
                "tta is on but drawn answers are not averaged with those of a mirrored picture; leave it out."
            )
        drawing = {"steps": steps, "text_scale": text_scale, "image_scale": image_scale}
        for task in tasks:
            sampling_for(self.model, task, **drawing)
        limits = RunOptions(self.device, torch.float32, self.path, 0, 0, **shown)
        return limits, {"seed": seed or 0, **drawing}

    def _run(
        self, plan: InstructPlan, opened: Inputs, limits: RunOptions, drawing: dict[str, Any], progress: bool
    ) -> Iterator[Result]:
        for number, item in enumerate(opened.items):
            start = time.perf_counter()
            try:
                image = read_item(item, limits.color)
            except (VisgenError, OSError) as error:
                if limits.on_error == "raise":
                    raise
                if limits.on_error == "record":
                    yield Result(source=item.source, error=str(error), request=plan.to_dict())
                continue
            read = time.perf_counter() - start
            result = self.draw(image, plan, number, limits, drawing, progress)
            yield _named(result, item, image, read)

    def draw(
        self,
        image: Tensor,
        plan: InstructPlan,
        number: int,
        limits: RunOptions,
        drawing: dict[str, Any],
        progress: bool,
    ) -> Result:
        """Answer about picture `number` of a call, counted from 0, with what `settle` gave."""
        with _bar(f"picture {number + 1}", progress) as report:
            return self.answer(image, plan, report, limits, **{**drawing, "seed": drawing["seed"] + number})

    def answer(
        self,
        image: Tensor,
        plan: InstructPlan,
        report: Callable[[int, int], None] | None = None,
        limits: RunOptions | None = None,
        **drawing: Any,
    ) -> Result:
        """Answer about one picture (3, H, W) in [0, 1]; `drawing` as in `visgen.diffusion.answers.answer_requests`."""
        start = time.perf_counter()
        limit: Callable[[Any], Any] = (lambda value: value) if limits is None else partial(limit_value, options=limits)
        steps = plan.steps
        wanted = [_rows(step) for step in steps]
        requests = list(dict.fromkeys(row for rows in wanted for row in rows.values()))
        answers = answer_requests(self.model, image, requests, progress=report, **drawing)
        drawn = dict(zip(requests, answers, strict=True))
        fields: dict[str, dict[str, Any]] = {}
        record: dict[str, list[Any]] = {"drawn": [], "helpers": [], "answers": []}
        for step, rows in zip(steps, wanted, strict=True):
            task, (own, *helpers) = step.request.task, (drawn[row] for row in rows.values())
            values = {head: drawn[row].value for head, row in rows.items()}
            given, told = Plan(step.heads, DRAWN, (step,)).answer(values, limit)
            sets = fields.setdefault(task, {})
            sets[_free(shorten("; ".join(own.texts), MOST_KEY, placeholder=" ..."), sets)] = given[task]
            record["drawn"].append(_described(own))
            record["helpers"].append([text for answer in helpers for text in answer.texts])
            record["answers"].append((told or {})["answers"][0])
        held: dict[str, Any] = {
            task: next(iter(sets.values())) if len(sets) == 1 else sets for task, sets in fields.items()
        }
        return Result(
            **held,
            request={**plan.to_dict(), **record},
            path=self.path,
            size=(int(image.shape[1]), int(image.shape[2])),
            timing={"model": time.perf_counter() - start},
        )


def _step(request: TaskRequest) -> Step:
    """A request, with the masks that say where its depth is read, and the boxes that tell one of several apart."""
    places: tuple[tuple[str, str], ...] = ()
    if request.task == "depth":
        places = tuple((name, "segmentation") for name in (*request.classes, *request.exclude))
    one = request.quantifier == "one" and bool(request.classes) and request.task in ("segmentation", "depth")
    return Step(request, (request.task,), places, "detection" if one else None)


def _rows(step: Step) -> dict[str, TaskRequest]:
    """What is drawn for a request, by task: its own answer first, then what says where things are."""
    request = step.request
    asked = replace(request, exclude=()) if step.places else request  # a mask leaves out, not the drawing of depth
    rows = {request.task: asked}
    if step.places:
        names = (*request.classes, *request.exclude)
        rows["segmentation"] = replace(request, task="segmentation", classes=names, exclude=(), quantifier="all")
    if step.boxes is not None:
        rows[step.boxes] = replace(request, task=step.boxes, colours=())
    return rows


def _free(key: str, taken: Container[str]) -> str:
    """The key, numbered where another answer has it: several requests may lead to one sentence."""
    return next(k for n in count(1) if (k := key if n == 1 else f"{key} ({n})") not in taken)


def _described(answer: Answer) -> dict[str, Any]:
    return {
        "texts": list(answer.texts),
        "codecs": list(answer.codecs),
        "steps": answer.sampling.steps,
        "text_scale": answer.sampling.text_scale,
        "image_scale": answer.sampling.image_scale,
    }


def _named(result: Result, item: Item, image: Tensor, read: float) -> Result:
    photo = None if item.is_file else picture_of(image)
    return replace(result, source=item.source, image=photo, timing={"read": read, **result.timing})


class _bar:
    """A bar over the denoising steps on standard error, or nothing."""

    def __init__(self, title: str, is_shown: bool) -> None:
        self.title, self.is_shown = title, is_shown

    def __enter__(self) -> Callable[[int, int], None] | None:
        if not self.is_shown:
            return None
        import sys

        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        columns = (TextColumn("{task.description}, steps"), BarColumn(), MofNCompleteColumn())
        self._progress = Progress(*columns, console=Console(file=sys.stderr))
        self._progress.start()
        row = self._progress.add_task(self.title, total=None)
        return lambda done, total: self._progress.update(row, completed=done, total=total)

    def __exit__(self, *_: Any) -> None:
        if self.is_shown:
            self._progress.stop()

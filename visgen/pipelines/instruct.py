"""The path of the instruction model: a sentence about any picture to typed answers, read from what it drew."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..diffusion.answers import Answer, answer_requests
from ..diffusion.reading import read_for
from ..errors import ConfigError, UnknownName, VisgenError, nearest
from ..language import TASKS, TaskRequest, explain
from ..structures import Result, load_image, picture_of
from .inputs import Inputs, Item, chain_inputs, open_inputs
from .run import OnError, RunOptions, check_reading, limit_value

if TYPE_CHECKING:
    from ..diffusion import InstructDiffusion

__all__ = ["InstructPipeline", "InstructPlan"]

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
    def tasks(self) -> tuple[str, ...]:
        """The tasks asked."""
        return tuple(dict.fromkeys(request.task for request in self.requests))

    def explain(self) -> str:
        """Give one plain line per request."""
        return "\n".join(f"{line} - drawn by the instruction model" for line in explain(self.requests).splitlines())

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
        """
        if instruction is None:
            asked = [task for task in self.tasks or WHOLE if task in WHOLE]
            if not asked or (self.tasks is not None and len(asked) < len(self.tasks)):
                raise ConfigError(
                    "the instruction model is asked for classes by name; give an instruction, such as 'segment the "
                    "road'."
                )
            return InstructPlan(tuple(TaskRequest(task, raw=WHOLE[task]) for task in asked))
        requests = read_for(self.model, instruction)
        for request in requests:
            if self.tasks is not None and request.task not in self.tasks:
                raise ConfigError(
                    f"the instruction asks for {request.task} ({explain([request])[3:]}), but this pipeline was made "
                    f"for {', '.join(self.tasks)}; ask only for those, or make it with task=None."
                )
        return InstructPlan(requests, instruction if isinstance(instruction, str) else tuple(instruction))

    def __call__(self, inputs: Any, instruction: str | Sequence[str] | None = None, **options: Any) -> Any:
        """Answer for one or many pictures.

        Args:
            inputs: As for `visgen.pipelines.Pipeline`.
            instruction: What to answer, in English.
            options: `seed` (0 when left out; each picture's noise depends on it alone), `steps`, `text_scale` and
                `image_scale` (the model's own when left out), `threshold`, `top_k`, `color`, `on_error`, `stream`,
                `progress`, `allow_private` as for `visgen.pipelines.Pipeline`; `batch_size`, `max_side` change nothing
                and are taken so that the paths are called alike.
        Returns:
            One Result, a list or an iterator, as there. `Result.request` lists for each request the sentences that the
            model read, its codecs and how it was drawn.
        """
        check_reading(options.get("color", "rgb"), options.get("on_error", "raise"))
        plan = self.plan(instruction)
        opened = open_inputs(inputs, allow_private=options.pop("allow_private", False))
        stream = options.pop("stream", False)
        results = self._run(plan, opened, **options)
        if stream or opened.form == "stream":
            return results
        return next(results, None) if opened.form == "one" else list(results)

    def chain(
        self, inputs: Sequence[Any], instruction: str | Sequence[str] | None = None, **options: Any
    ) -> Iterator[Result]:
        """Answer for several inputs in a row, lazily; options as in a call."""
        check_reading(options.get("color", "rgb"), options.get("on_error", "raise"))
        plan = self.plan(instruction)
        return self._run(plan, chain_inputs(inputs, allow_private=options.pop("allow_private", False)), **options)

    def _run(
        self,
        plan: InstructPlan,
        opened: Inputs,
        *,
        seed: int | None = None,
        steps: int | None = None,
        text_scale: float | None = None,
        image_scale: float | None = None,
        threshold: float | None = None,
        top_k: int | None = None,
        color: str = "rgb",
        on_error: OnError = "raise",
        progress: bool = False,
        batch_size: int = 1,
        max_side: int | None = None,
    ) -> Iterator[Result]:
        drawing = {"seed": seed or 0, "steps": steps, "text_scale": text_scale, "image_scale": image_scale}
        limits = RunOptions(self.device, torch.float32, self.path, 0, 0, threshold=threshold, top_k=top_k)
        for number, item in enumerate(opened.items):
            start = time.perf_counter()
            try:
                image = load_image(item.read(), color=color)
            except (VisgenError, OSError) as error:
                if on_error == "raise":
                    raise
                if on_error == "record":
                    yield Result(source=item.source, error=f"{item.source}: {error}", request=plan.to_dict())
                continue
            read = time.perf_counter() - start
            with _bar(f"picture {number + 1}", progress) as report:
                result = self.answer(image, plan, report, limits, **drawing)
            yield _named(result, item, image, read)

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
        answers = answer_requests(self.model, image, plan.requests, progress=report, **drawing)
        fields: dict[str, dict[str, Any]] = {}
        for answer in answers:
            sets = fields.setdefault(answer.request.task, {})
            value = answer.value if limits is None else limit_value(answer.value, limits)
            sets["; ".join(answer.texts) if sets or _repeats(answers, answer) else answer.request.task] = value
        held: dict[str, Any] = {
            task: next(iter(sets.values())) if len(sets) == 1 else sets for task, sets in fields.items()
        }
        rows = [_described(answer) for answer in answers]
        return Result(
            **held,
            request={**plan.to_dict(), "drawn": rows},
            path=self.path,
            size=(int(image.shape[1]), int(image.shape[2])),
            timing={"model": time.perf_counter() - start},
        )


def _repeats(answers: Sequence[Answer], answer: Answer) -> bool:
    return sum(other.request.task == answer.request.task for other in answers) > 1


def _described(answer: Answer) -> dict[str, Any]:
    return {
        "texts": list(answer.texts),
        "codecs": list(answer.codecs),
        "steps": answer.sampling.steps,
        "text_scale": answer.sampling.text_scale,
        "image_scale": answer.sampling.image_scale,
    }


def _named(result: Result, item: Item, image: Tensor, read: float) -> Result:
    from dataclasses import replace

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

"""`pipeline(...)`: one call from any picture to typed answers."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..errors import ConfigError, UnknownName, nearest
from ..structures import Result
from ..structures.result import TASKS
from ..zoo import DEFAULT_MODEL, INSTRUCT_MODEL, load_model, resolve_device, resolve_dtype
from .inputs import Inputs, chain_inputs, open_inputs, take_reading
from .plan import Plan, plan_instruction
from .run import OnError, RunOptions, check_options, has_boxes, run_items
from .skills import skills_of

if TYPE_CHECKING:
    from ..diffusion import InstructDiffusion
    from ..task import MultiTaskModel
    from .instruct import InstructPipeline

__all__ = ["Pipeline", "pipeline"]

PATHS = ("auto", "moe", "diffusion", "diffusion-head", "both")


def pipeline(
    task: str | Sequence[str] | None = None,
    model: MultiTaskModel | str | Path | None = None,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    path: str = "auto",
    instruct: InstructDiffusion | str | Path | None = None,
) -> Pipeline:
    """Give a callable that answers one or several tasks about pictures.

    Args:
        task: A task ("depth"), a head of the model ("segmentation.camvid"), or a list of those. "segmentation" alone
            means the model's default label set. None means everything that the model answers, every label set included,
            or with an instruction what that asks for.
        model: A shipped name, a folder, a Hub id "owner/name", or a model; a model is moved to `device`. None takes the
            shipped default.
        device: "auto" takes an accelerator when there is one.
        dtype: Arithmetic of the model: "auto" is float32 on the CPU and bfloat16 elsewhere. An instruction model
            draws in float32.
        path: Which kind of model answers. "moe": the mixture of experts. "diffusion": the instruction model, which
            draws its answers. "both": each, with a measure of how far they agree. "diffusion-head": heads on the
            features of an instruction model, which `model` then is. "auto": whatever `model` is; and with `instruct`
            the experts, but the instruction model for classes, colours and words that they do not know.
        instruct: The instruction model of the paths "diffusion", "both" and "auto": a name, folder or model. None takes
            the shipped one, except under "auto", where it means that there is none.
    Returns:
        A Pipeline, or for the other paths an InstructPipeline or PairedPipeline, which are called in the same way.
    Raises:
        UnknownName: A task, model or path that is not there; the nearest name is suggested.
        CheckpointError: Weights that are torn or do not fit.
        ConfigError: A device or dtype that this machine does not have, or that the model does not draw in; or a path
            that does not go with the model.
    """
    if path not in PATHS:
        raise UnknownName(f"path '{path}' is not known{nearest(path, PATHS)} Known: {', '.join(PATHS)}.")
    target = resolve_device(device)
    arithmetic = resolve_dtype(dtype, target)
    if path == "diffusion" and model is None:
        model = INSTRUCT_MODEL if instruct is None else instruct  # type: ignore[assignment]
    if model is None or isinstance(model, (str, Path)):
        name = str(model or DEFAULT_MODEL)
        model = load_model(name, target)
    else:
        name, model = type(model).__name__, model.to(target)
    from ..diffusion import InstructDiffusion

    if isinstance(model, InstructDiffusion):
        if path not in ("auto", "diffusion"):
            raise ConfigError(
                f"path is '{path}' but model '{name}' is an instruction model; use path='diffusion', or give it as "
                "`instruct` beside a model with heads."
            )
        if str(dtype).removeprefix("torch.") not in ("auto", "float32"):
            raise ConfigError(f"dtype is '{dtype}' but instruction model '{name}' draws in float32; leave it out.")
        for one in [task] if isinstance(task, str) else task or ():
            if "." in one:
                raise UnknownName(
                    f"task '{one}' names a label set, but instruction model '{name}' has none; ask for "
                    f"'{one.partition('.')[0]}', and for classes in the instruction."
                )
        return _drawing(model, task, target, name)  # type: ignore[return-value]
    if path == "both" or (path == "auto" and instruct is not None):
        from .both import PairedPipeline

        experts = Pipeline(
            model,
            _heads(model, task),
            device=target,
            dtype=arithmetic,
            path=_path_of(model),
            name=name,
            any_task=task is None,
        )
        other = INSTRUCT_MODEL if instruct is None else instruct
        drawn = load_model(other, target) if isinstance(other, (str, Path)) else other.to(target)
        named = str(other) if isinstance(other, (str, Path)) else type(other).__name__
        return PairedPipeline(experts, _drawing(drawn, task, target, named), path)  # type: ignore[return-value]
    kind = _path_of(model)
    if path not in ("auto", kind):
        raise ConfigError(f"path is '{path}' but the backbone of model '{name}' is '{kind}'; use path='auto'.")
    heads = _heads(model, task)
    return Pipeline(model, heads, device=target, dtype=arithmetic, path=kind, name=name, any_task=task is None)


class Pipeline:
    """What `pipeline` gives: call it with pictures.

    Attributes:
        model: The MultiTaskModel.
        name: How it was named.
        heads: The heads that answer, in the order asked.
        any_task: No task was named: an instruction may ask for every task of the model.
        device, dtype: Where and in which format it computes.
        path: "moe", or the registry name of another backbone.
    """

    def __init__(
        self,
        model: MultiTaskModel,
        heads: Sequence[str],
        *,
        device: torch.device,
        dtype: torch.dtype,
        path: str,
        name: str,
        any_task: bool = False,
    ) -> None:
        self.model, self.heads, self.device, self.dtype = model, tuple(heads), device, dtype
        self.path, self.name, self.any_task = path, name, any_task

    def __repr__(self) -> str:
        return f"Pipeline({self.name}, heads={list(self.heads)}, device={self.device}, dtype={self.dtype})"

    def __call__(
        self,
        inputs: Any,
        instruction: str | Sequence[str] | None = None,
        *,
        batch_size: int = 1,
        threshold: float | None = None,
        top_k: int | None = None,
        seed: int | None = None,
        color: str = "rgb",
        on_error: OnError = "raise",
        stream: bool = False,
        progress: bool = False,
        max_side: int | None = None,
        tta: bool = False,
        allow_private: bool = False,
        every: int = 1,
    ) -> Any:
        """Answer for one or many pictures.

        Args:
            inputs: A path, http(s) address, bytes, PIL image, array (H, W, 3), tensor (3, H, W); a list of those, a
                batch (B, H, W, 3) or (B, 3, H, W), a folder, a glob pattern; a video, a generator or another iterable.
            instruction: What to answer, in English: a text ("find all the cars and the people"), or a list of sentences
                or class names; see `visgen.language`. The answers keep only what was asked, and `Result.request` says
                what that was. None answers everything that `task` named.
            batch_size: Pictures read and held at a time; it changes the speed, not the answers.
            threshold: Least score of a detection or a relation, and least confidence of a segmented pixel (others
                become 255; a map without confidence stays whole beside detections, and alone is an error). None shows
                detections from 0.25 on (of two in one place the surer), the 20 best relations (the best of each pair
                of objects), and every pixel; 0 gives all that the model found. Evaluation never uses it.
            top_k: Most detections, and most relations, per picture; for classes use `result.classification.top(k)`.
            seed: For models that draw at random (picture k uses seed + k); the answers of this one hold no chance.
            color: "rgb" or "bgr", the channel order of arrays and tensors.
            on_error: For a picture that cannot be read: "raise", "skip" it, or "record" it as a Result with `error`.
            stream: Give an iterator whatever the input is.
            progress: Show a bar on standard error.
            max_side: Larger photographs are shrunk to this longer side for the model; maps and boxes come back in the
                photograph's own pixels. None takes the size that the model was trained at.
            tta: Test-time augmentation: classes, maps and depths are averaged with those of the mirrored picture, which
                costs as much again. OOD verdicts, boxes and relations are those of the plain picture.
            allow_private: Let addresses on this machine and in private networks through.
            every: Of a video, answer each so-many-th frame.
        Returns:
            One Result for one picture (None when it was skipped); a list for a list, batch, folder or pattern; a lazy
            iterator for a video, a generator, or with `stream`. `Result.timing` holds seconds per picture: "read",
            "resize", "model".
        Raises:
            ImageError: A picture cannot be read (with on_error="raise"), or there is none.
            ConfigError: An option outside its range, or one that none of the tasks asked uses; or the instruction asks
                for a task that `task` left out.
            UnknownName: The instruction is not understood, or names a class that the model does not know.
        """
        plan = self.plan(instruction)
        options = self._options(
            plan,
            max_side,
            seed,
            batch_size=batch_size,
            threshold=threshold,
            top_k=top_k,
            color=color,
            on_error=on_error,
            tta=tta,
        )
        opened = open_inputs(inputs, allow_private=allow_private, every=every)
        results = self._run(plan, opened, options, progress)
        if stream or opened.form == "stream":
            return results
        return next(results, None) if opened.form == "one" else list(results)

    def plan(self, instruction: str | Sequence[str] | None = None) -> Plan:
        """Give what a call with this instruction would do, without a picture; its `explain()` says it in plain words.

        Raises:
            ConfigError, UnknownName: As a call.
        """
        skills = skills_of(self.model)
        if instruction is None:
            return Plan(self.heads, skills)
        return plan_instruction(instruction, skills, None if self.any_task else self.heads)

    def chain(
        self, inputs: Sequence[Any], instruction: str | Sequence[str] | None = None, **options: Any
    ) -> Iterator[Result]:
        """Answer for several inputs in a row, folders and videos among them, lazily; options as in a call."""
        plan = self.plan(instruction)
        progress = options.pop("progress", False)
        opened = chain_inputs(inputs, **take_reading(options))
        settled = self._options(plan, **options)
        return self._run(plan, opened, settled, progress)

    def _run(self, plan: Plan, opened: Inputs, options: RunOptions, progress: bool) -> Iterator[Result]:
        results = run_items(self.model, plan, opened.items, options)
        return _with_bar(results, opened.total) if progress else results

    def _options(self, plan: Plan, max_side: int | None = None, seed: int | None = None, **shown: Any) -> RunOptions:
        check_options(plan.tasks, max_side=max_side, seed=seed, **shown)
        side = self.model.max_side if max_side is None else max_side
        floor = min(self.model.min_side, side)
        return RunOptions(self.device, self.dtype, self.path, side, floor, has_boxes=has_boxes(plan.tasks), **shown)


def _drawing(model: Any, task: str | Sequence[str] | None, device: torch.device, name: str) -> InstructPipeline:
    from ..diffusion import InstructDiffusion
    from .instruct import InstructPipeline

    if not isinstance(model, InstructDiffusion):
        raise ConfigError(
            f"model '{name}' was given to draw answers but is a {type(model).__name__}; give an instruction model."
        )
    asked = None if task is None else [task] if isinstance(task, str) else list(task)
    tasks = None if asked is None else tuple(dict.fromkeys(one.partition(".")[0] for one in asked))
    return InstructPipeline(model, tasks, device=device, name=name)


def _heads(model: MultiTaskModel, task: str | Sequence[str] | None) -> tuple[str, ...]:
    held = [name for name, spec in model.specs.items() if spec.task in TASKS]
    asked = held if task is None else [task] if isinstance(task, str) else list(task)
    if not asked:
        raise ConfigError("task is an empty list; name at least one task, or pass None for all.")
    found = tuple(dict.fromkeys(model.resolve(str(name)) for name in asked))
    if other := [name for name in found if name not in held]:
        raise ConfigError(
            f"head '{other[0]}' is of a task that a Result does not hold ({', '.join(TASKS)}); ask model.predict for "
            "its answers."
        )
    return found


def _path_of(model: MultiTaskModel) -> str:
    name = str(model.config().get("backbone", {}).get("name", "")) or type(model.backbone).__name__
    if getattr(model.backbone, "routed_layers", ()):
        return "moe"
    return "diffusion-head" if name == "diffusion_features" else name


def _with_bar(results: Iterator[Result], total: int | None) -> Iterator[Result]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("pictures"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr)) as bar:
        row = bar.add_task("pictures", total=total)
        for result in results:
            bar.advance(row)
            yield result

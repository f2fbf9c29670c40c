"""From an instruction in English to the requests that an instruction model is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..language import TASKS, OpenWorld, TaskRequest, read_instruction
from .model import InstructDiffusion

__all__ = ["read_for", "read_taught"]


def read_for(
    model: InstructDiffusion, instruction: str | Sequence[str], tasks: Sequence[str] = ()
) -> tuple[TaskRequest, ...]:
    """Read an instruction for an instruction model.

    A model that lists the classes it was taught is asked for those only; one that lists none (Stable Diffusion with
    its large text encoder) may be asked for any noun.

    Args:
        model: The instruction model.
        instruction: A text, or a list of sentences and class names; see `visgen.language.read_instruction`.
        tasks: What class names without a verb are asked of; detection, or segmentation, when empty.
    Raises:
        ConfigError: It is neither a text nor a list of texts.
        UnknownName: It is not understood.
    """
    return read_taught(model.config.classes, model.config.codec.get("predicates", ()), instruction, tasks)


def read_taught(
    taught: Mapping[str, Sequence[str]],
    predicates: Sequence[str],
    instruction: str | Sequence[str],
    tasks: Sequence[str] = (),
) -> tuple[TaskRequest, ...]:
    """Read as `read_for` does for a model that was taught classes, by task, and predicates."""
    every = tuple(dict.fromkeys(name for names in taught.values() for name in names))
    vocabulary = {task: taught.get(task, ()) for task in TASKS}
    known = tuple(predicates) or None
    world = OpenWorld(every, known, any_noun=not every)
    if every and not tasks:
        tasks = [task for task in ("detection", "segmentation") if taught.get(task)][:1]
    return tuple(read_instruction(instruction, vocabulary, known, tasks, world))

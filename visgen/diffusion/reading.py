"""From an instruction in English to the requests that an instruction model is asked."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ConfigError
from ..language import TASKS, OpenWorld, TaskRequest, parse
from .model import InstructDiffusion

__all__ = ["read_for"]


def read_for(model: InstructDiffusion, instruction: str | Sequence[str]) -> tuple[TaskRequest, ...]:
    """Read an instruction for an instruction model.

    A model that lists the classes it was taught is asked for those only; one that lists none (Stable Diffusion with
    its large text encoder) may be asked for any noun.

    Raises:
        ConfigError: It is neither a text nor a list of texts.
        UnknownName: It is not understood.
    """
    sentences = [instruction] if isinstance(instruction, str) else list(instruction)
    if not sentences or not all(isinstance(text, str) for text in sentences):
        raise ConfigError(f"the instruction is {instruction!r}; it must be a text, or a list of sentences.")
    taught = model.config.classes
    every = tuple(dict.fromkeys(name for names in taught.values() for name in names))
    vocabulary = {task: taught.get(task, ()) for task in TASKS}
    predicates = tuple(model.config.codec.get("predicates", ())) or None
    world = OpenWorld(every, predicates, any_noun=not every)
    found = [request for text in sentences for request in parse(text, vocabulary, predicates, world)]
    return tuple(dict.fromkeys(found))

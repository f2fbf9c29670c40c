"""What the heads of a model answer about, in the words that an instruction may use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..language import own_class
from ..task import TASK_KEYS

if TYPE_CHECKING:
    from ..task import MultiTaskModel

__all__ = ["Skills", "skills_of", "vocabulary"]

CLASSLESS = ("depth", "ood", "retrieval")  # their answers are about places or the whole picture


@dataclass(frozen=True)
class Skills:
    """The heads of a model.

    Args:
        tasks: Head name -> task key.
        classes: Head name -> class names; for a scene graph those of its boxes; none for depth and ood.
        predicates: Head name of a scene graph -> its predicates.
        defaults: Task key -> the head that answers when only the task is asked.
    """

    tasks: Mapping[str, str]
    classes: Mapping[str, tuple[str, ...]]
    predicates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)

    def of(self, task: str, among: Sequence[str] | None = None) -> tuple[str, ...]:
        """Give the heads of a task, the default one first; only those in `among` when it is given."""
        heads = [head for head, own in self.tasks.items() if own == task and (among is None or head in among)]
        return tuple(sorted(heads, key=lambda head: head != self.defaults.get(task)))

    def own(self, head: str, name: str) -> str | None:
        """Give the head's own name of a class that others may write differently; None when it does not know it."""
        return own_class(name, self.classes.get(head, ()))

    def vocabulary(self) -> dict[str, tuple[str, ...]]:
        """Give each task with the classes that its heads know together, as `visgen.language.parse` takes them."""
        present = [task for task in TASK_KEYS if self.of(task)]
        return {
            task: tuple(dict.fromkeys(name for head in self.of(task) for name in self.classes.get(head, ())))
            for task in present
        }

    def all_predicates(self) -> tuple[str, ...]:
        """Give the relations that some scene graph knows."""
        return tuple(dict.fromkeys(name for names in self.predicates.values() for name in names))


def skills_of(model: MultiTaskModel) -> Skills:
    """Give what the heads of a model answer about."""
    tasks = {head: spec.task for head, spec in model.specs.items()}
    classes: dict[str, tuple[str, ...]] = {}
    predicates: dict[str, tuple[str, ...]] = {}
    for head, spec in model.specs.items():
        names = tuple(spec.classes)
        if spec.task == "scene_graph":
            below = model.below(head)
            predicates[head], names = names, tuple(model.specs[below].classes) if below else ()
        classes[head] = () if spec.task in CLASSLESS else names
    return Skills(tasks, classes, predicates, dict(model.default_heads))


def vocabulary(model: MultiTaskModel) -> dict[str, tuple[str, ...]]:
    """Give each task of a model with the class names that an instruction may use for it."""
    return skills_of(model).vocabulary()

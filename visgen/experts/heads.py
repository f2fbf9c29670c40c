"""Take heads out of a model, with the routers that only they used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ConfigError
from ..task import MultiTaskModel

__all__ = ["answer_at", "drop_heads"]


def drop_heads(model: MultiTaskModel, names: Sequence[str]) -> None:
    """Take heads out of a model, in place; routers and task embeddings that no other head uses go with them.

    Args:
        model: A model that knows its own configuration.
        names: Head names; heads that stand on one of them must be among them.
    Raises:
        ConfigError: A head that is not there, or one that another head stands on.
    """
    for name in names:
        if name not in model.specs:
            raise ConfigError(f"head '{name}' is not in this model, which has {', '.join(model.specs)}.")
    left = [name for name in model.specs if name not in names]
    for name in left:
        if model.below(name) in names:
            raise ConfigError(f"head '{name}' stands on '{model.below(name)}', which is to go; drop both or neither.")
    freed = {model.route(name) for name in names} - {model.route(name) for name in left}
    for name in names:
        del model.specs[name]
        del model.heads[name.replace(".", "__")]
    defaults = {spec.task: name for name, spec in reversed(model.specs.items())}
    kept = {task: name for task, name in model.default_heads.items() if name in model.specs}
    model.default_heads = {**defaults, **kept}
    config = dict(model._config)
    config["heads"] = {name: config["heads"][name] for name in model.specs}
    config["default_heads"] = {t: n for t, n in config.get("default_heads", {}).items() if n in model.specs}
    model._config = config
    _drop_routers(model.backbone, freed)


def answer_at(model: MultiTaskModel, max_side: int, min_side: int) -> None:
    """Set the bounds of the longer side, in pixels, at which a model answers, in place."""
    model.max_side, model.min_side = max_side, min_side
    model._config = {**model._config, "max_side": max_side, "min_side": min_side}


def _drop_routers(backbone: Any, tasks: set[str]) -> None:
    banks = getattr(backbone, "banks", {})
    if not hasattr(backbone, "tasks") or set(backbone.tasks) <= tasks:
        return  # the last router stays: the backbone is built with one
    for task in [task for task in backbone.tasks if task in tasks]:
        for bank in banks.values():
            del bank.router.tasks[task]
            if task in bank.router.views:
                del bank.router.views[task]
        if backbone.task_embedding is not None:
            del backbone.task_embedding[task]
    backbone.tasks = tuple(task for task in backbone.tasks if task not in tasks)
    backbone.changes()

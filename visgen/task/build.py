"""A model from its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..backbones import BACKBONES
from ..errors import ConfigError
from ..options import build_options, call_with
from .model import MultiTaskModel
from .protocol import FURTHER_TASK_KEYS, TASK_KEYS, TASKS, HeadSpec

__all__ = ["ModelConfig", "build_model"]


@dataclass(frozen=True)
class ModelConfig:
    """Everything needed to build a MultiTaskModel.

    Attributes:
        backbone: {"name": registry key, other keys: options of the backbone}.
        heads: Head name -> HeadSpec or its fields. A head is called by its task, or "<task>.<label set>".
        default_heads: Task -> head that answers when only the task is asked; the first head of the task if absent.
        max_side: Longer side in pixels to which larger photographs are shrunk when the model is used.
        min_side: Longer side to which smaller ones are enlarged; 0 for never. A network trained on random crops
            does best on somewhat larger pictures than it saw (Touvron et al. 2019, arXiv:1906.06423).
    """

    backbone: Mapping[str, Any]
    heads: Mapping[str, Any]
    default_heads: Mapping[str, str] = field(default_factory=dict)
    max_side: int = 320
    min_side: int = 0


def build_model(config: Mapping[str, Any] | ModelConfig, load_weights: bool = True) -> MultiTaskModel:
    """Build a model from its configuration.

    Args:
        config: A ModelConfig or its fields.
        load_weights: Read the stem weights that the configuration names; false when a checkpoint follows.
    Raises:
        ConfigError, UnknownName: A key, registry name or value that does not fit.
    """
    if not isinstance(config, ModelConfig):
        config = build_options(ModelConfig, config, "model")
    specs = {
        name: spec if isinstance(spec, HeadSpec) else build_options(HeadSpec, spec, f"head '{name}'")
        for name, spec in config.heads.items()
    }
    if not specs:
        raise ConfigError("the model has no heads; name at least one under `heads`.")
    for name, spec in specs.items():
        if TASKS.get(spec.task).has_classes and not spec.classes:
            raise ConfigError(f"head '{name}' has no classes; list them, or let a data source of the run supply them.")
    options = dict(config.backbone)
    key = options.pop("name", None)
    if key is None:
        raise ConfigError(f"the backbone has no name; use one of {', '.join(BACKBONES.names())}.")
    present = {s.task for s in specs.values() if not TASKS.get(s.task).rides and s.route is None}
    own = [s.route for s in specs.values() if s.route is not None]
    backbone = BACKBONES.get(key)
    if key.startswith("vit_moe"):
        shared = [*(k for k in (*TASK_KEYS, *FURTHER_TASK_KEYS) if k in present), *sorted(present)]
        options.setdefault("tasks", tuple(dict.fromkeys([*shared, *own])))
    given = options
    if key == "diffusion_features":  # the one backbone that another wing's model goes into
        from .instruct import with_diffusion

        given, options = with_diffusion(options)
    built = call_with(backbone, given, f"backbone {key}", load_weights=load_weights)
    plain = {
        "backbone": _without_weights({"name": key, **options}),
        "heads": {name: asdict(spec) for name, spec in specs.items()},
        "default_heads": dict(config.default_heads),
        "max_side": config.max_side,
        "min_side": config.min_side,
    }
    return MultiTaskModel(built, specs, config.default_heads, config.max_side, config.min_side, plain)


def _without_weights(value: Any) -> Any:
    """Copy plain options, dropping paths of weights: a saved model carries its own."""
    if isinstance(value, Mapping):
        return {
            k: None if k == "weights" else False if k == "pretrained" else _without_weights(v) for k, v in value.items()
        }
    return [_without_weights(v) for v in value] if isinstance(value, (list, tuple)) else value

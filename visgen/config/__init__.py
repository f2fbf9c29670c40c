"""Run files: frozen dataclasses and the strict YAML loader that fills them. Imports neither torch nor any model."""

from .finetune import FinetuneConfig
from .loader import apply_overrides, from_mapping, load_config, to_mapping, to_yaml
from .schema import (
    DataConfig,
    HeadConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimConfig,
    PartConfig,
    RunConfig,
    TrainConfig,
    load_run,
)

__all__ = [
    "DataConfig",
    "FinetuneConfig",
    "HeadConfig",
    "ModelConfig",
    "ObjectiveConfig",
    "OptimConfig",
    "PartConfig",
    "RunConfig",
    "TrainConfig",
    "apply_overrides",
    "from_mapping",
    "load_config",
    "load_run",
    "to_mapping",
    "to_yaml",
]

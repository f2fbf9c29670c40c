"""Run files: frozen dataclasses and the strict YAML loader that fills them. Imports neither torch nor any model."""

from .loader import from_mapping, load_config, to_mapping, to_yaml
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
    "HeadConfig",
    "ModelConfig",
    "ObjectiveConfig",
    "OptimConfig",
    "PartConfig",
    "RunConfig",
    "TrainConfig",
    "from_mapping",
    "load_config",
    "load_run",
    "to_mapping",
    "to_yaml",
]

"""Training and evaluation of anything that keeps the Objective, Source and Task contracts."""

from .checkpoint import Checkpoint, load_checkpoint, load_newest, save_checkpoint
from .distributed import Workers
from .ema import MovingAverage
from .evaluate import EvaluationReport, evaluate
from .routing import measure_routing
from .run import BuiltRun, build_run, train_from_config
from .state import RunSummary
from .train import Diverged, Trainer

__all__ = [
    "BuiltRun",
    "Checkpoint",
    "Diverged",
    "EvaluationReport",
    "MovingAverage",
    "RunSummary",
    "Trainer",
    "Workers",
    "build_run",
    "evaluate",
    "load_checkpoint",
    "load_newest",
    "measure_routing",
    "save_checkpoint",
    "train_from_config",
]

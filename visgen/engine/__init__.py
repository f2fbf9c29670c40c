"""Training and evaluation of anything that keeps the Objective, Source and Task contracts."""

from .checkpoint import Checkpoint, load_checkpoint, load_newest, save_checkpoint
from .distributed import Workers
from .ema import MovingAverage
from .evaluate import EvaluationReport, evaluate
from .fit import Collected, FitReport, collect_features, fit_head, with_head
from .maps import write_maps
from .routing import measure_routing
from .run import BuiltRun, build_run, train_from_config, train_run
from .state import RunSummary
from .step import PhaseStep
from .train import Diverged, Trainer

__all__ = [
    "BuiltRun",
    "Checkpoint",
    "Collected",
    "Diverged",
    "EvaluationReport",
    "FitReport",
    "MovingAverage",
    "PhaseStep",
    "RunSummary",
    "Trainer",
    "Workers",
    "build_run",
    "collect_features",
    "evaluate",
    "fit_head",
    "load_checkpoint",
    "load_newest",
    "measure_routing",
    "save_checkpoint",
    "train_from_config",
    "train_run",
    "with_head",
    "write_maps",
]

"""Training and evaluation of anything that keeps the Objective, Source and Task contracts."""

from .checkpoint import Checkpoint, load_checkpoint, load_newest, save_checkpoint
from .distributed import Workers
from .ema import MovingAverage
from .train import Diverged, RunSummary, Trainer

__all__ = [
    "Checkpoint",
    "Diverged",
    "MovingAverage",
    "RunSummary",
    "Trainer",
    "Workers",
    "load_checkpoint",
    "load_newest",
    "save_checkpoint",
]

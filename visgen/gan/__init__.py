"""Generative adversarial networks as sources of training data: parts that combine, one small file a method."""

from .adversarial import ADVERSARIAL, AdversarialLoss
from .adversaries import Adversaries
from .architecture import DISCRIMINATORS, GENERATORS, DFeatures, Discriminator, Generator
from .augment import AUGMENTS, AugmentPipe
from .average import GeneratorAverage, measure_norm_statistics
from .batch import GanBatch
from .conditioning import CONDITIONS, Condition
from .config import GanConfig, build_adversaries, build_generator
from .measure import GanJudge
from .regulariser import REGULARISERS, Regulariser
from .saving import SavedGan, load_gan, save_gan
from .shrinkage import measure_shrinkage
from .source import GanSource, to_bytes

__all__ = [
    "ADVERSARIAL",
    "AUGMENTS",
    "CONDITIONS",
    "DISCRIMINATORS",
    "GENERATORS",
    "REGULARISERS",
    "Adversaries",
    "AdversarialLoss",
    "AugmentPipe",
    "Condition",
    "DFeatures",
    "Discriminator",
    "GanBatch",
    "GanConfig",
    "GanJudge",
    "GanSource",
    "Generator",
    "GeneratorAverage",
    "Regulariser",
    "SavedGan",
    "build_adversaries",
    "build_generator",
    "load_gan",
    "measure_norm_statistics",
    "measure_shrinkage",
    "save_gan",
    "to_bytes",
]

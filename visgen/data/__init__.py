"""Data: samples, sources, readers of public layouts, joint transforms, batches and mixtures."""

from .cached import Cached
from .collate import Batch, collate
from .mixture import MODES, Mixture, MixturePart, StepDataset
from .sample import Sample
from .source import FORMATS, READERS, Concat, Mapped, Source, Subset, build_source
from .transforms import TRANSFORMS, Compose, Transform, build_transform

__all__ = [
    "FORMATS",
    "MODES",
    "READERS",
    "TRANSFORMS",
    "Batch",
    "Cached",
    "Compose",
    "Concat",
    "Mapped",
    "Mixture",
    "MixturePart",
    "Sample",
    "Source",
    "StepDataset",
    "Subset",
    "Transform",
    "build_source",
    "build_transform",
    "collate",
]

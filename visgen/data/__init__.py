"""Data: samples, sources, readers of public layouts, joint transforms, batches and mixtures."""

from .cached import Cached
from .catalogue import DatasetCard, list_datasets
from .check import Report, check_source, check_sources
from .collate import Batch, collate
from .mixture import MODES, Mixture, MixturePart
from .sample import Sample
from .source import FORMATS, READERS, Concat, Mapped, MissingSplit, Source, Subset, build_source
from .transforms import TRANSFORMS, Compose, Transform, build_transform
from .triplets import triplet_counts
from .wrap import WRAPPERS, wrap_source

__all__ = [
    "FORMATS",
    "MODES",
    "READERS",
    "Report",
    "TRANSFORMS",
    "WRAPPERS",
    "Batch",
    "Cached",
    "Compose",
    "Concat",
    "DatasetCard",
    "Mapped",
    "Mixture",
    "MissingSplit",
    "MixturePart",
    "Sample",
    "Source",
    "Subset",
    "Transform",
    "build_source",
    "build_transform",
    "check_source",
    "check_sources",
    "collate",
    "list_datasets",
    "triplet_counts",
    "wrap_source",
]

"""Every answer as a picture: typed value to RGB in [-1, 1] and back, one request at a time."""

from .choose import CODECS, codec_for, passes
from .classification import ColourFlag, PanelGrid, flag_colours
from .colours import CUBE
from .depth import AffineDepth, LogDepth
from .detection import BoxLayers
from .detection_other import BoxDiscs, BoxFrames
from .letterbox import Letterbox
from .ood import ScoreMap
from .protocol import Codec, CodecSettings
from .scene_graph import PairMatrix, TripletRegions
from .segmentation import BinaryMask, ClassPalette, Palette, colour_names, merge_passes

__all__ = [
    "CODECS",
    "CUBE",
    "AffineDepth",
    "BinaryMask",
    "BoxDiscs",
    "BoxFrames",
    "BoxLayers",
    "ClassPalette",
    "Codec",
    "CodecSettings",
    "ColourFlag",
    "Letterbox",
    "LogDepth",
    "PairMatrix",
    "Palette",
    "PanelGrid",
    "ScoreMap",
    "TripletRegions",
    "codec_for",
    "colour_names",
    "flag_colours",
    "merge_passes",
    "passes",
]

"""Backbones: images to Features."""

from .conv_stem import ConvStem, ConvStemConfig
from .diffusion_features import DiffusionFeatures, DiffusionFeaturesConfig
from .protocol import BACKBONES, STRIDES, Backbone, Features
from .timm_features import TimmBackbone, TimmBackboneConfig
from .vit_moe import ViTMoE, ViTMoEConfig

__all__ = [
    "BACKBONES",
    "STRIDES",
    "Backbone",
    "ConvStem",
    "ConvStemConfig",
    "DiffusionFeatures",
    "DiffusionFeaturesConfig",
    "Features",
    "TimmBackbone",
    "TimmBackboneConfig",
    "ViTMoE",
    "ViTMoEConfig",
]

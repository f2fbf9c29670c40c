"""Architectures: generators and discriminators, one file a family."""

from .protocol import DISCRIMINATORS, GENERATORS, DFeatures, Discriminator, Generator, mix_features
from .relight import RelightTranslator
from .sn_dcgan import DCGenerator, SNDCDiscriminator
from .sn_resnet import ResNetGenerator, SNResNetDiscriminator

__all__ = [
    "DISCRIMINATORS",
    "GENERATORS",
    "DCGenerator",
    "DFeatures",
    "Discriminator",
    "Generator",
    "RelightTranslator",
    "ResNetGenerator",
    "SNDCDiscriminator",
    "SNResNetDiscriminator",
    "mix_features",
]

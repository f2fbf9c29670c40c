"""Augmentation and resizing, joint over the image and its typed targets; every random choice comes from a generator."""

from .base import TRANSFORMS, Compose, Transform, build_transform
from .clahe import Clahe
from .darken import ByNight, Darken
from .few import OfFew
from .geometry import Window, apply_window, resample_nearest, scale_depth, tight_boxes, window_value
from .photometric import ColorJitter, GaussianBlur, GaussianNoise, Grayscale, RandomErasing
from .relations import OnePredicate
from .rotate import Rotate
from .shared_crop import SharedCrop
from .spatial import CenterCrop, HorizontalFlip, Pad, RandomCrop, RandomResizedCrop, Rescale, Resize

__all__ = [
    "TRANSFORMS",
    "ByNight",
    "CenterCrop",
    "Clahe",
    "ColorJitter",
    "Compose",
    "Darken",
    "GaussianBlur",
    "GaussianNoise",
    "Grayscale",
    "HorizontalFlip",
    "OfFew",
    "OnePredicate",
    "Pad",
    "RandomCrop",
    "RandomErasing",
    "RandomResizedCrop",
    "Rescale",
    "Resize",
    "Rotate",
    "SharedCrop",
    "Transform",
    "Window",
    "apply_window",
    "build_transform",
    "resample_nearest",
    "scale_depth",
    "tight_boxes",
    "window_value",
]

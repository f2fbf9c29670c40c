"""What a day-to-night GAN is, and how it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import ConfigError
from ..gan.architecture.camera import check_grain

__all__ = ["NightConfig"]

VARIANTS = ("hedgan", "hedngan", "cyclegan", "cut")


@dataclass(frozen=True)
class NightConfig:
    """A day-to-night GAN.

    Attributes:
        start: Folder or shipped name of a generator with the same translator to start from; "" for fresh weights. All
            else, discriminators too, starts fresh.
        learns: Beginnings of the names of the translator's parameters that learn, such as "last"; empty for all. The
            translator that leads back (cyclegan) starts fresh and learns whole.
        variant: "hedgan": one translator, edges kept by a fixed detector. "hedngan": the detector that looks at night
            learns to see there what its teacher sees by day. "cyclegan": there and back again. "cut": patches stay
            recognisable among each other.
        translator: {name: key in TRANSLATORS, its options}.
        discriminator: Keywords of PatchDiscriminator.
        edges: Folder of a trained detector, or "sobel" for the one without parameters, which cannot learn.
        resolution: Side of the crops in pixels; goes into the saved generator.
        adversarial_weight: On the least-squares loss of the translator. 2 undoes the half in it, which makes the other
            weights those of the sources.
        edge_weight: On the edge consistency (hedgan, hedngan); 0 is the control without it.
        cycle_weight: On the way there and back (cyclegan).
        nce_weight, identity_weight: On the patches of the picture and of a night translated to itself (cut); the two
            terms are averaged.
        nce_stages: Stages of the translator's encoder whose patches are compared.
        nce_patches: Patches of each stage.
        student_lr_scale: Factor on the learning rate of the student (hedngan).
        grain: Range, on the scale 0..1, of the standard deviation of the noise that translations get before they are
            judged, as a camera adds it. A discriminator then cannot tell by noise, which no translator draws, and edges
            are still compared on what was drawn.
        label_weight: On the labels: a reader learns to segment pictures and their translations by the semantic maps of
            the pictures that have one, and the translator must stay readable. 0 for none.
        reader: Keywords of UNet for the reader: channels, blocks, norm.
        reader_lr_scale: Factor on its learning rate.
        night_label_weight: On the labels too, as fixed readers see them that were taught on labelled nights and never
            on translations: what helps them makes nights readable as nights are. 0 for none.
        night_readers: Folders of these readers, each what a run with a semantic head leaves. Their mean counts; two of
            different make agree on less that only one of them would see.
        feature_weight: On a second discriminator, which sees pictures through a network that is fixed. 0 for none.
        features: Keywords of the timm backbone that it sees them through: model, weights, mean, std, options.
        light_weight: On a third discriminator, which sees the mean colours of squares of 8, 16 and 32 pixels alone: how
            bright a night is, and where. The first one normalises brightness away. 0 for none.
    """

    start: str = ""
    learns: tuple[str, ...] = ()
    variant: Literal["hedgan", "hedngan", "cyclegan", "cut"] = "hedngan"
    translator: Mapping[str, Any] = field(default_factory=lambda: {"name": "resnet"})
    discriminator: Mapping[str, Any] = field(default_factory=dict)
    edges: str = "sobel"
    resolution: int = 128
    adversarial_weight: float = 2.0
    edge_weight: float = 5.0
    cycle_weight: float = 10.0
    nce_weight: float = 1.0
    identity_weight: float = 10.0
    nce_stages: tuple[int, ...] = (0, 2, 4, 6)
    nce_patches: int = 256
    student_lr_scale: float = 0.1
    grain: tuple[float, float] = (0.0, 0.0)
    label_weight: float = 0.0
    reader: Mapping[str, Any] = field(default_factory=lambda: {"channels": 16, "blocks": 1, "norm": "group"})
    reader_lr_scale: float = 3.0
    night_label_weight: float = 0.0
    night_readers: tuple[str, ...] = ()
    feature_weight: float = 0.0
    features: Mapping[str, Any] = field(default_factory=dict)
    light_weight: float = 0.0

    def __post_init__(self) -> None:
        check_grain(self.grain)
        for name in (n for n in self.__dataclass_fields__ if n.endswith(("_weight", "_lr_scale"))):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be 0 or more.")
        if (self.night_label_weight > 0) != bool(self.night_readers):
            raise ConfigError(
                f"night_label_weight is {self.night_label_weight} and night_readers {list(self.night_readers)}; give "
                "both, or 0 and none."
            )
        if self.variant not in VARIANTS:
            raise ConfigError(f"variant '{self.variant}' is unknown; use one of {', '.join(VARIANTS)}.")
        if self.variant == "hedngan" and self.edges == "sobel":
            raise ConfigError("variant 'hedngan' needs a detector that can learn; give the folder of one under edges.")

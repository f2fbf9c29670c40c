"""A GAN as plain values, and the networks that they describe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigError
from ..options import call_with
from ..registry import Registry
from .adversarial import ADVERSARIAL
from .adversaries import Adversaries
from .architecture import DISCRIMINATORS, GENERATORS, Generator
from .augment import AUGMENTS
from .conditioning import CONDITIONS
from .regulariser import REGULARISERS

__all__ = ["GanConfig", "build_adversaries", "build_generator"]


@dataclass(frozen=True)
class GanConfig:
    """What plays against what, under which rules. Names are registry keys; further keys are options of the member.

    Attributes:
        generator: {name: key in GENERATORS, its options}.
        discriminator: {name: key in DISCRIMINATORS, its options}.
        resolution: Side of the images in pixels, of both networks.
        condition: {name: key in CONDITIONS, its options}; "none" trains without labels.
        loss: Key in ADVERSARIAL.
        regularisers: Each {name: key in REGULARISERS, weight, every, its options}.
        augment: {name: key in AUGMENTS, its options}.
        d_steps: Discriminator steps for each generator step.
        d_lr_scale, g_lr_scale: Factors on the run's learning rate.
        half_life, ramp_up: Of the averaged generator; see GeneratorAverage.
    """

    generator: Mapping[str, Any] = field(default_factory=lambda: {"name": "dcgan"})
    discriminator: Mapping[str, Any] = field(default_factory=lambda: {"name": "sn_dcgan"})
    resolution: int = 32
    condition: Mapping[str, Any] = field(default_factory=lambda: {"name": "none"})
    loss: str = "hinge"
    regularisers: tuple[Mapping[str, Any], ...] = ()
    augment: Mapping[str, Any] = field(default_factory=lambda: {"name": "none"})
    d_steps: int = 1
    d_lr_scale: float = 1.0
    g_lr_scale: float = 1.0
    half_life: float = 10_000
    ramp_up: float = 0.05

    def __post_init__(self) -> None:
        if self.d_steps < 1 or self.d_lr_scale <= 0 or self.g_lr_scale <= 0:
            raise ConfigError(
                f"d_steps is {self.d_steps}, d_lr_scale {self.d_lr_scale} and g_lr_scale {self.g_lr_scale}; use "
                "d_steps of 1 or more and scales above 0."
            )

    @property
    def is_conditional(self) -> bool:
        """True when labels are used."""
        return bool(CONDITIONS.get(_split(self.condition, "condition")[0]).needs_labels)


def build_adversaries(config: GanConfig, n_classes: int = 0) -> Adversaries:
    """Build both networks with losses, regularisers and augmentation; weights come from torch's global generator.

    Args:
        config: What to build.
        n_classes: K of the data; used when the condition needs labels.
    Raises:
        ConfigError, UnknownName: A key, option or combination that does not fit.
    """
    key, options = _split(config.discriminator, "discriminator")
    cls = DISCRIMINATORS.get(key)
    width = call_with(cls.width_of, options, f"discriminator '{key}'", resolution=config.resolution)
    condition = _build(CONDITIONS, config.condition, "condition", width=width, n_classes=n_classes)
    discriminator = _build(
        DISCRIMINATORS, config.discriminator, "discriminator", resolution=config.resolution, condition=condition
    )
    return Adversaries(
        build_generator(config, n_classes),
        discriminator,
        ADVERSARIAL.get(config.loss),
        [_build(REGULARISERS, r, "regulariser") for r in config.regularisers],
        _build(AUGMENTS, config.augment, "augment"),
    )


def build_generator(config: GanConfig, n_classes: int = 0) -> Generator:
    """Build the generator alone; see `build_adversaries`."""
    classes = n_classes if config.is_conditional else 0
    generator: Generator = _build(
        GENERATORS, config.generator, "generator", resolution=config.resolution, n_classes=classes
    )
    return generator


def _split(given: Mapping[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    options = dict(given)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise ConfigError(f"{where} is {dict(given)}; it needs a `name`, such as {{name: ...}}.")
    return name, options


def _build(registry: Registry[Any], given: Mapping[str, Any], where: str, **fixed: Any) -> Any:
    name, options = _split(given, where)
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    return call_with(registry.get(name), options, f"{where} '{name}'", **fixed)

"""What a training with compositional augmentation is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ...errors import ConfigError

__all__ = ["SECONDS", "CompositionalConfig"]

SECONDS = ("none", "real", "swapped", "generated")


@dataclass(frozen=True)
class CompositionalConfig:
    """A scene-graph head that takes a second step on each batch, and what that step learns from.

    Attributes:
        head: {name: key of a head for scene graphs, its options}.
        loss: Options of the scene-graph loss, for real and for made features.
        told: Give the head the class of every box in training, for heads that read it and cannot find it.
        pairs: Most pairs of a picture that a step learns from, annotated ones first; 0 takes all, up to 1024.
        second: "none": no second step. "real": the same features again, which controls for the number of steps.
            "swapped": real maps in which boxes of changed classes hold real regions of their new classes.
            "generated": maps that a generator makes from the changed graphs, while judges train it.
        perturb: How classes change, see `build_perturbation`, such as {name: graphn, alpha: 2, share: 0.2, nearest: 5};
            null leaves them.
        vectors: File of word vectors in GloVe's layout, for neighbours; empty takes vectors from the training graphs.
        generator, judges: Options of FeatureGenerator and of Judges.
        adversarial: Key of the pair of adversarial losses.
        adversarial_weight: On the sum over boxes, pairs and maps, for both sides.
        second_weight: On the loss of the second step; 0 leaves that step out.
        attach_g: Let the loss of the second step reach the generator too. Then head and generator may cooperate.
        shuffle: Permute the labels of made boxes and relations within a batch: a control, which must not help.
        start_step: Made features are learnt from this step on; before, the second step learns from real ones.
        bank: Real regions kept of each class.
        bank_folder: Keep them in a file in this folder; empty keeps them in memory.
        g_lr_scale, d_lr_scale: Factors on the learning rate of the generator and of the judges.
    Raises:
        ConfigError: Values that do not go together.
    """

    head: Mapping[str, Any] = field(default_factory=lambda: {"name": "scene_graph_map"})
    loss: Mapping[str, Any] = field(default_factory=dict)
    told: bool = False
    pairs: int = 0
    second: Literal["none", "real", "swapped", "generated"] = "generated"
    perturb: Mapping[str, Any] | None = field(default_factory=lambda: {"name": "graphn", "alpha": 2})
    vectors: str = ""
    generator: Mapping[str, Any] = field(default_factory=dict)
    judges: Mapping[str, Any] = field(default_factory=dict)
    adversarial: str = "non_saturating"
    adversarial_weight: float = 5.0
    second_weight: float = 1.0
    attach_g: bool = False
    shuffle: bool = False
    start_step: int = 0
    bank: int = 500
    bank_folder: str = ""
    g_lr_scale: float = 0.1
    d_lr_scale: float = 0.4

    def __post_init__(self) -> None:
        if self.second not in SECONDS:
            raise ConfigError(f"second is '{self.second}'; use one of {', '.join(SECONDS)}.")
        if self.second == "swapped" and not self.perturb:
            raise ConfigError("second is 'swapped' but perturb is null: nothing would change; name a perturbation.")
        if "name" not in self.head:
            raise ConfigError(f"head is {dict(self.head)}; it needs a name, such as scene_graph_map.")
        for name in ("adversarial_weight", "second_weight", "start_step", "pairs"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be 0 or more.")
        for name in ("g_lr_scale", "d_lr_scale"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be above 0.")

    @property
    def has_generator(self) -> bool:
        """Whether a generator is trained."""
        return self.second == "generated"

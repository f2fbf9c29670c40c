"""What an OOD score is: a module that is fitted on in-distribution images and saved with a model."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..errors import ConfigError, DataError
from ..nn.readout import PREPARATIONS, Readout, prepare_vectors
from ..options import call_with
from ..registry import Registry

__all__ = ["OOD_SCORES", "OODScore", "StoredReadout", "build_score"]

OOD_SCORES: Registry[Any] = Registry(
    "OOD score", "An OODScore: forward(logits, features) is higher for images that are less like the fitted ones."
)


class OODScore(nn.Module):
    """Base of all scores.

    `fit` takes what the model gave for in-distribution training images and fills the buffers, whose sizes follow from
    the constructor, so that a state dict is enough to save and load a fitted score.

    Args:
        classes: K, the width of the logits.
        dim: D, the width of the features.

    Attributes:
        needs_readout: The score reads the classifier's last layer, which `fit` must then be given.
    """

    needs_readout: ClassVar[bool] = False

    def __init__(self, classes: int, dim: int) -> None:
        super().__init__()
        if classes < 2 or dim < 1:
            raise ConfigError(f"an OOD score got {classes} classes and {dim} features; it needs 2 and 1 at least.")
        self.classes, self.dim = classes, dim
        self.register_buffer("fitted", torch.tensor(False))

    def fit(self, logits: Tensor, features: Tensor, labels: Tensor, readout: Readout | None = None) -> OODScore:
        """Learn from in-distribution images.

        Args:
            logits: (N, K).
            features: (N, D).
            labels: Classes (N,) int64, 0..K-1.
            readout: The last layer of the classifier that gave the logits, for scores that read it.
        Raises:
            ConfigError: The score needs a readout and got none, or one of another size.
            DataError: Shapes that do not fit, numbers that are not finite, or too few images.
        """
        _check(logits, features, self.classes, self.dim)
        if labels.shape != logits.shape[:1] or (
            len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.classes
        ):
            raise DataError(
                f"labels of shape {tuple(labels.shape)} came with {len(logits)} images of {self.classes} classes; give "
                "one label in 0..K-1 for each image."
            )
        if self.needs_readout and (readout is None or readout.weight.shape != (self.classes, self.dim)):
            got = "none" if readout is None else f"one of {tuple(readout.weight.shape)}"
            raise ConfigError(
                f"{type(self).__name__} reads the last layer ({self.classes}, {self.dim}) of the classifier and got "
                f"{got}; use it on a classification head that has a readout, with the image vector as features."
            )
        self._fit(logits.double(), features.double(), labels, readout)
        self.fitted.fill_(True)  # type: ignore[operator]
        return self

    def forward(self, logits: Tensor, features: Tensor) -> Tensor:
        """Give (B,) float32 from logits (B, K) and features (B, D); higher is less like the fitted images."""
        if not torch.compiler.is_exporting():  # a graph holds no checks; visgen.export makes them before it records
            _check(logits, features, self.classes, self.dim)
            self._check_fitted()
        # Half precision would lose the small differences between large distances.
        with torch.autocast(logits.device.type, enabled=False):
            return self._score(logits.float(), features.float())

    def class_distances(self, logits: Tensor, features: Tensor) -> Tensor:
        """Give how far each image is from each class, (B, K) float32 in the score's own measure; smaller is nearer.

        A score without a distance of its own takes minus the logits.
        """
        _check(logits, features, self.classes, self.dim)
        self._check_fitted()
        with torch.autocast(logits.device.type, enabled=False):
            return self._class_distances(logits.float(), features.float())

    def _check_fitted(self) -> None:
        if not bool(self.fitted):
            raise ConfigError(f"{type(self).__name__} has no statistics yet; call fit on in-distribution images first.")

    def _fit(self, logits: Tensor, features: Tensor, labels: Tensor, readout: Readout | None) -> None:
        """Fill the buffers; a score without statistics has nothing to do."""

    def _score(self, logits: Tensor, features: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} must define _score.")

    def _class_distances(self, logits: Tensor, features: Tensor) -> Tensor:
        return -logits


class StoredReadout(nn.Module):
    """A `Readout` kept as buffers of a score, float32."""

    weight: Tensor
    bias: Tensor
    form: Tensor
    scale: Tensor

    def __init__(self, classes: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(classes, dim))
        self.register_buffer("bias", torch.zeros(classes))
        self.register_buffer("form", torch.zeros(2, dtype=torch.int64))  # place in PREPARATIONS, is_absolute
        self.register_buffer("scale", torch.tensor(1.0))

    def store(self, readout: Readout) -> None:
        """Copy a readout of the same size."""
        self.weight.copy_(readout.weight)
        self.bias.copy_(readout.bias)
        self.form.copy_(torch.tensor([PREPARATIONS.index(readout.prepare), int(readout.is_absolute)]))
        self.scale.fill_(readout.scale)

    def load(self) -> Readout:
        """Give the readout back."""
        prepare, is_absolute = self.form.tolist()
        return Readout(
            self.weight.float(), self.bias.float(), PREPARATIONS[prepare], bool(is_absolute), float(self.scale)
        )

    def inputs(self, vectors: Tensor) -> Tensor:
        """Give z (B, D) from image vectors (B, D)."""
        return prepare_vectors(vectors, PREPARATIONS[int(self.form[0])])


def build_score(name: str, classes: int, dim: int, **options: Any) -> OODScore:
    """Build the score `name` without statistics; an unknown name or option is refused by name."""
    found: OODScore = call_with(OOD_SCORES.get(name), options, f"OOD score '{name}'", classes, dim)
    return found


def _check(logits: Tensor, features: Tensor, classes: int, dim: int) -> None:
    if logits.ndim != 2 or logits.shape[1] != classes or features.shape != (len(logits), dim):
        raise DataError(
            f"an OOD score of {classes} classes and {dim} features got logits {tuple(logits.shape)} and features "
            f"{tuple(features.shape)}; they must be (B, {classes}) and (B, {dim})."
        )
    if not bool(logits.isfinite().all() and features.isfinite().all()):
        raise DataError("logits or features of an OOD score hold NaN or infinity; look at the images behind them.")

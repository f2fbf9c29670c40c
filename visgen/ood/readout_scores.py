"""Scores that read the classifier's last layer beside the image vector."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError, DataError
from ..nn.readout import PREPARATIONS, Readout, prepare_vectors
from .score import OOD_SCORES, OODScore, StoredReadout

__all__ = ["ReAct", "SubspaceAngle", "ViM"]


@OOD_SCORES.register("react")
class ReAct(OODScore):
    """The energy after the inputs of the last layer were clipped from above.

    The limit is one number: the `percentile` of all inputs of all training images. Inputs that a layer norm made are
    clipped in units of its deviation, before its gain.

    Args:
        percentile: Share of the training inputs that stay as they are, above 0 and at most 1.
        temperature: As in `Energy`.
    Source: Sun et al. 2021, arXiv:2111.12797, section 3.
    """

    needs_readout = True
    limit: Tensor

    def __init__(self, classes: int, dim: int, percentile: float = 0.9, temperature: float = 1.0) -> None:
        super().__init__(classes, dim)
        if not 0 < percentile <= 1 or temperature <= 0:
            raise ConfigError(
                f"ReAct has percentile {percentile} and temperature {temperature}; the first is a share, above 0 and "
                "at most 1, and the second must be above 0."
            )
        self.percentile, self.temperature = percentile, temperature
        self.readout = StoredReadout(classes, dim)
        self.register_buffer("limit", torch.tensor(0.0))

    def _fit(self, logits: Tensor, features: Tensor, labels: Tensor, readout: Readout | None) -> None:
        assert readout is not None
        self.readout.store(readout)
        ordered = readout.inputs(features).flatten().sort().values
        place = self.percentile * (len(ordered) - 1)
        low = int(place)
        self.limit.copy_(torch.lerp(ordered[low], ordered[min(low + 1, len(ordered) - 1)], place - low))

    def _score(self, logits: Tensor, features: Tensor) -> Tensor:
        clipped = self.readout.load().logits(self.readout.inputs(features).clamp(max=float(self.limit)))
        return -self.temperature * (clipped / self.temperature).logsumexp(dim=1)


@OOD_SCORES.register("vim")
class ViM(OODScore):
    """The part of the last layer's input that the training images do not use, less the energy.

    Inputs are measured from the point o = -W^+ b where all logits are 0. Beyond the `rank` widest axes of the training
    inputs lies the residual; its length, scaled so that over the training images it is on average as large as the
    largest logit, is the virtual logit.

    Args:
        rank: Axes of the principal space, below D.
    Source: Wang et al. 2022, arXiv:2203.10807, section 4. There the score is the softmax of the virtual logit, which
        rises with the one here.
    """

    needs_readout = True
    origin: Tensor
    axes: Tensor
    alpha: Tensor
    prepare: Tensor

    def __init__(self, classes: int, dim: int, rank: int = 64) -> None:
        super().__init__(classes, dim)
        if rank < 1 or dim < 2:
            raise ConfigError(f"ViM has rank {rank} on {dim} features; use a rank from 1 to below the features.")
        self.rank = min(rank, dim - 1)
        self.register_buffer("origin", torch.zeros(dim))
        self.register_buffer("axes", torch.zeros(dim, self.rank))
        self.register_buffer("alpha", torch.tensor(0.0))
        self.register_buffer("prepare", torch.tensor(0))  # place in PREPARATIONS

    def _fit(self, logits: Tensor, features: Tensor, labels: Tensor, readout: Readout | None) -> None:
        assert readout is not None
        self.prepare.fill_(PREPARATIONS.index(readout.prepare))
        self.origin.copy_(-torch.linalg.pinv(readout.weight.double()) @ readout.bias.double())
        x = readout.inputs(features) - self.origin
        _, axes = torch.linalg.eigh(x.T @ x / len(x))  # rising
        self.axes.copy_(axes[:, -self.rank :])
        residual = self._residual(features)
        # As many axes as images take in every image; what is left of them is rounding
        if len(features) <= self.rank or not float(residual.mean()) > 0:
            raise DataError(
                f"the inputs of {len(features)} training images lie in {self.rank} axes, so ViM has no residual; give "
                "more images or a smaller rank."
            )
        self.alpha.copy_(logits.amax(1).mean() / residual.mean())

    def _residual(self, features: Tensor) -> Tensor:
        """Lengths (B,) of the inputs outside the principal space."""
        x = prepare_vectors(features, PREPARATIONS[int(self.prepare)]) - self.origin.to(features)
        axes = self.axes.to(x)
        return (x - (x @ axes) @ axes.T).norm(dim=1)  # not a difference of squares, which a shared offset swamps

    def _score(self, logits: Tensor, features: Tensor) -> Tensor:
        return self.alpha * self._residual(features) - logits.logsumexp(dim=1)


@OOD_SCORES.register("subspace_angle")
class SubspaceAngle(OODScore):
    """Minus the largest |cosine| between the last layer's input and a class's weight vector, in [-1, 0].

    It is meant for a classifier whose weight vectors stay orthonormal, as AdaptiveMix trains one; on others the vectors
    are brought to length 1 and the bias is left out.
    """

    needs_readout = True
    directions: Tensor
    prepare: Tensor

    def __init__(self, classes: int, dim: int) -> None:
        super().__init__(classes, dim)
        self.register_buffer("directions", torch.zeros(classes, dim))
        self.register_buffer("prepare", torch.tensor(0))

    def _fit(self, logits: Tensor, features: Tensor, labels: Tensor, readout: Readout | None) -> None:
        assert readout is not None
        self.prepare.fill_(PREPARATIONS.index(readout.prepare))
        self.directions.copy_(F.normalize(readout.weight.double(), dim=1))

    def _class_distances(self, logits: Tensor, features: Tensor) -> Tensor:
        inputs = F.normalize(prepare_vectors(features, PREPARATIONS[int(self.prepare)]), dim=1)
        return -(inputs @ self.directions.float().T).abs()

    def _score(self, logits: Tensor, features: Tensor) -> Tensor:
        return self._class_distances(logits, features).amin(1)

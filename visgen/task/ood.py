"""Out-of-distribution detection: is this image unlike what the classifier below was trained on?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, DataError
from ..heads import HEADS, Head
from ..metrics import OODMetric
from ..ood import build_score, kept_share, threshold_keeping
from ..structures import OODVerdict
from ..structures.features import Features
from .protocol import TASKS, HeadSpec, Task

__all__ = ["OODHead", "OODTask"]


@HEADS.register("ood")
class OODHead(Head):
    """A score with the statistics it was fitted on, and the threshold that was calibrated for it, all as buffers.

    Buffers are saved in float32 whatever the weights are saved in, so that a model keeps its verdicts.

    Args:
        classes: Classes of the classification head below.
        score: Key in `visgen.ood.OOD_SCORES`.
        score_options: Keywords of that score.
        keep: Share of in-distribution images that the threshold keeps, above 0 and at most 1.
    """

    threshold: Tensor
    is_calibrated: Tensor

    def __init__(
        self,
        channels: dict[int, int],
        token_dim: int,
        outputs: int = 1,
        *,
        classes: int,
        score: str = "max_logit_mahalanobis",
        score_options: Mapping[str, Any] | None = None,
        keep: float = 0.95,
    ) -> None:
        super().__init__()
        if not 0 < keep <= 1:
            raise ConfigError(f"keep of the OOD head is {keep}; it is a share of images, above 0 and at most 1.")
        self.score_name, self.keep = score, float(keep)
        self.score = build_score(score, classes, token_dim, **dict(score_options or {}))
        self.register_buffer("threshold", torch.tensor(0.0))
        self.register_buffer("is_calibrated", torch.tensor(False))

    def forward(self, features: Features, queries: Any = None) -> Tensor:
        """Give scores (B,) float32 from the image vectors and, as queries, the logits (B, K) of the head below.

        Raises:
            ConfigError: The head was never fitted, or the logits are missing.
        """
        if not torch.compiler.is_exporting() and not bool(self.score.fitted):
            raise ConfigError(
                "the OOD head of this model was never fitted, so it knows no images to compare with; run visgen fit "
                "MODEL --data imagefolder:PATH --out FOLDER, or visgen.engine.fit_head."
            )
        if not isinstance(queries, Tensor):
            raise ConfigError(
                f"the OOD head got a {type(queries).__name__} as queries; give the logits (B, K) of the head below."
            )
        return self.score(queries, features.token)


class OODTask(Task):
    """Targets are OODLabel, answers OODVerdict; nothing is trained: a score is fitted to the training images of the
    classification head below, and its threshold is set on validation images."""

    key = "ood"
    head = "ood"
    stands_on = "classification"
    rides = True
    is_trained = False

    def outputs(self, classes: Sequence[str]) -> int:
        return 1

    def head_options(self, below: HeadSpec | None) -> dict[str, Any]:
        return {"classes": len(below.classes) if below is not None else 0}

    def queries(
        self, below: Sequence[Any], logits: Tensor | None, valid: Sequence[tuple[int, int]], protocol: str = ""
    ) -> Any:
        return logits

    def decode_options(self, head: Any) -> dict[str, Any]:
        threshold = float(head.threshold) if bool(head.is_calibrated) else None
        return {"threshold": threshold, "keeps": head.keep, "score_name": head.score_name}

    def decode(
        self,
        logits: Tensor,
        classes: Sequence[str],
        valid: Sequence[tuple[int, int]],
        sizes: Sequence[tuple[int, int]],
        stride: int = 4,
        threshold: float | None = None,
        keeps: float | None = None,
        score_name: str = "",
    ) -> list[OODVerdict]:
        """Turn scores (B,) into verdicts; the last three arguments come from `decode_options`."""
        known = None if threshold is None else keeps
        return [OODVerdict(float(score), threshold, known, score_name) for score in logits.tolist()]

    def metric(self, classes: Sequence[str], **options: Any) -> OODMetric:
        return OODMetric(**options)

    def metric_options(
        self, head: Any, classes: Sequence[str], below: HeadSpec | None, protocol: str
    ) -> dict[str, Any]:
        return {"threshold": self.decode_options(head)["threshold"]}

    def fit(self, head: Any, logits: Tensor, features: Tensor, targets: Sequence[Any]) -> None:
        labels = torch.tensor([target.label for target in targets], dtype=torch.int64)
        head.score.fit(logits, features, labels)
        head.is_calibrated.fill_(False)

    def calibrate(self, head: Any, logits: Tensor, features: Tensor) -> dict[str, float]:
        if not len(logits):
            raise DataError("no validation image came to set the threshold of the OOD head on; give at least one.")
        scores = head.score(logits, features)
        head.threshold.fill_(threshold_keeping(scores, head.keep))
        head.is_calibrated.fill_(True)
        threshold = float(head.threshold)
        return {"threshold": threshold, "id_kept": kept_share(scores, threshold)}


TASKS.register("ood")(OODTask())

"""Out-of-distribution detection: is this image unlike what the head below was trained on?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, DataError, nearest
from ..heads import HEADS, Head
from ..metrics import OODMetric
from ..nn.readout import Readout
from ..nn.usage import expert_usage
from ..ood import DEFAULT_SCORE, build_score, kept_share, pixel_scores, threshold_keeping
from ..options import call_with
from ..structures import Boxes, ClassLabel, OODVerdict, SemanticMap
from ..structures.features import Features
from .protocol import TASKS, HeadSpec, Task

__all__ = ["OODHead", "OODQueries", "OODTask", "main_label"]

READS = ("token", "routing")
NEAREST = 3  # classes that a verdict names


@dataclass(frozen=True)
class OODQueries:
    """What an OOD head reads of a dense head below it.

    Args:
        logits: Evidence for each class anywhere in the image (B, K).
        maps: Scores of the cells of each image (h, w), for the heat map; empty where the head below gives no map.
    """

    logits: Tensor
    maps: tuple[Tensor, ...] = ()


@HEADS.register("ood")
class OODHead(Head):
    """A score with the statistics it was fitted on, and the threshold that was calibrated for it, all as buffers.

    Buffers are saved as they are whatever the weights are saved in, so that a model keeps its verdicts.

    Args:
        classes: Classes of the head below.
        experts: Experts of all routed layers of the backbone together.
        score: Key in `visgen.ood.OOD_SCORES`.
        score_options: Keywords of that score.
        keep: Share of in-distribution images that the threshold keeps, above 0 and at most 1.
        reads: What the score is given as features: "token", the image vector; or "routing", the share of an image's
            choices that fell on each expert.
        quantiles: Keep the scores of the validation images as so many quantiles, so that a verdict can say which share
            of familiar images score lower; 0 keeps none.
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
        experts: int = 0,
        score: str = DEFAULT_SCORE,
        score_options: Mapping[str, Any] | None = None,
        keep: float = 0.95,
        reads: str = "token",
        quantiles: int = 0,
    ) -> None:
        super().__init__()
        if not 0 < keep <= 1:
            raise ConfigError(f"keep of the OOD head is {keep}; it is a share of images, above 0 and at most 1.")
        if reads not in READS:
            raise ConfigError(f"reads of the OOD head is '{reads}'{nearest(reads, READS)} Known: {', '.join(READS)}.")
        if reads == "routing" and experts < 1:
            raise ConfigError("reads of the OOD head is 'routing' but the backbone has no experts; use 'token'.")
        if quantiles < 0 or quantiles == 1:
            raise ConfigError(f"quantiles of the OOD head is {quantiles}; use 0 for none, or 2 and more.")
        self.score_name, self.keep, self.reads = score, float(keep), reads
        width = token_dim if reads == "token" else experts
        self.score = build_score(score, classes, width, **dict(score_options or {}))
        self.register_buffer("threshold", torch.tensor(0.0))
        self.register_buffer("is_calibrated", torch.tensor(False))
        self.quantiles: Tensor | None = None
        if quantiles:
            del self.quantiles
            self.register_buffer("quantiles", torch.zeros(quantiles))

    def vectors(self, features: Features) -> Tensor:
        """Give what the score reads of the features, (B, D)."""
        return features.token if self.reads == "token" else expert_usage(features.extras.get("routing") or ())

    def forward(self, features: Features, queries: Any = None) -> Tensor:
        """Give scores (B,) float32 from the features and, as queries, the logits (B, K) of the head below.

        Raises:
            ConfigError: The head was never fitted, or the logits are missing.
        """
        if not torch.compiler.is_exporting() and not bool(self.score.fitted):
            raise ConfigError(
                "the OOD head of this model was never fitted, so it knows no images to compare with; run visgen fit "
                "MODEL --data imagefolder:PATH --out FOLDER, or visgen.engine.fit_head."
            )
        return self.score(_logits_of(queries), self.vectors(features))

    def percentile(self, score: float) -> float | None:
        """Give the share of the validation images that score lower, in [0, 1]; None where none were kept."""
        if self.quantiles is None or not bool(self.is_calibrated):
            return None
        steps = self.quantiles.double().cpu()
        place = int(torch.searchsorted(steps, torch.tensor(score, dtype=torch.float64)))
        if place == 0 or place == len(steps):
            return float(place > 0)
        low, high = float(steps[place - 1]), float(steps[place])
        return (place - 1 + (score - low) / (high - low)) / (len(steps) - 1)


class OODTask(Task):
    """Targets are OODLabel, answers OODVerdict; nothing is trained: a score is fitted to the training images of the
    head below, and its threshold is set on validation images.

    The head below classifies, or finds or paints classes. Of a dense head the score reads the largest logit of each
    class over the image, as of a classifier that may name several classes (score "joint_energy"), and of a
    segmentation the verdict carries a map. Statistics by class then count an image for the class with the most area.
    """

    key = "ood"
    has_classes = False
    head = "ood"
    stands_on = "classification"
    may_stand_on = ("segmentation", "detection")
    rides = True
    is_trained = False
    counts_experts = True

    def outputs(self, classes: Sequence[str]) -> int:
        return 1

    def head_options(self, below: HeadSpec | None) -> dict[str, Any]:
        return {"classes": len(below.classes) if below is not None else 0}

    def queries(
        self, below: Sequence[Any], logits: Tensor | None, valid: Sequence[tuple[int, int]], protocol: str = ""
    ) -> Any:
        if logits is None or logits.ndim == 2:
            return logits
        maps: tuple[Tensor, ...] = ()
        if logits.ndim == 4:
            cells = [_cells(logits, one, valid) for one in valid]
            maps = tuple(
                score[:rows, :columns] for score, (rows, columns) in zip(pixel_scores(logits), cells, strict=True)
            )
        return OODQueries(self.evidence(logits, valid), maps)

    def evidence(self, logits: Tensor, valid: Sequence[tuple[int, int]]) -> Tensor:
        if logits.ndim == 2:
            return logits.float()
        if logits.ndim == 4:  # a map of class logits
            cells = [_cells(logits, one, valid) for one in valid]
            return torch.stack([m[:, :h, :w].float().amax((1, 2)) for m, (h, w) in zip(logits, cells, strict=True)])
        rows = logits.float()  # points of a detection head: x, y, stride, four sides, class logits
        size = rows.new_tensor([[w, h] for h, w in valid])[:, None]
        outside = (rows[..., :2] >= size).any(-1, keepdim=True)
        return rows[..., 7:].masked_fill(outside, -torch.inf).amax(1)

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

    def explain(
        self, answers: Sequence[OODVerdict], head: Any, features: Features, queries: Any, below: HeadSpec | None
    ) -> list[OODVerdict]:
        """Add the share of familiar images that score lower, the nearest classes, and the map where there is one."""
        names = () if below is None else below.classes
        distances = head.score.class_distances(_logits_of(queries), head.vectors(features))
        closest = distances.topk(min(NEAREST, len(names)), dim=1, largest=False)
        maps = queries.maps if isinstance(queries, OODQueries) else ()
        return [
            replace(
                answer,
                percentile=head.percentile(answer.score),
                nearest=tuple((names[k], d) for k, d in zip(ids, values, strict=True)),
                map=maps[i].float() if maps else None,
            )
            for i, (answer, ids, values) in enumerate(
                zip(answers, closest.indices.tolist(), closest.values.tolist(), strict=True)
            )
        ]

    def metric(self, classes: Sequence[str], **options: Any) -> OODMetric:
        return call_with(OODMetric, options, "it")

    def metric_options(
        self, head: Any, classes: Sequence[str], below: HeadSpec | None, protocol: str
    ) -> dict[str, Any]:
        return {"threshold": self.decode_options(head)["threshold"]}

    def fit(
        self,
        head: Any,
        logits: Tensor,
        features: Tensor,
        targets: Sequence[Any],
        readout: Readout | None = None,
    ) -> None:
        found = [main_label(target) for target in targets]
        kept = [i for i, label in enumerate(found) if label is not None]
        if not kept:
            raise DataError(f"none of {len(targets)} training images has a class; an OOD score is fitted to some.")
        labels = torch.tensor([found[i] for i in kept], dtype=torch.int64)
        head.score.fit(logits[kept], features[kept], labels, readout)
        head.is_calibrated.fill_(False)

    def calibrate(self, head: Any, logits: Tensor, features: Tensor) -> dict[str, float]:
        if not len(logits):
            raise DataError("no validation image came to set the threshold of the OOD head on; give at least one.")
        scores = head.score(logits, features)
        head.threshold.fill_(threshold_keeping(scores, head.keep))
        if head.quantiles is not None:
            steps = torch.linspace(0, 1, len(head.quantiles), dtype=torch.float64)
            head.quantiles.copy_(torch.quantile(scores.double(), steps))
        head.is_calibrated.fill_(True)
        threshold = float(head.threshold)
        return {"threshold": threshold, "id_kept": kept_share(scores, threshold)}


def _logits_of(queries: Any) -> Tensor:
    found = queries.logits if isinstance(queries, OODQueries) else queries
    if not isinstance(found, Tensor):
        raise ConfigError(
            f"the OOD head got a {type(found).__name__} as queries; give the logits (B, K) of the head below."
        )
    return found


def _cells(logits: Tensor, valid: tuple[int, int], all_valid: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Rows and columns of a map (B, K, h, w) that one image covers; the largest image covers all of them."""
    stride = max(1, round(max(h for h, _ in all_valid) / logits.shape[-2]))
    return -(-valid[0] // stride), -(-valid[1] // stride)


def main_label(target: Any) -> int | None:
    """The class of an image, or the one with the most area; None where it shows none."""
    if isinstance(target, ClassLabel):
        return target.label
    if isinstance(target, SemanticMap):
        shares = target.shares()
        return shares[0][0] if shares else None
    if isinstance(target, Boxes):
        return int(target.labels[target.area.argmax()]) if len(target) else None
    raise DataError(f"an OOD score cannot be fitted to targets of type {type(target).__name__}.")


TASKS.register("ood")(OODTask())

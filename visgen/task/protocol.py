"""What a task is: its target, head, loss, decoding, metric, codec and phrases in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import DataError
from ..nn.readout import Readout
from ..registry import Registry

if TYPE_CHECKING:
    from ..diffusion.codec import Codec, CodecSettings
    from ..language import TaskRequest

__all__ = ["FURTHER_TASK_KEYS", "TASKS", "TASK_KEYS", "HeadSpec", "Task", "resize_logits"]

# The same order everywhere: in results, tables and routers.
TASK_KEYS = ("classification", "detection", "segmentation", "depth", "ood", "scene_graph")
# Tasks beside these six: trained, measured and answered like them, but without instructions or pictures of answers.
FURTHER_TASK_KEYS = ("retrieval",)

TASKS: Registry[Any] = Registry("task", "A Task instance: loss, decode and metric agree on one typed target.")


@dataclass(frozen=True)
class HeadSpec:
    """One named head of a model.

    Attributes:
        task: Task key; heads of one task share its router.
        classes: Class names in the order of the logits; empty where the task has none.
        head: Registry key of the head class; null takes the task's own.
        options: Options of the head class.
        loss: Options of the task's loss.
        on: Head that this one stands on, where its task asks for one (`Task.stands_on`); null takes the default head
            of that task.
        route: Router that its features pass through, where that is one of its own and not the task's; no dots.
        weighed_by: Head whose map its answers are weighed by, where its task knows how (`Task.weighed_by`); null for
            answers of the head alone. Names are the same for both where they mean the same class.
    """

    task: str
    classes: tuple[str, ...] = ()
    head: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    loss: Mapping[str, Any] = field(default_factory=dict)
    on: str | None = None
    route: str | None = None
    weighed_by: str | None = None


class Task:
    """Base of all tasks; members of TASKS are instances and hold no state.

    Attributes:
        key: Task key.
        head: Registry key of the head class that the task takes by default.
        stands_on: Task whose head this task's heads read beside the picture: scene graphs stand on the boxes of a
            detection head, OOD scores on the logits of a classification head.
        weighed_by: Task whose maps may weigh the answers of this one's heads: semantic maps the scores of boxes.
        rides: True when the head reads the features of the head below it, so that the task has no pass of its own.
        counts_experts: The head is told how many experts the backbone has, as the option `experts`.
        has_classes: Its heads must have class names.
        mirrors: What its heads say of the mirrored picture, turned back, holds of the picture: both may be averaged.
            Maps have strides that divide 4.
        is_trained: False when its heads have no loss and are fitted after training.
        protocols: What evaluation may give the model beside the picture, each measured on its own.
        unaided: The protocol that gives nothing, which is also plain use.
    """

    key: ClassVar[str]
    head: ClassVar[str]
    stands_on: ClassVar[str | None] = None
    may_stand_on: ClassVar[tuple[str, ...]] = ()
    weighed_by: ClassVar[str | None] = None
    rides: ClassVar[bool] = False
    counts_experts: ClassVar[bool] = False
    has_classes: ClassVar[bool] = True
    mirrors: ClassVar[bool] = False
    is_trained: ClassVar[bool] = True
    protocols: ClassVar[tuple[str, ...]] = ("",)
    unaided: ClassVar[str] = ""

    def outputs(self, classes: Sequence[str]) -> int:
        """Number of outputs that the head needs for these classes."""
        return len(classes)

    def class_counts(self, targets: Sequence[Any], classes: Sequence[str]) -> Tensor | None:
        """How often each class occurs in `targets` (K,), for class weights; None where there are no classes."""
        return None

    def loss(
        self, logits: Any, targets: Sequence[Any], options: Mapping[str, Any], weights: Tensor | None = None
    ) -> Tensor:
        """Mean loss of a batch: a scalar, zero with a gradient when no target is usable.

        Args:
            logits: What the head gave for the batch.
            targets: One typed value per image.
            options: The head's loss options; an unknown one is a ConfigError.
            weights: Class weights (K,), or None.
        """
        raise NotImplementedError(f"{type(self).__name__} must define loss.")

    def mixes(self, options: Mapping[str, Any]) -> bool:
        """Whether these loss options train on mixed pictures, so that `mixed_loss` takes the place of `loss`."""
        return False

    def mixed_loss(
        self,
        head: Any,
        see: Callable[[Tensor], Any],
        images: Tensor,
        targets: Sequence[Any],
        options: Mapping[str, Any],
        weights: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Loss of a batch that is mixed before the model sees it: "loss" and parts of it to be logged.

        Args:
            head: The head module.
            see: Gives the Features of images (B, 3, H, W).
            images: The batch, every one with a target.
            targets, options, weights: As in `loss`.
        """
        raise NotImplementedError(f"{type(self).__name__} mixes no pictures.")

    def decode(
        self,
        logits: Any,
        classes: Sequence[str],
        valid: Sequence[tuple[int, int]],
        sizes: Sequence[tuple[int, int]],
        stride: int = 4,
    ) -> list[Any]:
        """Turn logits into one typed value per image.

        Args:
            logits: What the head gave for a batch of images.
            classes: Class names of the head.
            valid: (H, W) of each image inside the batch; what lies right of and below it is padding.
            sizes: (H, W) that each answer shall have, usually that of the original photograph.
            stride: Pixels of the batch per cell of a map of logits.
        """
        raise NotImplementedError(f"{type(self).__name__} must define decode.")

    def metric(self, classes: Sequence[str], **options: Any) -> Any:
        """A metric object with `update(predictions, targets)` and `compute() -> {name: float}`."""
        raise NotImplementedError(f"{type(self).__name__} must define metric.")

    def strata(self, classes: Sequence[str], **options: Any) -> Any:
        """A `visgen.metrics.strata.StrataCollector` for a head of these classes; None where no strata are defined.

        Args:
            classes: Class names of the head.
            options: Those of `metric` that tell how answers are compared.
        """
        return None

    def head_options(self, below: HeadSpec | None) -> dict[str, Any]:
        """Constructor options of the head that follow from the head below it."""
        return {}

    def training_queries(
        self,
        targets: Sequence[Any],
        beside: Mapping[str, Sequence[Any]] | None = None,
        sizes: Sequence[tuple[int, int]] | None = None,
    ) -> Any:
        """What the head is given beside the features in training; None for nothing.

        Args:
            targets: One typed value per image, None where it has none.
            beside: All targets of the batch by key, where the task learns from others too ("masks").
            sizes: (H, W) of each image inside the batch, as `valid` of `queries`; None where none is padded.
        """
        return None

    def queries(self, below: Sequence[Any], logits: Any, valid: Sequence[tuple[int, int]], protocol: str = "") -> Any:
        """What the head is given beside the features in use.

        Args:
            below: Answers of the head that this one stands on; under a protocol, the targets of the images.
            logits: What the head below gave, None under a protocol.
            valid: (H, W) of each image inside the batch.
            protocol: One of `protocols` when the targets give a part of the answer; "" in plain use.
        """
        return None

    def seen_options(self, options: Mapping[str, Any], sources: Sequence[Any]) -> dict[str, Any] | None:
        """Options of the metric where what `sources` show counts as seen beside what the head was trained on.

        Args:
            options: Those that the model and the caller settle.
            sources: Further sources with targets of the task.
        Returns:
            None where the metric tells nothing seen from unseen.
        """
        return None

    def metric_options(
        self, head: Any, classes: Sequence[str], below: HeadSpec | None, protocol: str
    ) -> dict[str, Any]:
        """Options of the metric that the model and the protocol settle."""
        return {}

    def decode_options(self, head: Any) -> dict[str, Any]:
        """Keywords of `decode` that the head module settles, such as a threshold that it holds."""
        return {}

    def explain(
        self, answers: Sequence[Any], head: Any, features: Any, queries: Any, below: HeadSpec | None
    ) -> list[Any]:
        """Give the answers of `decode` with what the head module can say about them beside.

        Args:
            answers: One typed value per image.
            head: The head module.
            features, queries: What the head read.
            below: The head that it stands on.
        """
        return list(answers)

    def weigh(
        self,
        answers: Sequence[Any],
        logits: Tensor,
        classes: Sequence[str],
        valid: Sequence[tuple[int, int]],
        stride: int,
    ) -> list[Any]:
        """Give the answers of `decode` after a look at what another head gave for the same pictures.

        Args:
            answers: One typed value per image.
            logits: (B, C, h, w) of the head that weighs them.
            classes: Its C class names.
            valid, stride: As in `decode`, of those logits.
        """
        raise NotImplementedError(f"{type(self).__name__} has answers that no other head weighs.")

    def evidence(self, logits: Any, valid: Sequence[tuple[int, int]]) -> Tensor:
        """Give one row of class logits (B, K) per image from what the head below gave, for heads that are fitted."""
        return logits

    def fit(
        self,
        head: Any,
        logits: Tensor,
        features: Tensor,
        targets: Sequence[Any],
        readout: Readout | None = None,
    ) -> None:
        """Fit a head that is not trained to training images.

        Args:
            head: The head module.
            logits: `evidence` of what the head below gave for the images (N, K).
            features: What the head reads of their features (N, D).
            targets: Their targets of the task below.
            readout: The last layer of the head below, where it has one to give.
        """
        raise NotImplementedError(f"{type(self).__name__} has no heads to fit; they are trained.")

    def calibrate(self, head: Any, logits: Tensor, features: Tensor) -> dict[str, float]:
        """Set what a fitted head decides by, on validation images that it was not fitted to; gives what was set."""
        raise NotImplementedError(f"{type(self).__name__} has no heads to calibrate; they are trained.")

    @property
    def codecs(self) -> tuple[str, ...]:
        """Names of the codecs that draw this task's answers as pictures."""
        from ..diffusion.codec import CODECS

        return tuple(name for name, codec in CODECS.items() if codec.task == self.key)

    def codec(self, request: TaskRequest, settings: CodecSettings | None = None) -> Codec:
        """The codec that draws the answer to a request, and reads it back as the typed value of this task.

        Raises:
            DataError: The request is of another task, or no picture answers it as it stands.
        """
        from ..diffusion.codec import codec_for

        self._check_request(request)
        return codec_for(request, settings)

    def phrase(self, request: TaskRequest, generator: torch.Generator, split: str = "train") -> str:
        """One of the thousands of ways to ask for a request; see `visgen.language.phrases`.

        Raises:
            DataError: The request is of another task, or the grammar has no words for it.
        """
        from ..language.phrases import draw_phrase

        self._check_request(request)
        return draw_phrase(request, generator, split)

    def _check_request(self, request: TaskRequest) -> None:
        if request.task != self.key:
            raise DataError(f"the request asks for {request.task}; it was given to the task '{self.key}'.")

    def learn_counts(self, head: Any, sources: Sequence[Any], below: HeadSpec | None) -> None:
        """Let a head count labels over its training sources before training starts."""


def resize_logits(logits: Tensor, valid: tuple[int, int], size: tuple[int, int], stride: int = 4) -> Tensor:
    """Bring one image's map (C, h, w) at `stride` to (C, H, W) of `size`, leaving the padding out.

    The map covers h * stride x w * stride pixels, of which the top left `valid` ones are image. When `size` is
    `valid`, each output pixel sits where it sat in the input.
    """
    rows, columns = -(-valid[0] // stride), -(-valid[1] // stride)
    # Channels last: with many classes both the enlargement and the argmax after it are several times faster on CPUs.
    # Built from (h, w, C), since torch does not recognise the layout of one image that was cut out of a batch.
    cells = logits[:, :rows, :columns].permute(1, 2, 0).to(torch.float32).contiguous()[None].permute(0, 3, 1, 2)
    full = F.interpolate(cells, scale_factor=stride, mode="bilinear", align_corners=False)
    full = full[..., : valid[0], : valid[1]]
    if tuple(valid) != tuple(size):
        full = F.interpolate(full, size=tuple(size), mode="bilinear", align_corners=False)
    return full[0]

"""Heads on a fixed backbone: see every picture once, then train and measure heads on what was seen, in minutes.

For questions about a head ("what do pixels add?"), where three seeds of several arms would each repeat the same
backbone. A shipped model is trained by `Trainer` instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..data import Sample
from ..structures.features import Features
from ..structures.working_size import resize_for_work
from .ema import MovingAverage

__all__ = ["Probe", "Seen", "answer", "see"]


@dataclass(frozen=True)
class Seen:
    """One picture as a backbone saw it.

    Attributes:
        features: Features of a batch of one, maps in bfloat16.
        inside: (H, W) of the picture in pixels of the network.
        targets: Its targets by key.
    """

    features: Features
    inside: tuple[int, int]
    targets: Mapping[str, Any]


@torch.no_grad()
def see(backbone: nn.Module, sample: Sample, task: str, max_side: int = 320) -> Seen:
    """Give the features of one picture.

    Args:
        backbone: Called with images and a task; one that does not have this task is asked as for its first.
        task: Task key.
        max_side: Longer side to which larger pictures are shrunk.
    """
    known = tuple(getattr(backbone, "tasks", ()))
    image = resize_for_work(sample.image, max_side)
    found = backbone(image[None], task if task in known or not known else known[0])
    maps = {stride: level.bfloat16() for stride, level in found.pyramid.items()}
    return Seen(Features(maps, found.token.float()), (int(image.shape[1]), int(image.shape[2])), sample.targets)


@dataclass(frozen=True)
class Probe:
    """How heads are trained: AdamW at a rate that rises over the first 7 % of the steps and falls to zero as a cosine.

    Args:
        steps, batch_size: Steps, and pictures per step, drawn with replacement; pictures must be of one size.
        lr, weight_decay: Of AdamW.
        clip: Largest norm of the gradient.
        loss: Options of the task's loss.
        weights: Class weights of the loss, or None.
        average: Decay of the moving average of the weights that `fit` gives, 0..1; None gives those of the last step.
        half: Run the head in bfloat16, its losses in float32.
    """

    steps: int
    batch_size: int = 6
    lr: float = 3e-3
    weight_decay: float = 0.05
    clip: float = 2.0
    loss: Mapping[str, Any] = field(default_factory=dict)
    weights: Tensor | None = None
    average: float | None = None
    half: bool = False

    def fit(self, head: nn.Module, task: Any, pictures: Sequence[Seen], seed: int) -> nn.Module:
        """Train a head in place and give it in evaluation mode; `seed` settles batches, dropout and queries."""
        torch.manual_seed(seed)
        optimiser = torch.optim.AdamW(head.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        # Two steps are the least that the schedule takes.
        rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, self.lr, max(self.steps, 2), pct_start=0.07)
        head.train()
        mean = None if self.average is None else MovingAverage(head, self.average)
        for _ in range(self.steps):
            batch = [pictures[i] for i in torch.randint(len(pictures), (self.batch_size,)).tolist()]
            beside = {key: [one.targets.get(key) for one in batch] for key in {k for one in batch for k in one.targets}}
            queries = task.training_queries(beside[task.key], beside, [one.inside for one in batch])
            with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
                logits = head(_stack(batch), queries)
            loss = task.loss(logits, beside[task.key], self.loss, self.weights)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(head.parameters(), self.clip)
            optimiser.step()
            rate.step()
            if mean is not None:
                mean.update(head)
        if mean is not None:
            head.load_state_dict(mean.module.state_dict())
        return head.eval()


@torch.no_grad()
def answer(head: nn.Module, task: Any, classes: Sequence[str], picture: Seen, protocol: str) -> Any:
    """Give the typed value of one picture where its target gives a part of the answer, as `Task.protocols` say."""
    target = picture.targets[task.key]
    queries = task.queries([target], None, [picture.inside], protocol)
    logits = head(_stack([picture]), queries)
    return task.decode(logits, classes, [picture.inside], [target.size])[0]


def _stack(pictures: Sequence[Seen]) -> Features:
    maps = {s: torch.cat([one.features.pyramid[s] for one in pictures]).float() for s in pictures[0].features.pyramid}
    return Features(maps, torch.cat([one.features.token for one in pictures]))

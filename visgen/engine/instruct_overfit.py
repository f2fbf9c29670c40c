"""Whether an instruction model can learn at all: a few questions of every task by heart, through codecs and VAE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import torch

from ..config import OptimConfig, TrainConfig
from ..data import Source
from ..diffusion import DenoisingLoss, InstructDiffusion, LatentBatch, QueryConfig, build_tiny, denoising_loss
from ..diffusion.answers import codec_settings
from ..diffusion.latents import encode_questions
from ..diffusion.measure import Asked
from ..diffusion.queries import Query, draw_queries
from ..errors import ConfigError, DataError
from ..language.phrases import canonical
from ..task.instruct import DenoisingObjective
from .instruct_eval import rescore
from .train import Trainer

__all__ = ["ask_every_task", "learn_by_heart"]

TASKS = tuple(QueryConfig().counts)
LOSS = DenoisingLoss(one_step=1.0, absolute=0.0, decoded=16, decoded_absolute=0.0)
TRIES = 20  # questions of one task that are drawn about an image until one has an answer


def ask_every_task(model: InstructDiffusion, source: Source, images: int, seed: int = 0) -> list[Asked]:
    """Ask the first images that can answer them one question of each task, all about what is there.

    Raises:
        DataError: Fewer images of the source can answer all tasks.
    """
    rows: list[Asked] = []
    for index in range(len(source)):
        sample, asked = source[index], []
        for task in TASKS:
            config = QueryConfig({task: 1.0}, absent=0.0, coloured=0.0, least=0.006, avoid=("building",))
            drawn = (
                query
                for number in range(TRIES)
                for query in draw_queries(sample, config, codec_settings(model), Random(f"{seed}/{index}/{number}"))
                if query.is_there or task in ("classification", "ood")
            )
            found: Query | None = next(drawn, None)
            asked += [] if found is None else [Asked(sample, found, canonical(found.request))]
        if len(asked) == len(TASKS):
            rows += asked
        if len(rows) == images * len(TASKS):
            return rows
    raise DataError(f"{len(rows) // len(TASKS)} of {len(source)} images can answer every task, {images} are wanted.")


def learn_by_heart(
    shipped: InstructDiffusion, rows: Sequence[Asked], *, steps: int = 200, seed: int = 0, threads: int = 1
) -> dict[str, Any]:
    """Train a fresh denoiser and text encoder on a few questions and nothing else, and ask the same questions.

    A network that cannot repeat these has a flaw that no amount of data would mend.

    Args:
        shipped: Gives its VAE and codecs.
        rows: The questions, all of which are in every batch.
        steps: Of training.
        seed: Of the fresh weights.
        threads: Of torch.
    Returns:
        "questions"; "loss": {"before", "after"} of all questions in one step without noise; and for "model", the
        "bound" of the VAE and the control "shuffled" the mean score by task.
    Raises:
        ConfigError: The training was interrupted.
    """
    model = build_tiny([row.text for row in rows], seed=seed)
    model.vae, model.config = shipped.vae, replace(shipped.config)
    batch = encode_questions(model, [(row.sample, row.query, row.text) for row in rows], codec_settings(model))
    objective = DenoisingObjective(model, LOSS)
    before = _loss(model, batch)
    optim = OptimConfig(lr=1e-3, weight_decay=0.0, betas=(0.9, 0.99), warmup_steps=30, min_lr_ratio=0.02)
    train = TrainConfig(steps=steps, threads=threads, workers=0, device="cpu", save_every=0, progress="none")
    with TemporaryDirectory() as folder:
        summary = Trainer(objective, _Same(batch), optim, train, Path(folder) / "run", seed=seed).fit()
    if not summary.finished:
        raise ConfigError(f"{summary.reason} ended the training after {summary.steps} of {steps} steps; run it again.")
    model.eval().forget_texts()
    found: dict[str, Any] = {"questions": len(rows), "loss": {"before": before, "after": _loss(model, batch)}}
    for way in ("model", "bound", "shuffled"):
        scores: dict[str, list[float]] = {}
        for row, figures in zip(rows, rescore(model, rows, way), strict=True):
            scores.setdefault(row.query.request.task, []).append(figures["score"])
        found[way] = {task: sum(values) / len(values) for task, values in scores.items()}
    return found


@torch.no_grad()
def _loss(model: InstructDiffusion, batch: LatentBatch) -> float:
    text = model.embed([*batch.texts, ""])
    return float(denoising_loss(model, batch, text[:-1], text[-1:], replace(LOSS, decoded=len(batch)))["loss"])


class _Same:
    """The same batch at every step."""

    def __init__(self, batch: LatentBatch) -> None:
        self.batch = batch

    def batches(self, step: int, rank: int = 0) -> list[Any]:
        """Give the one batch."""
        return [self.batch]

    def state_dict(self) -> dict[str, Any]:
        """Nothing moves."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to check."""

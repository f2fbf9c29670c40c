"""Retrieval as a task: the tuples of a batch, training that brings places together, use in a pipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from visgen import pipeline
from visgen.errors import ConfigError
from visgen.losses import contrastive_tuple_loss
from visgen.structures import PlaceLabel
from visgen.task import TASKS, build_model
from visgen.task.retrieval import RetrievalLossOptions, tuple_loss


def vectors(count: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(count, 4, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_a_batch_of_two_places_by_hand() -> None:
    """Two pictures of a place and one of another: each anchor has one possible positive and one negative at most."""
    x = vectors(3)
    places = torch.tensor([0, 0, 1])
    loss = tuple_loss(x, places, RetrievalLossOptions(margin=2.0))
    one = contrastive_tuple_loss(x[:2], x[[1, 0]], x[[2, 2], None], 2.0).sum()
    far = (x[2] - x[:2]).norm(dim=1).min()
    torch.testing.assert_close(loss, (one + 0.5 * (2 - far) ** 2) / 3, atol=1e-5, rtol=1e-5)


def test_diverse_anchors_are_fewer_and_the_draws_can_be_repeated() -> None:
    x, places = vectors(12), torch.arange(12) % 3
    options = RetrievalLossOptions(anchors=4, negatives=2)
    first, again = (tuple_loss(x, places, options, torch.Generator().manual_seed(3)) for _ in range(2))
    assert first == again


def test_training_pulls_places_together() -> None:
    x, places = vectors(12).requires_grad_(), torch.arange(12) % 3
    before, optimiser = float("nan"), torch.optim.Adam([x], 0.05)
    for step in range(60):
        loss = tuple_loss(F.normalize(x, dim=1), places, RetrievalLossOptions(), torch.Generator().manual_seed(step))
        before = loss.item() if step == 0 else before
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    similarity = F.normalize(x.detach(), dim=1) @ F.normalize(x.detach(), dim=1).T
    same = places[:, None] == places
    assert loss.item() < 0.05 * before
    assert float(similarity[same].min()) > float(similarity[~same].max())


def test_junk_trains_nothing() -> None:
    task, x = TASKS.get("retrieval"), vectors(4).requires_grad_()
    a, b = PlaceLabel("a"), PlaceLabel("b")
    whole = task.loss(x[:2], [a, b], {})
    assert torch.equal(task.loss(x[:3], [a, b, PlaceLabel("a", is_junk=True)], {}), whole)
    nothing = task.loss(x, [PlaceLabel("a", is_junk=True)] * 4, {})
    nothing.backward()
    assert float(nothing) == 0 and x.grad is not None and not x.grad.any()


def test_loss_options_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"margin 0, negatives 5, anchors 0"):
        RetrievalLossOptions(margin=0)


def test_a_pipeline_gives_and_saves_descriptors(tmp_path: Path) -> None:
    model = build_model(
        {
            "backbone": {"name": "timm", "model": "test_resnet"},
            "heads": {"retrieval": {"task": "retrieval", "options": {"dim": 8}}},
        }
    )
    assert model.tasks == ("retrieval",)
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "square.png")
    result = pipeline("retrieval", model)(str(tmp_path / "square.png"))
    assert result.retrieval.vector.shape == (8,)
    assert result.retrieval.similarity(result.retrieval) == pytest.approx(1, abs=1e-5)
    written = result.save(tmp_path / "out")
    assert {p.name for p in written} >= {"square-retrieval.png", "square-result.json"}

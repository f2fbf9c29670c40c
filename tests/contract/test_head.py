"""Every registered head reads the features of any backbone and keeps the Head contract."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import visgen.task  # noqa: F401  it registers the head of the sixth task
from visgen.heads import HEADS, GraphLogits, GraphQueries, Head
from visgen.structures.features import Features

# Two shapes of backbone: a transformer with one width, a convolutional net with growing ones.
SHAPES = {"even": ({4: 16, 8: 16, 16: 16, 32: 16}, 16), "growing": ({4: 8, 8: 12, 16: 20, 32: 40}, 44)}
OUTPUTS = {
    "classification": 5,
    "orthogonal": 5,
    "segmentation": 5,
    "depth": 1,
    "retrieval": 1,
    "detection": 5,
    "scene_graph": 5,
    "scene_graph_map": 5,
    "ood": 1,
}
OPTIONS: dict[str, dict[str, Any]] = {
    "orthogonal": {"dim": 7},
    "retrieval": {"dim": 9, "whiten": 6},
    "scene_graph": {"objects": 3, "width": 16, "state": 16, "appearance": True},
    "scene_graph_map": {"objects": 3, "state": 16},
    "ood": {"classes": 3},
}
# What heads read beside the features: here two boxes with a label and two without, for each image.
XYXY = torch.tensor([[4.0, 6, 20, 30], [10.0, 2, 32, 18]])
LABELS = (torch.tensor([0, 2]), None)


def ask(name: str, images: Sequence[int], given: Features) -> Any:
    """What a head that stands on another reads beside the features."""
    if name.startswith("scene_graph"):
        return GraphQueries([XYXY] * len(images), [LABELS[i] for i in images])
    return given.token[:, :3] if name == "ood" else None


def flat(logits: Any) -> Tensor:
    """Logits of a batch as one tensor with a row for each image."""
    if not isinstance(logits, GraphLogits):
        return logits
    parts = [logits.nodes, logits.edges, logits.figures or []]
    return torch.stack([torch.cat([p[i].flatten() for p in parts if p]) for i in range(len(logits.nodes))])


def build(name: str, shape: str) -> Head:
    channels, token_dim = SHAPES[shape]
    torch.manual_seed(0)
    head = HEADS.build(name, channels=channels, token_dim=token_dim, outputs=OUTPUTS[name], **OPTIONS.get(name, {}))
    if name == "ood":  # it answers only after it was fitted
        generator = torch.Generator().manual_seed(3)
        logits, vectors = torch.randn(30, 3, generator=generator), torch.randn(30, token_dim, generator=generator)
        head.score.fit(logits, vectors, torch.arange(30) % 3)
    return head


def features(shape: str, batch: int, size: tuple[int, int]) -> Features:
    """Random features of images (batch, 3, *size)."""
    generator = torch.Generator().manual_seed(1)
    channels, token_dim = SHAPES[shape]
    pyramid = {
        s: torch.randn(batch, c, math.ceil(size[0] / s), math.ceil(size[1] / s), generator=generator)
        for s, c in channels.items()
    }
    return Features(pyramid=pyramid, token=torch.randn(batch, token_dim, generator=generator))


def expected_shape(name: str, batch: int, size: tuple[int, int]) -> tuple[int, ...]:
    if name in ("classification", "orthogonal"):
        return (batch, OUTPUTS[name])
    if name == "ood":
        return (batch,)
    if name == "retrieval":
        return (batch, 6)
    if name.startswith("scene_graph"):
        figures = 2 * 14 * 14 if name == "scene_graph" else 0
        return (batch, 2 * 3 + 2 * (OUTPUTS[name] + 1) + figures)
    if name == "detection":
        points = sum(math.ceil(size[0] / s) * math.ceil(size[1] / s) for s in (8, 16, 32))
        return (batch, points, 7 + OUTPUTS[name])
    return (batch, OUTPUTS[name], math.ceil(size[0] / 4), math.ceil(size[1] / 4))


def test_every_registered_head_has_a_case() -> None:
    assert set(OUTPUTS) == set(HEADS.names())


@pytest.mark.parametrize("size", [(64, 64), (33, 70)], ids=str)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", HEADS.names())
def test_logits_for_any_size(name: str, shape: str, size: tuple[int, int]) -> None:
    given = features(shape, 2, size)
    logits = flat(build(name, shape).eval()(given, ask(name, (0, 1), given)))
    assert tuple(logits.shape) == expected_shape(name, 2, size)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", HEADS.names())
def test_every_parameter_gets_a_gradient(name: str, shape: str) -> None:
    head = build(name, shape).train()
    if not list(head.parameters()):
        return  # nothing in it is trained
    given = features(shape, 2, (64, 64))
    logits = flat(head(given, ask(name, (0, 1), given)))
    (logits * torch.randn(logits.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    bad = [n for n, p in head.named_parameters() if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()]
    assert not bad, f"no gradient, or one that is not finite or all zero: {bad}"


@pytest.mark.parametrize("name", HEADS.names())
def test_a_batch_of_two_is_two_of_one(name: str) -> None:
    head = build(name, "growing").eval()
    both = features("growing", 2, (48, 80))
    for i in range(2):
        one = Features({s: m[i : i + 1] for s, m in both.pyramid.items()}, both.token[i : i + 1])
        alone, together = flat(head(one, ask(name, (i,), one))), flat(head(both, ask(name, (0, 1), both)))
        torch.testing.assert_close(alone[0], together[i], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", HEADS.names())
def test_saved_and_loaded_it_is_the_same(name: str, tmp_path: Path) -> None:
    first = build(name, "even").eval()
    save_file(first.state_dict(), tmp_path / "h.safetensors")
    second = build(name, "even").eval()
    for parameter in second.parameters():
        torch.nn.init.normal_(parameter)
    second.load_state_dict(load_file(tmp_path / "h.safetensors"), strict=True)
    given = features("even", 1, (64, 64))
    asked = ask(name, (0,), given)
    assert torch.equal(flat(first(given, asked)), flat(second(given, asked)))


@pytest.mark.parametrize("name", HEADS.names())
def test_the_features_are_left_alone(name: str) -> None:
    given = features("even", 1, (64, 64))
    before: list[Tensor] = [m.clone() for m in (*given.pyramid.values(), given.token)]
    build(name, "even").eval()(given, ask(name, (0,), given))
    assert all(torch.equal(a, b) for a, b in zip(before, (*given.pyramid.values(), given.token), strict=True))

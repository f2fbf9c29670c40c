"""Every registered head reads the features of any backbone and keeps the Head contract."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from visgen.heads import HEADS, Head
from visgen.structures.features import Features

# Two shapes of backbone: a transformer with one width, a convolutional net with growing ones.
SHAPES = {"even": ({4: 16, 8: 16, 16: 16, 32: 16}, 16), "growing": ({4: 8, 8: 12, 16: 20, 32: 40}, 44)}
OUTPUTS = {"classification": 5, "segmentation": 5, "depth": 1, "detection": 5, "ood": 1}
OPTIONS = {"ood": {"classes": 3}}


def build(name: str, shape: str) -> Head:
    channels, token_dim = SHAPES[shape]
    torch.manual_seed(0)
    head = HEADS.build(name, channels=channels, token_dim=token_dim, outputs=OUTPUTS[name], **OPTIONS.get(name, {}))
    if name == "ood":  # it answers only after it was fitted
        generator = torch.Generator().manual_seed(3)
        logits, vectors = torch.randn(30, 3, generator=generator), torch.randn(30, token_dim, generator=generator)
        head.score.fit(logits, vectors, torch.arange(30) % 3)
    return head


def queries(name: str, given: Features) -> Tensor | None:
    """What a head that stands on another reads beside the features."""
    return given.token[:, :3] if name == "ood" else None


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
    if name == "classification":
        return (batch, OUTPUTS[name])
    if name == "ood":
        return (batch,)
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
    logits = build(name, shape).eval()(given, queries(name, given))
    assert tuple(logits.shape) == expected_shape(name, 2, size)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", HEADS.names())
def test_every_parameter_gets_a_gradient(name: str, shape: str) -> None:
    head = build(name, shape).train()
    if not list(head.parameters()):
        return  # nothing in it is trained
    logits = head(features(shape, 2, (64, 64)))
    (logits * torch.randn(logits.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    bad = [n for n, p in head.named_parameters() if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()]
    assert not bad, f"no gradient, or one that is not finite or all zero: {bad}"


@pytest.mark.parametrize("name", HEADS.names())
def test_a_batch_of_two_is_two_of_one(name: str) -> None:
    head = build(name, "growing").eval()
    both = features("growing", 2, (48, 80))
    for i in range(2):
        one = Features({s: m[i : i + 1] for s, m in both.pyramid.items()}, both.token[i : i + 1])
        alone, together = head(one, queries(name, one)), head(both, queries(name, both))
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
    assert torch.equal(first(given, queries(name, given)), second(given, queries(name, given)))


@pytest.mark.parametrize("name", HEADS.names())
def test_the_features_are_left_alone(name: str) -> None:
    given = features("even", 1, (64, 64))
    before: list[Tensor] = [m.clone() for m in (*given.pyramid.values(), given.token)]
    build(name, "even").eval()(given, queries(name, given))
    assert all(torch.equal(a, b) for a, b in zip(before, (*given.pyramid.values(), given.token), strict=True))

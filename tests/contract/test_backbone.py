"""Every registered backbone keeps the Backbone contract, also with a stem or with a transformer from timm inside."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from visgen.backbones import BACKBONES, STRIDES, Backbone, Features
from visgen.diffusion import InstructDiffusion, TinyConfig, build_tiny
from visgen.errors import VisgenError

TASKS = ("classification", "depth")
MOE = {"tasks": TASKS, "width": 32, "depth": 3, "heads": 2, "num_experts": 4, "top_k": 2, "attention_experts": 4}


def instruct_model() -> InstructDiffusion:
    """A small instruction model with random weights, without the parts that features do not come from."""
    sizes = TinyConfig(
        size=64, vae_widths=(8, 8, 8), vae_groups=4, unet_widths=(8, 8, 16), unet_groups=4, text_width=8,
        text_layers=1, text_heads=2, tokens=32, vocabulary=600,
    )  # fmt: skip
    return build_tiny(["how far is everything", "classify the picture"], sizes)


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "vit_moe": ("vit_moe", {**MOE, "prefix_depth": 1}),
    "vit_moe with stem": (
        "vit_moe",
        {**MOE, "depth": 2, "stem": {"name": "test_efficientnet"}, "stem_token": True, "layout": "all_mlp"},
    ),
    "vit_moe dense": ("vit_moe", {**MOE, "layout": "dense", "class_token": True, "token": "class"}),
    "diffusion features": ("diffusion_features", {"model": instruct_model(), "width": 16, "side": 64}),
    "diffusion features, all trained": (
        "diffusion_features",
        {"model": instruct_model(), "width": 16, "frozen": False},
    ),
    "timm": ("timm", {"model": "test_resnet"}),
    "timm transformer": ("timm", {"model": "test_vit"}),
}


def build(case: str) -> Backbone:
    """Build a small backbone with fixed random weights."""
    name, options = CASES[case]
    torch.manual_seed(0)
    return BACKBONES.get(name)(**options)


def photographs(batch: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


def scalars(features: Features) -> torch.Tensor:
    """One number that depends on everything the features hold."""
    parts = [*features.pyramid.values(), features.token]
    # A random projection: a plain sum would be constant behind a layer norm.
    generator = torch.Generator().manual_seed(2)
    return sum((p * torch.randn(p.shape, generator=generator)).sum() for p in parts)


def test_every_registered_backbone_has_a_case() -> None:
    assert {name for name, _ in CASES.values()} == set(BACKBONES.names())


@pytest.mark.parametrize("size", [(64, 64), (33, 70), (96, 45)], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_shapes_for_any_size(case: str, size: tuple[int, int]) -> None:
    backbone = build(case).eval()
    with torch.no_grad():
        features = backbone(photographs(2, *size), TASKS[0])
    assert tuple(features.pyramid) == STRIDES == tuple(backbone.channels)
    for stride, level in features.pyramid.items():
        grid = (math.ceil(size[0] / stride), math.ceil(size[1] / stride))
        assert tuple(level.shape) == (2, backbone.channels[stride], *grid)
        assert level.isfinite().all()
    assert tuple(features.token.shape) == (2, backbone.token_dim)


@pytest.mark.parametrize("case", CASES)
def test_every_parameter_gets_a_gradient(case: str) -> None:
    backbone = build(case).train()
    with torch.no_grad():  # away from layers that start at zero, behind which no gradient passes
        for parameter in backbone.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    images = photographs(4, 64, 96)
    sum(scalars(backbone(images, task)) for task in TASKS).backward()
    trained = {n: p for n, p in backbone.named_parameters() if p.requires_grad}
    assert trained
    bad = [n for n, p in trained.items() if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()]
    assert not bad, f"no gradient, or one that is not finite or all zero: {bad}"


@pytest.mark.parametrize("case", CASES)
def test_a_batch_of_two_is_two_of_one(case: str) -> None:
    backbone = build(case).eval()
    images = photographs(2, 48, 80)
    with torch.no_grad():
        both = backbone(images, TASKS[1])
        for i in range(2):
            single = backbone(images[i : i + 1], TASKS[1])
            torch.testing.assert_close(single.token[0], both.token[i], rtol=1e-4, atol=1e-4)
            for stride in STRIDES:
                torch.testing.assert_close(single.pyramid[stride][0], both.pyramid[stride][i], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_forward_is_suffix_after_prefix_for_every_task(case: str) -> None:
    backbone = build(case).eval()
    images = photographs(1, 64, 64)
    with torch.no_grad():
        state = backbone.prefix(images)
        for task in (*TASKS, TASKS[0]):  # the first once more: a suffix must not change the state
            whole, parts = backbone(images, task), backbone.suffix(state, task)
            assert torch.equal(whole.token, parts.token)
            assert all(torch.equal(whole.pyramid[s], parts.pyramid[s]) for s in STRIDES)


@pytest.mark.parametrize("case", CASES)
def test_saved_and_loaded_it_is_the_same(case: str, tmp_path: Path) -> None:
    first = build(case).eval()
    save_file({k: v.contiguous().clone() for k, v in first.state_dict().items()}, tmp_path / "b.safetensors")
    name, options = CASES[case]
    torch.manual_seed(7)
    second = BACKBONES.get(name)(**options).eval()
    second.load_state_dict(load_file(tmp_path / "b.safetensors"), strict=True)
    images = photographs(1, 64, 64)
    with torch.no_grad():
        a, b = first(images, TASKS[0]), second(images, TASKS[0])
    assert torch.equal(a.token, b.token)
    assert all(torch.equal(a.pyramid[s], b.pyramid[s]) for s in STRIDES)


@pytest.mark.parametrize("case", CASES)
def test_the_input_is_left_alone_and_answers_repeat(case: str) -> None:
    backbone = build(case).eval()
    images = photographs(1, 40, 40)
    before = images.clone()
    with torch.no_grad():
        a, b = backbone(images, TASKS[0]), backbone(images, TASKS[0])
    assert torch.equal(images, before)
    assert torch.equal(a.token, b.token)


@pytest.mark.parametrize(
    ("images", "fragment"),
    [
        (torch.zeros(1, 3, 31, 64), "31 x 64"),
        (torch.zeros(3, 64, 64), "(3, 64, 64)"),
        (torch.zeros(1, 1, 64, 64), "(1, 1, 64, 64)"),
        (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), "torch.uint8"),
    ],
    ids=["too small", "no batch", "grey", "bytes"],
)
@pytest.mark.parametrize("case", CASES)
def test_wrong_images_are_refused_with_their_value(case: str, images: torch.Tensor, fragment: str) -> None:
    with pytest.raises(VisgenError, match=fragment.replace("(", r"\(").replace(")", r"\)")):
        build(case)(images, TASKS[0])

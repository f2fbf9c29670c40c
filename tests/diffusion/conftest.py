"""Instruction models with random weights, small enough for tests."""

from __future__ import annotations

import pytest
import torch

from visgen.diffusion import InstructDiffusion, TinyConfig, build_tiny

torch.set_num_threads(1)  # tiny tensors gain nothing from threads, and a busy machine loses much

SIZES = TinyConfig(
    size=32, vae_widths=(8, 16), vae_groups=4, unet_widths=(16, 16), unet_groups=4, text_width=16, text_layers=1,
    text_heads=2, tokens=24, vocabulary=620,
)  # fmt: skip
CORPUS = ("segment the dog", "how far is everything?", "find all the cars", "is there a cat?")


def small_model(seed: int = 0) -> InstructDiffusion:
    """A model of 30 thousand parameters whose output layers are not at zero."""
    model = build_tiny(CORPUS, SIZES, seed).eval()
    with torch.no_grad():
        for parameter in model.unet.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed + 1)))
    return model


@pytest.fixture(scope="session")
def shared_model() -> InstructDiffusion:
    """One model for tests that do not change it."""
    return small_model()


@pytest.fixture
def pictures() -> torch.Tensor:
    """Two pictures (2, 3, 32, 32) in [-1, 1]."""
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(5)) * 2 - 1

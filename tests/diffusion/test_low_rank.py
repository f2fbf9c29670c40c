"""Low-rank updates: nothing changes at first, little trains, and merged weights are a plain denoiser again."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DModel

from visgen.diffusion.low_rank import add_low_rank, merge_low_rank
from visgen.errors import ConfigError

from .conftest import small_model


def test_updates_start_at_nothing_train_and_merge():
    model = small_model()
    image, text = torch.randn(2, 4, 16, 16), model.encode_text(["segment the dog", "find all the cars"])
    names = set(model.unet.state_dict())
    with torch.no_grad():
        before = model.predict_x0(image, text)
        trained = add_low_rank(model.unet, 2)
        assert torch.allclose(model.predict_x0(image, text), before, atol=1e-6)
    assert 0 < trained < 0.3 * sum(p.numel() for p in model.unet.parameters())
    optimiser = torch.optim.SGD([p for p in model.unet.parameters() if p.requires_grad], lr=0.5)
    for _ in range(2):  # after the first step the outer factors are no longer zero
        model.predict_x0(image, text).square().mean().backward()
        optimiser.step()
    with torch.no_grad():
        after = model.predict_x0(image, text)
        merge_low_rank(model.unet)
        assert set(model.unet.state_dict()) == names
        assert torch.allclose(model.predict_x0(image, text), after, atol=1e-5)
    assert (after - before).abs().max() > 1e-3


def test_without_attention_there_is_nothing_to_update():
    unet = UNet2DModel(block_out_channels=(8,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
                       norm_num_groups=4, layers_per_block=1, add_attention=False)  # fmt: skip
    with pytest.raises(ConfigError, match="no attention"):
        add_low_rank(unet, 2)

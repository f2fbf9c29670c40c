"""The denoiser's input convolution: room for a picture, and the layouts of other families."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel

from visgen.diffusion import convert_conv_in, expand_conv_in, join_latents
from visgen.errors import ConfigError


def denoiser(channels: int) -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        out_channels=4,
        block_out_channels=(8, 8),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=2,
        norm_num_groups=4,
    ).eval()


def run(unet: UNet2DConditionModel, x: torch.Tensor) -> torch.Tensor:
    text = torch.randn(len(x), 5, 8, generator=torch.Generator().manual_seed(3))
    return unet(x, torch.tensor([500, 20]), encoder_hidden_states=text).sample


@pytest.mark.parametrize("order", ["noisy_image", "image_noisy"])
def test_after_expansion_the_prediction_is_that_of_before_for_any_picture(order):
    unet, noisy = denoiser(4), torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        before, bias = run(unet, noisy), unet.conv_in.bias.clone()
        expand_conv_in(unet, 4, order)
        for image in (torch.zeros(2, 4, 8, 8), torch.randn(2, 4, 8, 8), 100 * torch.randn(2, 4, 8, 8)):
            assert torch.allclose(run(unet, join_latents(noisy, image, order)), before, atol=1e-6)
    assert torch.equal(unet.conv_in.bias, bias) and bias.abs().sum() > 0
    assert unet.config.in_channels == 8


def test_the_first_step_reaches_the_new_channels():
    unet = denoiser(4)
    expand_conv_in(unet)
    run(unet, torch.randn(2, 8, 8, 8)).square().sum().backward()
    gradient = unet.conv_in.weight.grad
    assert gradient is not None and bool((gradient.abs().amax(dim=(0, 2, 3)) > 0).all())


@pytest.mark.parametrize(("scaled", "to_scaled"), [(True, False), (False, True), (True, True)])
def test_a_converted_network_gives_in_its_new_layout_what_it_gave_in_the_old(scaled, to_scaled):
    s, unet = 0.18215, denoiser(8)
    noisy, image = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8) * 5
    with torch.no_grad():
        old = run(unet, join_latents(noisy, image * s if scaled else image, "image_noisy"))
        convert_conv_in(unet, s, "image_noisy", scaled, "noisy_image", to_scaled)
        new = run(unet, join_latents(noisy, image * s if to_scaled else image, "noisy_image"))
    assert torch.allclose(old, new, atol=1e-5)


def test_an_unknown_order_is_refused():
    with pytest.raises(ConfigError, match="channel order 'noisy_imag' is not known; did you mean 'noisy_image'"):
        expand_conv_in(denoiser(4), order="noisy_imag")
    with pytest.raises(ConfigError, match="takes 7 channels"):
        convert_conv_in(denoiser(7), 1.0, "noisy_image", False)

"""The VAE: standardised latents without another picture, and weights on the edges of answers."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL

from visgen.diffusion import AutoencoderLoss, autoencoder_loss, edge_weights, standardise_latents
from visgen.errors import ConfigError

from .conftest import small_model


def test_standardised_latents_have_spread_one_and_decode_to_the_same_picture():
    vae, pictures = small_model().vae, torch.rand(8, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        before = vae.decode(vae.encode(pictures).latent_dist.mode()).sample
        variance = vae.encode(pictures).latent_dist.var
        mean, deviation = standardise_latents(vae, [pictures[:4], pictures[4:]])
        latents = vae.encode(pictures).latent_dist
        assert torch.allclose(vae.decode(latents.mode()).sample, before, atol=1e-4)
        assert torch.allclose(latents.var * deviation[None, :, None, None] ** 2, variance, rtol=1e-3)
    assert torch.allclose(latents.mode().mean(dim=(0, 2, 3)), torch.zeros(4), atol=1e-4)
    assert torch.allclose(latents.mode().std(dim=(0, 2, 3), correction=0), torch.ones(4), atol=1e-3)
    assert float(mean.abs().max()) > 0


def test_without_the_small_convolutions_there_is_nothing_to_write_into():
    vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, use_quant_conv=False, use_post_quant_conv=False)
    with pytest.raises(ConfigError, match="no quant_conv"):
        standardise_latents(vae, [])


def test_edges_of_an_answer_weigh_more_and_photographs_have_none():
    picture = -torch.ones(1, 3, 8, 8)
    picture[:, 0, :, 4:] = 1
    weights = edge_weights(picture, 3.0)[0, 0]
    assert weights[0].tolist() == [1, 1, 4, 4, 4, 1, 1, 1]
    vae = small_model().vae
    flags = torch.tensor([True]), torch.tensor([False])
    with torch.no_grad():
        torch.manual_seed(0)
        as_answer = autoencoder_loss(vae, picture.repeat(1, 1, 4, 4), flags[0], AutoencoderLoss(noise=0))
        as_photo = autoencoder_loss(vae, picture.repeat(1, 1, 4, 4), flags[1], AutoencoderLoss(noise=0))
    assert as_answer["loss"] != as_photo["loss"] and float(as_photo["mse/answer"]) == 0.0


def test_the_loss_falls_on_a_few_pictures():
    vae, pictures = small_model().vae.train(), torch.zeros(4, 3, 32, 32)
    pictures[:2, :, 8:20] = 0.9
    optimiser = torch.optim.Adam(vae.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        loss = autoencoder_loss(vae, pictures, torch.tensor([True] * 4), AutoencoderLoss())["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 2

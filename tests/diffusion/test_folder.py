"""Folders that diffusers' own pipeline reads and writes, with equal outputs on both sides."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file

from visgen.diffusion import FAST, DiffusionConfig, InstructDiffusion, Sampling
from visgen.errors import CheckpointError, ConfigError, DataError

TEXTS = ["segment the dog", "how far is everything?"]


def published_shape(channels: int, kind: type = StableDiffusionInstructPix2PixPipeline, seed: int = 0):
    """A pipeline of the published shape (three levels down, CLIP text, epsilon, scale 0.18215), tiny and random."""
    from .conftest import small_model

    part = small_model()
    torch.manual_seed(seed)
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=64,
        scaling_factor=0.18215,
    )
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        block_out_channels=(8, 8),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False)
    pipe = kind(
        vae=vae, unet=unet, text_encoder=part.text_encoder, tokenizer=part.tokenizer, scheduler=scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


def latents_of(pipe, pictures: torch.Tensor, noise: torch.Tensor, steps: int, text: float, image: float):
    """What diffusers draws, before decoding."""
    pipe.set_progress_bar_config(disable=True)
    return pipe(
        prompt=TEXTS, image=(pictures + 1) / 2, num_inference_steps=steps, guidance_scale=text,
        image_guidance_scale=image, latents=noise, output_type="latent",
    ).images  # fmt: skip


@pytest.mark.parametrize(("text", "image"), [(7.5, 1.5), (2.0, 1.0)])
def test_a_published_folder_gives_what_diffusers_gives(tmp_path, text, image):
    pipe = published_shape(8)
    pipe.save_pretrained(tmp_path)
    ours = InstructDiffusion.from_pretrained(tmp_path)
    assert ours.config == DiffusionConfig(size=64) and ours.scaling_factor == 0.18215
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    theirs = latents_of(pipe, pictures, noise, 4, text, image)
    with torch.no_grad():
        mine = ours.denoise(ours.encode_image(pictures), ours.encode_text(TEXTS), Sampling(4, text, image), noise=noise)
        assert torch.allclose(mine, theirs, atol=1e-4)
        again = pipe.vae.decode(theirs / 0.18215).sample
        assert torch.allclose(ours.decode(mine), again, atol=1e-4)


def test_what_we_write_diffusers_reads_and_writes_back(tmp_path, shared_model, pictures):
    shared_model.save_pretrained(tmp_path / "ours")
    pipe = StableDiffusionInstructPix2PixPipeline.from_pretrained(tmp_path / "ours", safety_checker=None)
    noise = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(2))
    theirs = latents_of(pipe, pictures, noise, 3, 2.0, 1.2)
    with torch.no_grad():
        image, text = shared_model.encode_image(pictures), shared_model.encode_text(TEXTS)
        mine = shared_model.denoise(image, text, Sampling(3, 2.0, 1.2), noise=noise)
    assert torch.allclose(mine, theirs, atol=1e-4)
    pipe.save_pretrained(tmp_path / "theirs")
    back = InstructDiffusion.from_pretrained(tmp_path / "theirs", one_step=True, size=32)
    own = InstructDiffusion.from_pretrained(tmp_path / "ours")
    assert own.config == shared_model.config
    expected = shared_model.answer(pictures, TEXTS, FAST)
    assert torch.equal(own.answer(pictures, TEXTS, FAST), expected)
    assert torch.equal(back.answer(pictures, TEXTS, FAST), expected)


def test_a_folder_of_another_layout_is_written_in_the_one_that_diffusers_reads(tmp_path):
    published_shape(8).save_pretrained(tmp_path / "theirs")
    layout = {"channel_order": "image_noisy", "image_latents_scaled": True}
    ours = InstructDiffusion.from_pretrained(tmp_path / "theirs", **layout)
    before = ours.unet.conv_in.weight.clone()
    ours.save_pretrained(tmp_path / "ours")
    assert torch.equal(ours.unet.conv_in.weight, before) and ours.config.channel_order == "image_noisy"
    pipe = StableDiffusionInstructPix2PixPipeline.from_pretrained(tmp_path / "ours", safety_checker=None)
    again = InstructDiffusion.from_pretrained(tmp_path / "ours")
    assert again.config == DiffusionConfig(size=64)
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    theirs = latents_of(pipe, pictures, noise, 4, 7.5, 1.5)
    with torch.no_grad():
        drawn = [
            model.denoise(model.encode_image(pictures), model.encode_text(TEXTS), Sampling(4, 7.5, 1.5), noise=noise)
            for model in (ours, again)
        ]
    assert torch.allclose(drawn[0], theirs, atol=1e-4) and torch.allclose(drawn[1], theirs, atol=1e-4)


def test_a_canvas_that_the_vae_does_not_divide_is_refused(tmp_path):
    published_shape(8).save_pretrained(tmp_path)
    assert InstructDiffusion.from_pretrained(tmp_path, size=96).config.size == 96
    with pytest.raises(ConfigError, match="size is 100; with the VAE in .* it must be a multiple of 8"):
        InstructDiffusion.from_pretrained(tmp_path, size=100)


def test_text_states_follow_weights_that_are_loaded():
    from .conftest import small_model

    model, other = small_model(), small_model(1)
    old = model.encode_text(TEXTS)
    model.load_state_dict(other.state_dict())
    new = model.encode_text(TEXTS)
    assert torch.equal(new, model.embed(TEXTS)) and not torch.allclose(new, old, atol=1e-3)


def test_half_precision_on_disk_is_near_and_leaves_the_model_alone(tmp_path, shared_model, pictures):
    before = {k: v.clone() for k, v in shared_model.state_dict().items()}
    shared_model.save_pretrained(tmp_path, "float16")
    assert all(torch.equal(v, before[k]) for k, v in shared_model.state_dict().items())
    loaded = InstructDiffusion.from_pretrained(tmp_path)
    assert next(loaded.unet.parameters()).dtype == torch.float32
    assert (loaded.answer(pictures, TEXTS) - shared_model.answer(pictures, TEXTS)).abs().max() < 0.02
    with pytest.raises(ConfigError, match="cannot be stored as 'int8'"):
        shared_model.save_pretrained(tmp_path, "int8")


def test_stable_diffusion_gets_room_for_a_picture_when_asked(tmp_path):
    pipe = published_shape(4, StableDiffusionPipeline)
    pipe.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="takes 4 channels, so it cannot see a picture"):
        InstructDiffusion.from_pretrained(tmp_path)
    ours = InstructDiffusion.from_pretrained(tmp_path, expand_conv_in=True)
    noisy, image, text = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8), ours.encode_text(TEXTS)
    with torch.no_grad():
        expected = pipe.unet(noisy, torch.tensor([9, 9]), encoder_hidden_states=text).sample
        assert torch.allclose(ours.predict(noisy, torch.tensor([9, 9]), image, text), expected, atol=1e-6)


def test_a_full_stable_diffusion_denoiser_has_the_published_size():
    """860 million parameters, counted without memory for them, and one set of latents more at its input."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    assert sum(p.numel() for p in unet.parameters()) == 859_520_964
    from visgen.diffusion import expand_conv_in

    expand_conv_in(unet, 4)
    assert tuple(unet.conv_in.weight.shape) == (320, 8, 3, 3) and unet.conv_in.weight.is_meta


def test_broken_folders_say_what_is_wrong(tmp_path, shared_model):
    with pytest.raises(CheckpointError, match="model_index.json' cannot be read"):
        InstructDiffusion.from_pretrained(tmp_path)
    shared_model.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="setting 'channel_oder' is not known; did you mean 'channel_order'"):
        InstructDiffusion.from_pretrained(tmp_path, channel_oder="noisy_image")
    with pytest.raises(ConfigError, match=r"classes: segmentation is 'dog' \(text\); it must be a list of class names"):
        InstructDiffusion.from_pretrained(tmp_path, classes={"segmentation": "dog"})
    (tmp_path / "visgen.json").write_text('{"classes": "dog"}')
    with pytest.raises(CheckpointError, match=r"visgen.json' cannot be read: .*classes is 'dog' .*must be a mapping"):
        InstructDiffusion.from_pretrained(tmp_path)
    (tmp_path / "visgen.json").write_text('{"size": 8}')
    with pytest.raises(CheckpointError, match="size is 8"):
        InstructDiffusion.from_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    del index["vae"]
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="names no vae"):
        InstructDiffusion.from_pretrained(tmp_path)


def test_parts_that_lack_something_are_not_made_up(tmp_path, shared_model, monkeypatch):
    shared_model.save_pretrained(tmp_path)
    for name in ("unet/diffusion_pytorch_model", "text_encoder/model", "vae/diffusion_pytorch_model"):
        weights = tmp_path / f"{name}.safetensors"
        whole, tensors = weights.read_bytes(), load_file(weights)
        dropped = sorted(tensors)[-1]
        del tensors[dropped]
        save_file(tensors, weights, metadata={"format": "pt"})
        with pytest.raises(CheckpointError, match=f"lacks 1 of its weights, such as '{dropped}'"):
            InstructDiffusion.from_pretrained(tmp_path)
        weights.write_bytes(whole[:-8])
        with pytest.raises(CheckpointError, match="cannot be loaded"):
            InstructDiffusion.from_pretrained(tmp_path)
        weights.write_bytes(whole)
    index, words = tmp_path / "model_index.json", tmp_path / "tokenizer" / "tokenizer.json"
    given, kept = json.loads(index.read_text()), words.read_bytes()
    words.unlink()
    with pytest.raises(CheckpointError, match="the tokenizer in .* has no words"):
        InstructDiffusion.from_pretrained(tmp_path)
    words.write_bytes(kept)
    for entry in (["diffusers"], [None, None]):
        index.write_text(json.dumps({**given, "unet": entry}))
        with pytest.raises(CheckpointError, match="names no unet; the pipeline needs"):
            InstructDiffusion.from_pretrained(tmp_path)
    monkeypatch.setattr(type(shared_model.text_encoder), "save_pretrained", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # an end in the middle leaves no mixture that loads
        shared_model.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="model_index.json' cannot be read"):
        InstructDiffusion.from_pretrained(tmp_path)


def test_a_sentence_that_is_too_long_is_refused_not_cut(shared_model):
    with pytest.raises(DataError, match="has .* tokens but the text encoder takes 24"):
        shared_model.encode_text(["zebras jumping over quick brown foxes with lots of unknown words"])


def test_the_cache_of_texts_follows_the_weights(shared_model):
    from .conftest import small_model

    model = small_model()
    before = model.encode_text(["segment the dog"])
    with torch.no_grad():
        for parameter in model.text_encoder.parameters():
            parameter.mul_(1.5)
    assert torch.equal(model.encode_text(["segment the dog"]), before)
    model.train().eval()
    assert not torch.equal(model.encode_text(["segment the dog"]), before)

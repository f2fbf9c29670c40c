"""Guidance against its formula, forward passes counted, seeds that do not know their batch."""

from __future__ import annotations

import itertools

import pytest
import torch
from diffusers import DDIMScheduler, EulerAncestralDiscreteScheduler, UniPCMultistepScheduler

from visgen.diffusion import FAST, InstructDiffusion, Sampling, draw_latents, guide
from visgen.errors import ConfigError

SCALES = [0.0, 0.5, 1.0, 2.5]


class Stub:
    """A denoiser with known outputs: 1 with nothing, 10 with the image, 100 with image and text."""

    def __init__(self) -> None:
        self.branches = self.calls = 0

    def __call__(self, latents, timestep, image, text):
        self.calls += 1
        self.branches += len(latents)
        has_image, has_text = image.flatten(1).any(dim=1), text.flatten(1).any(dim=1)
        value = torch.where(has_text, 100.0, torch.where(has_image, 10.0, 1.0))
        return value[:, None, None, None].expand_as(latents)


@pytest.mark.parametrize(("text_scale", "image_scale"), list(itertools.product(SCALES, SCALES)))
def test_guidance_is_the_formula_for_any_scales(text_scale, image_scale):
    stub, image, text = Stub(), torch.ones(1, 4, 2, 2), torch.ones(1, 3, 8)
    got = guide(
        stub, torch.zeros(1, 4, 2, 2), torch.tensor(7), image, text, torch.zeros(1, 3, 8), text_scale, image_scale
    )
    expected = 1.0 + image_scale * (10.0 - 1.0) + text_scale * (100.0 - 10.0)
    assert torch.allclose(got, torch.full_like(got, expected))
    needed = (text_scale != 0) + (image_scale != text_scale) + (image_scale != 1)
    assert stub.branches == needed and stub.calls == 1


def test_both_scales_at_one_cost_one_pass(shared_model, pictures, monkeypatch):
    batches = []
    monkeypatch.setattr(
        InstructDiffusion,
        "predict",
        lambda self, noisy, t, image, text, _own=InstructDiffusion.predict: (
            batches.append(len(noisy)) or _own(self, noisy, t, image, text)
        ),
    )
    shared_model.answer(pictures, ["a", "b"], FAST)
    assert batches == [2]
    batches.clear()
    shared_model.answer(pictures, ["a", "b"], Sampling(3, 2.0, 1.5))
    assert batches == [6, 6, 6]


def test_one_step_holds_no_chance_and_several_steps_follow_the_seed(shared_model, pictures):
    def answer(sampling, seeds):
        return shared_model.answer(pictures, ["segment the dog", "find all the cars"], sampling, seeds)

    assert torch.equal(answer(FAST, [1, 2]), answer(FAST, [3, 4]))
    several = Sampling(4, 2.0, 1.2)
    assert torch.equal(answer(several, [1, 2]), answer(several, [1, 2]))
    other = answer(several, [1, 7])
    assert torch.allclose(other[0], answer(several, [1, 2])[0], atol=1e-5) and not torch.allclose(
        other[1], answer(several, [1, 2])[1], atol=1e-3
    )


def test_a_batch_is_its_pictures_one_by_one(shared_model, pictures):
    texts = ["segment the dog", "find all the cars"]
    for sampling in (FAST, Sampling(3, 2.0, 1.2)):
        both = shared_model.answer(pictures, texts, sampling, [11, 12])
        for k in range(2):
            alone = shared_model.answer(pictures[k : k + 1], texts[k : k + 1], sampling, [11 + k])
            assert torch.allclose(both[k : k + 1], alone, atol=1e-4)


@pytest.mark.parametrize("kind", [UniPCMultistepScheduler, EulerAncestralDiscreteScheduler])
def test_other_schedulers_draw_too_and_leave_no_trace(shared_model, pictures, kind):
    own = shared_model.scheduler
    options = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    shared_model.scheduler = kind(prediction_type="v_prediction", timestep_spacing="trailing", **options)
    try:
        first = shared_model.answer(pictures, ["a", "b"], Sampling(3), [1, 2])
        assert torch.equal(first, shared_model.answer(pictures, ["a", "b"], Sampling(3), [1, 2]))
    finally:
        shared_model.scheduler = own


def test_progress_counts_the_steps(shared_model, pictures):
    seen = []
    shared_model.answer(pictures, ["a", "b"], Sampling(3), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_one_step_from_zeros_reads_the_clean_latents_of_v(shared_model, pictures):
    """At the last timestep of a schedule that ends at SNR 0, z is noise alone and v is minus the clean latents."""
    image, text = shared_model.encode_image(pictures), shared_model.encode_text(["a", "b"])
    last = torch.full((2,), 999)
    with torch.no_grad():
        v = shared_model.predict(torch.zeros_like(image), last, image, text)
        assert torch.allclose(shared_model.predict_x0(image, text), -v, atol=1e-6)
    assert float(shared_model.alphas_cumprod[-1]) == 0.0


def test_what_cannot_be_drawn_is_refused(shared_model, pictures):
    image, text = shared_model.encode_image(pictures), shared_model.encode_text(["a", "b"])
    with pytest.raises(ConfigError, match="1 generators came for 2 pictures"):
        draw_latents(shared_model, image, text, text[:1], Sampling(2), [torch.Generator()])
    with pytest.raises(ConfigError, match="steps is 0"):
        Sampling(0)
    own = shared_model.scheduler
    shared_model.scheduler = DDIMScheduler(prediction_type="epsilon")
    try:
        with pytest.raises(ConfigError, match="predicts noise"):
            shared_model.predict_x0(image, text)
    finally:
        shared_model.scheduler = own

"""The denoiser's loss: rates of dropout, weights by hand, and a model that learns a handful of questions by heart."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler

from visgen.diffusion import DenoisingLoss, LatentBatch, cell_weights, denoising_loss, drop_conditions, snr_weights
from visgen.diffusion.low_rank import add_low_rank
from visgen.errors import ConfigError

from .conftest import small_model


def batch_of(texts, seed=0, drawn=None) -> LatentBatch:
    generator = torch.Generator().manual_seed(seed)
    items = len(texts)
    image, target = (torch.randn(items, 4, 16, 16, generator=generator) for _ in range(2))
    ones = torch.ones(items, 1, 16, 16)
    return LatentBatch(image, target, ones, ones if drawn is None else drawn, tuple(texts))


def test_each_condition_is_dropped_as_often_as_stated_and_never_two_events_at_once():
    uniform = torch.rand(100_000, generator=torch.Generator().manual_seed(0))
    no_text, no_image = drop_conditions(uniform, 0.05)
    for event in (no_text & ~no_image, no_text & no_image, no_image & ~no_text):
        assert float(event.float().mean()) == pytest.approx(0.05, abs=0.003)


def test_min_snr_weights_by_hand():
    alphas = torch.tensor([0.0, 0.5, 0.9])  # SNR 0, 1, 9
    assert torch.allclose(snr_weights(alphas, 5.0, "v_prediction"), torch.tensor([1.0, 2 / 2, 6 / 10]))
    assert torch.allclose(snr_weights(alphas, 5.0, "sample"), torch.tensor([1.0, 2.0, 6.0]))
    assert torch.equal(snr_weights(alphas, 0.0, "v_prediction"), torch.ones(3))
    noise = snr_weights(torch.tensor([0.0, 0.0047, 0.5, 0.9]), 5.0, "epsilon")  # the second is Stable Diffusion's last
    assert torch.allclose(noise, torch.tensor([1.0, 1.0, 1.0, 5 / 9]))


def test_cells_of_a_small_object_weigh_like_the_black_around_it():
    drawn = torch.zeros(2, 1, 16, 16)
    drawn[0, :, :4, :8] = 1  # an eighth
    batch = batch_of(["a", "b"], drawn=drawn)
    weights = cell_weights(batch, 1.0)
    assert float(weights[0][drawn[0] > 0].sum()) == pytest.approx(float(weights[0][drawn[0] == 0].sum()))
    assert torch.allclose(weights.mean(dim=(1, 2, 3)), torch.ones(2))
    assert torch.equal(weights[1], torch.ones(1, 16, 16))
    assert torch.equal(cell_weights(batch, 0.0), torch.ones(2, 1, 16, 16))


def test_unknown_cells_do_not_count():
    batch = batch_of(["a", "b"])
    batch.valid[:, :, :, 8:] = 0
    model, changed = small_model(), batch_of(["a", "b"])
    changed.valid[:, :, :, 8:] = 0
    changed.target[:, :, :, 8:] += 50
    text = model.embed(["a", "b", ""]).detach()
    options = DenoisingLoss(one_step=1.0, decoded=0)
    with torch.no_grad():
        losses = [denoising_loss(model, one, text[:2], text[2:], options)["loss"] for one in (batch, changed)]
    assert float(losses[0]) == pytest.approx(float(losses[1]))


def test_one_step_needs_a_network_that_does_not_predict_noise():
    model, batch = small_model(), batch_of(["a", "b"])
    model.scheduler = DDIMScheduler(prediction_type="epsilon")
    text = model.embed(["a", "b", ""])
    with pytest.raises(ConfigError, match="predicts noise"):
        denoising_loss(model, batch, text[:2], text[2:], DenoisingLoss())
    noisy = denoising_loss(model, batch, text[:2], text[2:], DenoisingLoss(one_step=0.0))
    assert set(noisy) == {"loss", "noisy"} and bool(noisy["loss"].isfinite())


@pytest.mark.parametrize("values", [{"one_step": 1.5}, {"dropout": 0.4}, {"late": 0.0}, {"decoded_absolute": 2.0}])
def test_shares_outside_their_range_are_refused(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        DenoisingLoss(**values)


def test_the_same_picture_learns_different_answers_to_different_words():
    """Four answers to one picture, told apart by the text alone: the loss falls tenfold."""
    model = small_model(3)
    texts = ["segment the dog", "how far is everything?", "find all the cars", "is there a cat?"]
    levels = torch.tensor([-1.0, -0.3, 0.4, 1.0])[:, None, None, None]
    image, ones = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0)), torch.ones(4, 1, 4, 4)
    batch = LatentBatch(image.repeat(4, 1, 1, 1), levels.expand(4, 4, 4, 4).clone(), ones, ones, tuple(texts))
    parameters = [*model.unet.parameters(), *model.text_encoder.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=6e-3)
    torch.manual_seed(0)
    history = []
    for _ in range(150):
        text = model.embed([*texts, ""])
        loss = denoising_loss(model, batch, text[:-1], text[-1:], DenoisingLoss(one_step=1.0, absolute=0.0))["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append(float(loss.detach()))
    assert min(history[-10:]) < history[0] / 10
    model.forget_texts()
    with torch.no_grad():
        means = model.predict_x0(batch.image, model.encode_text(texts)).mean(dim=(1, 2, 3))
    assert means.argsort().tolist() == [0, 1, 2, 3]
    assert torch.allclose(means, levels.flatten(), atol=0.4)


@pytest.mark.parametrize("rank", [0, 2])
def test_activations_computed_again_give_the_same_gradients(rank):
    found, runs = [], []
    for again in (False, True):
        model, batch = small_model().train(), batch_of(["a", "b"])
        if rank:
            torch.manual_seed(0)
            add_low_rank(model.unet, rank)
        if again:
            model.unet.enable_gradient_checkpointing()
        model.unet.down_blocks[0].resnets[0].register_forward_pre_hook(lambda *_: runs.append(None))
        text = model.embed(["a", "b", ""]).detach()
        torch.manual_seed(1)
        denoising_loss(model, batch, text[:2], text[2:], DenoisingLoss())["loss"].backward()
        found.append({name: p.grad for name, p in model.unet.named_parameters() if p.requires_grad})
        assert len(runs) == 1 + 2 * again  # and once more for the gradients
    assert found[0].keys() == found[1].keys() and len(found[0]) > 2
    assert all(torch.allclose(grad, found[1][name], atol=1e-7) for name, grad in found[0].items())


def test_decoded_pictures_can_count_too():
    model, batch = small_model(), batch_of(["a", "b"])
    text = model.embed(["a", "b", ""])
    values = denoising_loss(model, batch, text[:2], text[2:], DenoisingLoss(one_step=1.0, decoded=1))
    assert "decoded" in values and float(values["decoded"]) > 0
    values["loss"].backward()
    assert model.unet.conv_out.weight.grad is not None


def test_the_parts_of_the_one_step_loss_add_up():
    """Latents and decoded pictures, each squared or absolute, by their weights."""
    model, batch = small_model(), batch_of(["a", "b"])
    text = model.embed(["a", "b", ""]).detach()

    def loss(**options):
        with torch.no_grad():
            options = DenoisingLoss(one_step=1.0, balance=0.0, absolute=0.0, **options)
            return {k: float(v) for k, v in denoising_loss(model, batch, text[:2], text[2:], options).items()}

    latents = loss(decoded=0)["loss"]
    absolute, squared = (loss(latent_weight=0.0, decoded=2, decoded_absolute=share) for share in (1.0, 0.0))
    with torch.no_grad():
        guess = model.predict_x0(batch.image, text[:2])
        error = model.decode(guess) - model.decode(batch.target)
    assert absolute["loss"] == pytest.approx(float(error.abs().mean()), rel=1e-4)
    assert squared["loss"] == pytest.approx(float(error.square().mean()), rel=1e-4)
    both = loss(latent_weight=0.5, decoded=2, decoded_weight=3.0, decoded_absolute=0.25)
    mixed = 0.25 * absolute["loss"] + 0.75 * squared["loss"]
    assert both["loss"] == pytest.approx(0.5 * latents + 3 * mixed, rel=1e-4)

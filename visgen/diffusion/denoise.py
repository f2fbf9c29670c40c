"""The loss of the denoiser: noisy latents of any level for sampling, and none at all for answers in one step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError
from .latents import LatentBatch

if TYPE_CHECKING:
    from .model import InstructDiffusion

__all__ = ["DenoisingLoss", "cell_weights", "denoising_loss", "drop_conditions", "snr_weights"]


@dataclass(frozen=True)
class DenoisingLoss:
    """Shares and weights.

    Attributes:
        one_step: Share of each batch that is trained for one step: zeros at the last timestep in, clean latents out.
        dropout: Of the noisy rest, the chance of each of three exclusive cases: without text, without both, without
            image. Guidance needs it.
        snr_gamma: Limit of the min-SNR weight; 0 weighs all timesteps alike.
        late: Timesteps are drawn with density proportional to t**(late - 1); above 1 favours noisy ones, which settle
            what is where.
        balance: How far the cells that an answer draws on and the black ones count alike: 0 by their area, 1 by half.
        absolute: Share of the absolute beside the squared error of latents in the one-step part: it wants decided
            answers.
        latent_weight: Weight of the error of latents in the one-step part.
        decoded: Items of the one-step part whose decoded pictures are compared too; 0 for none.
        decoded_weight: Weight of that comparison.
        decoded_absolute: Share of the absolute beside the squared error of decoded pictures. An absolute error is least
            at the likelier answer, so that what is seen half of the time is never drawn.
    Raises:
        ConfigError: A share outside 0..1, or dropout above a third.
    """

    one_step: float = 0.5
    dropout: float = 0.05
    snr_gamma: float = 5.0
    late: float = 1.5
    balance: float = 0.5
    absolute: float = 0.5
    latent_weight: float = 1.0
    decoded: int = 0
    decoded_weight: float = 1.0
    decoded_absolute: float = 1.0

    def __post_init__(self) -> None:
        for name in ("one_step", "balance", "absolute", "decoded_absolute"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it is a share, from 0 to 1.")
        if not 0 <= self.dropout <= 1 / 3:
            raise ConfigError(f"dropout is {self.dropout}; three exclusive cases have at most 1/3 each.")
        if self.late <= 0 or self.snr_gamma < 0 or self.decoded < 0:
            raise ConfigError("late must be above 0, snr_gamma and decoded 0 or more.")


def drop_conditions(uniform: Tensor, chance: float) -> tuple[Tensor, Tensor]:
    """Say which items lose their text and which their image, (B,) bool each.

    Args:
        uniform: Numbers (B,) in [0, 1).
        chance: p; below p the text goes, in [p, 2p) both, in [2p, 3p) the image.
    """
    return uniform < 2 * chance, (uniform >= chance) & (uniform < 3 * chance)


def snr_weights(alphas: Tensor, gamma: float, prediction: str) -> Tensor:
    """Weights (B,) of the squared error of a prediction at cumulative alphas (B,).

    For "v_prediction" and "sample" it is min(SNR, gamma) + 1 on the error of the clean latents: min-SNR, raised by 1
    because a schedule that ends at SNR 0 would otherwise give its first and most telling step no weight at all. For
    "epsilon", whose schedules do not end there, it is min-SNR itself: min(SNR, gamma) / SNR on the error of the noise.

    Source: Hang et al. 2023, arXiv:2303.09556, section 3.4; the added 1 is ours.
    """
    if gamma == 0:
        return torch.ones_like(alphas)
    snr = alphas / (1 - alphas).clamp(min=1e-8)
    if prediction == "epsilon":
        return (gamma / snr.clamp(min=1e-8)).clamp(max=1)
    clean = snr.clamp(max=gamma) + 1
    return clean / (snr + 1) if prediction == "v_prediction" else clean


def cell_weights(batch: LatentBatch, balance: float) -> Tensor:
    """Weights (B, 1, h, w) of cells, of mean 1 over the known cells of each item and 0 elsewhere.

    With `balance` 1 the cells that the answer draws on count as much together as the black ones; a quarter of the known
    cells is the least that either side is taken for, so that a few cells do not outweigh all.
    """
    known, drawn = batch.valid, batch.drawn * batch.valid
    count = known.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1)
    share = drawn.sum(dim=(1, 2, 3), keepdim=True) / count
    on, off = 0.5 / share.clamp(min=0.06), 0.5 / (1 - share).clamp(min=0.06)
    mixed = torch.where((share == 0) | (share == 1), 1.0, torch.where(drawn > 0, on, off))
    weights = known * (1 - balance + balance * mixed)
    return weights * count / weights.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1e-6)


def denoising_loss(
    model: InstructDiffusion, batch: LatentBatch, text: Tensor, empty: Tensor, options: DenoisingLoss
) -> dict[str, Tensor]:
    """Give the loss of a batch: {"loss", "one_step", "noisy", and "decoded" where it is on}.

    Args:
        model: Its denoiser is run once.
        batch: Latents.
        text: Text states (B, N, D) of the batch's sentences.
        empty: Those of the empty sentence, (1, N, D).
        options: Shares and weights.
    Raises:
        ConfigError: One-step items for a network that predicts noise.
    """
    items, kind = len(batch), str(model.scheduler.config.prediction_type)
    single = round(options.one_step * items)
    if single and kind == "epsilon":
        raise ConfigError("one_step is above 0 but the network predicts noise; train it for 'v_prediction' first.")
    device = batch.target.device
    steps = model.last_timestep + 1
    times = (torch.rand(items, device=device) ** (1 / options.late) * steps).long().clamp(max=steps - 1)
    times[:single] = model.last_timestep
    noise = torch.randn_like(batch.target)
    noise[:single] = 0
    no_text, no_image = drop_conditions(torch.rand(items, device=device), options.dropout)
    no_text[:single] = no_image[:single] = False
    image = batch.image.masked_fill(no_image[:, None, None, None], 0.0)
    text = torch.where(no_text[:, None, None], empty.expand_as(text), text)
    alphas = model.alphas_cumprod[times]
    signal, sigma = alphas.sqrt()[:, None, None, None], (1 - alphas).sqrt()[:, None, None, None]
    noisy = signal * batch.target + sigma * noise
    noisy[:single] = 0
    wanted = {"v_prediction": signal * noise - sigma * batch.target, "epsilon": noise, "sample": batch.target}[kind]
    error = (model.predict(noisy, times, image, text) - wanted).float()
    weights = cell_weights(batch, options.balance)
    logs: dict[str, Tensor] = {}
    total = error.new_zeros(())
    if single:
        own = weights[:single]
        one = error[:single]
        squared, absolute = _mean(one.square(), own), _mean(one.abs(), own)
        logs["one_step"] = squared.detach()
        mixed = (1 - options.absolute) * squared + options.absolute * absolute
        total = total + options.latent_weight * single / items * mixed
    if single < items:
        per_item = (error[single:].square() * weights[single:]).mean(dim=(1, 2, 3))
        weighted = (per_item * snr_weights(alphas[single:], options.snr_gamma, kind)).mean()
        logs["noisy"] = weighted.detach()
        total = total + (1 - single / items) * weighted
    some = min(options.decoded, single)
    if some:
        clean = batch.target[:some]
        scale = sigma[:some] if kind == "v_prediction" else clean.new_ones(())
        guess = clean - error[:some] * scale if kind == "v_prediction" else clean + error[:some]
        with torch.no_grad():
            true = model.decode(clean)
        picture = model.decode(guess) - true
        own = F.interpolate(weights[:some], size=picture.shape[-2:])
        share = options.decoded_absolute
        decoded = share * _mean(picture.abs(), own) + (1 - share) * _mean(picture.square(), own)
        logs["decoded"] = decoded.detach()
        total = total + options.decoded_weight * decoded
    return {"loss": total, **logs}


def _mean(error: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean of (B, C, h, w) under (B, 1, h, w)."""
    return (error * weights).sum() / (weights.sum() * error.shape[1]).clamp(min=1e-6)

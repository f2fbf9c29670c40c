"""Adversarial losses: hand-worked values and what each side's gradient wants."""

from __future__ import annotations

import math

import pytest
import torch

from visgen.gan import ADVERSARIAL


@pytest.mark.parametrize(
    ("name", "real", "fake", "d", "g"),
    [
        ("hinge", [2.0, 0.0], [-2.0, 0.0], 1.0, 1.0),
        ("non_saturating", [0.0], [0.0], 2 * math.log(2), math.log(2)),
        ("least_squares", [1.0, 0.0], [0.0, 2.0], 0.25 + 1.0, 0.5),
        ("wasserstein", [3.0, 1.0], [0.0, 2.0], -1.0, -1.0),
    ],
)
def test_hand_worked_values(name: str, real: list[float], fake: list[float], d: float, g: float) -> None:
    loss = ADVERSARIAL.get(name)
    assert float(loss.d(torch.tensor(real), torch.tensor(fake))) == pytest.approx(d, abs=1e-6)
    assert float(loss.g(torch.tensor(fake))) == pytest.approx(g, abs=1e-6)


@pytest.mark.parametrize("name", ADVERSARIAL.names())
def test_the_discriminator_raises_reals_and_lowers_fakes_and_the_generator_raises_fakes(name: str) -> None:
    real, fake = torch.zeros(3, requires_grad=True), torch.full((3,), 0.5, requires_grad=True)
    loss = ADVERSARIAL.get(name)
    for_real, for_fake = torch.autograd.grad(loss.d(real, fake), (real, fake))
    (for_generator,) = torch.autograd.grad(loss.g(fake), fake)
    assert (for_real < 0).all() and (for_fake > 0).all() and (for_generator < 0).all()


@pytest.mark.parametrize("name", ADVERSARIAL.names())
def test_patches_count_like_images(name: str) -> None:
    rng = torch.Generator().manual_seed(0)
    real, fake = torch.randn(4, 6, generator=rng), torch.randn(4, 6, generator=rng)
    loss = ADVERSARIAL.get(name)
    torch.testing.assert_close(loss.d(real, fake), loss.d(real.flatten(), fake.flatten()))
    torch.testing.assert_close(loss.g(fake), loss.g(fake.flatten()))

"""Judges on the maps of a fixed network: what they cost by hand, what they learn, and what is refused."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from visgen.errors import ConfigError, DataError
from visgen.gan.architecture.projected import ProjectedDiscriminator


def maps(seed: int, shift: float = 0.0) -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return [shift + 3 * torch.randn(4, 6, 8, 8, generator=rng), shift + torch.randn(4, 10, 4, 4, generator=rng)]


def made() -> ProjectedDiscriminator:
    torch.manual_seed(0)
    return ProjectedDiscriminator([6, 10], width=8)


def test_losses_are_those_of_the_hinge_on_maps_of_unit_deviation() -> None:
    judges, real, fake = made(), maps(0), maps(1)
    found = judges.d_loss(real, fake)
    by_hand = []
    for judge, r, f in zip(judges.judges, real, fake, strict=True):
        a, b = judge(r / r.std()), judge(f / r.std())
        by_hand.append(F.relu(1 - a).mean() + F.relu(1 + b).mean())
    assert torch.allclose(found, sum(by_hand) / 2)
    assert torch.allclose(judges.scale, torch.stack([r.std() for r in real]))
    again = judges.g_loss(fake)
    logits = [judge(f / r.std()) for judge, r, f in zip(judges.judges, real, fake, strict=True)]
    assert torch.allclose(again, -sum(x.mean() for x in logits) / 2)
    assert [x.shape for x in judges(real)] == [(4, 64), (4, 16)]


def test_the_scale_is_that_of_the_first_maps_and_travels_with_the_weights() -> None:
    judges = made()
    judges.d_loss(maps(0), maps(1, shift=5.0))
    kept = judges.scale.clone()
    judges.d_loss(maps(2, shift=9.0), maps(3))
    assert torch.equal(judges.scale, kept)
    other = made()
    other.load_state_dict(judges.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(other(maps(4)), judges(maps(4)), strict=True))


def test_they_come_to_tell_maps_apart_that_differ() -> None:
    judges = made()
    optimiser = torch.optim.Adam(judges.parameters(), 0.01)
    for step in range(40):
        optimiser.zero_grad()
        judges.d_loss(maps(step), maps(1000 + step, shift=1.0)).backward()
        optimiser.step()
    with torch.no_grad():
        assert float(judges.d_loss(maps(90), maps(91, shift=1.0))) < 0.5
        assert float(judges.d_loss(maps(90), maps(91))) > 1.5  # of one kind they cannot be told apart


def test_no_gradient_reaches_the_maps_of_made_pictures_in_the_discriminators_loss() -> None:
    judges, fake = made(), [m.requires_grad_(True) for m in maps(1)]
    judges.d_loss(maps(0), fake).backward()
    assert all(m.grad is None for m in fake)
    judges.g_loss(fake).backward()
    assert all(m.grad is not None and bool(m.grad.any()) for m in fake)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="give one map or more"):
        ProjectedDiscriminator([])
    with pytest.raises(ConfigError, match="width 0"):
        ProjectedDiscriminator([4], width=0)
    with pytest.raises(DataError, match="1 maps were given to 2 judges"):
        made()(maps(0)[:1])

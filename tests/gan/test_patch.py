"""The patch discriminator: size, sight, and that each picture is judged on its own."""

from __future__ import annotations

import pytest
import torch

from visgen.errors import ConfigError
from visgen.gan.architecture.patch import PatchDiscriminator


def test_the_published_size_and_number_of_patches() -> None:
    judge = PatchDiscriminator(norm="instance")
    assert sum(p.numel() for p in judge.parameters()) == pytest.approx(2.77e6, rel=2e-3)
    assert judge(torch.zeros(1, 3, 256, 256)).shape == (1, 30 * 30)


def test_a_logit_sees_seventy_pixels() -> None:
    torch.manual_seed(0)
    judge = PatchDiscriminator(channels=2, norm="group")
    for layer in judge.layers:  # group norm would spread sight over the picture
        for i, part in enumerate(layer):  # type: ignore[arg-type]
            if isinstance(part, torch.nn.GroupNorm):
                layer[i] = torch.nn.Identity()  # type: ignore[index, operator]
    image = torch.rand(1, 3, 256, 256, requires_grad=True)
    judge(image)[0, 15 * 30 + 15].backward()
    assert image.grad is not None
    seen = image.grad.abs().sum(1)[0] > 0
    assert int(seen.any(0).sum()) == int(seen.any(1).sum()) == 70


def test_pictures_are_judged_one_by_one() -> None:
    torch.manual_seed(0)
    judge = PatchDiscriminator(channels=4, steps=2)
    images = torch.rand(3, 3, 32, 40)
    alone = torch.cat([judge(images[i : i + 1]) for i in range(3)])
    assert torch.allclose(judge(images), alone, atol=1e-5)
    with pytest.raises(ConfigError, match="norm is 'batch'"):
        PatchDiscriminator(norm="batch")


def test_a_blur_hides_grain_and_leaves_what_is_large() -> None:
    torch.manual_seed(0)
    plain, judge = (PatchDiscriminator(channels=4, steps=2, norm="group", blur=b) for b in (0.0, 1.5))
    judge.load_state_dict(plain.state_dict())
    image = torch.zeros(1, 3, 48, 48)
    image[..., 24:] = 0.8
    grain = 0.2 * torch.randn(1, 3, 48, 48)
    small, large = image + grain, 1 - image

    def moved(d: PatchDiscriminator, other: torch.Tensor) -> float:
        return float((d(other) - d(image)).detach().norm())

    assert moved(judge, small) < 0.5 * moved(plain, small)
    assert moved(judge, large) > 0.5 * moved(plain, large)
    with pytest.raises(ConfigError, match="blur is -1; it must be 0 or more pixels"):
        PatchDiscriminator(channels=4, blur=-1)

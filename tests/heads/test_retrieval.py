"""The retrieval head: length 1, size of the picture forgotten, whitening set from outside."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from visgen.errors import ConfigError
from visgen.heads import RetrievalHead
from visgen.nn.pooling import generalised_mean
from visgen.structures.features import Features

CHANNELS = {4: 3, 8: 3, 16: 4, 32: 5}


def features(size: int = 4) -> Features:
    generator = torch.Generator().manual_seed(0)
    maps = {s: torch.randn(2, c, size * 32 // s, size * 32 // s, generator=generator) for s, c in CHANNELS.items()}
    return Features(maps, torch.zeros(2, 5))


def test_clamped_it_is_the_generalised_mean_of_the_map() -> None:
    given = features()
    head = RetrievalHead(CHANNELS, 5, 1, nonnegative="clamp")
    expected = F.normalize(generalised_mean(given.pyramid[32], 3.0), dim=1)
    torch.testing.assert_close(head(given), expected)
    assert head.project is None and sum(p.numel() for p in head.parameters()) == 1


def test_a_signed_map_keeps_both_halves() -> None:
    """Turning every sign leaves nothing of a clamped map, but another descriptor of a linear map with softplus."""
    torch.manual_seed(0)
    dark = Features({32: -torch.rand(1, 5, 2, 2)}, torch.zeros(1, 5))
    darker = Features({32: 2 * dark.pyramid[32] - 1}, torch.zeros(1, 5))
    clamped, soft = RetrievalHead(CHANNELS, 5, 1, nonnegative="clamp"), RetrievalHead(CHANNELS, 5, 1)
    torch.testing.assert_close(clamped(dark), clamped(darker))
    assert float((soft(dark) - soft(darker)).norm()) > 0.05


def test_whitening_is_set_from_outside() -> None:
    given = features()
    head = RetrievalHead(CHANNELS, 5, 1, stride=16, whiten=2)
    mean, projection = torch.full((4,), 0.1), torch.tensor([[1.0, 0, 0, 0], [0, 2, 0, 0]])
    head.set_whitening(mean, projection)
    white = (head.pooled(given) - mean) @ projection.T
    torch.testing.assert_close(head(given), F.normalize(white, dim=1))
    with pytest.raises(ConfigError, match=r"whitening is \(1, 4\) but the head's is \(2, 4\)"):
        head.set_whitening(mean, projection[:1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 2}, "stride of the retrieval head is 2"),
        ({"nonnegative": "abs"}, "nonnegative is 'abs'"),
        ({"nonnegative": "clamp", "dim": 3}, "dim is 3 but nonnegative is 'clamp'"),
        ({"whiten": 6}, "dim is 5 and whiten 6"),
    ],
)
def test_options_are_checked(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RetrievalHead(CHANNELS, 5, 1, **options)

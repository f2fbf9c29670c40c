"""Depth in grey: exact as floats, within the tolerance of the specification under corruption."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from visgen.diffusion.codec import AffineDepth, CodecSettings, LogDepth
from visgen.diffusion.codec.depth import fill_holes
from visgen.errors import ConfigError, DataError
from visgen.language import TaskRequest
from visgen.structures import DepthMap

DEPTH = TaskRequest("depth")
CODEC = LogDepth(CodecSettings(near=0.5, far=10.0))


def scene(size: tuple[int, int], seed: int) -> DepthMap:
    """A floor that recedes, with boxes that stand in front of it."""
    generator = torch.Generator().manual_seed(seed)
    metres = torch.linspace(9.5, 0.7, size[0])[:, None].expand(*size).clone()
    for _ in range(4):
        y, x = (int(torch.randint(0, side - 8, (1,), generator=generator)) for side in size)
        metres[y : y + size[0] // 3, x : x + size[1] // 3] = 0.6 + 8 * torch.rand(1, generator=generator)
    return DepthMap(metres)


def abs_rel(found: DepthMap, true: DepthMap) -> float:
    return float(((found.metres - true.metres).abs() / true.metres).mean())


def test_by_hand() -> None:
    metres = torch.tensor([[0.5, 10.0, (0.5 * 10.0) ** 0.5, 20.0]])
    picture = CODEC.encode(DepthMap(metres), DEPTH, (1, 4))
    torch.testing.assert_close(picture[0], torch.tensor([[-1.0, 1.0, 0.0, 1.0]]), atol=1e-6, rtol=0)
    torch.testing.assert_close(CODEC.decode(picture, DEPTH, (1, 4)).metres, metres.clamp(max=10), rtol=1e-5, atol=0)


@settings(max_examples=30)
@given(st.integers(48, 200), st.integers(48, 200), st.integers(0, 10**6))
def test_the_round_trip_is_exact_to_rounding(height: int, width: int, seed: int) -> None:
    value = scene((height, width), seed)
    picture = CODEC.encode(value, DEPTH, (height, width))
    found = CODEC.decode(picture, DEPTH, (height, width))
    torch.testing.assert_close(found.metres, value.metres, rtol=1e-5, atol=0)
    torch.testing.assert_close(CODEC.encode(found, DEPTH, (height, width)), picture, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", sorted(LogDepth.tolerance))
def test_depth_stands_corruption(name: str, corruptions: dict[str, Callable[[Tensor], Tensor]]) -> None:
    errors = []
    for seed in range(4):
        value = scene((128, 128), seed)
        errors.append(
            abs_rel(CODEC.decode(corruptions[name](CODEC.encode(value, DEPTH, (128, 128))), DEPTH, (128, 128)), value)
        )
    assert sum(errors) / len(errors) <= LogDepth.tolerance[name]


def test_holes_are_drawn_as_their_nearest_neighbour_and_left_out_of_the_loss() -> None:
    metres = torch.tensor([[1.0, 0.0, 0.0, 4.0], [1.0, 0.0, 0.0, 4.0]])
    assert fill_holes(metres).tolist() == [[1, 1, 4, 4], [1, 1, 4, 4]]
    assert CODEC.valid(DepthMap(metres), DEPTH, (2, 4)).tolist() == [[True, False, False, True]] * 2
    assert float(CODEC.encode(DepthMap(metres), DEPTH, (2, 4)).min()) > -1  # 0 is missing, not near
    assert not bool(CODEC.valid(DepthMap(metres), DEPTH, (4, 4))[2:].any())  # nor the padding


def test_affine_depth_keeps_the_order_and_the_shape() -> None:
    value = scene((64, 80), 1)
    found = AffineDepth().decode(AffineDepth().encode(value, DEPTH, (64, 80)), DEPTH, (64, 80))
    assert found.kind == "relative"
    a, b = found.metres.flatten(), value.metres.flatten()
    middle = (b > b.quantile(0.03)) & (b < b.quantile(0.97))
    assert float(torch.corrcoef(torch.stack((a[middle], b[middle])))[0, 1]) > 0.9999
    relative = DepthMap(value.metres, "relative")
    assert float(AffineDepth().encode(relative, DEPTH, (64, 80)).max()) == 1


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(DataError, match="has no known pixel"):
        CODEC.encode(DepthMap(torch.zeros(4, 4)), DEPTH, (4, 4))
    with pytest.raises(DataError, match="draws metres, but the depth is 'inverse'; use depth.affine"):
        CODEC.encode(DepthMap(torch.ones(4, 4), "inverse"), DEPTH, (4, 4))
    with pytest.raises(DataError, match="draws a DepthMap, not a Tensor"):
        CODEC.encode(torch.ones(4, 4), DEPTH, (4, 4))
    with pytest.raises(ConfigError, match=r"depth range is 5\.0\.\.2\.0 m"):
        CodecSettings(near=5.0, far=2.0)

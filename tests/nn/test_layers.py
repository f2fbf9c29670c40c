"""Dense layers, positions, pyramid and block."""

import math

import pytest
import timm.models.vision_transformer as timm_vit
import torch

from visgen.errors import ConfigError
from visgen.nn.attention import Attention
from visgen.nn.block import Block
from visgen.nn.init import init_expert_weight_
from visgen.nn.mlp import Mlp
from visgen.nn.pos_embed import ConvPosition, LearnedPosition, SinCosPosition, sin_cos_grid
from visgen.nn.simple_pyramid import SimplePyramid, halve


def test_dense_block_equals_timm():
    torch.manual_seed(0)
    theirs = timm_vit.Block(12, 3, qkv_bias=True, init_values=0.3, norm_layer=torch.nn.LayerNorm)
    theirs.norm1.eps = theirs.norm2.eps = 1e-6
    ours = Block(12, Attention(12, 3), Mlp(12, 48), layer_scale=0.1)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 5, 12)
    torch.testing.assert_close(ours(x)[0], theirs(x))


def test_head_width_may_differ_from_width_over_heads():
    layer = Attention(12, 3, head_dim=5, qkv_bias=False)
    assert layer.qkv.weight.shape == (45, 12) and layer.qkv.bias is None
    assert layer(torch.randn(2, 4, 12)).shape == (2, 4, 12)


def test_stochastic_depth_drops_whole_branches_of_an_image():
    torch.manual_seed(0)
    block = Block(8, Attention(8, 2), Mlp(8, 16), drop_path=0.5)
    x = torch.randn(200, 3, 8)
    kept = (block(x)[0] - x).abs().amax((1, 2)) > 0
    assert 0.6 < kept.float().mean() < 0.9  # 1 - 0.5^2
    block.eval()
    assert torch.equal(block(x)[0], block(x)[0])


def test_expert_weights_are_scaled_by_the_fan_in_of_one_expert():
    torch.manual_seed(0)
    weight = init_expert_weight_(torch.empty(16, 64, 100))
    # a normal cut at two deviations has 0.8796 of its deviation
    assert float(weight.std()) == pytest.approx(0.8796 / math.sqrt(100), rel=0.02)
    assert float(weight.abs().max()) <= 2 / math.sqrt(100) + 1e-6


def test_sin_cos_by_hand():
    code = sin_cos_grid(1, 2, 8, extent=2.0)
    first = [math.sin(0.5), math.sin(0.005), math.cos(0.5), math.cos(0.005)]
    second = [math.sin(1.5), math.sin(0.015), math.cos(1.5), math.cos(0.015)]
    torch.testing.assert_close(code, torch.tensor([first + first, first + second]))
    with pytest.raises(ConfigError, match="width is 6; sin-cos positions need a multiple of 4"):
        SinCosPosition(6)


def test_sin_cos_follows_the_picture_and_not_the_grid():
    coarse, fine = sin_cos_grid(4, 2, 16).view(4, 2, 16), sin_cos_grid(12, 6, 16).view(12, 6, 16)
    torch.testing.assert_close(fine[1::3, 1::3], coarse)  # every third cell has the centre of a coarse one


def test_learned_position_is_a_table_and_is_resampled():
    layer = LearnedPosition(8, (3, 4))
    x = torch.zeros(2, 12, 8)
    assert torch.equal(layer(x, (3, 4))[1], layer.table[0])
    with torch.no_grad():
        layer.table.fill_(0.7)
    torch.testing.assert_close(layer(torch.zeros(1, 35, 8), (5, 7)), torch.full((1, 35, 8), 0.7))


def test_conv_position_by_hand():
    layer = ConvPosition(4)
    torch.nn.init.ones_(layer.conv.weight)
    torch.nn.init.zeros_(layer.conv.bias)
    out = layer(torch.ones(1, 6, 4), (2, 3))[0, :, 0]
    assert out.tolist() == [5.0, 7.0, 5.0, 5.0, 7.0, 5.0]  # itself plus its neighbours inside the grid


def test_pyramid_shapes_and_halving():
    maps = SimplePyramid(16)(torch.randn(2, 16, 5, 3))
    assert {s: tuple(m.shape[1:]) for s, m in maps.items()} == {
        4: (4, 20, 12),
        8: (8, 10, 6),
        16: (16, 5, 3),
        32: (16, 3, 2),
    }
    assert halve(torch.arange(9.0).view(1, 1, 3, 3)).flatten().tolist() == [4.0, 5.0, 7.0, 8.0]

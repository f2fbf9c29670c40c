import math

import pytest
import torch
import torch.nn.functional as F

from visgen.errors import ConfigError
from visgen.heads import ClassificationHead, DepthHead, DetectionHead, SegmentationHead
from visgen.structures.features import Features

CHANNELS = {4: 8, 8: 8, 16: 16, 32: 16}


def features(height=64, width=96, batch=2):
    generator = torch.Generator().manual_seed(0)
    pyramid = {
        s: torch.randn(batch, c, -(-height // s), -(-width // s), generator=generator) for s, c in CHANNELS.items()
    }
    return Features(pyramid, torch.randn(batch, 12, generator=generator))


def test_classification_is_a_linear_map_of_the_normalised_token():
    head = ClassificationHead(CHANNELS, 12, 5).eval()
    given = features()
    expected = F.layer_norm(given.token, (12,)) @ head.linear.weight.t() + head.linear.bias
    torch.testing.assert_close(head(given), expected)


def test_depth_is_the_expectation_over_log_bins():
    head = DepthHead(CHANNELS, 12, bins=3, nearest=1.0, farthest=100.0, width=16, fine_width=8).eval()
    with torch.no_grad():
        head.project.weight.zero_()
        head.project.bias.copy_(torch.tensor([0.0, math.log(3.0), -1e4]))  # shares 1/4, 3/4, 0 of 1, 10 and 100 m
    torch.testing.assert_close(head(features()), torch.full((2, 1, 16, 24), 0.75 * math.log(10.0)))


def test_depth_stays_in_its_range():
    head = DepthHead(CHANNELS, 12, nearest=0.5, farthest=20.0, width=16, fine_width=8)
    with torch.no_grad():
        head.project.weight.mul_(1e4)
    depth = head(features()).exp()
    assert float(depth.detach().min()) >= 0.5 - 1e-4 and float(depth.detach().max()) <= 20.0 + 1e-3


@pytest.mark.parametrize("size", [(64, 96), (33, 50), (101, 32)])
def test_dense_heads_cover_odd_sizes(size):
    for stride in (2, 4):
        head = SegmentationHead(CHANNELS, 12, 5, width=16, fine_width=8, stride=stride).eval()
        rows, columns = (-(-s // 4) * 4 // stride for s in size)
        assert head(features(*size)).shape == (2, 5, rows, columns)


def test_sub_pixel_scores_are_the_quarters_of_a_cell():
    head = SegmentationHead(CHANNELS, 12, 2, width=16, fine_width=8, stride=2).eval()
    with torch.no_grad():
        head.project.weight.zero_()
        head.project.bias.copy_(torch.arange(8.0))
    scores = head(features())
    torch.testing.assert_close(scores[0, :, :2, :2], torch.arange(8.0).view(2, 2, 2))


def test_refusals_name_the_value():
    with pytest.raises(ConfigError, match="stride 3; use 4, or 2"):
        SegmentationHead(CHANNELS, 12, 5, stride=3)
    with pytest.raises(ConfigError, match=r"depth range is 5\.0\.\.2\.0 m in 48 bins"):
        DepthHead(CHANNELS, 12, nearest=5.0, farthest=2.0)
    with pytest.raises(ConfigError, match="detection head has 2 gains for 3 strides"):
        DetectionHead(CHANNELS, 12, 5, gains=(1.0, 1.0))
    with pytest.raises(ConfigError, match="decoder widths are 20 and 8"):
        SegmentationHead(CHANNELS, 12, 5, width=20, fine_width=8)

import math

import pytest
import torch

from visgen.data import Sample, build_transform
from visgen.data.transforms import (
    CenterCrop,
    Compose,
    HorizontalFlip,
    Pad,
    RandomCrop,
    RandomResizedCrop,
    Rescale,
    Resize,
)
from visgen.errors import ConfigError
from visgen.structures import DepthMap


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def test_resize_short_side_exact_and_limited(ramp):
    assert Resize(48)(ramp, gen()).size == (48, 64)
    assert Resize([30, 50])(ramp, gen()).size == (30, 50)
    assert Resize(192, max_size=200)(ramp, gen()).size == (150, 200)
    assert Resize(96)(ramp, gen()) is ramp
    with pytest.raises(ConfigError, match="max_size is 0; it must be at least 1"):
        Resize(48, max_size=0)


def test_resize_agrees_with_torchvision(ramp):
    from torchvision.transforms.v2 import functional as F

    ours = Resize([60, 70])(ramp.replace(image=ramp.image), gen()).image
    assert torch.allclose(ours, F.resize(ramp.image, [60, 70], antialias=True), atol=1e-6)
    bytes_ = Resize([60, 70])(ramp, gen()).image
    assert float((ours - bytes_).abs().max()) <= 1.01 / 255
    for size in ([25, 1], [1, 1]):  # torch's own for bytes is wrong here
        thin = Resize(size)(ramp, gen()).image
        assert float((Resize(size)(ramp.replace(image=ramp.image), gen()).image - thin).abs().max()) <= 0.51 / 255


def test_center_crop_cuts_the_middle_or_adds_a_border(ramp):
    out = CenterCrop([10, 20])(ramp, gen())
    assert out.pixels[:2, 0, 0].tolist() == [54, 43] and out.size == (10, 20)
    assert CenterCrop(128)(ramp, gen()).pixels[:2, 16, 5].tolist() == [5, 0]


def test_pad_reaches_size_and_multiple(ramp):
    assert Pad(multiple=50)(ramp, gen()).size == (100, 150)
    assert Pad(size=[200, 10], multiple=16)(ramp, gen()).size == (208, 128)
    assert Pad(multiple=32)(ramp, gen()) is ramp


def test_random_crop_reaches_every_place_and_pads_small_images(ramp):
    places = {tuple(RandomCrop([94, 126])(ramp, gen(s)).pixels[:2, 0, 0].tolist()) for s in range(200)}
    assert places == {(x, y) for x in range(3) for y in range(3)}
    assert RandomCrop(160)(ramp, gen()).size == (160, 160)
    shifted = {tuple(RandomCrop([96, 128], padding=1)(ramp, gen(s)).pixels[:2, 2, 2].tolist()) for s in range(100)}
    assert shifted == {(x, y) for x in (1, 2, 3) for y in (1, 2, 3)}


def test_flips_as_often_as_asked(ramp):
    flips = [int(HorizontalFlip(0.3)(ramp, gen(s)).pixels[0, 0, 0]) == 127 for s in range(400)]
    assert 85 < sum(flips) < 155
    assert HorizontalFlip(0.0)(ramp, gen()) is ramp


def span(sample):
    """Columns and rows of the source that the output shows."""
    red, green = sample.pixels[0, 0].float(), sample.pixels[1, :, 0].float()
    return float(red[-1] - red[0]) + 1, float(green[-1] - green[0]) + 1


def test_random_resized_crop_keeps_its_ranges(ramp):
    crop = RandomResizedCrop([96, 128], scale=(0.25, 0.5), ratio=(1.0, 1.0))
    shares, ratios = [], []
    for seed in range(100):
        out = crop(ramp, gen(seed))
        assert out.size == (96, 128)
        w, h = span(out)
        shares.append(w * h / (96 * 128))
        ratios.append((w / h) / (128 / 96))
    assert 0.22 < min(shares) < 0.3 and 0.45 < max(shares) < 0.53
    assert min(ratios) > 0.93 and max(ratios) < 1.08


def test_the_whole_image_is_a_plain_resize(ramp):
    out = RandomResizedCrop([48, 64], scale=(1.0, 1.0), ratio=(1.0, 1.0), depth_scale=True)(ramp, gen())
    plain = Resize([48, 64])(ramp, gen())
    assert torch.equal(out.pixels, plain.pixels)
    assert torch.equal(out.targets["depth"].metres, plain.targets["depth"].metres)


def test_an_impossible_shape_falls_back_to_the_centre(ramp):
    out = RandomResizedCrop([10, 100], scale=(1.0, 1.0), ratio=(1.0, 1.0))(ramp, gen())
    assert out.size == (10, 100) and span(out)[0] > 125 and 9 <= span(out)[1] <= 14


def flat(depth=8.0, size=(64, 64)):
    return Sample(torch.zeros(3, *size), {"depth": DepthMap(torch.full(size, depth))})


def test_depth_scale_divides_by_the_zoom_and_is_off_by_default():
    quarter = {"size": 64, "scale": (0.25, 0.25), "ratio": (1.0, 1.0)}
    assert float(RandomResizedCrop(**quarter)(flat(), gen()).targets["depth"].metres.max()) == 8.0
    zoomed = RandomResizedCrop(**quarter, depth_scale=True)(flat(), gen()).targets["depth"].metres
    assert torch.equal(zoomed, torch.full((64, 64), 4.0))  # half the width and height: twice as large, half as far
    twice = Rescale((2.0, 2.0), depth_scale=True)(flat(), gen())
    assert twice.size == (128, 128) and float(twice.targets["depth"].metres.max()) == 4.0
    assert float(Rescale((2.0, 2.0))(flat(), gen()).targets["depth"].metres.max()) == 8.0


def test_depth_scale_of_rescale_and_crop_agrees_with_a_resized_crop():
    chain = Compose([Rescale((2.0, 2.0), depth_scale=True), RandomCrop(64)])
    one = RandomResizedCrop(64, scale=(0.25, 0.25), ratio=(1.0, 1.0), depth_scale=True)
    assert torch.equal(chain(flat(), gen()).targets["depth"].metres, one(flat(), gen()).targets["depth"].metres)


def test_missing_depth_stays_missing_under_depth_scale():
    sample = flat()
    sample.targets["depth"].metres[:, ::2] = 0
    out = Rescale((0.7, 1.6), depth_scale=True)(sample, gen(3)).targets["depth"].metres
    assert len(out.unique()) == 2 and float(out.min()) == 0


def test_rescale_covers_its_range_evenly_in_the_logarithm():
    factors = [Rescale((0.5, 2.0))(flat(), gen(s)).size[0] / 64 for s in range(200)]
    assert 0.5 <= min(factors) < 0.55 and 1.85 < max(factors) <= 2.0
    assert abs(sum(map(math.log, factors)) / 200) < 0.1


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"name": "resize", "size": 0}, "size is 0"),
        ({"name": "resize", "size": [3, 4], "max_size": 9}, "max_size 9"),
        ({"name": "resize", "size": None}, "size is None"),
        ({"name": "random_resized_crop", "size": 8, "scale": [0.5, 1.5]}, r"scale is \[0.5, 1.5\]"),
        ({"name": "random_resized_crop", "size": 8, "ratio": 2}, "ratio is 2"),
        ({"name": "random_resized_crop", "size": [8, 8, 8]}, r"size is \[8, 8, 8\]"),
        ({"name": "random_crop", "size": 8, "padding": -1}, "padding is -1"),
        ({"name": "random_crop", "size": 8, "min_visible": 2}, "min_visible is 2"),
        ({"name": "pad", "multiple": 0}, "multiple is 0"),
        ({"name": "horizontal_flip", "p": 1.5}, "p is 1.5"),
        ({"name": "rescale", "scale": [0, 1]}, r"scale is \[0, 1\]"),
    ],
)
def test_values_out_of_range_are_named(item, message):
    with pytest.raises(ConfigError, match=message):
        build_transform([item])

import numpy as np
import pytest
import torch
from PIL import Image

from visgen.structures.working_size import resize_for_work, working_size


@pytest.mark.parametrize(
    ("size", "bounds", "expected"),
    [
        ((240, 320), (320, None), (240, 320)),
        ((480, 640), (320, None), (240, 320)),
        ((3000, 4000), (320, 208), (240, 320)),
        ((120, 160), (320, 208), (208, 277)),
        ((100, 160), (320, 224), (200, 320)),  # as far as the longer side allows
        ((160, 160), (320, 224), (224, 224)),
        ((200, 320), (320, 224), (200, 320)),
        ((120, 160), (320, None), (120, 160)),
        ((10, 4000), (320, None), (32, 320)),
        ((20, 16), (320, 40), (50, 40)),
        ((20, 16), (None, 40), (50, 40)),
        ((999, 5), (None, None), (999, 32)),
    ],
)
def test_the_longer_side_is_bounded_the_shorter_one_grows_and_proportions_stay(size, bounds, expected):
    assert working_size(size, *bounds) == expected


def test_a_picture_of_the_right_size_is_left_alone():
    image = torch.rand(3, 40, 50)
    assert resize_for_work(image, 320) is image


def test_a_picture_grows_by_pillows_bicubic_filter_and_shrinks_by_its_bilinear_one():
    image = torch.rand(3, 40, 50, generator=torch.Generator().manual_seed(0))
    for bounds, size, kernel in (((320, 100), (125, 100), "BICUBIC"), ((45, None), (45, 36), "BILINEAR")):
        planes = [Image.fromarray(p.numpy(), "F").resize(size, Image.Resampling[kernel]) for p in image]
        expected = torch.stack([torch.from_numpy(np.array(p)) for p in planes]).clamp(0, 1)
        torch.testing.assert_close(resize_for_work(image, *bounds), expected, atol=1e-5, rtol=0)


def test_enlarging_a_flat_picture_keeps_its_colour():
    image = torch.tensor([0.2, 0.5, 0.8]).view(3, 1, 1).expand(3, 40, 50)
    grown = resize_for_work(image, 320, 100)
    assert grown.shape == (3, 100, 125)
    torch.testing.assert_close(grown, image[:, :1, :1].expand(3, 100, 125))

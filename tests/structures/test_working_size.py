import pytest
import torch

from visgen.structures.working_size import resize_for_work, working_size


@pytest.mark.parametrize(
    ("size", "bounds", "expected"),
    [
        ((240, 320), (320, None), (240, 320)),
        ((480, 640), (320, None), (240, 320)),
        ((3000, 4000), (320, 208), (240, 320)),
        ((120, 160), (320, 208), (156, 208)),
        ((120, 160), (320, None), (120, 160)),
        ((10, 4000), (320, None), (32, 320)),
        ((20, 16), (320, 40), (40, 32)),
        ((999, 5), (None, None), (999, 32)),
    ],
)
def test_the_longer_side_is_bounded_and_proportions_stay(size, bounds, expected):
    assert working_size(size, *bounds) == expected


def test_a_picture_of_the_right_size_is_left_alone():
    image = torch.rand(3, 40, 50)
    assert resize_for_work(image, 320) is image


def test_enlarging_a_flat_picture_keeps_its_colour():
    image = torch.tensor([0.2, 0.5, 0.8]).view(3, 1, 1).expand(3, 40, 50)
    grown = resize_for_work(image, 320, 100)
    assert grown.shape == (3, 80, 100)
    torch.testing.assert_close(grown, image[:, :1, :1].expand(3, 80, 100))

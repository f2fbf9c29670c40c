import pickle

import pytest
import torch

from visgen.data import Sample
from visgen.errors import DataError


def test_image_reads_as_float_in_0_1_whatever_is_held():
    held = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1).expand(3, 2, 4)
    sample = Sample(held)
    assert sample.image.dtype == torch.float32 and sample.image[:, 0, 0].tolist() == pytest.approx([0.0, 0.2, 1.0])
    assert sample.size == (2, 4)
    floats = torch.rand(3, 2, 4)
    assert Sample(floats).image is floats


@pytest.mark.parametrize("image", [torch.zeros(1, 4, 4), torch.zeros(4, 4), torch.zeros(3, 4, 4, dtype=torch.float64)])
def test_other_images_are_refused_with_their_shape(image):
    with pytest.raises(DataError, match=rf"{image.shape[0]}.*{image.dtype}.*RGB \(3, H, W\)"):
        Sample(image)


def test_replace_keeps_unchanged_targets_as_the_same_objects():
    target = object()
    sample = Sample(torch.zeros(3, 4, 4), {"depth": target}, {"id": 1})
    other = sample.replace(image=torch.ones(3, 4, 4))
    assert other.targets["depth"] is target and other.meta == {"id": 1} and float(other.image.sum()) == 48
    other.targets["new"] = 1
    assert "new" not in sample.targets


def test_pickles():
    sample = Sample(torch.full((3, 4, 4), 7, dtype=torch.uint8), {"a": 1}, {"id": 2})
    again = pickle.loads(pickle.dumps(sample))
    assert torch.equal(again.pixels, sample.pixels) and again.targets == {"a": 1} and again.meta == {"id": 2}

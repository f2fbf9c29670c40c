import numpy as np
import torch

from visgen.data.duplicates import difference_hash, near_pairs, pixel_digest
from visgen.data.transforms.geometry import resample_nearest


def picture(seed, height=60, width=80):
    coarse = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(seed))
    return (torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0] * 255).byte()


def bits(a, b):
    return int(np.bitwise_count(a ^ b).sum())


def test_a_ramp_by_hand():
    ramp = torch.arange(68, dtype=torch.uint8).expand(3, 20, 68).contiguous()
    assert np.bitwise_count(difference_hash(ramp)).sum() == 256  # every cell is darker than its right neighbour
    assert np.bitwise_count(difference_hash(ramp.flip(-1))).sum() == 0
    assert difference_hash(torch.full((3, 20, 68), 9, dtype=torch.uint8)) is None
    assert difference_hash(torch.full((3, 1, 1), 9, dtype=torch.uint8)) is None


def test_small_changes_keep_the_hash_and_other_pictures_do_not():
    one = difference_hash(picture(1))
    noisy = (
        picture(1).float() * 0.9 + 5 + 4 * torch.randn(3, 60, 80, generator=torch.Generator().manual_seed(0))
    ).clamp(0, 255)
    smaller = resample_nearest(picture(1), 48, 64)
    assert bits(one, difference_hash(noisy.byte())) <= 14 and bits(one, difference_hash(smaller)) <= 14
    others = [bits(one, difference_hash(picture(s))) for s in range(2, 30)]
    assert min(others) > 60


def test_digests_tell_every_byte_and_the_size():
    image = picture(3)
    changed = image.clone()
    changed[0, 0, 0] ^= 1
    assert pixel_digest(image) == pixel_digest(image.permute(1, 2, 0).contiguous().permute(2, 0, 1))
    assert len({pixel_digest(image), pixel_digest(changed), pixel_digest(image.reshape(3, 80, 60))}) == 3


def test_pairs_are_the_nearest_within_the_limit():
    left = np.array([[0, 0, 0, 0], [2**64 - 1] * 4], np.uint64)
    right = np.array([[1, 0, 0, 3], [0, 0, 7, 0], [1, 0, 0, 0]], np.uint64)
    assert near_pairs(left, right) == [(0, 2, 1)]
    assert near_pairs(left, right, most=0) == []
    assert near_pairs(left[:0], right) == [] and near_pairs(left, right[:0]) == []


def test_many_rows_go_in_blocks():
    generator = np.random.default_rng(0)
    left = generator.integers(0, 2**63, (3000, 4), dtype=np.uint64)
    right = np.concatenate([left[2900:], generator.integers(0, 2**63, (1900, 4), dtype=np.uint64)])
    assert near_pairs(left, right, most=0) == [(2900 + i, i, 0) for i in range(100)]

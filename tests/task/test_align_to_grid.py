"""What the loss compares must be what `decode` would answer at the same pixels."""

import pytest
import torch
import torch.nn.functional as F

from visgen.task.protocol import resize_logits
from visgen.task.segmentation import align_to_grid


@pytest.mark.parametrize("size", [(32, 48), (29, 46)])
@pytest.mark.parametrize("head", [2, 4])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_a_plane_is_read_where_its_target_lies(size, head, stride):
    """Bilinear resizing keeps a plane, so away from the edges loss and answer see the very same number."""
    if stride > head:
        pytest.skip("the loss grid is never coarser than the head's")
    rows, columns = (-(-n // 4) * (4 // head) for n in size)
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    logits = (3.0 * y + x)[None, None].float()
    target = torch.arange(size[0] * size[1]).reshape(1, *size)
    dense, picked = align_to_grid(logits, target, stride)
    answer = resize_logits(logits[0], size, size, head)[0].flatten()[picked[0]]
    inner = slice(2, -3)
    torch.testing.assert_close(dense[0, 0, inner, inner], answer[inner, inner], rtol=0, atol=1e-4)


def test_labels_are_picked_never_mixed():
    target = torch.randint(0, 9, (2, 20, 24))
    _, picked = align_to_grid(torch.zeros(2, 3, 5, 6), target, 4)
    assert torch.equal(picked, target[:, 2::4, 2::4])


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("size", [(20, 24), (18, 23), (41, 30)])
def test_resizing_is_the_plain_one_in_any_layout(channels_last, size):
    maps = torch.randn(1, 7, 5, 6)
    if channels_last:
        maps = maps.contiguous(memory_format=torch.channels_last)
    valid = (min(size[0], 20), min(size[1], 24))
    full = F.interpolate(maps, scale_factor=4, mode="bilinear", align_corners=False)[..., : valid[0], : valid[1]]
    wanted = full if valid == size else F.interpolate(full, size=size, mode="bilinear", align_corners=False)
    found = resize_logits(maps[0], valid, size)
    torch.testing.assert_close(found, wanted[0], rtol=0, atol=1e-5)
    assert found.stride()[0] == 1  # channels last, which makes the argmax over classes several times faster

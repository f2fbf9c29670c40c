"""What the loss compares must be what `decode` would answer at the same pixels."""

import pytest
import torch
import torch.nn.functional as F

from visgen.task.protocol import TASKS, resize_logits
from visgen.task.segmentation import align_to_grid, possible_classes


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


@pytest.mark.parametrize("size", [(40, 56), (37, 50), (13, 17), (90, 131)])
@pytest.mark.parametrize("stride", [2, 4])
def test_classes_that_win_nowhere_are_left_out_without_changing_an_answer(size, stride):
    generator = torch.Generator().manual_seed(3)
    rows, columns = (-(-n // stride) for n in (40, 56))
    for _ in range(20):
        coarse = 4 * torch.randn(1, 40, 3, 4, generator=generator)
        logits = F.interpolate(coarse, size=(rows, columns), mode="bilinear")[0]
        logits = logits + 0.3 * torch.randn(logits.shape, generator=generator)
        logits[30:] -= 60  # nowhere near
        plain = resize_logits(logits, (40, 56), size, stride).argmax(0)
        (answer,) = TASKS.get("segmentation").decode(
            logits[None], [str(i) for i in range(40)], [(40, 56)], [size], stride
        )
        assert torch.equal(answer.ids, plain)
        able = possible_classes(logits)
        assert torch.isin(plain.unique(), able).all() and int(able.max()) < 30


@pytest.mark.parametrize("grid", [(1, 1), (1, 9), (2, 3), (3, 5), (5, 4), (12, 17)])
def test_windows_are_those_of_pooling(grid):
    logits = torch.randn(6, *grid, generator=torch.Generator().manual_seed(6))
    for maps in (logits, logits.permute(1, 2, 0).contiguous().permute(2, 0, 1)):  # channels first and last
        high, low = (F.max_pool2d(sign * maps[None], [min(4, n) for n in grid], 2, ceil_mode=True) for sign in (1, -1))
        wanted = (high[0] >= (-low[0]).amax(0)).flatten(1).any(1)
        assert possible_classes(maps).tolist() == wanted.nonzero()[:, 0].tolist()


@pytest.mark.parametrize("grid", [(1, 1), (1, 9), (2, 3), (3, 5), (5, 4)])
def test_maps_of_a_few_cells_are_answered(grid):
    logits = torch.randn(1, 20, *grid, generator=torch.Generator().manual_seed(4))
    size = (4 * grid[0], 4 * grid[1])
    (answer,) = TASKS.get("segmentation").decode(logits, [str(i) for i in range(20)], [size], [size])
    assert torch.equal(answer.ids, resize_logits(logits[0], size, size).argmax(0))


def test_a_score_that_is_not_a_number_leaves_no_other_class_out():
    logits = torch.randn(1, 20, 6, 8, generator=torch.Generator().manual_seed(5))
    logits[0, 3, 2, 2] = torch.nan
    (answer,) = TASKS.get("segmentation").decode(logits, [str(i) for i in range(20)], [(24, 32)], [(24, 32)])
    assert torch.equal(answer.ids, resize_logits(logits[0], (24, 32), (24, 32)).argmax(0))


def test_scores_that_are_not_numbers_still_give_an_answer():
    logits = torch.full((1, 5, 6, 6), torch.nan)
    (answer,) = TASKS.get("segmentation").decode(logits, list("abcde"), [(24, 24)], [(24, 24)])
    assert answer.ids.shape == (24, 24)

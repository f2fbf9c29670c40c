"""Figure-ground logits of boxes: targets by hand, and that shapes can be learnt."""

import torch
import torch.nn.functional as F
from torchvision.ops import roi_align

from visgen.heads.figure import FIGURE, FigureBranch, figure_targets, pool_cells


def test_targets_by_hand():
    masks = torch.zeros(2, 60, 80, dtype=torch.bool)
    masks[0, 10:38, 20:34] = True
    masks[1, :30] = True
    boxes = torch.tensor([[20.0, 10, 48, 38], [0.0, 16, 14, 44]])
    wanted = torch.zeros(2, FIGURE, FIGURE)
    wanted[0, :, :7] = 1  # cells of 2 x 2 pixels, the left half
    wanted[1, :7] = 1  # the upper half
    found = figure_targets(masks, boxes)
    # Sampling is bilinear, so the cells at a border are a little soft.
    assert (found - wanted).abs().max() < 0.3
    assert torch.equal(found > 0.5, wanted > 0.5)
    assert figure_targets(masks[:0], boxes[:0]).shape == (0, FIGURE, FIGURE)


def test_means_of_four_cells_are_roi_align_with_four_samples():
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 3, 12, 16, generator=generator)
    boxes = torch.tensor([[-9.0, 3, 40, 70], [20.0, 20, 21, 90], [0.0, 0, 128, 96]])  # partly outside, a line, all
    image = torch.tensor([0, 1, 1])
    rows = torch.cat([image[:, None].float(), boxes], dim=1)
    wanted = roi_align(maps, rows, FIGURE // 2, 1 / 8, sampling_ratio=2, aligned=True)
    assert torch.allclose(F.avg_pool2d(pool_cells(maps, 8, boxes, image), 2), wanted, atol=1e-6)


def test_a_shape_is_learnt_from_what_is_told_and_seen():
    torch.manual_seed(0)
    branch = FigureBranch((4, 2), told=2, width=16)
    maps = {8: torch.zeros(1, 4, 8, 8), 4: torch.zeros(1, 2, 16, 16)}
    maps[4][:, :, :, 8:] = 1.0  # the right half of the picture is bright
    boxes = torch.tensor([[16.0, 8, 48, 56], [16.0, 8, 48, 56], [0.0, 0, 20, 20]])
    cells = [pool_cells(m, stride, boxes, torch.zeros(3, dtype=torch.int64)) for stride, m in maps.items()]
    told = torch.tensor([[0.0, 0], [1.0, 0], [0.0, 1]])
    wanted = torch.zeros(3, FIGURE, FIGURE)
    wanted[0, :, 7:], wanted[1, :, :7], wanted[2, :5] = 1, 1, 1  # same pixels, other classes: other masks
    optimiser = torch.optim.Adam(branch.parameters(), lr=1e-2)
    for _ in range(60):
        found = branch(cells, told)
        loss = F.binary_cross_entropy_with_logits(found, wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert torch.equal(found > 0, wanted > 0.5)
    assert all(p.grad is not None and p.grad.any() for p in branch.parameters())

"""Numbers and drawings of two boxes, worked by hand, and their laws."""

import pytest
import torch

from visgen.nn.pair_geometry import GEOMETRY, pair_geometry, pair_masks

SIZE = torch.tensor([[100.0, 200.0]])
BOXES = torch.tensor([[10.0, 10, 30, 50], [20.0, 30, 60, 50], [100.0, 60, 110, 70]])
ONE = torch.zeros(3, dtype=torch.int64)


def row(subject: int, target: int) -> list[float]:
    return pair_geometry(BOXES, torch.tensor([[subject, target]]), ONE, SIZE)[0].tolist()


def test_a_pair_by_hand():
    found = row(0, 1)
    # Boxes of 20 x 40 and 40 x 20 that share 10 x 20; centres (20, 30) and (40, 40); mean sides 30.
    wanted = [20 / 30, 10 / 30, 20 / 200, 10 / 100]
    wanted += [-0.693147, 0.693147, 0.0]  # log ratios of width, height, area
    wanted += [200 / 1400, 200 / 800, 200 / 800]  # IoU and shares
    wanted += [-10 / 30, -20 / 30, 10 / 20, 20 / 20]  # gaps and overlaps along x and y
    wanted += [(50 - 30) / 30, 0.0]  # the subject's bottom to the object's top and bottom
    wanted += [0.2, 0.2]  # roots of 800 / 20000
    wanted += [1.0, 1.0, 1.0, 1.0]  # each is the other's nearest
    wanted += [1.098612 / 3, 1.0]
    assert found == pytest.approx(wanted, abs=1e-5)
    assert len(found) == GEOMETRY


def test_ranks_count_neighbours_of_the_own_image_only():
    boxes = torch.cat([BOXES, BOXES])
    image = torch.tensor([0, 0, 0, 1, 1, 1])
    ends = torch.tensor([[0, 2], [2, 0], [3, 5]])
    found = pair_geometry(boxes, ends, image, SIZE.expand(2, -1))[:, 18:22]
    # Box 2 is the second of box 0; box 0 is the second of box 2 (box 1 is nearer).
    assert torch.allclose(found, torch.full((3, 4), 0.5))


def test_pairs_do_not_depend_on_each_other_and_the_other_order_mirrors():
    ends = torch.tensor([[0, 1], [1, 0], [2, 1], [0, 2]])
    together = pair_geometry(BOXES, ends, ONE, SIZE)
    for i, pair in enumerate(ends):
        assert torch.equal(together[i : i + 1], pair_geometry(BOXES, pair[None], ONE, SIZE))
    assert torch.allclose(together[0, :7], -together[1, :7])
    assert torch.allclose(together[0, 10:14], together[1, 10:14])


def test_relative_numbers_do_not_change_with_scale():
    ends = torch.tensor([[0, 1], [2, 0]])
    large = pair_geometry(BOXES * 2, ends, ONE, 2 * SIZE)
    assert torch.allclose(large, pair_geometry(BOXES, ends, ONE, SIZE), atol=1e-5)


def test_no_pairs_and_no_boxes():
    none = torch.zeros(0, 2, dtype=torch.int64)
    assert pair_geometry(BOXES, none, ONE, SIZE).shape == (0, GEOMETRY)
    assert pair_geometry(BOXES[:0], none, ONE[:0], SIZE).shape == (0, GEOMETRY)
    assert pair_masks(BOXES[:0], BOXES[:0], 4).shape == (0, 2, 4, 4)


def test_a_box_without_area_stays_finite():
    boxes = torch.tensor([[10.0, 10, 10, 10], [10.0, 10, 10, 10]])
    assert pair_geometry(boxes, torch.tensor([[0, 1]]), ONE[:2], SIZE).isfinite().all()
    assert pair_masks(boxes[:1], boxes[1:], 4).isfinite().all()


def test_drawing_by_hand():
    # Union (0, 0)-(8, 4) in 4 x 4 cells of 2 x 1 pixels: the subject fills the left half, the object 1.5 columns.
    drawn = pair_masks(torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[5.0, 2, 8, 4]]), 4)[0]
    assert torch.equal(drawn[0], torch.tensor([[1.0, 1, 0, 0]] * 4))
    assert torch.equal(drawn[1], torch.tensor([[0.0, 0, 0, 0]] * 2 + [[0.0, 0, 0.5, 1]] * 2))


def test_equal_boxes_fill_their_drawing_and_the_covered_share_is_exact():
    box = torch.tensor([[3.0, 7, 40, 29]])
    assert torch.allclose(pair_masks(box, box, 27), torch.ones(1, 2, 27, 27))
    torch.manual_seed(0)
    corner = torch.rand(20, 2) * 50
    boxes = torch.cat([corner, corner + 1 + torch.rand(20, 2) * 40], 1)
    others = boxes.roll(1, 0)
    union = torch.cat([torch.minimum(boxes[:, :2], others[:, :2]), torch.maximum(boxes[:, 2:], others[:, 2:])], 1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1) / (union[:, 2:] - union[:, :2]).prod(1)
    assert torch.allclose(pair_masks(boxes, others, 9)[:, 0].mean((1, 2)), area, atol=1e-5)

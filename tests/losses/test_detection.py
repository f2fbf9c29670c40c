import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from visgen.losses import assign_points, decode_rows, detection_loss
from visgen.structures import Boxes, pairwise_iou

CLASSES = ("cat", "dog", "tree")
SIZE = (64, 64)


def grid(stride=8, side=8):
    """Rows (side * side, 3): x, y, stride."""
    centres = (torch.arange(side) + 0.5) * stride
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack([x.flatten(), y.flatten(), torch.full((side * side,), float(stride))], 1)


def draw(seed, boxes=3):
    """Random rows (1, N, 7 + K) and a target on an image of 64 x 64."""
    g = torch.Generator().manual_seed(seed)
    places = grid()
    sides = torch.rand(len(places), 4, generator=g) * 20 + 1
    logits = torch.randn(len(places), len(CLASSES), generator=g)
    rows = torch.cat([places, sides, logits], 1)[None]
    low = torch.rand(boxes, 2, generator=g) * 40
    truth = torch.cat([low, low + 2 + torch.rand(boxes, 2, generator=g) * 20], 1)
    return rows, Boxes(truth, torch.randint(0, 3, (boxes,), generator=g), SIZE, CLASSES)


def naive_assignment(points, boxes, probabilities, labels, truth, top_k):
    """Loops over pairs, straight from the definition; boxes must hold a point each and have some overlap."""
    iou = pairwise_iou(boxes, truth)
    align = torch.zeros(len(points), len(truth))
    claims = {}
    for m, (box, label) in enumerate(zip(truth.tolist(), labels.tolist(), strict=True)):
        held = [n for n, (x, y) in enumerate(points.tolist()) if box[0] < x < box[2] and box[1] < y < box[3]]
        for n in held:
            align[n, m] = probabilities[n, label] * iou[n, m] ** 6
        for n in sorted(held, key=lambda n: -float(align[n, m]))[:top_k]:
            if n not in claims or iou[n, m] > iou[n, claims[n]]:
                claims[n] = m
    chosen = torch.full((len(points),), -1)
    quality = torch.zeros(len(points))
    for n, m in claims.items():
        rivals = [k for k, owner in claims.items() if owner == m]
        chosen[n] = m
        quality[n] = align[n, m] / max(align[k, m] for k in rivals) * max(iou[k, m] for k in rivals)
    return chosen, quality


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9))
def test_assignment_equals_a_naive_loop(seed, top_k):
    rows, target = draw(seed)
    # Every box is widened to hold points, and every prediction to touch every box.
    truth = target.xyxy + torch.tensor([-6.0, -6.0, 6.0, 6.0])
    rows[..., 3:7] += 40
    boxes, logits = decode_rows(rows[0])
    args = (rows[0, :, :2], boxes, logits.sigmoid(), target.labels, truth)
    found = assign_points(*args, top_k=top_k)
    chosen, quality = naive_assignment(*args, top_k)
    assert torch.equal(found.box, chosen)
    torch.testing.assert_close(found.quality, quality, rtol=1e-3, atol=1e-5)


def test_a_box_between_the_points_gets_the_nearest_one():
    points = grid()
    truth = torch.tensor([[6.0, 5.0, 7.5, 7.0]])  # the cell centres next to it lie at 4 and 12
    boxes = torch.cat([points[:, :2] - 4, points[:, :2] + 4], 1)
    found = assign_points(points[:, :2], boxes, torch.full((64, 3), 0.5), torch.tensor([1]), truth)
    assert found.box.nonzero().numel() == 63 and int(found.box[0]) == 0 and float(found.quality[0]) > 0


def test_nothing_to_find_leaves_background_everywhere():
    found = assign_points(grid()[:, :2], torch.rand(64, 4), torch.rand(64, 3), torch.zeros(0).long(), torch.zeros(0, 4))
    assert bool((found.box == -1).all()) and bool((found.quality == 0).all())


def test_the_hand_worked_value():
    """One point, one box of IoU 1/2 and class probability 1/2: quality 1/2, so the class term is 0."""
    rows = torch.tensor([[[8.0, 8.0, 8.0, 4.0, 4.0, 4.0, 8.0, 0.0]]])  # box 4 4 12 16, class logit 0
    target = Boxes(torch.tensor([[4.0, 4.0, 12.0, 10.0]]), torch.tensor([0]), (16, 16), ("cat",))
    # The predicted box covers 8 x 12, the true one 8 x 6 of it: IoU = generalised IoU = 1/2.
    value = float(detection_loss(rows, [target], box_weight=2.0))
    assert math.isclose(value, 2.0 * 0.5 * 0.5, rel_tol=1e-5)  # quality 1/2; the sum of qualities is raised to 1


@pytest.mark.parametrize("seed", range(3))
def test_laws(seed):
    rows, _ = draw(seed)
    truth = decode_rows(rows[0, [10, 25, 40]])[0] + torch.tensor([0.5, 0.2, -0.3, 0.4])  # nearly found already
    target = Boxes(truth, torch.tensor([2, 0, 1]), SIZE, CLASSES)
    value = detection_loss(rows, [target])
    order = torch.tensor([2, 0, 1])
    assert torch.allclose(value, detection_loss(rows, [target.select(order)]))  # the order of boxes does not matter
    shuffled = rows[:, torch.randperm(rows.shape[1], generator=torch.Generator().manual_seed(1))]
    assert torch.allclose(value, detection_loss(shuffled, [target]), rtol=1e-4)  # nor that of points
    twice = detection_loss(rows.repeat(2, 1, 1), [target, target])
    boxes, probabilities = _decoded(rows)
    found = assign_points(rows[0, :, :2], boxes[0], probabilities[0], target.labels, target.xyxy)
    assert float(found.quality.sum()) > 1, "below 1 the sum of qualities is raised to 1 and the next law is void"
    assert torch.allclose(value, twice, rtol=1e-4)  # and the size of the batch cancels


def _decoded(rows):
    boxes, logits = decode_rows(rows)
    return boxes, logits.sigmoid()


def test_crowds_and_incomplete_classes_give_no_background():
    rows, _ = draw(0)
    rows[..., 7:] = 3.0  # every class shouts everywhere
    nothing = Boxes(torch.zeros(0, 4), torch.zeros(0).long(), SIZE, CLASSES)
    loud = detection_loss(rows, [nothing])
    partial = Boxes(nothing.xyxy, nothing.labels, SIZE, CLASSES, complete=("cat",))
    assert torch.allclose(detection_loss(rows, [partial]), loud / 3)
    everywhere = torch.tensor([[0.0, 0.0, 64.0, 64.0]])
    crowd = Boxes(everywhere, torch.tensor([1]), SIZE, CLASSES, is_crowd=torch.tensor([True]))
    assert torch.allclose(detection_loss(rows, [crowd]), loud * 2 / 3)
    assert float(detection_loss(rows, [Boxes(nothing.xyxy, nothing.labels, SIZE, CLASSES, complete=())])) == 0


def test_images_without_boxes_train_with_a_finite_gradient():
    rows, _ = draw(1)
    rows.requires_grad_(True)
    nothing = Boxes(torch.zeros(0, 4), torch.zeros(0).long(), SIZE, CLASSES)
    detection_loss(rows, [nothing]).backward()
    assert bool(rows.grad.isfinite().all()) and bool((rows.grad[..., 7:] > 0).all())


def test_training_free_rows_finds_the_boxes():
    torch.manual_seed(0)
    corners = torch.tensor([[2.0, 3.0, 22.0, 19.0], [40.0, 10.0, 60.0, 50.0], [6.0, 40.0, 15.0, 52.0]])
    target = Boxes(corners, torch.tensor([0, 2, 1]), SIZE, CLASSES)
    places = grid()[None]
    logits, sides = torch.full((1, 64, 3), -3.0, requires_grad=True), torch.full((1, 64, 4), 2.0, requires_grad=True)
    optimiser = torch.optim.Adam([logits, sides], lr=0.1)
    for _ in range(150):
        loss = detection_loss(torch.cat([places, sides.exp(), logits], 2), [target])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    boxes, scores = _decoded(torch.cat([places, sides.exp(), logits], 2).detach())
    for box, label in zip(target.xyxy, target.labels, strict=True):
        best = int(scores[0, :, label].mul(pairwise_iou(boxes[0], box[None])[:, 0] > 0.5).argmax())
        assert float(pairwise_iou(boxes[0, best : best + 1], box[None])) > 0.8 and float(scores[0, best, label]) > 0.5


def test_refusals():
    rows, target = draw(0)
    with pytest.raises(ValueError, match="1 images of logits came with 2 targets"):
        detection_loss(rows, [target, target])
    with pytest.raises(ValueError, match="2 classes and the head 3"):
        detection_loss(rows, [Boxes(torch.zeros(0, 4), torch.zeros(0).long(), SIZE, ("a", "b"))])

"""Decoding of the dense detector's rows, apart from the contract that all tasks share."""

import pytest
import torch
from torchvision.ops import batched_nms

from visgen.structures import pairwise_iou
from visgen.task import TASKS
from visgen.task.detection import MOST, OVERLAP, _suppress

CLASSES = ("cat", "dog")


def row(x, y, sides, logits):
    return [x, y, 8.0, *sides, *logits]


def decode(rows, valid=(64, 96), size=(64, 96)):
    (answer,) = TASKS.get("detection").decode(torch.tensor([rows]), CLASSES, [valid], [size])
    return answer


def test_one_point_gives_its_box_in_pixels_of_the_answer():
    rows = [row(20.0, 30.0, (4, 6, 8, 10), (2.0, -9.0)), row(70.0, 30.0, (1, 1, 1, 1), (-9.0, -9.0))]
    answer = decode(rows, size=(128, 288))  # twice as high, three times as wide
    assert answer.xyxy.tolist() == [[48, 48, 84, 80]] and answer.names == ("cat",) and answer.size == (128, 288)
    assert torch.allclose(answer.scores, torch.tensor([2.0]).sigmoid())


def test_points_in_the_padding_do_not_speak_and_boxes_end_with_the_picture():
    rows = [row(60.0, 20.0, (30, 30, 30, 30), (1.0, -9.0)), row(84.0, 20.0, (4, 4, 4, 4), (9.0, -9.0))]
    answer = decode(rows, valid=(40, 80), size=(40, 80))
    assert answer.xyxy.tolist() == [[30, 0, 80, 40]]


def test_twins_of_one_class_are_suppressed_and_of_another_kept():
    rows = [
        row(20.0, 20.0, (8, 8, 8, 8), (2.0, -9.0)),
        row(21.0, 20.0, (8, 8, 8, 8), (1.0, -9.0)),
        row(22.0, 20.0, (8, 8, 8, 8), (-9.0, 1.5)),
    ]
    answer = decode(rows)
    assert answer.names == ("cat", "dog") and answer.scores.tolist() == sorted(answer.scores.tolist(), reverse=True)


def test_at_most_a_hundred_boxes_best_first_and_none_that_overlaps_too_much():
    torch.manual_seed(0)
    rows = torch.cat([torch.rand(1, 3000, 2) * 64, torch.full((1, 3000, 1), 8.0), torch.rand(1, 3000, 4) * 9], 2)
    rows = torch.cat([rows, torch.randn(1, 3000, 2)], 2)
    (answer,) = TASKS.get("detection").decode(rows, CLASSES, [(64, 96)], [(64, 96)])
    assert len(answer) == 100 and bool((answer.scores.diff() <= 0).all())
    for name in CLASSES:
        iou = pairwise_iou(answer.where(name).xyxy, answer.where(name).xyxy).fill_diagonal_(0)
        assert float(iou.max()) <= 0.6


def test_nothing_above_the_floor_is_an_empty_answer():
    answer = decode([row(20.0, 20.0, (8, 8, 8, 8), (-9.0, -9.0))])
    assert len(answer) == 0 and answer.scores.shape == (0,)


def test_of_many_candidates_the_best_enter():
    generator = torch.Generator().manual_seed(7)
    x, y = 40.0 * torch.randint(0, 40, (2, 2500), generator=generator)
    logits = -2 * torch.rand(2500, 2, generator=generator)  # 5,000 pairs above the floor, in 3,200 places and classes
    rows = torch.cat([torch.stack([x, y], 1), torch.full((2500, 1), 8.0), torch.full((2500, 4), 5.0), logits], 1)
    (answer,) = TASKS.get("detection").decode(rows[None], CLASSES, [(1600, 1600)], [(1600, 1600)])
    best: dict[tuple[float, float, int], float] = {}
    for i, k in ((i, k) for i in range(2500) for k in range(2)):
        place = (float(x[i]), float(y[i]), k)
        best[place] = max(best.get(place, 0.0), float(logits[i, k].sigmoid()))
    assert answer.scores.tolist() == sorted(best.values(), reverse=True)[:MOST]


@pytest.mark.parametrize("spread", [400.0, 60.0, 1.0])  # pixels; the nearer the boxes, the fewer stay
@pytest.mark.parametrize("count", [1000, 250, 1, 0])
def test_looking_at_the_first_few_keeps_what_looking_at_all_keeps(spread, count):
    generator = torch.Generator().manual_seed(count)
    corner = spread * torch.rand(count, 2, generator=generator)
    boxes = torch.cat([corner, corner + 20 + 20 * torch.rand(count, 2, generator=generator)], dim=1)
    scores = torch.rand(count, generator=generator).sort(descending=True).values
    labels = torch.randint(0, 3, (count,), generator=generator)
    wanted = batched_nms(boxes, scores, labels, OVERLAP)
    assert torch.equal(_suppress(boxes, scores, labels), wanted[:MOST])
    if count == 1000:
        assert (len(wanted) < MOST) == (spread == 1.0)

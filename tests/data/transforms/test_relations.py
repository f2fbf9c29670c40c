"""Scene graphs under transforms: in step with the boxes, mirrored in their words, one predicate drawn per pair."""

import pytest
import torch

from visgen.data import Sample, build_transform, collate
from visgen.data.transforms import OnePredicate, Window, apply_window, window_value
from visgen.data.transforms.rotate import rotate_value
from visgen.errors import DataError
from visgen.structures import Boxes, SceneGraph

PREDICATES = ("left of", "right of", "on")
BOXES = torch.tensor([[2.0, 2, 12, 12], [20, 4, 40, 20], [44, 30, 60, 44]])
TRIPLETS = torch.tensor([[0, 1, 0], [1, 0, 1], [2, 1, 2], [0, 1, 2]])


def make(shared=True, masks=None):
    boxes = Boxes(BOXES.clone(), torch.tensor([0, 1, 2]), (48, 64), ("a", "b", "c"))
    other = Boxes(BOXES.clone(), torch.tensor([0, 1, 2]), (48, 64), ("a", "b", "c"))
    graph = SceneGraph(boxes if shared else other, TRIPLETS, PREDICATES)
    return Sample(torch.zeros(3, 48, 64), {"scene_graph": graph, "detection": boxes}, {"id": 1})


@pytest.mark.parametrize("shared", [True, False])
def test_a_crop_drops_boxes_and_their_triplets(shared):
    out = apply_window(make(shared), Window.crop(0, 15, 48, 49))
    graph = out.targets["scene_graph"]
    assert graph.boxes.names == ("b", "c") and graph.triplets.tolist() == [[1, 0, 2]]
    assert graph.boxes.xyxy.tolist() == [[5, 4, 25, 20], [29, 30, 45, 44]] and graph.size == (48, 49)
    assert (graph.boxes is out.targets["detection"]) == shared
    assert list(out.targets) == ["scene_graph", "detection"]


def test_a_graph_keeps_the_boxes_that_were_tightened_to_masks(ramp):
    boxes = ramp.targets["detection"]
    graph = SceneGraph(boxes, torch.tensor([[0, 1, 2]]), PREDICATES)
    ramp.targets["masks"].masks[0, 10:20, 20:40] = False
    sample = ramp.replace(targets={**ramp.targets, "scene_graph": graph})
    out = apply_window(sample, Window.crop(0, 0, 96, 39))
    assert len(out.targets["detection"]) == 1 and out.targets["scene_graph"].boxes is out.targets["detection"]
    assert out.targets["detection"].xyxy.tolist() == [[20, 20, 39, 40]] and len(out.targets["scene_graph"]) == 0
    turned = build_transform([{"name": "rotate", "degrees": 5}])(sample, torch.Generator().manual_seed(0))
    assert turned.targets["scene_graph"].boxes is turned.targets["detection"] and len(turned.targets["scene_graph"])


def test_a_mirror_exchanges_left_and_right():
    flip = build_transform([{"name": "horizontal_flip", "p": 1.0}])
    out = flip(make(), torch.Generator())
    graph = out.targets["scene_graph"]
    assert graph.names[:2] == (("a", "right of", "b"), ("b", "left of", "a"))
    assert float(graph.boxes.xyxy[0, 0]) > float(graph.boxes.xyxy[1, 2])
    back = flip(out, torch.Generator()).targets["scene_graph"]
    assert torch.equal(back.triplets, TRIPLETS) and torch.equal(back.boxes.xyxy, BOXES)
    lone = make().targets["scene_graph"].where(predicate="on")
    lone = SceneGraph(lone.boxes, torch.zeros(0, 3).long(), ("left of",))
    with pytest.raises(DataError, match="'right of' is not one of the 1 predicates; leave mirroring out"):
        window_value(lone, Window(0, 0, 48, 64, 48, 64, flip=True))


def test_padding_a_batch_keeps_graphs():
    small, large = make(), apply_window(make(), Window.crop(0, 0, 60, 80))
    batch = collate([small, large], {"scene_graph": "scene_graph.x"}, "x")
    assert all(g.size == (60, 80) and torch.equal(g.triplets, TRIPLETS) for g in batch.targets["scene_graph"])
    assert batch.to("cpu") is batch


def test_a_turn_without_detection_moves_the_graph_alone():
    graph = rotate_value(make().targets["scene_graph"], 3.0)
    assert len(graph) == 4 and not torch.equal(graph.boxes.xyxy, BOXES)


def test_one_predicate_of_each_ordered_pair_is_drawn_evenly():
    sample, generator = make(), torch.Generator().manual_seed(0)
    drawn = [OnePredicate()(sample, generator).targets["scene_graph"].triplets.tolist() for _ in range(400)]
    assert {str(rows) for rows in drawn} == {
        str([[0, 1, 0], [1, 0, 1], [2, 1, 2]]),
        str([[1, 0, 1], [2, 1, 2], [0, 1, 2]]),
    }
    assert 160 < sum([0, 1, 0] in rows for rows in drawn) < 240  # four standard deviations of a fair coin
    assert len(sample.targets["scene_graph"]) == 4
    again = OnePredicate()(sample, torch.Generator().manual_seed(0)).targets["scene_graph"].triplets.tolist()
    assert again == drawn[0]


def test_one_predicate_leaves_other_samples_and_empty_graphs(ramp):
    assert OnePredicate()(ramp, torch.Generator()).targets == ramp.targets
    graph = SceneGraph(make().targets["detection"], torch.zeros(0, 3).long(), PREDICATES)
    sample = make().replace(targets={"scene_graph": graph})
    assert len(OnePredicate()(sample, torch.Generator()).targets["scene_graph"]) == 0

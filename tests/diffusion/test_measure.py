"""Scores by hand: what flatters a model must not, and the control asks something else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from visgen.data import Sample
from visgen.diffusion import Query
from visgen.diffusion.config import FAST, DiffusionConfig, Sampling
from visgen.diffusion.measure import FOREIGN, Asked, answer_pictures, other_samples, score_answer, shuffled_texts
from visgen.errors import DataError
from visgen.language import TaskRequest
from visgen.structures import Boxes, Classification, ClassLabel, DepthMap, SemanticMap

MAP = SemanticMap(torch.tensor([[0, 0, 1, 255]] * 4), ("cat", "dog"))


def answer(rows) -> SemanticMap:
    return SemanticMap(torch.tensor([rows] * 4), ("cat",))


@pytest.mark.parametrize(
    ("painted", "score"), [([0, 0, 255, 255], 1.0), ([0, 255, 255, 255], 0.5), ([0, 0, 0, 0], 2 / 3)]
)
def test_segmentation_counts_labelled_pixels_alone(painted, score):
    query = Query(TaskRequest("segmentation", ("cat",)), MAP)
    assert score_answer(query, answer(painted))["IoU"] == pytest.approx(score)


def test_paint_on_an_absent_class_costs_its_area():
    only_dog = SemanticMap(torch.ones(4, 4, dtype=torch.int64), ("cat", "dog"))
    query = Query(TaskRequest("segmentation", ("cat",)), only_dog, is_there=False)
    assert score_answer(query, answer([0, 255, 255, 255])) == {"score": 0.75, "area": 0.25}
    assert score_answer(query, answer([255] * 4))["score"] == 1.0


def test_each_absent_class_pays_for_its_own_paint_alone():
    target = SemanticMap(torch.full((4, 4), 2), ("cat", "dog", "owl"))
    query = Query(TaskRequest("segmentation", ("cat", "dog")), target, is_there=False)
    for name in (0, 1):
        painted = SemanticMap(torch.tensor([[name, 255, 255, 255]] * 4), ("cat", "dog"))
        assert score_answer(query, painted) == {"score": 0.875, "area": 0.25}


def test_an_invented_box_lowers_the_score():
    true = Boxes(torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([0]), (20, 20), ("cat",))
    query = Query(TaskRequest("detection", ("cat",)), true)
    two = Boxes(torch.tensor([[0.0, 0, 10, 10], [12, 12, 19, 19]]), torch.tensor([0, 0]), (20, 20), ("cat",),
                torch.tensor([0.9, 0.8]))  # fmt: skip
    assert score_answer(query, two.select(torch.tensor([0])))["score"] == 1.0
    assert score_answer(query, two)["score"] == pytest.approx(2 / 3)


def test_crowds_are_neither_missed_nor_invented_boxes():
    xyxy = torch.tensor([[0.0, 0, 4, 4], [10, 10, 20, 20]])
    true = Boxes(xyxy, torch.tensor([0, 0]), (20, 20), ("cat",), is_crowd=torch.tensor([False, True]))
    query = Query(TaskRequest("detection", ("cat",)), true)
    found = torch.tensor([[0.0, 0, 4, 4], [12, 12, 15, 15], [8, 10, 12, 20], [7, 10, 12, 20]])
    scores = []
    for places in ([0], [0, 1], [0, 2], [0, 3], []):  # alone; inside; half inside; two fifths inside; none
        answer = Boxes(found[places], torch.zeros(len(places), dtype=torch.int64), (20, 20), ("cat",),
                       torch.full((len(places),), 0.5))  # fmt: skip
        scores.append(score_answer(query, answer)["score"])
    assert scores == pytest.approx([1.0, 1.0, 1.0, 2 / 3, 0.0])
    only = Query(query.request, true.select(torch.tensor([1])))
    assert score_answer(only, answer)["score"] == 1.0


def test_surplus_boxes_of_a_class_that_is_partly_boxed_may_be_right():
    xyxy, labels = torch.tensor([[0.0, 0, 4, 4], [10, 10, 20, 20]]), torch.tensor([0, 0])
    answer = Boxes(xyxy, labels, (20, 20), ("cat",), torch.tensor([0.9, 0.8]))
    for complete, score in ((("cat",), 2 / 3), ((), 1.0)):
        true = Boxes(xyxy[:1], labels[:1], (20, 20), ("cat",), complete=complete)
        assert score_answer(Query(TaskRequest("detection", ("cat",)), true), answer)["score"] == pytest.approx(score)


def test_a_known_offset_of_depth_is_measured_as_it_is():
    query = Query(TaskRequest("depth"), DepthMap(torch.tensor([[1.0, 2.0, 0.0]])))
    assert score_answer(query, DepthMap(torch.tensor([[1.1, 2.1, 9.0]])))["AbsRel"] == pytest.approx(0.075)


def test_a_tie_is_wrong():
    query = Query(TaskRequest("classification", ("cat", "dog")), ClassLabel(0, ("cat", "dog")))
    assert score_answer(query, Classification(torch.tensor([0.5, 0.5]), ("cat", "dog")))["score"] == 0.0
    assert score_answer(query, Classification(torch.tensor([0.6, 0.4]), ("cat", "dog")))["score"] == 1.0


def test_the_control_asks_something_else():
    sample, kinds = Sample(torch.zeros(3, 4, 4)), ("cat", "dog", "cat", "dog", "owl", "cat")
    rows = [Asked(sample, Query(TaskRequest("segmentation", (k,)), MAP), f"segment {k}") for k in kinds]
    texts = shuffled_texts(rows, seed=1)
    assert sorted(texts) == sorted(row.text for row in rows)
    assert not [1 for row, text in zip(rows, texts, strict=True) if row.text == text]
    same = [Asked(sample, Query(TaskRequest("depth"), MAP), "how far is everything")] * 3
    assert not set(shuffled_texts(same)) - set(FOREIGN) and "how far is everything" not in shuffled_texts(same)


def test_the_other_image_is_another_one_and_far_in_the_clip():
    samples = [Sample(torch.full((3, 4, 4), k / 10)) for k in range(5)]
    query = Query(TaskRequest("depth"), MAP)
    rows = [Asked(sample, query, "how far is everything") for sample in samples for _ in range(2)]
    seen = [round(float(sample.image[0, 0, 0]) * 10) for sample in other_samples(rows)]
    assert seen == [2, 2, 3, 3, 4, 4, 0, 0, 1, 1]
    with pytest.raises(DataError, match="all questions are about one image"):
        other_samples(rows[:2])


def test_each_control_changes_one_thing_alone():
    told = []

    def answer(images, texts, sampling, seeds):
        told.append((images.clone(), list(texts), list(seeds)))
        return images

    model: Any = SimpleNamespace(config=SimpleNamespace(size=8, codec={}), answer=answer)
    samples = [Sample(torch.full((3, 8, 8), k / 4)) for k in range(3)]
    names = ("cat", "dog", "cat")
    rows = [
        Asked(sample, Query(TaskRequest("segmentation", (name,)), MAP), f"segment {name}")
        for sample, name in zip(samples, names, strict=True)
    ]
    pictures = {way: answer_pictures(model, rows, way) for way in ("model", "other image", "no image", "blank")}
    assert len(told) == 3  # nothing is asked of the model for a blank answer
    for images, texts, seeds in told:
        assert (images.shape, texts, seeds) == ((3, 3, 8, 8), [row.text for row in rows], [0, 1, 2])
    levels = {way: [float(picture.mean()) for picture in values] for way, values in pictures.items()}
    assert levels["model"] == pytest.approx([-1.0, -0.5, 0.0]) and levels["other image"] == pytest.approx([-0.5, 0, -1])
    assert levels["no image"] == levels["blank"] == [-1.0] * 3


def test_each_question_is_drawn_as_its_task_is_in_use():
    told, slow = [], Sampling(3, 2.0, 1.0)

    def answer(images, texts, sampling, seeds):
        told.append((list(texts), sampling, list(seeds)))
        return images

    config = DiffusionConfig(32, one_step=True, sampling={"depth": slow})
    model: Any = SimpleNamespace(config=config, answer=answer)
    rows = [Asked(Sample(torch.full((3, 32, 32), k / 4)), Query(TaskRequest(task), MAP), f"{task} {k}")
            for k, task in enumerate(("depth", "segmentation", "depth"))]  # fmt: skip
    levels = [float(picture.mean()) for picture in answer_pictures(model, rows, sampling=None)]
    assert levels == pytest.approx([-1.0, -0.5, 0.0])
    assert told == [(["depth 0", "depth 2"], slow, [0, 2]), (["segmentation 1"], FAST, [1])]

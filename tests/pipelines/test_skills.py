"""What a model's heads know, in the words of an instruction."""

from __future__ import annotations

import pytest

from visgen.pipelines.skills import Skills, skills_of, vocabulary
from visgen.task import MultiTaskModel

from .conftest import CAMVID, COCO, RELATIONS, THINGS


def test_the_vocabulary_of_a_model_joins_the_heads_of_a_task_the_default_one_first(model: MultiTaskModel) -> None:
    assert vocabulary(model) == {
        "classification": ("cat", "dog", "owl"),
        "segmentation": (*COCO, *CAMVID),
        "depth": (),
    }
    skills = skills_of(model)
    assert skills.of("segmentation") == ("segmentation.coco", "segmentation.camvid")
    assert skills.of("segmentation", ["segmentation.camvid", "depth"]) == ("segmentation.camvid",)
    assert skills.of("ood") == () and skills.all_predicates() == ()


def test_a_scene_graph_knows_the_classes_of_the_boxes_below_it(finder: MultiTaskModel) -> None:
    skills = skills_of(finder)
    assert skills.classes["scene_graph"] == vocabulary(finder)["scene_graph"] == THINGS
    assert skills.predicates == {"scene_graph": RELATIONS} and skills.all_predicates() == RELATIONS


@pytest.mark.parametrize(
    ("name", "own"), [("car", "Cars"), ("sofa", "couch"), ("couch", "couch"), ("stop sign", "stop_sign"), ("dog", None)]
)
def test_a_head_writes_classes_in_its_own_way(name: str, own: str | None) -> None:
    skills = Skills({"a": "segmentation"}, {"a": ("Cars", "couch", "stop_sign")})
    assert skills.own("a", name) == own and skills.own("b", name) is None

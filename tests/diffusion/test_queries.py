"""Questions to labelled images: every answer reads back as what was asked, and the absent are asked for too."""

from __future__ import annotations

from random import Random

import pytest
import torch

from visgen.data import Sample, build_source
from visgen.diffusion import CanvasPictures, QueryConfig, canvas_image, draw_queries
from visgen.diffusion.codec import CodecSettings, codec_for
from visgen.diffusion.queries import town_oddities
from visgen.errors import ConfigError
from visgen.structures import Boxes, ClassLabel, OODLabel

SETTINGS = CodecSettings(0.4, 65.0, ("left of", "right of", "in front of", "behind", "on", "under", "wearing"))
TASKS = "classification,detection,segmentation,depth,scene_graph"


@pytest.fixture(scope="module")
def town():
    source = build_source("town:instruct?size=64x64&count=12", tasks=TASKS)
    return [source[k] for k in range(12)]


def asked(samples, config=None, seed=0):
    random = Random(seed)
    return [(s, q) for s in samples for q in draw_queries(s, config or QueryConfig(), SETTINGS, random, ("dog",))]


def test_every_question_has_an_answer_that_reads_back(town):
    seen = set()
    for sample, query in asked(town, QueryConfig(dict.fromkeys(QueryConfig().counts, 3.0))):
        codec = codec_for(query.request, SETTINGS)
        picture, known = query.picture(codec, (64, 64))
        assert picture.shape == (3, 64, 64) and known.shape == (64, 64)
        read = codec.decode(picture, query.request, sample.size)
        seen.add(query.request.task)
        if query.request.task == "segmentation":
            there = (read.ids != 255).any()
            assert bool(there) == (query.is_there or len(query.request.classes) > 1)
        if query.request.task == "detection":
            truth = query.value.labels == query.value.classes.index(query.request.classes[0])
            assert len(read) == int(truth.sum())
        if not query.is_there and query.request.task in ("segmentation", "detection", "scene_graph"):
            name = (query.request.classes or tuple(n for n in query.request.relation if n))[0]
            assert isinstance(name, str)
    assert seen == {"segmentation", "detection", "depth", "classification", "ood", "scene_graph"}


def test_a_fifth_of_the_questions_is_about_absent_classes_and_half_of_these_about_plausible_ones(town):
    config = QueryConfig({"segmentation": 30.0}, coloured=0.0)
    rows = [query for _, query in asked(town, config)]
    absent = [query for query in rows if not query.is_there]
    assert len(rows) == 360 and 0.13 < len(absent) / len(rows) < 0.27
    without = [s for s in town if "dog" not in [name for _, name, _ in s.targets["segmentation"].shares()]]
    names = [query.request.classes[0] for _, query in asked(without, config) if not query.is_there]
    assert len(names) > 30 and 0.4 < names.count("dog") / len(names) < 0.65  # half, and some of the other half
    for sample, query in asked(town, config, seed=1):
        ids = sample.targets["segmentation"].ids
        name = query.request.classes[0]
        assert bool((ids == sample.targets["segmentation"].classes.index(name)).any()) == query.is_there


def test_images_that_hold_nothing_to_ask_for_do_not_raise_the_share_of_absent_ones_where_they_are_left_out(town):
    names = ("ant", "bee")
    held = [Boxes(torch.tensor([[0.0, 0, 9, 9]] * n).reshape(n, 4), torch.zeros(n, dtype=torch.int64), (40, 40), names)
            for n in (0, 1)]  # fmt: skip
    boxes = [Sample(torch.zeros(3, 40, 40), {"detection": value}) for value in held]
    for task, samples in (("detection", boxes), ("scene_graph", town)):
        shares = []
        for empty in (0.0, 1.0):
            rows = [q for _, q in asked(samples, QueryConfig({task: 100.0}, least=0.01, empty=empty))]
            shares.append(sum(not q.is_there for q in rows) / len(rows))
        assert 0.13 < shares[0] < 0.27 and shares[1] > 0.35
    halves = [[q.request for _, q in asked(town, QueryConfig({"classification": 5.0}, empty=e))] for e in (0.0, 1.0)]
    assert halves[0] == halves[1]


def test_the_same_random_asks_the_same(town):
    assert [q.request for _, q in asked(town)] == [q.request for _, q in asked(town)]
    assert [q.request for _, q in asked(town)] != [q.request for _, q in asked(town, seed=9)]


@pytest.mark.parametrize("task", ["detection", "classification"])
def test_crowds_and_classes_boxed_in_part_are_not_asked_for_as_absent(task):
    names = ("ant", "bee", "cow", "dog")
    boxes = Boxes(torch.tensor([[0.0, 0, 9, 9], [20, 20, 39, 39]]), torch.tensor([0, 1]), (40, 40), names,
                  is_crowd=torch.tensor([False, True]), complete=("ant", "bee", "cow"))  # fmt: skip
    sample = Sample(torch.zeros(3, 40, 40), {"detection": boxes})
    rows = [query for _, query in asked([sample], QueryConfig({task: 60.0}, absent=0.5))]
    assert {(q.request.classes, q.is_there) for q in rows} == {(("ant",), True), (("cow",), False)}


def test_a_label_gives_yes_no_and_panel_questions():
    sample = Sample(torch.zeros(3, 40, 40), {"classification": ClassLabel(1, ("ant", "bee", "cow", "dog", "emu"))})
    rows = [query for _, query in asked([sample], QueryConfig({"classification": 60.0}))]
    panels = [q for q in rows if len(q.request.classes) > 1]
    flags = [q for q in rows if len(q.request.classes) == 1]
    assert all("bee" in q.request.classes for q in panels) and len(panels) > 15
    assert all((q.request.classes == ("bee",)) == q.is_there for q in flags)
    assert 0.3 < sum(q.is_there for q in flags) / len(flags) < 0.7


def test_labels_that_are_avoided_or_alone_are_not_asked_for():
    sample = Sample(torch.zeros(3, 40, 40), {"classification": ClassLabel(0, ("ant", "bee", "cow"))})
    rows = asked([sample], QueryConfig({"classification": 60.0}, avoid=("ant", "bee")))
    assert {(q.request.classes, q.is_there) for _, q in rows} == {(("cow",), False)}
    alone = Sample(torch.zeros(3, 40, 40), {"classification": ClassLabel(0, ("ant",))})
    assert all(q.is_there for _, q in asked([alone], QueryConfig({"classification": 60.0})))


def test_strange_objects_of_the_town_come_back_as_masks():
    source = build_source("town:instruct?size=64x64&count=6&ood_share=1", tasks="segmentation")
    for k in range(6):
        found = town_oddities(source[k])
        assert found is not None and bool(found.masks.any())
        ids = source[k].targets["segmentation"].ids
        assert (
            bool((ids[found.masks.any(dim=0)] == 255).float().mean() > 0.5) or source[k].meta["ood_reason"] == "texture"
        )
    plain = Sample(torch.zeros(3, 40, 40), {"ood": OODLabel(False)})
    assert town_oddities(plain) is None
    assert not asked([plain], QueryConfig({"ood": 1.0}, familiar=0.0))
    assert len(asked([plain], QueryConfig({"ood": 1.0}))) == 1


def test_canvas_and_pictures(town):
    canvas = canvas_image(Sample(torch.ones(3, 40, 80)), (64, 64))
    assert float(canvas[:, :32].min()) == pytest.approx(1) and float(canvas[:, 32:].max()) == -1
    source = build_source("town:instruct?size=64x64&count=3", tasks=TASKS)
    pictures = CanvasPictures(source, QueryConfig(), SETTINGS, (64, 64))
    assert len(pictures) == 6 and [pictures[k].meta["is_answer"] for k in range(4)] == [False, True, False, True]
    assert torch.equal(pictures[3].pixels, pictures[3].pixels)


def test_bad_settings_are_refused():
    with pytest.raises(ConfigError, match="counts names task 'segmentatio'; did you mean 'segmentation'"):
        QueryConfig({"segmentatio": 1.0})
    with pytest.raises(ConfigError, match="absent is 2"):
        QueryConfig(absent=2)

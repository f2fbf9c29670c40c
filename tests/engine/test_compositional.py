"""Answers on maps, their scores by composition, and the figures of made features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from visgen.data import Sample, collate
from visgen.engine.compositional import answer_by_counts, answer_maps, score_graphs
from visgen.engine.made_features import classify_regions, measure_made
from visgen.errors import ConfigError
from visgen.metrics import SceneGraphMetric
from visgen.structures import Boxes, SceneGraph
from visgen.task.compositional import build_compositional
from visgen.task.map_batch import map_features

CLASSES, PREDICATES = ("person", "dog", "ball"), ("holding", "near")


class Maps:
    """Two or three boxes on maps whose first channels hold the class of each box inside it."""

    def __init__(self, count: int = 8, first: int = 0) -> None:
        self.name, self.count, self.first = "maps", count, first
        self.heads = {"scene_graph": "scene_graph"}
        self.classes = {"scene_graph": PREDICATES}

    def __len__(self) -> int:
        return self.count

    def graph_of(self, index: int) -> SceneGraph:
        rng = torch.Generator().manual_seed(self.first + index)
        labels = torch.randint(3, (2 + index % 2,), generator=rng)
        boxes = torch.tensor([[0.0, 0, 16, 16], [20, 8, 40, 32], [16, 20, 20, 32]])[: len(labels)]
        triplets = torch.tensor([[0, 1, int(labels[0] == 2)], [1, 0, 1]])
        return SceneGraph(Boxes(boxes, labels, (32, 40), CLASSES), triplets, PREDICATES)

    def __getitem__(self, index: int) -> Sample:
        graph = self.graph_of(index)
        rng = torch.Generator().manual_seed(self.first + index)
        found = 0.1 * torch.randn(4, 8, 10, generator=rng)
        for box, label in zip((graph.boxes.xyxy / 4).long().tolist(), graph.boxes.labels.tolist(), strict=True):
            found[label, box[1] : box[3], box[0] : box[2]] += 2
        targets = {"scene_graph": graph, "map": found}
        meta = {"id": self.first + index, "source": "maps", "cells": (8, 10)}
        return Sample(torch.zeros(3, 32, 40, dtype=torch.uint8), targets, meta)


OPTIONS: dict[str, Any] = {
    "head": {"name": "scene_graph_map", "state": 16, "rounds": 1},
    "generator": {"embed": 8, "width": 16, "layers": 2, "tile": 4, "layout": 8, "refine": (8, 8), "noise": 4},
    "judges": {"width": 8, "embed": 4},
    "perturb": {"name": "rand"},
}


def test_answers_are_those_of_the_head_in_the_frame_of_the_kept_pictures() -> None:
    torch.manual_seed(0)
    made = build_compositional({"maps": Maps()}, 0, **{**OPTIONS, "second": "none"})
    head = made.head.eval()
    source = Maps()
    together, apart = answer_maps(head, source, "predcls", 8), answer_maps(head, source, "predcls", 1)
    for index, (a, b) in enumerate(zip(together, apart, strict=True)):
        assert torch.allclose(a.boxes.xyxy, source.graph_of(index).boxes.xyxy, atol=1e-4)
        assert torch.equal(a.boxes.labels, source.graph_of(index).boxes.labels)
        assert torch.equal(a.triplets, b.triplets) and torch.allclose(a.scores, b.scores, atol=1e-5)  # type: ignore[arg-type]
    named = answer_maps(head, source, "sgcls")[0]
    assert named.boxes.scores is not None
    # an answer is the head's softmax, which the loss reads too
    seen = made.see(collate([source[0]], {}, "maps"))
    logits = head(map_features(seen.maps), seen.queries).edges[0].softmax(1)[:, 1:]
    assert float(logits.detach().max()) == pytest.approx(float(together[0].scores[0]), abs=1e-6)  # type: ignore[index]


def test_a_head_is_asked_about_the_picture_that_it_was_taught_to_see_without_the_padding() -> None:
    class Padded(Maps):
        def __getitem__(self, index: int) -> Sample:
            sample = super().__getitem__(index)
            return sample.replace(meta={**sample.meta, "cells": (8, 6)})

    blind = {"name": "scene_graph", "pixels": False}
    made = build_compositional({"maps": Padded()}, 0, second="real", head=blind, told=True)
    head, source = made.head.eval(), Padded()
    seen = made.see(collate([source[0]], {}, "maps"))
    assert seen.queries.sizes == [(128, 96)]
    wanted = head(map_features(seen.maps), seen.queries).edges[0].softmax(1)[:, 1:]
    assert float(wanted.max()) == pytest.approx(float(answer_maps(head, source)[0].scores[0]), abs=1e-6)  # type: ignore[index]


def test_scores_tell_unseen_from_seen_and_ask_for_chosen_predicates() -> None:
    source = Maps(6)
    counts = torch.zeros(3, 3, 3, dtype=torch.int32)
    for index in range(6):
        graph = source.graph_of(index)
        s, o, p = graph.triplets[1].tolist()
        counts[graph.boxes.labels[s], graph.boxes.labels[o], p + 1] += 1  # only the second relation is seen
    true = [source.graph_of(i) for i in range(6)]
    perfect = [SceneGraph(g.boxes, g.triplets, g.predicates, torch.ones(len(g))) for g in true]
    scopes = {"all": None, "holding": ["holding"]}
    found = score_graphs(perfect, source, counts, scopes=scopes, top=(20,))
    assert found["all"].figures["R@20"] == found["all"].figures["ng/zsR@20"] == found["holding"].figures["R@20"] == 1
    holding = torch.tensor([bool((g.triplets[:, 2] == 0).any()) for g in true])
    assert torch.equal(~found["holding"].recalls["R@20"][:, 0].isnan(), holding)
    second_only = score_graphs([g.select(torch.tensor([1])) for g in perfect], source, counts, scopes=scopes, top=(20,))
    assert second_only["all"].figures["R@20"] == 0.5 and second_only["holding"].figures["R@20"] == 0
    # recalls from the ranks agree with the metric's own
    known = {(CLASSES[s], PREDICATES[p - 1], CLASSES[o]): int(counts[s, o, p]) for s, o, p in counts.nonzero().tolist()}
    metric = SceneGraphMetric(CLASSES, PREDICATES, top=(1, 20), counts=known)
    metric.update(perfect, true)
    one = score_graphs(perfect, source, counts, top=(1, 20))["all"]
    for name, value in metric.compute().items():
        assert one.figures[name] == pytest.approx(value)
    assert one.figures["pooled/R@1"] == pytest.approx(metric.compute("relations")["R@1"])
    for part in ("", "zs", "10shot"):
        expected = metric.image_recall(1, part)
        assert torch.equal(one.recalls[f"{part}R@1"].nan_to_num(-1), expected.nan_to_num(-1))


def test_counts_alone_answer_with_the_commonest_predicate() -> None:
    counts = torch.ones(3, 3, 3, dtype=torch.int32)
    counts[:, :, 2] = 8
    for graph in answer_by_counts(counts, Maps(3)):
        best = graph.constrained()
        assert best.triplets[:, 2].tolist() == [1] * len(best) and float(best.scores[0]) == pytest.approx(0.8)  # type: ignore[index]


def test_a_linear_classifier_of_regions() -> None:
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (300,), generator=rng)
    centres = 3 * torch.randn(3, 8, generator=rng)
    regions = centres[labels] + torch.randn(300, 8, generator=rng)
    assert classify_regions((regions[:200], labels[:200]), (regions[200:], labels[200:]), 3) > 0.9
    scrambled = labels[torch.randperm(300, generator=rng)]
    assert classify_regions((regions[:200], scrambled[:200]), (regions[200:], labels[200:]), 3) < 0.6


def test_made_features_are_measured_with_real_ones_beside_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    made = build_compositional({"maps": Maps(40)}, 0, **{**OPTIONS, "second": "generated"})
    made.export(made.module, tmp_path / "last")
    found = measure_made(tmp_path / "last", Maps(40), Maps(40, 1000))
    assert found["chance"] == pytest.approx(1 / 3) and found["real"] > 0.9
    assert found["val"]["coverage"] > 0.8 > found["made"]["coverage"]  # an untrained generator
    assert 0 <= found["inside"] <= 1
    assert found["passed"]["real boxes cover real boxes"] == (found["val"]["density"] >= 0.8)
    assert found["passed"]["made boxes are told by real ones"] == (found["made_test"] >= 1)
    plain = build_compositional({"maps": Maps()}, 0, **{**OPTIONS, "second": "none"})
    plain.export(plain.module, tmp_path / "plain")
    with pytest.raises(ConfigError, match="has no generator"):
        measure_made(tmp_path / "plain", Maps(), Maps())

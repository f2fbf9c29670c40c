"""The compositional objective: who learns in which phase, what the baseline is, and what a run leaves."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from visgen.config import DataConfig, ObjectiveConfig, OptimConfig, PartConfig, RunConfig, TrainConfig
from visgen.data import Sample, collate
from visgen.engine import train_run, write_maps
from visgen.errors import CheckpointError, ConfigError, DataError
from visgen.structures import Boxes, SceneGraph
from visgen.structures.features import Features
from visgen.task.compositional import CompositionalObjective, build_compositional
from visgen.task.compositional_saving import load_compositional

CLASSES, PREDICATES = ("person", "dog", "cat", "ball"), ("holding", "near")
CHANNELS, GRID = 6, (8, 10)
SMALL: dict[str, Any] = {
    "head": {"name": "scene_graph_map", "state": 16, "rounds": 1},
    "generator": {"embed": 8, "width": 16, "layers": 2, "tile": 4, "layout": 8, "refine": (8, 8), "noise": 4},
    "judges": {"width": 8, "embed": 4},
    "perturb": {"name": "rand", "share": 0.5},
}


class Maps:
    """Pictures of three boxes on random maps, as format maps gives them; every fourth has no relation."""

    name = "maps"

    def __init__(self, count: int = 12) -> None:
        self.count = count
        self.heads = {"scene_graph": "scene_graph"}
        self.classes = {"scene_graph": PREDICATES}

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        rng = torch.Generator().manual_seed(index)
        corner = torch.rand(3, 2, generator=rng) * torch.tensor([24.0, 18.0])
        side = 4 + torch.rand(3, 2, generator=rng) * 10
        labels = torch.randint(len(CLASSES), (3,), generator=rng)
        boxes = Boxes(torch.cat([corner, corner + side], dim=1), labels, (32, 40), CLASSES)
        rows = [[0, 1, index % 2], [2, 0, 1]] if index % 4 else []
        graph = SceneGraph(boxes, torch.tensor(rows, dtype=torch.int64).reshape(-1, 3), PREDICATES)
        targets = {"scene_graph": graph, "map": torch.randn(CHANNELS, *GRID, generator=rng)}
        image = torch.zeros(3, 32, 40, dtype=torch.uint8)
        return Sample(image, targets, {"id": index, "source": "maps", "cells": GRID})


def batch(first: int = 0, count: int = 4) -> Any:
    return collate([Maps()[i] for i in range(first, first + count)], {"scene_graph": "scene_graph"}, "maps")


def objective(second: str = "generated", **changes: Any) -> CompositionalObjective:
    torch.manual_seed(0)
    return build_compositional({"maps": Maps()}, 0, **{**SMALL, "second": second, **changes})


def step(made: CompositionalObjective, number: int = 0, rate: float = 1e-2) -> dict[str, dict[str, Tensor]]:
    """One step as the engine takes it; gives the logs of each phase."""
    made.module.train()
    made.before_step(number)
    optimisers: dict[str, Any] = {}
    logs = {}
    shown = batch(number % 3 * 4)
    for position, phase in enumerate(made.phases):
        torch.manual_seed(1000 * number + position)
        if phase.shares is None:
            optimisers[phase.name] = torch.optim.SGD([p for g in phase.groups() for p in g["params"]], rate)
        optimiser = optimisers[phase.shares or phase.name]
        optimiser.zero_grad(set_to_none=True)
        logs[phase.name] = dict(phase.loss(shown))
        logs[phase.name]["loss"].backward()
        optimiser.step()
    return logs


def weights(module: torch.nn.Module) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in module.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[k], b[k]) for k in a)


def test_phases_of_each_arm() -> None:
    names = {second: [p.name for p in objective(second).phases] for second in ("none", "real", "swapped", "generated")}
    assert names["none"] == ["f"] and names["real"] == names["swapped"] == ["f", "again"]
    assert names["generated"] == ["f", "g", "again", "d"]


def test_without_its_second_step_the_gan_is_the_baseline_bit_for_bit() -> None:
    plain, gan = objective("none"), objective("generated", second_weight=0.0)
    assert [p.name for p in gan.phases] == ["f", "g", "d"]
    before = weights(gan.generator)
    for number in range(3):
        first, second = step(plain, number), step(gan, number)
        assert torch.equal(first["f"]["loss"], second["f"]["loss"])
    assert same(weights(plain.head), weights(gan.head))
    assert not same(before, weights(gan.generator))


def test_each_phase_moves_its_own_network_alone() -> None:
    made = objective()
    owners = {"f": "head", "g": "generator", "again": "head", "d": "judges"}
    made.module.train()
    made.before_step(0)
    shown = batch()
    for phase in made.phases:
        made.module.zero_grad(set_to_none=True)
        before = weights(made.judges)
        phase.loss(shown)["loss"].backward()
        for name in ("head", "generator", "judges"):
            moved = [n for n, p in made.module[name].named_parameters() if p.grad is not None]  # type: ignore[index]
            assert bool(moved) == (owners[phase.name] == name), (phase.name, name, moved)
        if phase.name != "d":
            assert same(before, weights(made.judges))  # its power iterations included


def test_the_generator_learns_from_the_judges_alone_unless_it_is_attached() -> None:
    def gradient(weight: float, attach: bool) -> Tensor:
        made = objective(adversarial_weight=weight, attach_g=attach)
        made.module.train()
        made.before_step(0)
        torch.manual_seed(5)
        made.phases[1].loss(batch())["loss"].backward()
        assert all(p.grad is None for p in made.head.parameters())
        return torch.cat([p.grad.flatten() for p in made.generator.parameters() if p.grad is not None])

    judged, attached, only = gradient(5.0, False), gradient(5.0, True), gradient(0.0, True)
    assert not gradient(0.0, False).any()
    assert bool(only.any()) and torch.allclose(attached, judged + only, atol=1e-6)


def test_made_features_teach_the_head_what_it_is_told_they_show() -> None:
    made = objective(perturb=None)
    made.module.train()
    made.before_step(0)
    made.phases[1].loss(batch())
    (kept,) = made._made.values()
    assert not kept.maps.requires_grad and not kept.nodes.requires_grad and not kept.edges.requires_grad
    logits = made.head.read(kept.nodes, kept.edges, kept.seen.queries)
    expected = made.task.loss(logits, kept.graphs, {})
    asked = batch()
    made._made = {id(asked): kept}
    assert torch.allclose(made.phases[2].loss(asked)["loss"], expected)


def test_graphs_change_their_classes_and_nothing_else() -> None:
    made = objective()
    seen = made.see(batch())
    true, graphs, changed, _ = made.change(seen, torch.Generator().manual_seed(0))
    assert torch.equal(true.labels, torch.cat([g.boxes.labels for g in seen.graphs]))
    assert torch.equal(changed.labels, torch.cat([g.boxes.labels for g in graphs]))
    assert int((true.labels != changed.labels).sum()) == 4 * 2  # round(0.5 * 3) boxes of each of 4 pictures
    for old, new in zip(seen.graphs, graphs, strict=True):
        assert torch.equal(old.triplets, new.triplets) and torch.equal(old.boxes.xyxy, new.boxes.xyxy)
    assert torch.equal(true.boxes, changed.boxes) and torch.equal(true.ends, changed.ends)
    assert torch.allclose(true.boxes[:3], seen.graphs[0].boxes.xyxy / 4)  # 4 kept pixels a cell


def test_flat_graphs_name_the_annotated_pairs() -> None:
    seen = objective("none").see(batch(4))
    flat = seen.flat()
    ends, predicates = flat.relations()
    found = [(s, o, p) for (s, o), p in zip(ends.tolist(), predicates.tolist(), strict=True)]
    expected, first = [], 0
    for graph in seen.graphs:
        expected += [(s + first, o + first, p) for s, o, p in graph.triplets.tolist()]
        first += len(graph.boxes)
    assert sorted(found) == sorted(expected)
    assert flat.ids[1] == "maps/5" and flat.cells.tolist() == [list(GRID)] * 4


def test_a_limit_of_pairs_keeps_the_annotated_ones() -> None:
    for index in range(4, 8):
        seen = objective("none", pairs=3).see(batch(index, 1))
        (pairs,) = seen.queries.pairs or []
        asked = {tuple(p) for p in pairs.tolist()}
        assert len(pairs) == len(asked) == 3
        assert {(s, o) for s, o, _ in seen.graphs[0].triplets.tolist()} <= asked
    assert [len(p) for p in objective("none").see(batch()).queries.pairs or []] == [6] * 4


def test_swapped_boxes_hold_regions_of_other_pictures() -> None:
    made = objective("swapped")
    assert made.bank is not None and made.bank.ids() == {f"maps/{i}" for i in range(12)}
    logs = step(made)
    assert 0 < float(logs["again"]["changed"]) <= 1 and bool(logs["again"]["loss"].isfinite())


def test_shuffled_labels_are_the_batch_labels_in_another_order() -> None:
    made = objective(shuffle=True)
    graphs = made.see(batch(4)).graphs
    shuffled = made._targets(graphs, torch.Generator().manual_seed(0))
    for of in (lambda g: g.boxes.labels, lambda g: g.triplets[:, 2]):
        before, after = (torch.cat([of(g) for g in group]) for group in (graphs, shuffled))
        assert torch.equal(before.sort().values, after.sort().values)
    assert not torch.equal(*(torch.cat([g.boxes.labels for g in group]) for group in (graphs, shuffled)))
    assert all(torch.equal(a.triplets[:, :2], b.triplets[:, :2]) for a, b in zip(graphs, shuffled, strict=True))
    assert objective()._targets(graphs, torch.Generator()) is graphs


def test_the_second_step_on_real_features_has_its_weight_too() -> None:
    weighed = {}
    for weight in (1.0, 0.25):
        logs = step(objective("real", second_weight=weight))
        weighed[weight] = logs["again"]["loss"] / logs["f"]["loss"]
    assert float(weighed[0.25] / weighed[1.0]) == pytest.approx(0.25, rel=0.2)  # the head has moved in between


def test_before_the_start_the_second_step_is_on_real_features() -> None:
    late, real = objective(start_step=2), objective("real")
    for number in range(2):
        step(real, number)
        # the phases of both stand at other positions, but a head without dropout draws nothing
        step(late, number)
    assert same(weights(real.head), weights(late.head))
    step(real, 2)
    step(late, 2)
    assert not same(weights(real.head), weights(late.head))


def test_a_run_repeats_resumes_and_leaves_a_head_that_answers(tmp_path: Path) -> None:
    class Cells(torch.nn.Module):
        def forward(self, images: Tensor) -> Features:
            cells = torch.nn.functional.avg_pool2d(images, 16)
            return Features({16: torch.cat([cells, cells.square()], dim=1)}, images.mean((2, 3)))

    class Pictures(Maps):
        def __getitem__(self, index: int) -> Sample:
            sample = super().__getitem__(index)
            image = torch.rand(3, 32, 40, generator=torch.Generator().manual_seed(index))
            return Sample(image, {"scene_graph": sample.targets["scene_graph"]}, {"id": index})

    write_maps(Cells(), Pictures(), tmp_path / "maps", "train", long_side=160, channels=CHANNELS)
    options = {**SMALL, "perturb": {"name": "graphn", "alpha": 1, "nearest": 2}}
    config = RunConfig(
        data=DataConfig({"town": PartConfig(f"maps:{tmp_path / 'maps'}", batch_size=3)}),
        objective=ObjectiveConfig(name="compositional", options=options),
        optim=OptimConfig(lr=1e-3),
        train=TrainConfig(steps=3, save_every=2, workers=0, threads=1, progress="none"),
        out=str(tmp_path / "run"),
    )
    train_run(config)
    first = (tmp_path / "run" / "last" / "head.safetensors").read_bytes()
    (tmp_path / "run" / "checkpoints").rename(tmp_path / "checkpoints")
    train_run(config)
    assert (tmp_path / "run" / "last" / "head.safetensors").read_bytes() == first
    left = load_compositional(tmp_path / "run" / "last")
    assert left.classes == CLASSES and left.predicates == PREDICATES and left.generator is not None
    with pytest.raises(CheckpointError, match="is no trained scene-graph head"):
        load_compositional(tmp_path)


def test_wrong_input_is_named() -> None:
    with pytest.raises(ConfigError, match="has no option 'pertub'; did you mean 'perturb'"):
        objective(pertub=None)
    with pytest.raises(ConfigError, match="second is 'fake'"):
        objective("fake")
    with pytest.raises(ConfigError, match="'swapped' but perturb is null"):
        objective("swapped", perturb=None)
    with pytest.raises(ConfigError, match="second_weight is -1"):
        objective(second_weight=-1)
    with pytest.raises(ConfigError, match="needs a name, such as scene_graph_map"):
        objective(head={"state": 16})

    class Plain(Maps):
        def __getitem__(self, index: int) -> Sample:
            sample = super().__getitem__(index)
            return Sample(sample.pixels, {"scene_graph": sample.targets["scene_graph"]}, sample.meta)

    with pytest.raises(ConfigError, match="part 'plain' has no feature maps"):
        build_compositional({"plain": Plain()}, 0)
    with pytest.raises(DataError, match="pictures without a feature map"):
        objective("none").phases[0].loss(collate([Plain()[0]], {}, "plain"))
    assert copy.deepcopy(objective("none").config) == objective("none").config


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"head": {"name": "scene_graph", "pixels": False}}, "reads no regions; use scene_graph_map"),
        ({"second": "real", "head": {"name": "scene_graph"}}, "reads finer maps than those of stride 16"),
        ({"generator": {"layer": 2}}, "generator has no option 'layer'; did you mean 'layers'"),
        ({"judges": {"widht": 8}}, "judges has no option 'widht'; did you mean 'width'"),
        ({"second": "real", "loss": {"norm": "dnrm"}}, "norm of the scene-graph loss is 'dnrm'; use one of baseline"),
        ({"d_lr_scale": -0.4}, "d_lr_scale is -0.4; it must be above 0"),
    ],
)
def test_options_of_the_parts_are_checked(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        step(objective(**changes))


@pytest.mark.parametrize("boxes", [0, 1])
def test_a_batch_without_pairs_has_losses_without_them(boxes: int) -> None:
    samples = []
    for sample in (Maps()[i] for i in range(4)):
        graph = sample.targets["scene_graph"]
        few = SceneGraph(graph.boxes.select(torch.arange(boxes)), torch.zeros(0, 3, dtype=torch.int64), PREDICATES)
        samples.append(sample.replace(targets={**sample.targets, "scene_graph": few}))
    shown = collate(samples, {"scene_graph": "scene_graph"}, "maps")
    made = objective()
    made.module.train()
    made.before_step(0)
    for phase in made.phases:
        found = phase.loss(shown)
        assert all(bool(value.isfinite()) for value in found.values())
        assert "edge" not in found and ("node" in found) == (boxes > 0 and phase.name in "gd")
        found["loss"].backward()


def test_a_save_that_is_cut_short_leaves_no_mixed_pair_and_no_old_generator_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(made: CompositionalObjective) -> None:
        made.export(made.module, tmp_path)

    old, new, plain = objective(), objective(), objective("real")
    with torch.no_grad():
        for part in (new.head, new.generator):
            for weight in part.parameters():
                weight.add_(1)
    save(old)

    def killed(*given: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("visgen.gan.folder.json.dumps", killed)
        save(new)
    found = load_compositional(tmp_path)
    assert found.generator is not None
    assert same(weights(old.head), weights(found.head)) and same(weights(old.generator), weights(found.generator))
    kept = (tmp_path / "generator.safetensors").read_bytes()
    save(new)
    (tmp_path / "generator.safetensors").write_bytes(kept)  # as a copy of half a folder would leave it
    with pytest.raises(CheckpointError, match=r"generator\.safetensors' is not what its config\.json names"):
        load_compositional(tmp_path)
    save(plain)
    assert load_compositional(tmp_path).generator is None and not (tmp_path / "generator.safetensors").exists()
    (tmp_path / "generator.safetensors").write_bytes(kept)
    assert load_compositional(tmp_path).generator is None


def test_a_folder_without_hashes_is_still_read(tmp_path: Path) -> None:
    made = objective()
    made.export(made.module, tmp_path)
    about = json.loads((tmp_path / "config.json").read_text())
    del about["sha256"]
    (tmp_path / "config.json").write_text(json.dumps(about))
    found = load_compositional(tmp_path)
    assert found.generator is not None and same(weights(made.generator), weights(found.generator))

"""Each kind of gap goes to the generator that can serve it, and what none can serve is said to be so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from visgen.config import PartConfig, RunConfig, from_mapping, load_run
from visgen.data.town.config import SEMANTIC_CLASSES
from visgen.engine.gaps import GapReport, Offers, Settings, Survey, SurveyedData, ask, run_mapping, write_runs
from visgen.engine.parts import open_part
from visgen.errors import ConfigError
from visgen.gan.compositional import CompositionalConfig
from visgen.metrics.strata import Gap
from visgen.options import build_options
from visgen.task import build_model

TOWN = "town:street?size=32x48&count=12&tasks=segmentation&favour=dog:0.1,car:2"


def gap(kind: str, name: str, verdict: str = "weak", members: tuple[str, ...] = ()) -> Gap:
    return Gap(kind, name, "IoU", 0.1, 0.6, -0.5, -0.6, -0.4, 30, "images", 30, verdict, True, members)


def surveyed(gaps: list[Gap], data: str = TOWN, task: str = "segmentation", head: str = "segmentation.town") -> Survey:
    parts = [PartConfig(source=data, split=s, head=head) for s in ("val", "val", "train")]
    report = GapReport(task, head, "mIoU", 0.5, 60, tuple(gaps), {"metric": {}})
    return Survey("a model", (SurveyedData(data, {}, *parts, report),))


def test_dark_pictures_go_to_the_night_generator() -> None:
    (request,) = ask(surveyed([gap("light", "dark")]), Offers(night="runs/night"))
    assert (request.served_by, request.gaps) == ("night", ("light/dark",))
    assert request.part is not None
    assert request.part.wrap == ({"name": "night", "generator": "runs/night", "p": 1.0, "skip_below": 0.3},)
    (noisy,) = ask(surveyed([gap("light", "dark")]), Offers(night="runs/night", night_options={"grain": [0.03, 0.1]}))
    assert noisy.part is not None and noisy.part.wrap[0]["grain"] == [0.03, 0.1]
    (without,) = ask(surveyed([gap("light", "dark")]), Offers())
    assert without.served_by == "town" and without.part is not None and without.part.options["time"] == "night"


def test_rare_kinds_go_to_the_town_together() -> None:
    (town,) = ask(surveyed([gap("class", "dog"), gap("class", "bus")]), Offers())
    assert (town.served_by, town.gaps) == ("town", ("class/dog", "class/bus"))
    assert town.part is not None and town.part.options["favour"] == {"dog": 20.0, "car": 2.0, "bus": 20.0}
    usual, asked = (open_part(p, "train", "x") for p in (PartConfig(source=TOWN), replace(town.part, head="")))
    assert asked.scene_seed(0) != usual.scene_seed(0)  # type: ignore[attr-defined]


def test_what_nothing_generates_goes_to_the_real_pictures_where_they_can_help() -> None:
    spec = "town:mixed?size=32x48&count=12&tasks=segmentation"
    names = ("window", "floor", "wall")
    few, real = ask(surveyed([gap("class", name) for name in names], spec), Offers())
    assert (few.gaps, few.part) == (("class/window",), None) and "4 of 12" in few.note and "too few" in few.note
    assert (real.served_by, real.gaps) == ("real", ("class/floor", "class/wall"))
    assert real.part is not None
    assert real.part.wrap == ({"name": "holding", "task": "segmentation", "classes": ["floor", "wall"]},)
    assert len(open_part(real.part, "train", "x")) == 8  # every floor has a wall
    (all_of_them,) = ask(surveyed([gap("class", "sidewalk")]), Offers())
    assert all_of_them.part is None and "12 of 12" in all_of_them.note and "change little" in all_of_them.note


def test_sizes_depths_and_compositions_of_the_town() -> None:
    gaps = [gap("size", "small"), gap("size", "large"), gap("depth", "10 to 20 m")]
    small, large, range_ = ask(surveyed(gaps), Offers())
    distances = [r.part.options["distance"] for r in (small, large, range_) if r.part]
    assert distances == [[16.0, 45.0], [2.5, 8.0], [10.0, 20.0]]
    (held,) = ask(surveyed([gap("composition", "zero-shot", members=("dog/on/bench",))]), Offers())
    assert held.part is not None and held.part.options["composition"] == "heldout"
    assert held.part.options["holdout_triplets"] == [["dog", "on", "bench"]]


def test_photographs_have_no_generator_for_some_gaps(tmp_path: Path) -> None:
    spec = f"scene-graph:{tmp_path}"
    composition, depth = ask(
        surveyed([gap("composition", "rare"), gap("depth", "from 40 m")], spec, "scene_graph", "scene_graph.x"),
        Offers(),
    )
    assert (composition.served_by, composition.part) == ("compositional", None)
    write_runs(tmp_path / "g.yaml", surveyed([]), [composition], None)
    run = load_run(tmp_path / "g.compositional.yaml")
    assert run.objective.name == "compositional" and run.objective.options["perturb"]["name"] == "graphn"
    build_options(CompositionalConfig, run.objective.options, "objective.options")
    assert not (tmp_path / "g.yaml").exists()
    assert (depth.served_by, depth.part) == ("", None) and "measured depth" in depth.note
    (none,) = ask(surveyed([gap("class", "cat")], "imagefolder:x", "classification", "c"), Offers(real=False))
    assert none.note == "no generator serves it" and none.part is None


def test_classes_that_a_gan_draws_go_to_it() -> None:
    survey = surveyed([gap("class", "cat"), gap("class", "dog")], "imagefolder:x", "classification", "classification.x")
    request = ask(survey, Offers(gans={"runs/gan": ("cat", "owl")}, real=False))[0]
    assert request.served_by == "gan" and request.gaps == ("class/cat",) and request.part is not None
    assert request.part.wrap[0] == {"name": "gan", "gan": "runs/gan", "classes": ["cat"], "count": 200}


def test_only_weak_gaps_count_and_only_so_many() -> None:
    gaps = [gap("class", "dog"), gap("size", "small"), gap("class", "bus", "few"), gap("light", "dark", "unsure")]
    assert [r.gaps for r in ask(surveyed(gaps), Offers())] == [("class/dog",), ("size/small",)]
    assert [r.gaps for r in ask(surveyed(gaps), Offers(), most=1)] == [("class/dog",)]


def small_model() -> Any:
    torch.manual_seed(0)
    heads = {"segmentation.town": {"task": "segmentation", "classes": SEMANTIC_CLASSES, "loss": {"dice": 0.5}}}
    backbone = {"name": "vit_moe", "width": 16, "depth": 1, "heads": 2, "layout": "dense"}
    return build_model({"backbone": backbone, "heads": heads, "max_side": 40})


def test_the_run_file_says_what_is_asked_for_and_builds_the_same_model(tmp_path: Path) -> None:
    survey = surveyed([gap("class", "dog"), gap("light", "dark")])
    requests = ask(survey, Offers(night="runs/night"))
    run = run_mapping(survey, requests, small_model().config(), "m.safetensors", Settings(steps=40, share=0.3))
    config = from_mapping(RunConfig, run)
    parts = config.data.train
    assert list(parts) == ["segmentation-town", "asked-night-light-dark", "asked-town-class-dog"]
    assert [p.weight for p in parts.values()] == pytest.approx([0.7, 0.15, 0.15])
    assert parts["segmentation-town"].shrink == ({"name": "resize", "size": 40, "max_size": 40},)
    assert config.objective.loss_options == {"segmentation.town": {"dice": 0.5}}
    assert config.model.backbone == "vit_moe" and config.model.weights == "m.safetensors"
    file, control, report = write_runs(tmp_path / "g.yaml", survey, requests, run)
    assert load_run(file) == config and "class/dog: town" in file.read_text()
    without = load_run(control)
    assert list(without.data.train) == ["segmentation-town"] and without.out == "runs/closed-control"
    assert replace(without, data=config.data, out=config.out) == config
    assert '"served_by": "town"' in report.read_text()
    write_runs(file, survey, [], None)  # nothing is asked for any more
    assert report.is_file() and not file.exists() and not control.exists()
    with pytest.raises(ConfigError, match=r"must end in \.yaml"):
        write_runs(tmp_path / "g.json", survey, requests, run)


def test_what_cannot_be_written_is_refused() -> None:
    survey = surveyed([])
    with pytest.raises(ConfigError, match="nothing was asked for"):
        run_mapping(survey, [], small_model().config(), "m")
    with pytest.raises(ConfigError, match=r"asked for is 1\.0"):
        Settings(share=1.0)


def test_a_head_keeps_the_router_that_it_takes() -> None:
    config = small_model().config()
    config["heads"] = {"segmentation.town": {**config["heads"]["segmentation.town"], "route": "depth"}}
    survey = surveyed([gap("class", "dog")])
    run = from_mapping(RunConfig, run_mapping(survey, ask(survey, Offers()), config, "m"), "run")
    assert run.model.heads["segmentation.town"].route == "depth"

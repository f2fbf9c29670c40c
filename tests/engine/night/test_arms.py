"""Generators held to edges or not, shifted pictures, and what a table of arms says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from visgen.config import RunConfig, load_run
from visgen.engine.night import (
    ARMS,
    choose_arms,
    compare_arms,
    match_histograms,
    night_generators,
    shift_pictures,
)
from visgen.engine.run import train_run
from visgen.errors import ConfigError, VisgenError
from visgen.shipped import shipped_path

STREETS = "town:night_town?size=64,96&count=3&time="


def tiny_generator() -> RunConfig:
    source = f"unpaired-sources:{STREETS}day&seed=21 | {STREETS}night&seed=22"
    words = [
        "train.steps=2",
        "train.save_every=0",
        f"data.train.street.source={source}",
        "data.train.street.batch_size=2",
        "objective.options.translator={name: relight, channels: 4, blocks: 0}",
        "objective.options.discriminator={channels: 4, steps: 1}",
    ]
    return load_run(shipped_path("configs/night/street_generator.yaml"), words)


def test_two_generators_differ_in_their_edge_term_alone(tmp_path: Path) -> None:
    found = night_generators(tiny_generator(), tmp_path)
    assert set(found) == {"edges", "free"}
    assert found["edges"].sha256 != found["free"].sha256
    again = night_generators(tiny_generator(), tmp_path)  # nothing is trained twice
    assert again["edges"].sha256 == found["edges"].sha256
    texts = [(tmp_path / f"generator-{n}" / "config.yaml").read_text(encoding="utf-8") for n in ("edges", "free")]
    changed = [(a, b) for a, b in zip(*(t.splitlines() for t in texts), strict=True) if a != b]
    assert [a.strip().split(":")[0] for a, _ in changed] == ["edge_weight", "out"]


def test_a_generator_that_no_arm_shows_is_not_trained_and_one_of_another_seed_is_refused(tmp_path: Path) -> None:
    assert not night_generators(tiny_generator(), tmp_path, arms=[ARMS["A0"], ARMS["A4"]])
    assert set(night_generators(tiny_generator(), tmp_path, arms=[ARMS["A1"], ARMS["A8"]])) == {"edges"}
    assert not (tmp_path / "generator-free").exists()
    with pytest.raises(ConfigError, match=r"generator-edges was trained by another configuration"):
        night_generators(replace(tiny_generator(), seed=5), tmp_path)


def test_a_training_that_was_cut_short_is_finished_before_its_generator_is_used(tmp_path: Path) -> None:
    config, held = tiny_generator(), [ARMS["A5"]]
    config = replace(
        config, objective=replace(config.objective, options={**config.objective.options, "edge_weight": 5.0})
    )
    short = replace(config, train=replace(config.train, time_limit=1e-9), out=str(tmp_path / "generator-edges"))
    assert not train_run(short).finished
    assert (tmp_path / "generator-edges" / "last" / "config.json").is_file()
    with pytest.raises(ConfigError, match=r"generator-edges was trained by another configuration"):
        night_generators(replace(config, seed=5), tmp_path, arms=held)
    found = night_generators(config, tmp_path, arms=held)["edges"]
    whole = night_generators(config, tmp_path / "whole", arms=held)["edges"]
    assert found.sha256 == whole.sha256


def test_a_run_without_edges_is_refused(tmp_path: Path) -> None:
    config = tiny_generator()
    options = {**config.objective.options, "edge_weight": 0.0}
    with pytest.raises(ConfigError, match=r"edge_weight 0.0; it must be 'night' with a weight above 0"):
        night_generators(replace(config, objective=replace(config.objective, options=options)), tmp_path)


def test_shifted_pictures_lie_beside_their_labels() -> None:
    pictures = torch.arange(12, dtype=torch.uint8).view(1, 1, 1, 12).expand(1, 3, 2, 12)
    assert shift_pictures(pictures, 8)[0, 0, 0].tolist() == [0] * 8 + [0, 1, 2, 3]
    for pixels in (0, -3, 12):
        with pytest.raises(ConfigError, match=f"a shift of {pixels} pixels leaves no control in pictures 12 wide"):
            shift_pictures(pictures, pixels)


def test_histograms_are_matched_by_rank() -> None:
    picture = torch.tensor([[10, 20], [30, 40]], dtype=torch.uint8).expand(1, 3, 2, 2)
    other = torch.tensor([[[7, 5, 9, 200]], [[1, 1, 1, 1]], [[0, 255, 0, 255]]], dtype=torch.uint8)[None]
    found = match_histograms(picture, other)[0]
    assert found[0].tolist() == [[5, 7], [9, 200]]
    assert found[1].tolist() == [[1, 1], [1, 1]]
    assert found[2].tolist() == [[0, 0], [255, 255]]
    random = torch.Generator().manual_seed(0)
    many = torch.randint(0, 256, (3, 3, 8, 8), generator=random, dtype=torch.uint8)
    assert torch.equal(match_histograms(many, many), many)
    like, wanted = (x.flatten(1).float().sort(1)[0] for x in (match_histograms(many, many[:1])[2], many[0]))
    assert float((like - wanted).abs().mean()) < 1  # up to levels that several pixels share


def test_arms_are_chosen_by_name() -> None:
    assert list(choose_arms(["A5", "A0"])) == ["A5", "A0"] and choose_arms(["A0"])["A0"] is ARMS["A0"]
    with pytest.raises(VisgenError, match="arm 'A7' is not known"):
        choose_arms(["A7"])


def test_a_table_of_arms_turns_errors_round() -> None:
    def flat(value: float) -> torch.Tensor:
        noise = 0.001 * torch.randn(2, 10, 1, generator=torch.Generator().manual_seed(0))
        return value + noise

    night = {"A1": flat(0.5), "A2": flat(0.4), "A5": flat(0.3), "A6": flat(0.35), "A8": flat(0.6), "A9": flat(0.1)}
    day = {arm: flat(0.1) for arm in night}
    errors = compare_arms(night, day, lower_is_better=True, draws=50)
    assert errors["claim"]["allowed"] and errors["claim"]["gap_closed"] == pytest.approx(0.5)
    assert errors["edge_term"]["difference"] == pytest.approx(0.05, abs=1e-6)
    assert errors["control"]["difference"] == pytest.approx(-0.3, abs=1e-6)
    assert errors["arms"]["A5"]["night"]["mean"] == pytest.approx(0.3, abs=0.01)
    assert not compare_arms(night, day, draws=50)["claim"]["allowed"]
    night["A4"] = flat(0.25)  # a rival that is better than A5 takes the claim away
    beaten = compare_arms(night, day | {"A4": flat(0.1)}, lower_is_better=True, draws=50)["claim"]
    assert not beaten["allowed"] and beaten["best_rival"] == "A4"
    few = compare_arms({"A0": flat(0.2), "A1": flat(0.3)}, {"A0": flat(0.2), "A1": flat(0.3)}, draws=50)
    assert set(few) == {"arms"}

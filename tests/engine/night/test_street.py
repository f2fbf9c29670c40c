"""A study on streets trains each arm once, on the pictures that its name says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from visgen.config import load_run
from visgen.engine.night import ARMS, StreetStudy, gather_measures, street_sets
from visgen.errors import ConfigError
from visgen.experts.prefix_cache import PrefixCache
from visgen.gan.night import NightGenerator
from visgen.shipped import shipped_path


class Dim(nn.Module):
    """A translator that halves what it is given, in [-1, 1]."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x + 1) / 2 - 1


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StreetStudy:
    words = ["train.steps=2", "optim.warmup_steps=0", "data.train.street.batch_size=2", "model.options.weights=null"]
    words += ["model.heads.depth={options: {width: 8, fine_width: 8}}"]
    config = load_run(shipped_path("configs/night/street.yaml"), words, ".")
    sets = street_sets((64, 96), (4, 2, 2))
    generators = {name: NightGenerator(Dim()) for name in ("edges", "free")}
    out = tmp_path_factory.mktemp("street")
    return StreetStudy(config, sets, generators, out, PrefixCache(2**26).attach)


def test_the_sets_share_no_scene_and_day_and_night_of_a_set_do(study: StreetStudy) -> None:
    seeds = {name: {s.meta["seed"] for s in part} for name, part in study.sets.items()}
    assert seeds["A day"] == seeds["A night"] and not seeds["A day"] & seeds["B night"]
    assert not seeds["A day"] & seeds["C"] and not seeds["C"] & seeds["V"] and not seeds["A day"] & seeds["V"]
    times = [s.meta["time"] for s in study.sets["C"]]
    assert times == ["day", "night"] * 2
    assert torch.equal(study.sets["C"][0].targets["depth"].metres, study.sets["C"][1].targets["depth"].metres)


def test_each_arm_replaces_by_what_its_name_says(study: StreetStudy) -> None:
    day = study.sets["A day"][0]
    name = str(day.meta["id"])

    def replaced(arm: str) -> torch.Tensor:
        (step,) = study._night(ARMS[arm])
        return step.pictures[name].float()

    assert study._night(ARMS["A0"]) == study._night(ARMS["A1"]) == []
    torch.testing.assert_close(replaced("A5"), day.pixels.float() / 2, atol=1.0, rtol=0)
    assert torch.equal(replaced("A8")[..., 8:], replaced("A5")[..., :-8])
    assert torch.equal(replaced("A9"), study.sets["A night"][0].pixels.float())
    assert replaced("A4").mean() < day.pixels.float().mean() and study._night(ARMS["A3"]) == []
    assert replaced("A2").mean() < day.pixels.float().mean()


def test_a_run_is_measured_and_not_trained_twice(study: StreetStudy) -> None:
    first = study.run("A1", ARMS["A1"], 0)
    assert set(first) == {f"C {t}/{k}" for t in ("day", "night") for k in ("iou", "absrel")}
    assert first["C night/iou"].shape[0] == 2 and first["C night/absrel"].shape == (2,)
    assert torch.equal(first["C day/iou"].isnan(), first["C night/iou"].isnan())
    file = study.out / "A1-0" / "measures.safetensors"
    stamp = file.stat().st_mtime_ns
    study.run("A1", ARMS["A1"], 0)
    assert file.stat().st_mtime_ns == stamp
    values = gather_measures({"A1": {0: first}}, "C night/absrel")["A1"]
    assert values.shape == (1, 2, 1)


def test_measures_of_other_settings_are_not_taken_for_these(study: StreetStudy) -> None:
    before = study.run("A0", ARMS["A0"], 7)
    assert all(
        torch.equal(study.run("A0", ARMS["A0"], 7)[key].nan_to_num(), x.nan_to_num()) for key, x in before.items()
    )
    with pytest.raises(ConfigError, match=r"'share': '0.25'.*'share': '0.1'.*use another `out`"):
        replace(study, share=0.1).run("A0", ARMS["A0"], 7)


def test_measures_are_written_whole_or_not_at_all(study: StreetStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visgen.engine.night.street.write_atomically", lambda path, data: path)
    with pytest.raises(FileNotFoundError):  # nothing else writes them
        study.run("A0", ARMS["A0"], 5)

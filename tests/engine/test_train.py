"""What the trainer promises besides exact resume: skipped steps, stops, absent heads, phases, logs."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from visgen.config import OptimConfig, TrainConfig
from visgen.engine import Diverged, Trainer, load_checkpoint, load_newest
from visgen.engine.checkpoint import list_checkpoints
from visgen.engine.log import read_csv
from visgen.errors import CheckpointError, ConfigError, DataError
from visgen.task.objective import Phase


def state_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: t.clone() for name, t in trainer.objective.module.state_dict().items()}


def test_the_log_has_a_row_per_step_with_the_promised_columns(tmp_path: Path, toy: ModuleType) -> None:
    summary = toy.make_trainer(tmp_path).fit()
    rows = read_csv(tmp_path / "log.csv")
    assert [int(r["step"]) for r in rows] == list(range(1, 13))
    assert set(rows[0]) == {"step", "loss", "loss/a", "loss/b", "grad_norm", "lr", "seconds", "wait", "skipped"}
    for row in rows:  # both heads in every step, so the loss is the mean of theirs
        assert float(row["loss"]) == pytest.approx((float(row["loss/a"]) + float(row["loss/b"])) / 2, rel=1e-6)
    assert [r["step"] for r in read_csv(tmp_path / "metrics.csv")] == ["4", "8", "12"]
    assert summary.finished and summary.reason == "all steps" and summary.skipped == 0
    assert summary.metrics == {"val/top1": float(read_csv(tmp_path / "metrics.csv")[-1]["val/top1"])}


def test_notes_of_an_objective_stand_in_the_row_and_are_told(
    tmp_path: Path, toy: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = toy.make_trainer(tmp_path, steps=4, progress="lines")
    trainer.objective.notes = lambda: ({"routing/a/dead": 2}, "dead experts: a: 0, 3")
    summary = trainer.fit()
    assert [row["routing/a/dead"] for row in read_csv(tmp_path / "metrics.csv")] == ["2"]
    assert list(summary.metrics) == ["val/top1"]
    assert "step 4: dead experts: a: 0, 3" in capsys.readouterr().err


def test_training_learns(tmp_path: Path, toy: ModuleType) -> None:
    trainer = toy.make_trainer(tmp_path, steps=80, dropout=0.0, optim=OptimConfig(lr=0.04), save_every=0, eval_every=0)
    trainer.fit()
    losses = [float(r["loss"]) for r in read_csv(tmp_path / "log.csv")]
    assert sum(losses[-20:]) < 0.9 * sum(losses[:20])


def test_a_non_finite_step_changes_nothing_and_is_counted(tmp_path: Path, toy: ModuleType) -> None:
    good = toy.make_trainer(tmp_path / "good", steps=3, accumulate=1, eval_every=0)
    good.fit()
    # The fourth step is NaN everywhere, batch-norm statistics included.
    bad = toy.make_trainer(
        tmp_path / "bad",
        steps=4,
        accumulate=1,
        eval_every=0,
        mixture=toy.ToyMixture(bad_steps=(3,)),
        optim=OptimConfig(lr=1e-2, schedule="constant"),
    )
    same = toy.make_trainer(
        tmp_path / "same", steps=3, accumulate=1, eval_every=0, optim=OptimConfig(lr=1e-2, schedule="constant")
    )
    same.fit()
    summary = bad.fit()
    assert summary.skipped == 1
    ours, theirs = state_of(bad), state_of(same)
    assert all(torch.isfinite(t).all() for t in ours.values())
    assert all(t.equal(theirs[name]) for name, t in ours.items())
    assert bad.objective.applied == [0, 1, 2]
    assert bad.average.updates == 3
    row = read_csv(tmp_path / "bad" / "log.csv")[-1]
    assert row["loss"] == "nan" and row["skipped"] == "1"


def test_an_infinite_gradient_of_a_finite_loss_is_skipped_too(tmp_path: Path, toy: ModuleType) -> None:
    trainer = toy.make_trainer(tmp_path, steps=1, evaluators={})
    weight = trainer.objective.module.heads["a"].weight
    weight.register_hook(lambda gradient: gradient * float("inf"))
    before = state_of(trainer)
    assert trainer.fit().skipped == 1
    assert all(t.equal(before[name]) for name, t in state_of(trainer).items())
    (row,) = read_csv(tmp_path / "log.csv")
    assert float(row["loss"]) < 10 and row["grad_norm"] in ("inf", "nan")


def test_too_many_bad_steps_in_a_row_stop_the_run(tmp_path: Path, toy: ModuleType) -> None:
    mixture = toy.ToyMixture(bad_steps=(2, *range(4, 20)))
    trainer = toy.make_trainer(tmp_path, steps=20, accumulate=1, max_skipped=3, save_every=2, mixture=mixture)
    with pytest.raises(Diverged, match="3 steps in a row up to step 7 were not finite .*Lower optim.lr"):
        trainer.fit()
    checkpoint = load_newest(tmp_path / "checkpoints")
    assert checkpoint is not None and all(torch.isfinite(t).all() for t in checkpoint.tensors["model"].values())


def test_a_head_without_batches_does_not_move(tmp_path: Path, toy: ModuleType) -> None:
    """Neither weight decay nor momentum may touch parameters that got no gradient."""

    class OnlyA(toy.ToyMixture):
        def batches(self, step: int, rank: int = 0) -> list:
            return super().batches(2 * step, rank)  # even steps draw head "a"

    trainer = toy.make_trainer(tmp_path, steps=6, accumulate=1, mixture=OnlyA(), optim=OptimConfig(weight_decay=0.5))
    before = state_of(trainer)
    trainer.fit()
    after = state_of(trainer)
    assert after["heads.b.weight"].equal(before["heads.b.weight"])
    assert after["heads.b.bias"].equal(before["heads.b.bias"])
    assert not after["heads.a.weight"].equal(before["heads.a.weight"])
    saved = load_newest(tmp_path / "checkpoints").tensors["optim.main"]
    assert any(name.startswith("heads.a.") for name in saved) and not any("heads.b" in name for name in saved)


def test_a_head_that_rests_keeps_its_weights_for_those_steps(tmp_path: Path, toy: ModuleType) -> None:
    """With momentum at hand from step 1, the head must still rest in a step that does not draw it."""
    moved = []
    trainer = toy.make_trainer(
        tmp_path,
        steps=6,
        accumulate=1,
        save_every=0,
        eval_every=1,
        evaluators={
            "probe": lambda m, limit=None: (
                moved.append(trainer.objective.module.heads["b"].weight.detach().clone()) or {"x": 0.0}
            )
        },
    )
    trainer.fit()
    changes = [not a.equal(b) for a, b in zip(moved, moved[1:], strict=False)]
    assert changes == [True, False, True, False, True]  # steps 2, 4, 6 draw "b"


def test_accumulation_equals_one_large_batch(tmp_path: Path, toy: ModuleType) -> None:
    class Halves:
        def __init__(self, whole: bool) -> None:
            self.whole = whole

        def batches(self, step: int, rank: int = 0) -> list:
            base = step if self.whole else step // 2
            full = toy.ToyMixture().batches(2 * base)[0]
            if self.whole:
                return [full]
            part = slice(0, 2) if step % 2 == 0 else slice(2, 4)
            return [toy.ToyBatch(full.images[part], full.labels[part], full.heads)]

        state_dict = dict

        def load_state_dict(self, state: dict) -> None: ...

    nets = []
    for whole in (True, False):
        torch.manual_seed(0)
        net = toy.ToyNet(dropout=0.0)
        net.trunk[1] = nn.Identity()  # batch norm sees its own half only
        train = TrainConfig(steps=4, accumulate=1 if whole else 2, workers=0, device="cpu", threads=1)
        Trainer(toy.ToyObjective(net), Halves(whole), OptimConfig(lr=1e-2), train, tmp_path / str(whole)).fit()
        nets.append(net)
    for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_normalising_per_head_weighs_a_rare_head_as_much_as_a_frequent_one(tmp_path: Path, toy: ModuleType) -> None:
    class Three(toy.ToyMixture):
        def batches(self, step: int, rank: int = 0) -> list:
            return [self._batch(0, 0), self._batch(2, 0), self._batch(1, 0)]  # a, a, b

    losses = {}
    for mode in ("batches", "heads"):
        trainer = toy.make_trainer(tmp_path / mode, steps=1, accumulate=1, mixture=Three(), normalise=mode, dropout=0.0)
        trainer.fit()
        (row,) = read_csv(tmp_path / mode / "log.csv")
        losses[mode] = (float(row["loss"]), float(row["loss/a"]), float(row["loss/b"]))
    total, a, b = losses["batches"]
    assert total == pytest.approx((2 * a + b) / 3, rel=1e-5)
    total, a, b = losses["heads"]
    assert total == pytest.approx(a + b, rel=1e-5)


def test_two_phases_each_step_their_own_parameters(tmp_path: Path, toy: ModuleType) -> None:
    class TwoPlayers:
        """A generator of one number and a critic of one weight; the critic plays every second step."""

        def __init__(self) -> None:
            self.module = nn.ModuleDict({"g": nn.Linear(1, 1, bias=False), "d": nn.Linear(1, 1, bias=False)})
            for layer in self.module.values():
                nn.init.ones_(layer.weight)
            self.phases = (
                Phase("critic", [{"params": self.module["d"].parameters()}], self._critic, every=2),
                Phase("maker", [{"params": self.module["g"].parameters()}], self._maker),
            )
            self.log: list = []

        def _score(self):
            return self.module["d"](self.module["g"](torch.ones(1, 1))).sum()

        def _critic(self, batch):
            return {"loss": self._score(), "score": self._score().detach()}

        def _maker(self, batch):
            return {"loss": -self._score()}

        def before_step(self, step: int) -> None:
            self.log.append([layer.weight.item() for layer in self.module.values()])

        def after_step(self, step: int) -> None: ...

    objective = TwoPlayers()
    train = TrainConfig(steps=3, workers=0, device="cpu", threads=1)
    optim = OptimConfig(lr=0.1, weight_decay=0.0, schedule="constant")
    Trainer(objective, toy.ToyMixture(), optim, train, tmp_path).fit()
    g, d = zip(*objective.log, [layer.weight.item() for layer in objective.module.values()], strict=True)
    # Adam's first steps have size lr: the maker climbs each step, the critic falls at steps 0 and 2 only.
    assert g == pytest.approx([1.0, 1.1, 1.2, 1.3], abs=2e-3)
    assert d == pytest.approx([1.0, 0.9, 0.9, 0.8], abs=2e-3)
    rows = read_csv(tmp_path / "log.csv")
    assert float(rows[0]["critic/loss"]) == 1.0 and float(rows[0]["maker/loss"]) == pytest.approx(-0.9)
    assert rows[1]["critic/loss"] == "" and rows[0]["critic/score"] == "1.0"
    assert set(load_newest(tmp_path / "checkpoints").tensors) == {"model", "optim.critic", "optim.maker"}


def values(*numbers: float):
    numbers = iter(numbers)
    return {"val": lambda module, limit=None: {"m": next(numbers)}}


@pytest.mark.parametrize(("mode", "best"), [("max", (2, 0.8)), ("min", (5, 0.1))])
def test_the_best_weights_are_those_of_the_best_evaluation(
    tmp_path: Path, mode: str, best: tuple, toy: ModuleType
) -> None:
    kept = {}
    trainer = toy.make_trainer(
        tmp_path,
        steps=6,
        eval_every=1,
        evaluators=values(0.5, 0.8, float("nan"), 0.8, 0.1, 0.3),
        best_metric="val/m",
        best_mode=mode,
    )
    trainer.export = lambda module, path: kept.update({path.name: trainer.state.step})
    summary = trainer.fit()
    assert summary.best == {"step": best[0], "metric": "val/m", "value": best[1]}
    assert kept == {"best": best[0], "last": 6}


def test_early_stop_after_evaluations_without_progress(tmp_path: Path, toy: ModuleType) -> None:
    trainer = toy.make_trainer(
        tmp_path, steps=50, eval_every=2, evaluators=values(0.5, 0.6, 0.6, 0.4, 0.9), best_metric="val/m", patience=2
    )
    summary = trainer.fit()
    assert summary.reason == "early stop" and summary.finished and summary.steps == 8
    again = toy.make_trainer(tmp_path, steps=50, eval_every=2, evaluators=values(), best_metric="val/m", patience=2)
    assert again.fit(resume=True).steps == 8  # stays stopped


def test_a_metric_that_no_evaluation_gives_is_named(tmp_path: Path, toy: ModuleType) -> None:
    with pytest.raises(ConfigError, match="best_metric is 'val/mIoU' but the evaluation gave val/top1"):
        toy.make_trainer(tmp_path, best_metric="val/mIoU").fit()
    dry = toy.make_trainer(tmp_path / "dry", best_metric="val/IoU/rare")
    dry.evaluation_limit = 2  # a dry run may see no picture of that class
    assert dry.fit().finished


def test_an_evaluation_that_fails_loses_no_step(tmp_path: Path, toy: ModuleType) -> None:
    def broken(module: object, limit: int | None = None) -> dict[str, float]:
        raise DataError("picture 7 cannot be read")

    with pytest.raises(DataError, match="picture 7"):
        toy.make_trainer(tmp_path, steps=5, evaluators={"val": broken}).fit()
    again = toy.make_trainer(tmp_path, steps=5, evaluators=values(0.5))
    summary = again.fit(resume=True)
    assert summary.finished and summary.steps == 5 and summary.metrics == {"val/m": 0.5}
    assert len(read_csv(tmp_path / "log.csv")) > 0


def test_a_time_limit_that_ends_with_the_last_step_stops_nothing(tmp_path: Path, toy: ModuleType) -> None:
    summary = toy.make_trainer(tmp_path, steps=1, time_limit=1e-9, evaluators=values(0.5)).fit()
    assert summary.reason == "all steps" and summary.finished
    assert summary.metrics == {"val/m": 0.5}


def test_the_time_limit_saves_and_can_be_resumed(tmp_path: Path, toy: ModuleType) -> None:
    summary = toy.make_trainer(tmp_path, time_limit=1e-9).fit()
    assert summary.reason == "time limit" and not summary.finished and summary.steps == 1
    assert list_checkpoints(tmp_path / "checkpoints")[0][0] == 1
    assert toy.make_trainer(tmp_path).fit(resume=True).steps == 12


def test_a_folder_with_a_run_is_not_overwritten(tmp_path: Path, toy: ModuleType) -> None:
    toy.make_trainer(tmp_path).fit()
    log = (tmp_path / "log.csv").read_bytes()
    with pytest.raises(ConfigError, match="already holds the checkpoints of a run; resume it"):
        toy.make_trainer(tmp_path).fit()
    assert (tmp_path / "log.csv").read_bytes() == log


def test_resume_of_nothing_starts_at_the_beginning_and_of_a_finished_run_ends(tmp_path: Path, toy: ModuleType) -> None:
    assert toy.make_trainer(tmp_path).fit(resume=True).steps == 12
    log = (tmp_path / "log.csv").read_bytes()
    assert toy.make_trainer(tmp_path).fit(resume=True).reason == "all steps"
    assert (tmp_path / "log.csv").read_bytes() == log


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path, toy: ModuleType) -> None:
    toy.make_trainer(tmp_path).fit()
    with pytest.raises(CheckpointError, match="holds .*'ema'.* but this run needs .*'model', 'optim.main'"):
        toy.make_trainer(tmp_path, ema_decay=None).fit(resume=True)
    with pytest.raises(ValueError, match="mixture differs"):
        toy.make_trainer(tmp_path, mixture=toy.ToyMixture(seed=1)).fit(resume=True)
    other = toy.make_trainer(tmp_path)
    other.objective.module.heads["a"] = nn.Linear(32, 3)
    with pytest.raises(CheckpointError, match="does not fit the model: .*heads.a.weight"):
        other.fit(resume=True)


def test_a_save_that_fails_in_mid_run_warns_and_the_last_one_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toy: ModuleType
) -> None:
    from visgen.engine import checkpoint

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    trainer = toy.make_trainer(tmp_path, steps=4, save_every=3)
    monkeypatch.setattr(checkpoint, "save_file", full)
    with (
        pytest.warns(UserWarning, match="No space left on device.*Training goes on"),
        pytest.raises(CheckpointError, match="step-000000004' could not be written"),
    ):
        trainer.fit()
    assert len(read_csv(tmp_path / "log.csv")) == 4


def test_fit_leaves_the_generator_and_threads_of_the_caller_alone(tmp_path: Path, toy: ModuleType) -> None:
    trainer = toy.make_trainer(tmp_path, threads=1)
    torch.manual_seed(123)
    expected, threads = torch.rand(3), torch.get_num_threads()
    torch.manual_seed(123)
    trainer.fit()
    assert torch.rand(3).equal(expected) and torch.get_num_threads() == threads


def test_bfloat16_trains_and_stays_near_float32(tmp_path: Path, toy: ModuleType) -> None:
    losses = {}
    for precision in ("fp32", "bf16"):
        toy.make_trainer(tmp_path / precision, precision=precision, dropout=0.0).fit()
        losses[precision] = [float(r["loss"]) for r in read_csv(tmp_path / precision / "log.csv")]
    assert losses["fp32"] != losses["bf16"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.05)


def test_the_saved_average_is_what_was_evaluated(tmp_path: Path, toy: ModuleType) -> None:
    from safetensors.torch import load_file

    seen = []
    trainer = toy.make_trainer(
        tmp_path,
        steps=3,
        evaluators={"val": lambda m, limit=None: seen.append(copy.deepcopy(m.state_dict())) or {"m": 0.0}},
    )
    trainer.fit()
    last = load_file(tmp_path / "last.safetensors")
    assert all(last[name].equal(t) for name, t in seen[-1].items())
    path = list_checkpoints(tmp_path / "checkpoints")[0][1]
    assert all(load_checkpoint(path).tensors["ema"][name].equal(t) for name, t in last.items())
    assert not last["heads.a.weight"].equal(trainer.objective.module.heads["a"].weight)


@pytest.mark.parametrize("returned", [{"total": torch.zeros(())}, {"loss": torch.zeros(2)}])
def test_a_loss_that_is_not_a_scalar_is_named(tmp_path: Path, returned: dict, toy: ModuleType) -> None:
    trainer = toy.make_trainer(tmp_path)
    object.__setattr__(trainer.phases[0].phase, "loss", lambda batch: returned)
    with pytest.raises(ConfigError, match=r"phase 'main' returned (keys \['total'\]|a loss of shape \(2,\)); it must"):
        trainer.fit()


def test_a_row_is_the_mean_of_the_steps_since_the_last_one(tmp_path: Path, toy: ModuleType) -> None:
    settings = {"steps": 7, "accumulate": 1, "eval_every": 0}
    toy.make_trainer(tmp_path / "each", **settings).fit()
    toy.make_trainer(tmp_path / "third", log_every=3, **settings).fit()
    # Stopped at step 1, between two rows: the resumed run still knows the first step.
    toy.make_trainer(tmp_path / "resumed", log_every=3, time_limit=1e-9, **settings).fit()
    toy.make_trainer(tmp_path / "resumed", log_every=3, **settings).fit(resume=True)
    each, third, resumed = (read_csv(tmp_path / name / "log.csv") for name in ("each", "third", "resumed"))
    assert [r["step"] for r in third] == ["3", "6", "7"]
    for row, steps in zip(third, (each[:3], each[3:6], each[6:]), strict=True):
        for name in ("loss", "loss/a", "loss/b", "grad_norm"):
            found = [float(r[name]) for r in steps if r[name]]
            expected = pytest.approx(sum(found) / len(found), rel=1e-12) if found else None
            assert (float(row[name]) if row[name] else None) == expected
        assert row["lr"] == steps[-1]["lr"]
    assert [r["loss"] for r in third] == [r["loss"] for r in resumed]


def test_a_phase_may_step_the_optimiser_of_an_earlier_one(tmp_path: Path, toy: ModuleType) -> None:
    def shared(**changes: Any) -> Any:
        torch.manual_seed(0)
        objective = toy.ToyObjective(toy.ToyNet())
        main = replace(objective.phases[0], parameters=lambda: [{**g, "beta_power": 0.5} for g in objective._groups()])
        objective.phases = (main, replace(main, name="extra", parameters=[], every=2, **{"shares": "main", **changes}))
        train = TrainConfig(steps=4, workers=0, threads=1, device="cpu", progress="none")
        return Trainer(objective, toy.ToyMixture(), OptimConfig(betas=(0.81, 0.64)), train, tmp_path / "run")

    trainer = shared()
    main, extra = trainer.phases
    assert extra.optimiser is main.optimiser and main.optimiser.param_groups[0]["betas"] == pytest.approx((0.9, 0.8))
    trainer.fit()
    steps = {int(s["step"]) for s in main.optimiser.state.values()}
    assert max(steps) == 4 + 2, "two extra steps with the same moments"
    checkpoint = load_newest(tmp_path / "run" / "checkpoints")
    assert checkpoint is not None and set(checkpoint.tensors) == {"model", "optim.main"}
    with pytest.raises(ConfigError, match="shares the optimiser of 'later', .* name one of main"):
        shared(shares="later")

"""The training loop: steps, logs, evaluations, checkpoints and exact resume for any objective."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from ..config import OptimConfig, TrainConfig
from ..errors import CheckpointError, ConfigError, VisgenError
from ..task.objective import Objective
from .checkpoint import (
    Checkpoint,
    clean_temporary,
    list_checkpoints,
    load_newest,
    optimiser_scalars,
    optimiser_tensors,
    refuse_used,
    restore_optimiser,
    save_checkpoint,
    save_tensors,
)
from .distributed import Workers
from .ema import MovingAverage
from .interrupt import TIME_LIMIT, StopRequest
from .log import CsvLog, Progress, TensorBoardLog
from .optim import learning_rate_factor
from .prefetch import BatchStream, prefetch
from .state import RunState, RunSummary
from .step import PhaseStep, StepResult, step_seed

__all__ = ["Diverged", "Evaluator", "RunSummary", "Trainer", "export_state"]


class Diverged(VisgenError):
    """Too many steps in a row had a loss or gradient that is not finite."""


class Evaluator(Protocol):
    """Measures a module on held-out data."""

    def __call__(self, module: nn.Module, limit: int | None = None) -> Mapping[str, float]:
        """Give metric name to value; `limit` cuts the number of samples for a dry run."""


class Trainer:
    """Train an objective on a mixture.

    The folder `out` gets `log.csv` (a row per step: the losses, and the norm of the whole gradient, since one for each
    task would cost a backward pass for each), `metrics.csv` (a row per evaluation: figures of the evaluators, and the
    `notes` of the objective, such as those of MultiTaskObjective on its experts), `checkpoints/step-N` and, through
    `export`, the weights `last` and `best`. On one device and build, with `train.threads` fixed, a run that
    was killed and resumed has the same numbers, bit for bit, as one that was not.

    Args:
        objective: Module, phases and hooks.
        mixture: Batches as a pure function of (step, rank); each batch may offer `.to(device)` and `.heads`.
        optim, train: Settings.
        out: Folder of the run.
        seed: Of everything random inside a step.
        evaluators: Name to a function that measures the module (its average, when there is one).
        export: Writes a module's weights under a path without suffix; the default writes a safetensors state dict.
        evaluation_limit: Samples per evaluator; None for all.
        opened: Called on the main process once the folder was taken and its checkpoint fits, before the first step.
    """

    def __init__(
        self,
        objective: Objective,
        mixture: BatchStream,
        optim: OptimConfig,
        train: TrainConfig,
        out: str | Path,
        *,
        seed: int = 0,
        evaluators: Mapping[str, Evaluator] | None = None,
        export: Callable[[nn.Module, Path], object] | None = None,
        evaluation_limit: int | None = None,
        workers: Workers | None = None,
        opened: Callable[[], object] | None = None,
    ) -> None:
        self.opened = opened
        self.objective, self.mixture, self.config, self.optim = objective, mixture, train, optim
        self.out, self.seed = Path(out), seed
        self.evaluators = dict(evaluators or {})
        self.export = export or export_state
        self.evaluation_limit = evaluation_limit
        self.workers = workers or Workers(train.device)
        self.state = RunState()
        module = objective.module.to(self.workers.device)
        self.workers.copy_module(module)
        if len({phase.name for phase in objective.phases}) != len(objective.phases) or not objective.phases:
            names = [phase.name for phase in objective.phases]
            raise ConfigError(f"the objective's phases are called {names}; give at least one, each its own name.")
        self.phases: list[PhaseStep] = []
        for phase in objective.phases:
            owner = next((p for p in self.phases if p.phase.name == phase.shares and p.phase.shares is None), None)
            if phase.shares is not None and owner is None:
                raise ConfigError(
                    f"phase '{phase.name}' shares the optimiser of '{phase.shares}', which is no earlier phase "
                    f"with one of its own; name one of {', '.join(p.phase.name for p in self.phases) or 'none yet'}."
                )
            shared = None if owner is None else owner.optimiser
            self.phases.append(PhaseStep(phase, module, optim, train, self.workers, shared))
        self.average = None if train.ema_decay is None else MovingAverage(module, train.ema_decay, train.ema_warmup)

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.out / "checkpoints"

    @property
    def module(self) -> nn.Module:
        """What evaluations and exports use: the averaged weights when there are, else the module itself."""
        return self.objective.module if self.average is None else self.average.module

    def fit(self, resume: bool = False) -> RunSummary:
        """Train until all steps are done or a reason to stop comes up.

        Args:
            resume: Go on from the newest whole checkpoint in `out`; without one, start at step 0.
        Raises:
            ConfigError: `out` holds checkpoints and `resume` is false, or the mixture is not the checkpoint's.
            CheckpointError: The checkpoint does not fit the objective, or the last save failed.
            Diverged: `train.max_skipped` steps in a row were not finite.
        """
        threads = torch.get_num_threads()
        if self.config.threads is not None:
            torch.set_num_threads(self.config.threads)
        try:
            with (
                torch.random.fork_rng(devices=[]),
                StopRequest(self.config.time_limit) as stop,
            ):
                return self._fit(resume, stop)
        finally:
            torch.set_num_threads(threads)

    def _fit(self, resume: bool, stop: StopRequest) -> RunSummary:
        self._open(resume)
        if self.opened is not None and self.workers.is_main:
            self.opened()
        resumed = self.state.step if resume else None
        main, progress = self.workers.is_main, Progress("none", 0, 0)
        logs: list[Any] = []
        if main:
            progress = Progress(self.config.progress, self.config.steps, self.state.step)
            logs.append(CsvLog(self.out / "log.csv", resumed))
            self._metrics_log = CsvLog(self.out / "metrics.csv", resumed)
            if self.config.tensorboard:
                logs.append(TensorBoardLog(self.out / "tensorboard", resumed))
        steps, accumulate = self.config.steps, self.config.accumulate
        draws = prefetch(
            self.mixture, self.state.step * accumulate, steps * accumulate, self.workers.rank, self.config.workers
        )
        reason, saved_at, since = self._early_stop(), self.state.step, time.perf_counter()
        try:
            while self.state.step < steps and reason is None:
                try:
                    batches = [batch for _ in range(accumulate) for batch in next(draws)]
                except RuntimeError:
                    if stop.reason is None:
                        raise
                    batches = []  # a signal to the whole process group has ended the loading processes as well
                if self.workers.any(not batches and stop.reason is not None):
                    reason = stop.reason or "SIGTERM"
                    break
                waited = time.perf_counter() - since
                row = self._step(batches)
                row.update(seconds=time.perf_counter() - since, wait=waited, skipped=self.state.skipped)
                self.state.seconds += row["seconds"]
                done = self.state.step
                if main:
                    is_due = done % self.config.log_every == 0 or done == steps or not math.isfinite(row["loss"])
                    averaged = self.state.add_row(row, is_due)
                    for log in logs if averaged else []:
                        log.write(averaged)
                    progress.step(done, row)
                self._check_divergence(row)
                if self._due(self.config.eval_every):
                    self._evaluate(progress)
                reason = self._stop_reason(stop) or self._early_stop()
                if done == steps and reason == TIME_LIMIT:
                    reason = None  # nothing is left to stop
                if self._due(self.config.save_every) and reason is None and done < steps:
                    saved_at = self._save(final=False) or saved_at
                since = time.perf_counter()
            if reason in (None, "all steps") and self.state.evaluated_at != self.state.step:
                self._evaluate(progress)
            if saved_at != self.state.step or not list_checkpoints(self.checkpoints):
                self._save(final=True)
            if main:
                self.export(self.module, self.out / "last")
            self.workers.barrier()
        finally:
            draws.close()  # type: ignore[attr-defined]
            progress.close()
            for log in logs[1:]:
                log.close()
        return self._summary(reason or "all steps")

    def _step(self, batches: list[Any]) -> dict[str, Any]:
        """Run every phase that is due on one set of micro-batches; gives the log row without times."""
        step, device = self.state.step, self.workers.device
        lr = self.optim.lr * learning_rate_factor(step, self.config.steps, self.optim)
        batches = [batch.to(device) if hasattr(batch, "to") else batch for batch in batches]
        self.objective.module.train()
        self.objective.before_step(step)
        results: dict[str, StepResult] = {}
        for number, phase in enumerate(self.phases):
            if step % phase.phase.every == 0:
                torch.manual_seed(step_seed(self.seed, step, self.workers.rank, number))
                results[phase.phase.name] = phase.run(batches, lr)
        applied = all(result.applied for result in results.values())
        if applied:
            self.objective.after_step(step)
            if self.average is not None:
                self.average.update(self.objective.module)
        self.state.skipped += not applied
        self.state.skipped_in_a_row = 0 if applied else self.state.skipped_in_a_row + 1
        self.state.step += 1
        row: dict[str, Any] = {"step": self.state.step, "loss": sum(result.loss for result in results.values())}
        for name, result in results.items():
            prefix = f"{name}/" if len(self.phases) > 1 else ""
            if prefix:
                row[f"{prefix}loss"] = result.loss
            row.update({f"{prefix}{key}": value for key, value in result.logs.items()})
            row[f"{prefix}grad_norm"] = result.norm
        row["lr"] = lr
        return row

    def _evaluate(self, progress: Progress) -> None:
        """Measure on rank 0, keep the best weights, and tell all ranks; a failure costs no step that was taken."""
        before = self.state.evaluated_at
        try:
            self._measure(progress)
        except Exception:
            self.state.evaluated_at = before  # a resumed run measures again
            self._save(final=False)
            raise

    def _measure(self, progress: Progress) -> None:
        self.state.evaluated_at = self.state.step
        if not self.evaluators:
            return
        metrics: dict[str, float] = {}
        if self.workers.is_main:
            for name, evaluator in self.evaluators.items():
                found = evaluator(self.module, self.evaluation_limit)
                metrics.update({f"{name}/{key}": float(value) for key, value in found.items()})
            notes, warning = self.objective.notes() if hasattr(self.objective, "notes") else ({}, "")
            self._metrics_log.write({"step": self.state.step, **metrics, **notes})
            shown = {k: v for k, v in metrics.items() if k.count("/") == 1}  # not one figure per class
            progress.say(f"step {self.state.step}: " + "  ".join(f"{k} {v:.4g}" for k, v in shown.items()))
            if warning:
                progress.say(f"step {self.state.step}: {warning}")
        self.state.metrics = metrics = self.workers.broadcast(metrics)
        watched = self.config.best_metric
        if watched is None or (watched not in metrics and self.evaluation_limit is not None):
            return  # a dry run may have seen no picture of the class that is watched
        if watched not in metrics:
            raise ConfigError(
                f"train.best_metric is '{watched}' but the evaluation gave {', '.join(metrics)}; name one of these."
            )
        if self.state.is_better(metrics[watched], self.config.best_mode):
            self.state.best = {"step": self.state.step, "metric": watched, "value": metrics[watched]}
            self.state.evaluations_without_best = 0
            if self.workers.is_main:
                self.export(self.module, self.out / "best")
        else:
            self.state.evaluations_without_best += 1

    def _open(self, resume: bool) -> None:
        """Prepare the folder and, when asked, restore the newest whole checkpoint on every rank."""
        if self.workers.is_main:
            self.out.mkdir(parents=True, exist_ok=True)
            stale = clean_temporary(self.checkpoints)
            if stale:
                warnings.warn(
                    f"removed half-written checkpoints of an earlier process: {', '.join(stale)}", stacklevel=4
                )
        self.workers.barrier()
        refuse_used(self.out, resume)
        if not resume:
            return
        checkpoint = load_newest(self.checkpoints)
        steps = self.workers.gather(None if checkpoint is None else checkpoint.step)
        if len(set(steps)) > 1:
            raise CheckpointError(
                f"ranks found checkpoints of steps {steps}; all must see the same '{self.checkpoints}'."
            )
        if checkpoint is not None:
            self._restore(checkpoint)

    def _restore(self, checkpoint: Checkpoint) -> None:
        state = dict(checkpoint.state)
        owners = [p for p in self.phases if p.phase.shares is None]
        wanted = {"model", *(f"optim.{p.phase.name}" for p in owners), *(["ema"] if self.average else [])}
        if set(checkpoint.tensors) != wanted:
            raise CheckpointError(
                f"the checkpoint of step {checkpoint.step} holds {sorted(checkpoint.tensors)} but this run needs "
                f"{sorted(wanted)}; resume with the configuration that wrote it."
            )
        try:
            self.objective.module.load_state_dict(checkpoint.tensors["model"])
            if self.average is not None:
                self.average.module.load_state_dict(checkpoint.tensors["ema"])
                self.average.updates = state["ema_updates"]
        except RuntimeError as error:
            raise CheckpointError(
                f"the checkpoint of step {checkpoint.step} does not fit the model: {' '.join(str(error).split())} "
                "Resume with the configuration that wrote it."
            ) from error
        self.mixture.load_state_dict(state["mixture"])
        for phase in owners:
            restore_optimiser(phase.optimiser, checkpoint.tensors[f"optim.{phase.phase.name}"])
        self.state = RunState(**state["run"])

    def _save(self, final: bool) -> int | None:
        """Write a checkpoint on rank 0; a failed one in mid-run is a warning, the last one an error."""
        failure: str | None = None
        if self.workers.is_main:
            tensors = {"model": self.objective.module.state_dict()}
            owners = [p for p in self.phases if p.phase.shares is None]
            for phase in owners:
                tensors[f"optim.{phase.phase.name}"] = optimiser_tensors(phase.optimiser)
            if self.average is not None:
                tensors["ema"] = self.average.module.state_dict()
            state = {
                "run": asdict(self.state),
                "ema_updates": 0 if self.average is None else self.average.updates,
                "mixture": self.mixture.state_dict(),
                "optim": {p.phase.name: optimiser_scalars(p.optimiser) for p in owners},
                "seed": self.seed,
            }
            try:
                save_checkpoint(self.checkpoints, Checkpoint(self.state.step, tensors, state), self.config.keep)
            except CheckpointError as error:
                if final:
                    raise
                failure = str(error)
                warnings.warn(f"{failure} Training goes on and tries again at the next save.", stacklevel=2)
        return None if failure else self.state.step

    def _due(self, every: int) -> bool:
        return every > 0 and self.state.step % every == 0

    def _stop_reason(self, stop: StopRequest) -> str | None:
        """The first reason that any rank has, the same on all ranks."""
        return next((r for r in self.workers.gather(stop.reason) if r), None)

    def _early_stop(self) -> str | None:
        patience = self.config.patience
        return "early stop" if patience and self.state.evaluations_without_best >= patience else None

    def _check_divergence(self, row: Mapping[str, Any]) -> None:
        if self.state.skipped_in_a_row >= self.config.max_skipped:
            figures = {k: v for k, v in row.items() if isinstance(v, float) and not math.isfinite(v)}
            raise Diverged(
                f"{self.state.skipped_in_a_row} steps in a row up to step {self.state.step} were not finite "
                f"({figures}); train.max_skipped allows fewer. Lower optim.lr, set optim.clip_norm or train in fp32; "
                f"the checkpoints in '{self.checkpoints}' are from before."
            )

    def _summary(self, reason: str) -> RunSummary:
        s = self.state
        return RunSummary(s.step, reason, s.skipped, dict(s.metrics), dict(s.best), s.seconds, str(self.out))


def export_state(module: nn.Module, path: Path) -> Path:
    """Write a module's state dict to `path`.safetensors, complete or not at all."""
    final = path.with_name(path.name + ".safetensors")
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    save_tensors(temporary, module.state_dict())
    os.replace(temporary, final)
    return final

"""Training of a GAN as the engine sees it: a phase for each side, and one for each interval of its lazy terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..data import Batch, Source
from ..errors import ConfigError, DataError
from ..gan import (
    Adversaries,
    GanBatch,
    GanConfig,
    GeneratorAverage,
    build_adversaries,
    measure_norm_statistics,
    save_gan,
)
from ..gan.batch import Side
from ..options import build_options
from .objective import OBJECTIVES, ParameterGroup, Phase

__all__ = ["GanObjective"]


class GanObjective:
    """Noise to images: `d` at every step, `g` every `d_steps`, `d_reg16` and the like for lazy terms.

    Lazy phases step the optimiser of their side, whose rate and betas are corrected for that.

    Args:
        config: The GAN.
        classes: Class names of the labels, used when the condition needs them.
    """

    def __init__(self, config: GanConfig, classes: tuple[str, ...] = ()) -> None:
        self.config = config
        self.classes = classes if config.is_conditional else ()
        self.adversaries: Adversaries = build_adversaries(config, len(self.classes))
        self.average = GeneratorAverage(self.adversaries.generator, config.half_life, config.ramp_up)
        self.module = nn.ModuleDict({"adversaries": self.adversaries, "average": self.average})
        self.phases = tuple(self._phases())
        self._step, self._images = 0, 0

    def before_step(self, step: int) -> None:
        """Note the step, and that none of its images was seen yet."""
        self._step, self._images = step, 0

    def after_step(self, step: int) -> None:
        """Let the average follow the generator over the images of the step, those of all processes."""
        images = torch.tensor(self._images, device=self.average.seen.device)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(images)
        self.average.update(self.adversaries.generator, int(images))

    def export(self, module: nn.Module, path: Path) -> Path:
        """Write the averaged generator, its batch norms measured anew, and the discriminator into the folder `path`."""
        average = self.average.network
        generator: Any = self.adversaries.generator
        rng = torch.Generator().manual_seed(0)
        device = next(average.parameters()).device

        def sample() -> None:
            z = generator.draw_latent(128, rng)
            y = torch.randint(len(self.classes), (128,), generator=rng) if self.classes else None
            average(z.to(device), None if y is None else y.to(device))

        before = {name: buffer.clone() for name, buffer in average.named_buffers()}
        measure_norm_statistics(average, sample)
        facts = {"images": int(self.average.seen)}
        saved = save_gan(path, self.config, self.classes, average, self.adversaries.discriminator, facts)
        with torch.no_grad():
            for name, buffer in average.named_buffers():
                buffer.copy_(before[name])  # the run may go on; an export leaves no trace in it
        return saved

    def _phases(self) -> list[Phase]:
        networks: dict[Side, nn.Module] = {"d": self._d_side(), "g": self.adversaries.generator}
        found: list[Phase] = []
        for side, network in networks.items():
            scale = self.config.d_lr_scale if side == "d" else self.config.g_lr_scale
            lazy = self.adversaries.lazy_factor(side)
            group: ParameterGroup = {
                "params": list(network.parameters()),
                "lr_scale": scale * lazy,
                "beta_power": lazy,
                "weight_decay": 0.0,
            }
            loss = self.adversaries.d_loss if side == "d" else self.adversaries.g_loss
            every = 1 if side == "d" else self.config.d_steps
            found.append(Phase(side, [group], partial(self._loss, side, loss), every))
            for interval in self.adversaries.intervals(side):
                term = partial(self.adversaries.lazy_loss, every=interval)
                lazy_phase = partial(self._loss, side, term, is_lazy=True)
                found.append(Phase(f"{side}_reg{interval}", [], lazy_phase, interval, shares=side))
        return found

    def _d_side(self) -> nn.Module:
        """What the discriminator's side trains: the judge, and what its terms and its pipe may learn."""
        return nn.ModuleList([self.adversaries.discriminator, self.adversaries.regularisers, self.adversaries.pipe])

    def _loss(
        self, side: Side, loss: Callable[[GanBatch], Mapping[str, Tensor]], batch: Batch, is_lazy: bool = False
    ) -> Mapping[str, Tensor]:
        device = batch.images.device
        # All chance of a phase comes from here; the engine has seeded torch's global generator for it.
        rng = torch.Generator(device).manual_seed(int(torch.randint(2**62, ())))
        if side == "d" and not is_lazy:
            self._images += len(batch)
        y = _labels(batch, self.classes) if self.classes else None
        generator: Any = self.adversaries.generator
        z = generator.draw_latent(len(batch), rng)
        y_fake = torch.randint(len(self.classes), (len(batch),), generator=rng, device=device) if self.classes else None
        return loss(self.adversaries.batch(side, 2 * batch.images - 1, y, z, y_fake, rng, self._step))


def _labels(batch: Batch, classes: tuple[str, ...]) -> Tensor:
    """Labels (B,) of a batch; raises DataError where an image has none or the classes differ."""
    targets = batch.targets.get("classification", [])
    if len(targets) != len(batch) or any(t is None for t in targets):
        raise DataError(
            f"a batch of '{batch.source}' has images without a class, but the GAN is conditional; use condition none, "
            "or data with labels."
        )
    return torch.tensor([t.label for t in targets], device=batch.images.device)


@OBJECTIVES.register("gan")
def build_gan_objective(sources: Mapping[str, Source], seed: int, **options: Any) -> GanObjective:
    """Build a GAN for the images, and where wanted the labels, of the sources; options are the fields of GanConfig."""
    config = build_options(GanConfig, options, "objective.options")
    classes = {tuple(source.classes.get("classification", ())) for source in sources.values()}
    if config.is_conditional and (len(classes) > 1 or classes == {()}):
        raise ConfigError(
            f"condition '{config.condition['name']}' needs one set of classes, but the parts {', '.join(sources)} have "
            f"{len(classes)} ({', '.join(str(len(c)) for c in classes)} classes); use parts that agree, or none."
        )
    return GanObjective(config, next(iter(classes)) if len(classes) == 1 else ())

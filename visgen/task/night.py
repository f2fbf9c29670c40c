"""Training of a day-to-night translator on unpaired pictures: HEDGAN, HED-N-GAN, CycleGAN and CUT."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import TimmBackbone
from ..data import Batch, Source
from ..errors import ConfigError, DataError
from ..gan import ADVERSARIAL, Adversaries, GanBatch
from ..gan.adversaries import frozen
from ..gan.architecture.camera import add_camera_noise
from ..gan.architecture.patch import PatchDiscriminator
from ..gan.architecture.projected import ProjectedDiscriminator
from ..gan.architecture.translator import TRANSLATORS
from ..gan.architecture.unet import UNet
from ..gan.night import (
    SobelEdge,
    distillation_loss,
    edge_consistency,
    load_edges,
    load_night,
    patch_nce,
    save_edges,
    save_night,
)
from ..options import build_options, call_with
from .night_config import NightConfig
from .night_reader import NightReader
from .objective import OBJECTIVES, ParameterGroup, Phase
from .protocol import TASKS

__all__ = ["NightConfig", "NightObjective"]

COARSEST = 16  # stride of the last map that the discriminator of features sees: a crop has few pixels beyond it
LIGHT = (8, 16, 32)  # sides of the squares whose mean colours the discriminator of light sees


class NightObjective:
    """Phases `d`, `s` (the student), `r` (a reader of labels) and `g`, in this order, each with its own optimiser.

    `s` is there for hedngan and `r` where labels have a weight. A batch holds pictures of the first domain as images
    and of the second under `targets["other"]`. It is translated once: the phases before `g` see the result without its
    gradient.

    Args:
        config: What is trained, and how.
        pairs: Number of pairs in each part of the data, kept with the generator.
        classes: Of the semantic maps of the first domain; needed where labels have a weight.
    Raises:
        ConfigError: Options that do not fit each other, or labels are to be kept and there are none.
    Source: Mohwald et al. 2023, arXiv:2309.16351 (hedgan, hedngan); Zhu et al. 2017, arXiv:1703.10593 (cyclegan, here
    without replay pool); Park et al. 2020, arXiv:2007.15651 (cut); Hoffman et al. 2018, arXiv:1711.03213, for labels
    that must stay readable; here the reader learns along, since one taught by day alone reads nights badly, or was
    taught on labelled nights and stays as it is. Sauer et
    al. 2021, arXiv:2111.01007, for the discriminator that sees features.
    """

    def __init__(
        self, config: NightConfig, pairs: Mapping[str, int] | None = None, classes: Sequence[str] = ()
    ) -> None:
        self.config = config
        self.pairs = dict(pairs or {})
        self.there = self._pair()
        self._prepare(self.there.generator)
        self.module = nn.ModuleDict({"there": self.there})
        if config.variant == "cyclegan":
            self.back = self._pair()
            self.module["back"] = self.back
        if config.variant in ("hedgan", "hedngan"):
            teacher: nn.Module = SobelEdge() if config.edges == "sobel" else load_edges(config.edges)
            self.teacher: nn.Module = teacher.requires_grad_(False)
            self.module["teacher"] = self.teacher
            self.student: nn.Module = self.teacher
        if config.variant == "hedngan":
            self.student = copy.deepcopy(self.teacher).requires_grad_(True)
            self.module["student"] = self.student
        if config.variant == "cut":
            widths: list[int] = self.there.generator.widths  # type: ignore[assignment]
            wrong = [s for s in config.nce_stages if not 0 <= s < len(widths)]
            if wrong or not config.nce_stages:
                last = len(widths) - 1
                raise ConfigError(f"nce_stages is {list(config.nce_stages)}; the encoder has stages 0..{last}.")
            self.patches = nn.ModuleList(
                nn.Sequential(nn.Linear(widths[s], 256), nn.ReLU(), nn.Linear(256, 256)) for s in config.nce_stages
            )
            self.module["patches"] = self.patches
        if config.label_weight + config.night_label_weight > 0 and not classes:
            raise ConfigError(
                f"label_weight is {config.label_weight}, night_label_weight {config.night_label_weight}, and the "
                "pictures have no semantic maps; let format unpaired-sources keep them with options: {labels: true}."
            )
        if config.night_label_weight > 0:
            readers = [NightReader(folder, classes) for folder in config.night_readers]
            self.module["night_readers"] = nn.ModuleList(readers)
        if config.label_weight > 0:
            self.reader = call_with(UNet, config.reader, "reader", len(classes), halved=True)
            self.module["reader"] = self.reader
        self.beside: dict[str, _Beside] = {}  # discriminators of something else than pixels
        if config.feature_weight > 0:
            self.viewer = call_with(TimmBackbone, {**config.features, "fixed": True}, "features")
            known = self.viewer.net.feature_info
            fine = [
                width for width, stride in zip(known.channels(), known.reduction(), strict=True) if stride <= COARSEST
            ]
            judge = ProjectedDiscriminator(fine)
            self.beside["features"] = _Beside(judge, self._viewed, config.feature_weight)
            self.module.update({"viewer": self.viewer, "projected": judge})
        if config.light_weight > 0:
            judge = ProjectedDiscriminator([3] * len(LIGHT))
            self.beside["light"] = _Beside(judge, _light, config.light_weight)
            self.module["light"] = judge
        self.phases = tuple(self._phases())
        self._step = 0
        self._made: dict[int, tuple[Batch, list[Tensor]]] = {}

    def before_step(self, step: int) -> None:
        """Note the step and forget the translations of the last one."""
        self._step = step
        self._made.clear()

    def after_step(self, step: int) -> None:
        """Nothing follows."""

    def export(self, module: nn.Module, path: Path) -> Path:
        """Write the translator into the folder `path`, which `visgen.gan.night.load_night` reads.

        Of hedngan the student goes into the folder `student` inside it, which `load_edges` reads.
        """
        config = self.config
        facts: dict[str, Any] = {"variant": config.variant, "edge_weight": config.edge_weight, "pairs": self.pairs}
        facts["edges"] = config.edges if config.edges == "sobel" else "learned"
        weights = ("label_weight", "night_label_weight", "feature_weight", "light_weight")
        facts |= {k: getattr(config, k) for k in weights}
        facts["grain"] = list(config.grain)
        parts: Any = module
        if config.variant == "hedngan":
            inside = json.loads((Path(config.edges) / "config.json").read_text(encoding="utf-8"))
            save_edges(path / "student", parts["student"], inside["net"], {"student": True})
        return save_night(path, parts["there"].generator, dict(config.translator), config.resolution, facts)

    def _pair(self) -> Adversaries:
        options = dict(self.config.translator)
        name = options.pop("name", None)
        if name is None:
            raise ConfigError(f"translator is {dict(self.config.translator)}; it needs a name, such as resnet.")
        judge = call_with(PatchDiscriminator, self.config.discriminator, "discriminator")
        translator = call_with(TRANSLATORS.get(name), options, f"translator '{name}'")
        return Adversaries(translator, judge, ADVERSARIAL.get("least_squares"))

    def _prepare(self, translator: nn.Module) -> None:
        """Fill a translator with what it starts from, and hold fast what does not learn."""
        config, own = self.config, translator.state_dict()
        if config.start:
            found = load_night(config.start).translator.state_dict()
            if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in found.items()}:
                raise ConfigError(
                    f"start is '{config.start}', whose translator is not {dict(config.translator)}; take over that of "
                    "its configuration."
                )
            translator.load_state_dict(found)
        for part in config.learns:
            if not any(key.startswith(part) for key in own):
                names = dict.fromkeys(key.split(".")[0] for key in own)
                raise ConfigError(f"learns names '{part}', but the translator has the parts {', '.join(names)}.")
        for key, parameter in translator.named_parameters():
            parameter.requires_grad_(not config.learns or key.startswith(tuple(config.learns)))

    def _pairs(self) -> list[Adversaries]:
        return [self.there, self.back] if self.config.variant == "cyclegan" else [self.there]

    def _phases(self) -> list[Phase]:
        judges = [p for pair in self._pairs() for p in pair.discriminator.parameters()]
        judges += [p for other in self.beside.values() for p in other.judge.parameters()]
        makers = [p for pair in self._pairs() for p in pair.generator.parameters() if p.requires_grad]
        if self.config.variant == "cut":
            makers += list(self.patches.parameters())
        found = [Phase("d", [_group(judges)], self._d_loss)]
        if self.config.variant == "hedngan":
            learning = [p for p in self.student.parameters() if p.requires_grad]
            found.append(Phase("s", [_group(learning, self.config.student_lr_scale)], self._s_loss))
        if self.config.label_weight > 0:
            reading = list(self.reader.parameters())
            found.append(Phase("r", [_group(reading, self.config.reader_lr_scale)], self._r_loss))
        return [*found, Phase("g", [_group(makers)], self._g_loss)]

    def _domains(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Pictures of the first and the second domain in [-1, 1]."""
        others = batch.targets.get("other", [])
        if len(others) != len(batch) or any(o is None for o in others):
            raise DataError(f"a batch of '{batch.source}' has no second pictures; use data of format unpaired.")
        second = torch.stack([o.float() / 255 if o.dtype == torch.uint8 else o for o in others])
        return 2 * batch.images - 1, 2 * second.to(batch.images.device) - 1

    def _batches(self, side: Literal["d", "g"], batch: Batch) -> tuple[list[GanBatch], list[Tensor]]:
        """What each pair of adversaries sees, and what it drew: there translates the first domain, back the second."""
        first, second = self._domains(batch)
        rng = torch.Generator(first.device).manual_seed(int(torch.randint(2**62, ())))
        found = [self.there.batch(side, second, None, first, None, rng, self._step)]
        if self.config.variant == "cyclegan":
            found.append(self.back.batch(side, first, None, second, None, rng, self._step))
        made = self._translations(batch, [seen.z for seen in found], last=side == "g")
        made = made if side == "g" else [fake.detach() for fake in made]
        shown = [self._shown(made[0]), *made[1:]]
        return [replace(seen, generator=_Known(fake)) for seen, fake in zip(found, shown, strict=True)], made

    def _shown(self, night: Tensor) -> Tensor:
        """A translation as a camera would have taken it."""
        return add_camera_noise(night, self.config.grain) if self.config.grain[1] > 0 else night

    def _labels_loss(self, batch: Batch, reader: Any, *versions: Tensor) -> Tensor:
        """Cross entropy of what a reader sees in versions of a batch's pictures; those without a map do not count."""
        maps = batch.targets.get("segmentation", [])
        rows = [i for i, known in enumerate(maps) if known is not None]
        if not rows:  # zero, with a gradient for what learns in this phase
            return 0 * (versions[0] if versions[0].requires_grad else reader.last.weight).sum()
        shown = torch.cat([pictures[rows] for pictures in versions])
        return TASKS.get("segmentation").loss(reader(shown), [maps[i] for i in rows] * len(versions), {"stride": 2})

    def _translations(self, batch: Batch, pictures: list[Tensor], last: bool = False) -> list[Tensor]:
        """Each pair's translation of its pictures, made once for a batch and kept until the last phase took it."""
        if id(batch) not in self._made:
            fakes = [p.generator(z) for p, z in zip(self._pairs(), pictures, strict=False)]
            self._made[id(batch)] = (batch, fakes)  # holding the batch keeps its id from being given to another
        return self._made.pop(id(batch))[1] if last else self._made[id(batch)][1]

    def _d_loss(self, batch: Batch) -> dict[str, Tensor]:
        seen = self._batches("d", batch)[0]
        found = [p.d_loss(b) for p, b in zip(self._pairs(), seen, strict=True)]
        names = ("there", "back")
        logged = {f"{n}/{k}": v for n, terms in zip(names, found, strict=False) for k, v in terms.items()}
        logged = {key: value for key, value in logged.items() if not key.endswith("/loss")}
        total = torch.stack([terms["loss"] for terms in found]).sum()
        for name, other in self.beside.items():
            with torch.no_grad():
                real, fake = other.view(seen[0].x), other.view(seen[0].fake)
            logged[name] = other.judge.d_loss(real, fake)
            total = total + logged[name]
        return {"loss": total, **{key: value.detach() for key, value in logged.items()}}

    def _viewed(self, pictures: Tensor) -> list[Tensor]:
        """Maps of the network that stays as it is, fine first; those of half the size know the panes of a window."""
        maps: list[Tensor] = self.viewer.net(((pictures + 1) / 2 - self.viewer.mean) / self.viewer.std)
        return maps[: len(self.beside["features"].judge.judges)]

    def _s_loss(self, batch: Batch) -> dict[str, Tensor]:
        first, _ = self._domains(batch)
        night = self._translations(batch, [first])[0].detach()
        with torch.no_grad():
            day = self.teacher((first + 1) / 2)
        learned = self.student(torch.cat([(first + 1) / 2, (night + 1) / 2]))
        return {"loss": distillation_loss(day, *learned.chunk(2))}

    def _r_loss(self, batch: Batch) -> dict[str, Tensor]:
        first, _ = self._domains(batch)
        night = self._shown(self._translations(batch, [first])[0].detach())
        return {"loss": self._labels_loss(batch, self.reader, first, night)}

    def _g_loss(self, batch: Batch) -> dict[str, Tensor]:
        seen, drawn = self._batches("g", batch)
        fooled = [p.g_loss(b)["loss"] for p, b in zip(self._pairs(), seen, strict=True)]
        terms = {"adversarial": torch.stack(fooled).sum()}
        total = self.config.adversarial_weight * terms["adversarial"]
        first, night = seen[0].z, drawn[0]
        if self.config.variant in ("hedgan", "hedngan") and self.config.edge_weight > 0:
            with torch.no_grad():
                day = self.teacher((first + 1) / 2)
            with frozen(self.student):
                terms["edges"] = edge_consistency(day, self.student((night + 1) / 2))
            total = total + self.config.edge_weight * terms["edges"]
        if self.config.label_weight > 0:
            with frozen(self.reader):
                terms["labels"] = self._labels_loss(batch, self.reader, seen[0].fake)
            total = total + self.config.label_weight * terms["labels"]
        if self.config.night_label_weight > 0:
            readers: Any = self.module["night_readers"]
            read = [self._labels_loss(batch, reader, seen[0].fake) for reader in readers]
            terms["night labels"] = torch.stack(read).mean()
            total = total + self.config.night_label_weight * terms["night labels"]
        for name, other in self.beside.items():
            with frozen(other.judge):
                terms[name] = other.judge.g_loss(other.view(seen[0].fake))
            total = total + other.weight * terms[name]
        if self.config.variant == "cyclegan":
            there, back = self.there.generator, self.back.generator
            terms["cycle"] = (back(night) - first).abs().mean() + (there(drawn[1]) - seen[1].z).abs().mean()
            total = total + self.config.cycle_weight * terms["cycle"]
        if self.config.variant == "cut":
            second = seen[0].x
            terms["nce"] = self._nce(first, night)
            terms["identity"] = self._nce(second, self.there.generator(second))
            total = total + 0.5 * (
                self.config.nce_weight * terms["nce"] + self.config.identity_weight * terms["identity"]
            )
        return {"loss": total, **{k: v.detach() for k, v in terms.items()}}

    def _nce(self, picture: Tensor, translated: Tensor) -> Tensor:
        """Mean over the stages of the patch loss between a picture and its translation."""
        network: Any = self.there.generator
        keys, queries = network.features(picture), network.features(translated)
        found = []
        for stage, head in zip(self.config.nce_stages, self.patches, strict=True):
            key, query = keys[stage].flatten(2).transpose(1, 2), queries[stage].flatten(2).transpose(1, 2)
            chosen = torch.randperm(key.shape[1], device=key.device)[: self.config.nce_patches]
            found.append(patch_nce(head(query[:, chosen]), head(key[:, chosen])))
        return torch.stack(found).mean()


@dataclass(frozen=True)
class _Beside:
    """A discriminator beside that of pixels, what it sees of pictures, and its weight for the translator."""

    judge: ProjectedDiscriminator
    view: Callable[[Tensor], list[Tensor]]
    weight: float


def _light(pictures: Tensor) -> list[Tensor]:
    """Mean colours of squares, (B, 3, H / side, W / side) of each side."""
    return [F.avg_pool2d(pictures, side, ceil_mode=True) for side in LIGHT]


class _Known(nn.Module):
    """Stands for a generator whose answer is there already."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.answer


def _group(parameters: list[nn.Parameter], lr_scale: float = 1.0) -> ParameterGroup:
    return {"params": parameters, "lr_scale": lr_scale, "weight_decay": 0.0}


@OBJECTIVES.register("night")
def build_night_objective(sources: Mapping[str, Source], seed: int, **options: Any) -> NightObjective:
    """Build a day-to-night GAN for unpaired sources; options are the fields of NightConfig."""
    pairs = {name: len(source) for name, source in sources.items()}
    known = {tuple(source.classes["segmentation"]) for source in sources.values() if "segmentation" in source.classes}
    if len(known) > 1:
        raise ConfigError(
            f"the parts {', '.join(sources)} have semantic maps of different classes; one reader takes one set."
        )
    return NightObjective(build_options(NightConfig, options, "objective.options"), pairs, *known)

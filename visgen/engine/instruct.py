"""Training of an instruction model from one YAML: its VAE, the cached latents, its denoiser."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrize

from ..config import TrainConfig, to_mapping, to_yaml
from ..data import Cached, MixturePart, Source, Subset, build_transform
from ..diffusion import (
    AutoencoderLoss,
    CanvasPictures,
    DenoisingLoss,
    InstructDiffusion,
    LatentCache,
    LatentStream,
    TinyConfig,
    Wording,
    build_cache,
    build_tiny,
    corpus_of,
    standardise_latents,
)
from ..diffusion.answers import codec_settings
from ..diffusion.channels import use_common_layout
from ..diffusion.low_rank import add_low_rank, merge_low_rank
from ..diffusion.reading import read_taught
from ..errors import CheckpointError, ConfigError
from ..language import TaskRequest
from ..language.phrases import canonical
from ..nn.low_rank import add_updates, trained_tensors
from ..options import build_options
from ..task.instruct import AutoencoderObjective, DenoisingObjective
from .evaluate import evenly_spaced
from .instruct_run import InstructPart, InstructRun, InstructStage, load_instruct_run
from .optim import train_only
from .state import RunSummary
from .train import Trainer

__all__ = [
    "UPDATES_FILE",
    "InstructPart",
    "InstructRun",
    "InstructStage",
    "load_instruct_run",
    "make_cache",
    "new_model",
    "train_denoiser",
    "train_vae",
]

Phrase = Callable[[TaskRequest, Random], str]
UPDATES_FILE = "updates.safetensors"
MADE_FILE = "made.json"  # beside cached latents: what they depend on
SAME_LATENTS = 0.01  # of a spread of 1: half precision moves them by less


def new_model(run: InstructRun, corpus: Iterable[str] = ("a",)) -> InstructDiffusion:
    """Give the model that a run starts from: the folder that `start` names, or fresh networks around the run's VAE.

    Args:
        run: The run; its VAE is trained already where there is no `start`.
        corpus: Sentences for the tokenizer of a fresh model.
    Raises:
        ConfigError: There is no VAE yet, or the VAE of `start` does not fit `size`.
        CheckpointError: The VAE is torn.
    """
    if run.start is not None:
        settings = {} if run.size is None else {"size": run.size}
        return use_common_layout(InstructDiffusion.from_pretrained(run.start, expand_conv_in=True, **settings))
    model = build_tiny(corpus, build_options(TinyConfig, run.model, "model"), run.seed)
    folder = Path(run.out) / "vae" / "autoencoder"
    if not folder.is_dir():
        raise ConfigError(f"'{folder}' does not exist; train the VAE of this run first (--stage vae).")
    try:
        model.vae = type(model.vae).from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"the VAE in '{folder}' cannot be loaded: {error}; use --stage vae --resume.") from error
    return model.eval()


def train_vae(
    run: InstructRun, *, resume: bool = False, time_limit: float | None = None, decoder_only: bool = False
) -> RunSummary:
    """Train the VAE on photographs and answers, standardise its latents, and write it to `out/vae/autoencoder`.

    Args:
        run: The run.
        resume: Go on from the newest checkpoint.
        time_limit: Minutes.
        decoder_only: Train the decoder of the VAE that is there some more, and write it to `out/decoder/autoencoder`.
            The encoder stays, so cached latents and a denoiser trained on them do too.
    Raises:
        ConfigError: No part gives the VAE pictures; or there is no VAE whose decoder could be trained.
    """
    tiny = build_options(TinyConfig, run.model, "model")
    model = new_model(run) if decoder_only else build_tiny(["a"], tiny, run.seed)
    size, settings, parts = (tiny.size, tiny.size), run.settings(), []
    for name, part in run.parts.items():
        if part.vae:
            source = part.open()
            source = Subset(source, evenly_spaced(len(source), min(part.vae, len(source))))
            shrink = build_transform(part.shrink) if part.shrink else None
            kept = Cached(source, None if shrink is None else _Fixed(shrink))
            pictures = CanvasPictures(kept, part.questions(), settings, size, run.seed)
            parts.append(MixturePart(Cached(pictures), None, float(part.vae), run.vae.batch_size, name))
    if not parts:
        raise ConfigError("no part has `vae` above 0, so the VAE has no pictures; set it for at least one part.")
    mixture = _Mixed(parts, run.seed, run.vae.batch_size)
    objective = AutoencoderObjective(model, build_options(AutoencoderLoss, run.vae.loss, "vae.loss"), decoder_only)
    out = Path(run.out) / ("decoder" if decoder_only else "vae")

    def export(module: nn.Module, path: Path) -> None:
        vae = deepcopy(module["vae"]).eval()  # type: ignore[index]
        if not decoder_only:
            standardise_latents(vae, [mixture.batches(10**9 + k)[0].images * 2 - 1 for k in range(24)])
        vae.save_pretrained(path.with_name("autoencoder"))

    trainer = Trainer(objective, mixture, run.vae.optim, _limited(run.vae.train, time_limit), out, seed=run.seed,
                      export=export, opened=lambda: _record(run, out))  # fmt: skip
    return trainer.fit(resume)


def make_cache(
    run: InstructRun, model: InstructDiffusion, progress: Callable[[str, int, int], None] | None = None
) -> dict[str, int]:
    """Encode every part that is not there yet to `out/cache/PART`; gives the number of questions by part.

    Raises:
        ConfigError: A part that is there was made otherwise.
    """
    model.vae.to(memory_format=torch.channels_last)  # its few channels are faster this way on CPUs
    counts = {}
    for name, part in run.parts.items():
        folder = Path(run.out) / "cache" / name
        if (folder / "questions.json").is_file():
            _check_cache(folder, _made(run, model, part))
        else:
            cache = build_cache(
                model,
                name,
                _shrunk(part),
                part.questions(),
                run.settings(),
                transform=build_transform(part.transforms) if part.transforms else None,
                copies=part.copies,
                seed=run.seed,
                progress=None if progress is None else lambda done, total, name=name: progress(name, done, total),  # type: ignore[misc]
            )
            folder.mkdir(parents=True, exist_ok=True)
            (folder / MADE_FILE).write_text(json.dumps(_made(run, model, part)), encoding="utf-8")
            cache.save(folder)
        counts[name] = len(json.loads((folder / "questions.json").read_text(encoding="utf-8"))["requests"])
    return counts


def train_denoiser(
    run: InstructRun,
    model: InstructDiffusion | None = None,
    phrase: Phrase | None = None,
    *,
    train_text: bool | None = None,
    resume: bool = False,
    time_limit: float | None = None,
    evaluators: dict[str, Any] | None = None,
) -> RunSummary:
    """Train the denoiser (and the text encoder) on the cached latents; the model ends up in `out/denoiser/last`.

    Args:
        run: The run.
        model: Starts from its weights; its VAE made the cache. None makes a fresh one whose tokenizer learns from the
            questions of the cache, or loads it again from `out/denoiser/start` where it was left.
        phrase: Writes a question as a sentence; None draws from the phrase grammar.
        train_text: Also train the text encoder; None does where the run starts from nothing.
        resume: Go on from the newest checkpoint.
        time_limit: Minutes.
        evaluators: As in `visgen.engine.Trainer`.
    """
    out = Path(run.out) / run.name
    cache = LatentCache.join([LatentCache.load(Path(run.out) / "cache" / name) for name in run.parts])
    start, is_new = out / "start", model is None and not (out / "start" / "model_index.json").is_file()
    if model is None:
        model = _starting_model(run, cache) if is_new else InstructDiffusion.from_pretrained(start)
        _check_codec(run, model)
    for name in run.parts:
        _check_cache(Path(run.out) / "cache" / name, _made(run, model))
    if is_new:
        model.save_pretrained(start)
    own = model
    if phrase is None:
        read = partial(read_taught, own.config.classes or _classes_of(cache), run.settings().predicates)
        phrase = Wording(lambda text: len(own.tokenizer(text)["input_ids"]), own.tokens, run.plain, read=read)
    cache = _sayable(cache, own)
    weights = {name: part.weight for name, part in run.parts.items()}
    stream = LatentStream(cache, weights, run.denoiser.batch_size, phrase, run.seed)
    options = build_options(DenoisingLoss, run.denoiser.loss, "denoiser.loss")
    if run.lora:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed)
            add_low_rank(model.unet, run.lora)
    if run.checkpointing:
        model.unet.enable_gradient_checkpointing()
    objective = DenoisingObjective(model, options, run.start is None if train_text is None else train_text)
    train_only(objective.module, run.denoiser.optim.only)
    if run.updates:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed)
            add_updates(objective.module, run.updates)

    def export(module: nn.Module, path: Path) -> None:
        trained = module.state_dict()
        kept = {name: value.clone() for name, value in objective.module.state_dict().items()}
        objective.module.load_state_dict(trained)
        try:
            own.forget_texts()
            if run.updates:  # first, since the model makes it a folder to load
                path.mkdir(parents=True, exist_ok=True)
                save_file(trained_tensors(objective.module), path / UPDATES_FILE)
            _plain(own, run).save_pretrained(path)
        finally:
            objective.module.load_state_dict(kept)
            own.forget_texts()

    trainer = Trainer(objective, stream, run.denoiser.optim, _limited(run.denoiser.train, time_limit), out,
                      seed=run.seed, export=export, evaluators=evaluators,
                      opened=lambda: _record(run, out))  # fmt: skip
    return trainer.fit(resume)


def _made(run: InstructRun, model: InstructDiffusion, part: InstructPart | None = None) -> dict[str, Any]:
    """What cached latents depend on: codecs, the encoder (by latents of a fixed picture), and data and questions."""
    side = model.config.size
    with torch.no_grad():
        seen = model.encode_target(torch.linspace(-1, 1, 3 * side * side).view(1, 3, side, side)).float()
    found = {"codec": to_mapping(run.settings()), "encoder": F.adaptive_avg_pool2d(seen, 4).flatten().tolist()}
    if part is not None:
        names = ("split", "options", "shrink", "transforms", "copies", "limit")
        found |= {name: to_mapping(getattr(part, name)) for name in names}
        found |= {"source": Path(part.source).name, "queries": to_mapping(part.questions())}
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def _check_cache(folder: Path, now: dict[str, Any]) -> None:
    """Raise ConfigError unless cached latents were made as they would be now; old ones do not tell."""
    if not (folder / MADE_FILE).is_file():
        return
    then = json.loads((folder / MADE_FILE).read_text(encoding="utf-8"))
    old, new = (torch.tensor(values.pop("encoder")) for values in (then, now))
    changed = [key for key in now if then.get(key) != now[key]]
    if changed or old.shape != new.shape or float((old - new).abs().max()) > SAME_LATENTS:
        told = f"{[then.get(k) for k in changed]} then, {[now[k] for k in changed]} now"
        other = f"other {', '.join(changed)}: {told}" if changed else "another VAE"
        raise ConfigError(
            f"the latents in '{folder}' were made with {other}; delete that folder, which --stage cache makes anew, or "
            "use another `out`."
        )


def _check_codec(run: InstructRun, model: InstructDiffusion) -> None:
    codec, own = to_mapping(run.settings()), to_mapping(codec_settings(model))
    if model.config.codec and own != codec:
        raise ConfigError(
            f"codec is {codec}, but the model that the run goes on with draws with {own}; give the run that codec, or "
            "another `name` and `out`."
        )


def _starting_model(run: InstructRun, cache: LatentCache) -> InstructDiffusion:
    """The model before the first step, with the codecs and the classes that it is taught."""
    found = _classes_of(cache)
    if run.weights is not None:
        model = use_common_layout(InstructDiffusion.from_pretrained(run.weights))
        _check_codec(run, model)
        taught = dict(model.config.classes)
        classes = {task: tuple(dict.fromkeys((*taught.get(task, ()), *found.get(task, ())))) for task in taught | found}
        is_open = not taught
    else:
        model = new_model(run, corpus_of(cache.requests, run.seed))
        classes, is_open = found, run.start is not None
    # A text encoder that knows more words than the questions hold is not limited to them.
    model.config = replace(model.config, classes={} if is_open else classes, codec=to_mapping(run.settings()))
    return model


def _classes_of(cache: LatentCache) -> dict[str, tuple[str, ...]]:
    """The classes that the questions of a cache name, by task."""
    named: dict[str, set[str]] = {}
    for request in cache.requests:
        ends = [name for name in (request.relation or ())[::2] if name is not None]
        named.setdefault(request.task, set()).update(request.classes, ends)
    return {task: tuple(sorted(names)) for task, names in named.items()}


def _plain(model: InstructDiffusion, run: InstructRun) -> InstructDiffusion:
    """The model as others load it: low-rank updates merged into a copy."""
    if not (run.lora or run.updates):
        return model
    copied = deepcopy(model)
    if run.lora:
        merge_low_rank(copied.unet)
    for layer in [layer for layer in copied.modules() if parametrize.is_parametrized(layer, "weight")]:
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return copied


def _sayable(cache: LatentCache, model: InstructDiffusion) -> LatentCache:
    """Leave out the questions whose plainest sentence is too long for the text encoder."""
    lengths = {
        request: len(model.tokenizer(canonical(request))["input_ids"]) for request in dict.fromkeys(cache.requests)
    }
    keep = torch.tensor([lengths[request] <= model.tokens for request in cache.requests])
    return cache if bool(keep.all()) else cache.select(keep)


class _Fixed:
    """A transform without chance as a function of the sample alone."""

    def __init__(self, transform: Callable[[Any, torch.Generator], Any]) -> None:
        self.transform = transform

    def __call__(self, sample: Any) -> Any:
        return self.transform(sample, torch.Generator().manual_seed(0))


class _Mixed:
    """Batches that mix all parts: each item of a batch is drawn from a part by its weight."""

    def __init__(self, parts: list[MixturePart], seed: int, batch_size: int) -> None:
        self.parts, self.seed, self.batch_size = parts, seed, batch_size

    def batches(self, step: int, rank: int = 0) -> list[Any]:
        """Give the one batch of a draw."""
        from ..data import collate

        random = Random(f"{self.seed}/{step}/{rank}")
        chosen = random.choices(self.parts, [part.weight for part in self.parts], k=self.batch_size)
        return [collate([part.source[random.randrange(len(part.source))] for part in chosen], {}, "pictures")]

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run is recognised by."""
        sizes = {part.name: [len(part.source), part.weight] for part in self.parts}
        return {"seed": self.seed, "batch_size": self.batch_size, "parts": sizes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raise ConfigError unless the checkpoint was written with these parts."""
        if state != json.loads(json.dumps(self.state_dict())):
            raise ConfigError(f"the checkpoint's pictures were {state}, now they are {self.state_dict()}; start anew.")


def _shrunk(part: InstructPart) -> Source:
    source = part.open()
    if not part.shrink:
        return source if part.copies == 1 else Cached(source)
    return Cached(source, _Fixed(build_transform(part.shrink)))


def _limited(train: TrainConfig, time_limit: float | None) -> TrainConfig:
    return train if time_limit is None else replace(train, time_limit=time_limit)


def _record(run: InstructRun, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.yaml").write_text(to_yaml(run), encoding="utf-8")

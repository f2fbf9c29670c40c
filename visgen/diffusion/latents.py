"""Cached latents of photographs and answers, and batches of them as a pure function of the step."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data import Sample, Source
from ..errors import ConfigError, DataError, nearest
from ..language import TaskRequest
from ..structures.png import write_atomically
from .codec import CodecSettings, codec_for
from .queries import Query, QueryConfig, canvas_image, draw_queries

if TYPE_CHECKING:
    from .model import InstructDiffusion

__all__ = ["LatentBatch", "LatentCache", "LatentStream", "build_cache", "encode_questions"]

_CHUNK = 32  # pictures that the VAE takes at a time


@dataclass(frozen=True)
class LatentBatch:
    """Latents with instructions.

    Args:
        image: Image latents (B, C, h, w), as `InstructDiffusion.encode_image` gives them.
        target: Latents of the answers (B, C, h, w), as `encode_target` gives them.
        valid: (B, 1, h, w): 1 where all pixels of the cell have a known answer, else 0.
        drawn: (B, 1, h, w): 1 where some pixel of the cell is not black.
        texts: One instruction per item.
        heads: Nothing; batches of the engine have it.
    """

    image: Tensor
    target: Tensor
    valid: Tensor
    drawn: Tensor
    texts: tuple[str, ...]
    heads: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.texts)

    def to(self, device: torch.device | str) -> LatentBatch:
        """Give the batch on a device."""
        names = ("image", "target", "valid", "drawn")
        return replace(self, **{name: getattr(self, name).to(device, non_blocking=True) for name in names})


@dataclass(frozen=True)
class LatentCache:
    """Latents of images and of the answers to questions about them.

    Args:
        images: (N, C, h, w) float16.
        targets: (M, C, h, w) float16.
        valid, drawn: (M, h, w) bool; see LatentBatch.
        image_of: (M,) int64, the image that each question is about.
        part_of: (M,) int64, index into `parts`.
        parts: Names of the sources.
        requests: M questions.
    """

    images: Tensor
    targets: Tensor
    valid: Tensor
    drawn: Tensor
    image_of: Tensor
    part_of: Tensor
    parts: tuple[str, ...]
    requests: tuple[TaskRequest, ...]

    def __len__(self) -> int:
        return len(self.requests)

    def select(self, keep: Tensor) -> LatentCache:
        """Keep some questions, (M,) bool; images stay."""
        names = ("targets", "valid", "drawn", "image_of", "part_of")
        requests = tuple(r for r, kept in zip(self.requests, keep.tolist(), strict=True) if kept)
        return replace(self, **{name: getattr(self, name)[keep] for name in names}, requests=requests)

    def save(self, folder: str | Path) -> None:
        """Write `latents.safetensors` and then, whole or not at all, `questions.json`."""
        from safetensors.torch import save_file

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "questions.json").unlink(missing_ok=True)
        names = ("images", "targets", "valid", "drawn", "image_of", "part_of")
        save_file({name: getattr(self, name).contiguous() for name in names}, folder / "latents.safetensors")
        rows = {"parts": list(self.parts), "requests": [request.to_dict() for request in self.requests]}
        write_atomically(folder / "questions.json", json.dumps(rows).encode())

    @classmethod
    def load(cls, folder: str | Path) -> LatentCache:
        """Read what `save` wrote.

        Raises:
            DataError: A file is missing or broken.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        folder = Path(folder)
        try:
            tensors = load_file(folder / "latents.safetensors")
            rows = json.loads((folder / "questions.json").read_text(encoding="utf-8"))
            requests = tuple(TaskRequest.from_dict(row) for row in rows["requests"])
            return cls(**tensors, parts=tuple(rows["parts"]), requests=requests)
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"cached latents in '{folder}' cannot be read: {error}; make the cache again.") from error

    @classmethod
    def join(cls, caches: Sequence[LatentCache]) -> LatentCache:
        """Put the caches of several parts together."""
        if not caches:
            raise DataError("0 caches were given to join; give at least one.")
        parts = tuple(dict.fromkeys(name for cache in caches for name in cache.parts))
        offsets = [0]
        for cache in caches:
            offsets.append(offsets[-1] + len(cache.images))
        renumber = [torch.tensor([parts.index(name) for name in cache.parts]) for cache in caches]
        return cls(
            images=torch.cat([c.images for c in caches]),
            targets=torch.cat([c.targets for c in caches]),
            valid=torch.cat([c.valid for c in caches]),
            drawn=torch.cat([c.drawn for c in caches]),
            image_of=torch.cat([c.image_of + k for c, k in zip(caches, offsets, strict=False)]),
            part_of=torch.cat([new[c.part_of] for c, new in zip(caches, renumber, strict=True)]),
            parts=parts,
            requests=tuple(request for c in caches for request in c.requests),
        )


@torch.no_grad()
def build_cache(
    model: InstructDiffusion,
    name: str,
    source: Source,
    queries: QueryConfig,
    settings: CodecSettings,
    *,
    transform: Callable[[Sample, torch.Generator], Sample] | None = None,
    copies: int = 1,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> LatentCache:
    """Encode the images of a source and the answers to questions about them.

    Args:
        model: Its VAE encodes.
        name: Of the part.
        source: Labelled images.
        queries: What is asked.
        settings: Of the codecs.
        transform: Augmentation, drawn anew for each copy; photograph and labels go through it together.
        copies: How often each image is taken, each time with other questions.
        seed: Of augmentation and questions.
        progress: Called with (images done, images in all).
    Raises:
        DataError: No image of the source can answer any question.
    """
    size = (model.config.size, model.config.size)
    images, targets, valid, drawn, image_of, requests = [], [], [], [], [], []
    waiting: list[Tensor] = []
    plausible: list[str] = []
    total = copies * len(source)
    for number in range(total):
        copy, index = divmod(number, len(source))
        sample = source[index]
        if transform is not None:
            sample = transform(sample, _generator(seed, name, copy, index))
        random = Random(f"{seed}/{name}/{copy}/{index}")
        asked = list(draw_queries(sample, queries, settings, random, plausible))
        if progress is not None:
            progress(number + 1, total)
        if not asked:
            continue
        pictures = []
        for query in asked:
            picture, known = query.picture(codec_for(query.request, settings), size)
            pictures.append((picture, known))
            if query.is_there:
                plausible.extend(query.request.classes)
        plausible = plausible[-300:]
        images.append(canvas_image(sample, size))
        waiting += [picture for picture, _ in pictures]
        of_cells = [_cells(model, picture, known) for picture, known in pictures]
        valid += [cells for cells, _ in of_cells]
        drawn += [cells for _, cells in of_cells]
        image_of += [len(images) - 1] * len(asked)
        requests += [query.request for query in asked]
        if len(waiting) >= _CHUNK:
            targets.append(_encode(model.encode_target, waiting))
            waiting = []
    if waiting:
        targets.append(_encode(model.encode_target, waiting))
    if not requests:
        raise DataError(f"no image of part '{name}' ({source.name}) can answer a question; check its targets.")
    return LatentCache(
        images=torch.cat([_encode(model.encode_image, images[k : k + _CHUNK]) for k in range(0, len(images), _CHUNK)]),
        targets=torch.cat(targets),
        valid=torch.cat(valid) > 0.5,
        drawn=torch.cat(drawn) > 0.5,
        image_of=torch.tensor(image_of),
        part_of=torch.zeros(len(requests), dtype=torch.int64),
        parts=(name,),
        requests=tuple(requests),
    )


@torch.no_grad()
def encode_questions(
    model: InstructDiffusion, rows: Sequence[tuple[Sample, Query, str]], settings: CodecSettings
) -> LatentBatch:
    """Give one batch of questions, each with its image and the sentence that asks it; `settings` are the codecs'."""
    size = (model.config.size, model.config.size)
    answers = [query.picture(codec_for(query.request, settings), size) for _, query, _ in rows]
    valid, drawn = zip(*(_cells(model, picture, known) for picture, known in answers), strict=True)
    return LatentBatch(
        model.encode_image(torch.stack([canvas_image(sample, size) for sample, _, _ in rows])).float(),
        model.encode_target(torch.stack([picture for picture, _ in answers])).float(),
        (torch.stack(valid) > 0.5).float(),
        (torch.stack(drawn) > 0.5).float(),
        tuple(text for _, _, text in rows),
    )


def latent_side(model: InstructDiffusion) -> int:
    """Side of the latents of the model's canvas."""
    return int(model.config.size) >> (len(model.vae.config.block_out_channels) - 1)


def _cells(model: InstructDiffusion, picture: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Which cells (1, h, w) of the latents have a known answer everywhere, and on which some of it is drawn."""
    cell = model.config.size // latent_side(model)
    drawn = (picture > -0.9).any(dim=0)[None, None].float()
    return _pool(known[None, None].float(), cell, all_of=True), _pool(drawn, cell, all_of=False)


def _encode(encode: Callable[[Tensor], Tensor], pictures: Sequence[Tensor]) -> Tensor:
    return encode(torch.stack(list(pictures))).to("cpu", torch.float16)


def _pool(known: Tensor, cell: int, all_of: bool) -> Tensor:
    pooled = -F.max_pool2d(-known, cell) if all_of else F.max_pool2d(known, cell)
    return pooled[0]


def _generator(*key: Any) -> torch.Generator:
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


class LatentStream:
    """Batches of cached latents with fresh phrasings, a pure function of (seed, step, rank).

    Args:
        cache: Where latents come from.
        weights: Part name to its share of the draws; parts that are not named are left out.
        batch_size: Items per batch.
        phrase: Writes a question as a sentence; everything random in it comes from the given Random.
        seed: Of the draws.
    Raises:
        ConfigError: A part that the cache lacks or that holds no question, or no weight above 0.
    """

    def __init__(
        self,
        cache: LatentCache,
        weights: Mapping[str, float],
        batch_size: int,
        phrase: Callable[[TaskRequest, Random], str],
        seed: int = 0,
    ) -> None:
        for name, weight in weights.items():
            if name not in cache.parts:
                raise ConfigError(
                    f"part '{name}' is not in the cache{nearest(name, cache.parts)} It has {', '.join(cache.parts)}."
                )
            if not weight > 0:
                raise ConfigError(f"part '{name}' has weight {weight}; it must be > 0: leave the part out instead.")
        if not weights or batch_size < 1:
            raise ConfigError(f"{len(weights)} parts and batch_size {batch_size}; give at least one of each.")
        self.cache, self.weights, self.batch_size = cache, dict(weights), batch_size
        self.phrase, self.seed = phrase, int(seed)
        self._rows = {name: (cache.part_of == cache.parts.index(name)).nonzero().flatten() for name in weights}
        for name, rows in self._rows.items():
            if not len(rows):
                raise ConfigError(
                    f"part '{name}' has 0 questions that the text encoder can hold; leave the part out, or give the "
                    "model more tokens."
                )

    def batches(self, step: int, rank: int = 0) -> list[LatentBatch]:
        """Give the one batch of a draw."""
        random = Random(f"{self.seed}/{step}/{rank}")
        names = random.choices(list(self.weights), list(self.weights.values()), k=self.batch_size)
        rows = torch.tensor([int(self._rows[name][random.randrange(len(self._rows[name]))]) for name in names])
        cache = self.cache
        return [
            LatentBatch(
                cache.images[cache.image_of[rows]].float(),
                cache.targets[rows].float(),
                cache.valid[rows][:, None].float(),
                cache.drawn[rows][:, None].float(),
                tuple(self.phrase(cache.requests[row], random) for row in rows.tolist()),
            )
        ]

    def state_dict(self) -> dict[str, Any]:
        """What must be equal for a resumed run to go on."""
        return {"items": len(self.cache), "weights": self.weights, "batch_size": self.batch_size, "seed": self.seed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Check that a checkpoint was written with this stream.

        Raises:
            ConfigError: Something differs.
        """
        mine, theirs = self.state_dict(), dict(state)
        if theirs != mine:
            changed = sorted(key for key in mine if theirs.get(key) != mine[key])
            raise ConfigError(
                f"the checkpoint's data differ in {', '.join(changed)}: {[theirs.get(k) for k in changed]} then, "
                f"{[mine[k] for k in changed]} now; resume with the same cache and configuration."
            )

"""A generator as a source of labelled samples, each with the story of where it comes from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from ..data import WRAPPERS, Sample, Source
from ..errors import ConfigError, DataError, nearest
from ..structures import ClassLabel
from .architecture import Generator
from .saving import SavedGan, load_gan

__all__ = ["GanSource", "of_classes", "to_bytes"]

_KEPT = 2**27
"""Bytes of pictures that a source keeps, so that a shuffled order does not make a whole block for each of them."""

Accept = Callable[[Tensor, Tensor | None], Tensor]


def to_bytes(images: Tensor) -> Tensor:
    """Turn images in [-1, 1] into uint8: 255 (x + 1) / 2 + 0.5, cut to 0..255 and truncated."""
    return (images.float() * 127.5 + 128).clamp(0, 255).to(torch.uint8)


class GanSource:
    """Map-style source of generated images: item i is the same sample every time.

    The latent of item i comes from (seed, i, attempt); labels go round the classes, so that every class is equally
    often there. Items are made `batch_size` at a time, always the same ones together, and the last 128 MiB are kept.

    Args:
        gan: A saved GAN, or the folder of one.
        count: Number of samples.
        seed: Of the latents.
        name: Names the label set: the head is "classification.NAME".
        accept: Called with uint8 images (B, 3, H, W) and labels (B,) or None; gives (B,) bool. A refused image is
            drawn again, up to `attempts` times.
        attempts: Draws for one item at most.
        batch_size: Items made together.
    Raises:
        ConfigError: A number out of range.
        DataError: When read: an item of which every draw was refused.
    """

    def __init__(
        self,
        gan: SavedGan | str,
        count: int,
        seed: int = 0,
        *,
        name: str = "gan",
        accept: Accept | None = None,
        attempts: int = 20,
        batch_size: int = 64,
    ) -> None:
        if count < 1 or attempts < 1 or batch_size < 1:
            raise ConfigError(
                f"count is {count}, attempts {attempts}, batch_size {batch_size}; each must be 1 or more."
            )
        saved = load_gan(gan) if isinstance(gan, str) else gan
        self.generator: Generator = saved.generator
        self.generator_id = saved.sha256
        self.count, self.seed, self.name = count, seed, name
        self.accept, self.attempts, self.batch_size = accept, attempts, batch_size
        names = saved.classes if self.generator.n_classes else ()
        self.heads: dict[str, str] = {"classification": f"classification.{name}"} if names else {}
        self.classes: dict[str, tuple[str, ...]] = {"classification": names} if names else {}
        self._made: dict[int, tuple[Tensor, Tensor, list[int]]] = {}  # the last blocks that were made

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_made": {}}  # each process makes what it reads

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.count:
            raise IndexError(f"index {index} is outside source '{self.name}' of {self.count}.")
        block, offset = divmod(index, self.batch_size)
        if block not in self._made:
            made = self._make(block)
            while self._made and (len(self._made) + 1) * made[0].nbytes > _KEPT:
                del self._made[next(iter(self._made))]
            self._made[block] = made
        images, latents, attempts = self._made[block]
        targets = {}
        if self.heads:
            names = self.classes["classification"]
            targets["classification"] = ClassLabel(index % len(names), names)
        meta = {
            "id": index,
            "path": f"gan/{self.generator_id[:12]}/{self.seed}/{index}",
            "generator": self.generator_id,
            "seed": self.seed,
            "attempt": attempts[offset],
            "latent": tuple(latents[offset].tolist()),
        }
        return Sample(images[offset].clone(), targets, meta)

    def latent(self, index: int, attempt: int = 0) -> Tensor:
        """Give the latent (Z,) of an item's n-th draw."""
        digest = hashlib.sha256(f"{self.seed}/{index}/{attempt}".encode()).digest()
        rng = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        return self.generator.draw_latent(1, rng)[0]

    @torch.no_grad()
    def _make(self, block: int) -> tuple[Tensor, Tensor, list[int]]:
        """Images, latents and numbers of the accepted draws of one block of items."""
        items = list(range(block * self.batch_size, min(self.count, (block + 1) * self.batch_size)))
        device = next(self.generator.parameters()).device
        size = self.generator.resolution
        images = torch.zeros(len(items), 3, size, size, dtype=torch.uint8)
        latents = torch.zeros(len(items), self.generator.z_dim)
        attempts, open_ = [0] * len(items), list(range(len(items)))
        for attempt in range(self.attempts):
            z = torch.stack([self.latent(items[k], attempt) for k in open_])
            y = torch.tensor([items[k] % self.generator.n_classes for k in open_]) if self.heads else None
            made = to_bytes(self.generator(z.to(device), None if y is None else y.to(device))).cpu()
            good = torch.ones(len(open_), dtype=torch.bool) if self.accept is None else self.accept(made, y).cpu()
            for row, k in enumerate(open_):
                if good[row]:
                    images[k], latents[k], attempts[k] = made[row], z[row], attempt
            open_ = [k for row, k in enumerate(open_) if not good[row]]
            if not open_:
                return images, latents, attempts
        raise DataError(
            f"source '{self.name}': all {self.attempts} draws of item {items[open_[0]]} were refused; loosen `accept` "
            "or allow more attempts."
        )


class _Relabelled:
    """Generated pictures of some classes, in the label set of another source."""

    def __init__(self, gan: GanSource, source: Source, classes: Sequence[str], count: int) -> None:
        own = gan.classes["classification"]
        self.gan, self.count, self.name = gan, count, source.name
        self.heads = {"classification": source.heads["classification"]}
        self.classes = {"classification": tuple(source.classes["classification"])}
        self.numbers = [own.index(name) for name in classes]
        self.every = len(own)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.count:
            raise IndexError(f"index {index} is outside source '{self.name}' of {self.count}.")
        turn, place = divmod(index, len(self.numbers))
        sample = self.gan[turn * self.every + self.numbers[place]]
        names = self.classes["classification"]
        label = ClassLabel(names.index(sample.targets["classification"].name), names)
        return sample.replace(targets={"classification": label})


@WRAPPERS.register("gan")
def of_classes(source: Source, gan: str, classes: Sequence[str], count: int = 500, seed: int = 0) -> Source:
    """Pictures that a class-conditional GAN draws of some classes: {name: gan, gan: FOLDER, classes: [leopards]}.

    They take the place of the pictures of `source`, whose label set and head they keep.

    Args:
        source: Source with image labels.
        gan: Folder of a saved GAN.
        classes: Names that both label sets have, drawn in turn.
        count: Number of samples.
        seed: Of the latents.
    Raises:
        ConfigError: The source or the GAN has no labels, or lacks a class.
    """
    theirs = tuple(source.classes.get("classification", ()))
    if not theirs:
        raise ConfigError(f"source '{source.name}' has no image labels; a GAN draws classes of pictures.")
    made = GanSource(gan, 1, seed)
    own = made.classes.get("classification", ())
    for name in classes:
        for names, what in ((own, f"the GAN '{gan}'"), (theirs, f"source '{source.name}'")):
            if name not in names:
                raise ConfigError(f"class '{name}' is not drawn by or named in {what}{nearest(name, names)}")
    if not classes or count < 1:
        raise ConfigError(f"{len(classes)} classes and a count of {count} were asked for; give at least one of each.")
    turns = -(-count // len(classes))
    return _Relabelled(GanSource(gan, turns * len(own), seed), source, classes, count)

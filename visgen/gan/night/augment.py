"""Night as a training-data source: a fixed share of the pictures of any source is shown by night, labels untouched."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any, Literal

import torch
from torch import Tensor

from ...data import Batch, Sample, Source
from ...data.wrap import name_of
from ...errors import ConfigError
from ...structures import SceneGraph
from ...structures.image import IMAGE_SUFFIXES
from ...structures.png import encode_png, write_atomically
from ..architecture.camera import add_camera_noise, check_grain
from .generator import NightGenerator
from .validity import box_contrast

__all__ = ["REFUSED", "Night", "NightAugmentation", "name_share"]

# Targets that night makes wrong: what the light itself is the label of, and what a picture is restored to.
REFUSED = frozenset(
    {
        *("restoration", "denoising", "colourisation", "colorization", "photometric", "illumination"),
        *("time_of_day", "weather", "colour", "color", "caption", "captions", "vqa"),
    }
)


def name_share(name: str, salt: str = "") -> float:
    """Give the number in [0, 1) that belongs to a picture's name: the last four hex digits of its md5, over 65536.

    Args:
        name: Base name of the picture without its suffix.
        salt: Put behind the name, for another draw; "" is the rule of the source.
    Source: Mohwald et al. 2023, arXiv:2309.16351, their code.
    """
    return int(hashlib.md5(f"{name}{salt}".encode(), usedforsecurity=False).hexdigest()[-4:], 16) / 65536


class NightAugmentation:
    """Show some samples by night; every target stays the same object.

    Args:
        generator: A NightGenerator, or any function from images (B, 3, H, W) in [0, 1] to the same.
        p: Share of the samples.
        select: "hash" takes those whose name has a `name_share` below `p`: always the same ones, in any process.
            "random" draws by (seed, epoch, name); see Night for who counts epochs.
        seed: Of the random draw.
        key: Entry of `meta` whose base name is hashed; "id" where it is missing.
        salt: See `name_share`.
        epoch_salt: Draw anew each epoch, so that every picture is seen by day too.
        roles: Only samples whose `meta["role"]` is among these; None takes all.
        skip_if: Function of a sample that is true where it must stay, such as pictures that are dark already.
        min_contrast: Boxes whose log-luminance varies less than this (standard deviation) after translation become
            crowd regions: neither asked for nor counted as background. None leaves all boxes.
        cache: Folder in which translated pictures are kept as PNG, by hash of picture and generator; None keeps none.
        grain: Range, on the scale 0..1, of the standard deviation of the camera noise that a night gets, always the
            same for the same name. A generator draws none, so that its nights are cleaner than those of a camera at
            high gain; those that were trained with `grain` leave it to be added.
    Raises:
        ConfigError: A share outside [0, 1], another word for `select`, or, when called, a sample with a target that
            night makes wrong (`REFUSED`).
    """

    def __init__(
        self,
        generator: NightGenerator | Callable[[Tensor], Tensor],
        p: float = 0.25,
        *,
        select: Literal["hash", "random"] = "hash",
        seed: int = 0,
        key: str = "path",
        salt: str = "",
        epoch_salt: bool = False,
        roles: Collection[str] | None = None,
        skip_if: Callable[[Sample], bool] | None = None,
        min_contrast: float | None = None,
        cache: str | Path | None = None,
        grain: Sequence[float] = (0.0, 0.0),
    ) -> None:
        check_grain(grain)
        self.grain = tuple(grain)
        if not 0 <= p <= 1 or select not in ("hash", "random"):
            raise ConfigError(f"p is {p} and select '{select}'; use a share in [0, 1], and 'hash' or 'random'.")
        self.generator, self.p, self.select, self.seed, self.key = generator, p, select, seed, key
        self.salt, self.epoch_salt, self.roles, self.skip_if = salt, epoch_salt, roles, skip_if
        self.min_contrast = min_contrast
        self.cache = None if cache is None else Path(cache)
        self.generator_id = str(getattr(generator, "identity", "")) or "unsaved"
        if self.cache is not None and self.generator_id == "unsaved":
            raise ConfigError("a cache must know its generator; save it and load it again, which gives it its hash.")

    def selects(self, sample: Sample, epoch: int = 0) -> bool:
        """True when this sample is shown by night in this epoch."""
        if self.roles is not None and sample.meta.get("role") not in self.roles:
            return False
        name = self._name(sample.meta)
        if self.select == "hash":
            share = name_share(name, f"{self.salt}/{epoch}" if self.epoch_salt else self.salt)
        else:
            digest = hashlib.sha256(f"{self.seed}/{epoch}/{name}{self.salt}".encode()).digest()
            share = int.from_bytes(digest[:8], "little") / 2**64
        return share < self.p and not (self.skip_if is not None and self.skip_if(sample))

    def __call__(self, sample: Sample, epoch: int = 0) -> Sample:
        """Give the sample, by night where it is selected; `meta` then has "night" and "night_model"."""
        self._check(sample.targets)
        if not self.selects(sample, epoch):
            return sample
        image = self._translated(sample)
        targets = sample.targets if self.min_contrast is None else self._seen(sample.targets, image.float() / 255)
        return sample.replace(image, targets, {**sample.meta, "night": True, "night_model": self.generator_id})

    def on_batch(self, batch: Batch, epoch: int = 0) -> Batch:
        """Translate the selected pictures of a batch, those of one size at once, on the device where it lies.

        For accelerators: loader workers then need no generator. Padding is no part of a picture and stays black.
        """
        self._check(batch.targets)
        whole = tuple(batch.images.shape[2:])
        sizes = [tuple(m.get("size", whole)) for m in batch.meta]
        shown = [image[:, :height, :width] for image, (height, width) in zip(batch.images, sizes, strict=True)]
        samples = [Sample(image.cpu(), {}, m) for image, m in zip(shown, batch.meta, strict=True)]
        chosen = [i for i, sample in enumerate(samples) if self.selects(sample, epoch)]
        if not chosen:
            return batch
        images, targets, meta = batch.images.clone(), batch.targets, list(batch.meta)
        if self.min_contrast is not None:
            targets = {key: list(values) for key, values in targets.items()}
        for size in dict.fromkeys(sizes[i] for i in chosen):
            alike = [i for i in chosen if sizes[i] == size]
            for i, clean in zip(alike, self.generator(torch.stack([shown[i] for i in alike])), strict=True):
                night = self._grained(clean, self._name(meta[i])).to(images.dtype)
                images[i, :, : size[0], : size[1]] = night
                meta[i] = {**meta[i], "night": True, "night_model": self.generator_id}
                if self.min_contrast is not None:
                    for key, value in self._seen({key: values[i] for key, values in targets.items()}, night).items():
                        targets[key][i] = value
        return replace(batch, images=images, targets=targets, meta=meta)

    def _check(self, targets: Collection[str]) -> None:
        wrong = sorted(set(targets) & REFUSED)
        if wrong:
            raise ConfigError(
                f"a sample carries {', '.join(wrong)}, which night makes wrong; leave the target out, or do not "
                "wrap this source."
            )

    def _name(self, meta: Mapping[str, Any]) -> str:
        """What a picture is drawn by: its file without the ending of a picture, whatever else stands in the name.

        Rows of one file ("train.npz#5") keep their own names.
        """
        if self.key not in meta:
            return str(meta.get("id", ""))
        path = PurePath(str(meta[self.key]))
        return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name

    def _grained(self, night: Tensor, name: str) -> Tensor:
        """A night (3, H, W) in [0, 1] with the noise that belongs to a name."""
        if not self.grain[1] > 0:
            return night
        seed = int.from_bytes(hashlib.sha256(f"{self.seed}/grain/{name}".encode()).digest()[:7], "little")
        return (add_camera_noise(2 * night[None] - 1, self.grain, torch.Generator().manual_seed(seed))[0] + 1) / 2

    def _translated(self, sample: Sample) -> Tensor:
        """The picture by night as uint8, from the cache where it is there; noise is added to what is kept."""
        if self.grain[1] > 0:
            return _bytes(self._grained(self._clean(sample).float() / 255, self._name(sample.meta)))
        return self._clean(sample)

    def _clean(self, sample: Sample) -> Tensor:
        if self.cache is None:
            return _bytes(self.generator(sample.image[None])[0])
        content = hashlib.sha256(sample.pixels.contiguous().numpy().tobytes() + str(sample.size).encode()).hexdigest()
        file = self.cache / self.generator_id[:16] / f"{content[:32]}.png"
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(file, encode_png(_bytes(self.generator(sample.image[None])[0]).permute(1, 2, 0).numpy()))
        from ...data.readers.files import read_pixels

        return read_pixels(file)

    def _seen(self, targets: dict[str, Any], image: Tensor) -> dict[str, Any]:
        """Targets in which boxes that have sunk into the dark of an image in [0, 1] are crowd regions."""
        boxes = targets.get("detection")
        if boxes is None or len(boxes) == 0:
            return targets
        hidden = (box_contrast(image, boxes.xyxy) < float(self.min_contrast or 0)).to(boxes.xyxy.device)
        if not hidden.any():
            return targets
        seen = replace(boxes, is_crowd=hidden if boxes.is_crowd is None else boxes.is_crowd | hidden)
        graphs = {
            key: replace(value, boxes=seen)  # a graph over the boxes of "detection" goes on sharing them
            for key, value in targets.items()
            if isinstance(value, SceneGraph) and value.boxes is boxes
        }
        return {**targets, "detection": seen, **graphs}


def _bytes(night: Tensor) -> Tensor:
    return (night * 255).round().clamp(0, 255).to(torch.uint8)


class Night:
    """A source of which a share is shown by night: `Night(source, NightAugmentation(generator))`.

    Heads, classes and length are those of the source. Where the augmentation draws anew each epoch, a Mixture that
    reads this source itself (not one around it, such as `Cached`) shows each epoch's draw, plain reading the first.
    """

    def __init__(self, source: Source, augmentation: NightAugmentation, name: str | None = None) -> None:
        self.source, self.augmentation = source, augmentation
        self.name = name or source.name
        self.heads, self.classes = dict(source.heads), dict(source.classes)

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> Sample:
        return self.of_epoch(index, 0)

    def of_epoch(self, index: int, epoch: int) -> Sample:
        """Give a sample as it is shown in an epoch, counted from 0."""
        return self.augmentation(self.source[index], epoch)

    def name_of(self, index: int) -> str:
        """Give the name of a sample without translating it."""
        return name_of(self.source, index)

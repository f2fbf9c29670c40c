"""Any two sources as two domains, such as scenes by day and other scenes by night."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ...errors import ConfigError, DataError
from ..sample import Sample
from ..source import READERS, build_source

__all__ = ["UnpairedSources"]

MAPS = "segmentation"


class UnpairedSources:
    """Every picture of one source with every one of another; labels are dropped unless asked for.

    The sample's image is of the first source, `targets["other"]` is a picture (3, H, W) uint8 of the second. The
    transform `shared_crop` brings both to one size.

    Args:
        path: Two specifications with " | " between them:
            "town:night_town?time=day&seed=1 | town:night_town?time=night&seed=2". Town scenes of two seeds never meet.
        split: Of both.
        cache: Keep the pictures in memory once they are read or rendered.
        labels: Keep the semantic maps of the first source, as `targets["segmentation"]`.
    Raises:
        ConfigError: Not two specifications, or twice the same one; labels are asked for and the first has none.
        DataError: A source without pictures.
    """

    def __init__(self, path: str, split: str = "train", *, cache: bool = True, labels: bool = False) -> None:
        specs = [part.strip() for part in path.split("|")]
        if len(specs) != 2 or not all(specs) or specs[0] == specs[1]:
            raise ConfigError(
                f"unpaired-sources '{path}' names {len(specs)} source(s); write two different ones, FIRST | SECOND."
            )
        self.sources = [build_source(spec, split) for spec in specs]
        for spec, source in zip(specs, self.sources, strict=True):
            if len(source) == 0:
                raise DataError(f"source '{spec}' has 0 pictures in split '{split}'; choose another.")
        self.name = "+".join(source.name for source in self.sources)
        self.heads: dict[str, str] = {}
        self.classes: dict[str, tuple[str, ...]] = {}
        if labels:
            known = self.sources[0].classes.get(MAPS)
            if not known:
                raise ConfigError(f"source '{specs[0]}' has no semantic maps to keep; leave `labels` out.")
            self.classes[MAPS] = tuple(known)
        self._kept: dict[tuple[int, int], tuple[Tensor, dict[str, Any], str]] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.sources[0]) * len(self.sources[1])

    def __getitem__(self, index: int) -> Sample:
        first, second = divmod(index, len(self.sources[1]))
        if not 0 <= first < len(self.sources[0]):
            raise IndexError(f"index {index} is outside source '{self.name}' of {len(self)}.")
        (a, maps, name_a), (b, _, name_b) = self._picture(0, first), self._picture(1, second)
        return Sample(a, {**maps, "other": b}, {"id": f"{name_a}+{name_b}"})

    def _picture(self, side: int, index: int) -> tuple[Tensor, dict[str, Any], str]:
        """Pixels (3, H, W) uint8, the map where it is kept, and name of one picture."""
        if self._kept is not None and (side, index) in self._kept:
            return self._kept[side, index]
        sample = self.sources[side][index]
        pixels = sample.pixels
        if pixels.is_floating_point():
            pixels = (pixels * 255).round().byte()
        kept = {MAPS: sample.targets.get(MAPS)} if side == 0 and self.classes else {}
        found = pixels, kept, str(sample.meta.get("id", index))
        if self._kept is not None:
            self._kept[side, index] = found
        return found


READERS.register("unpaired-sources")(UnpairedSources)

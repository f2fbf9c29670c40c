"""Write what a fixed backbone sees of a source, once, so that trainings on top of it take minutes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..data import Source
from ..data.readers.maps import MAPS_FORMAT, FeatureMaps
from ..errors import ConfigError, DataError
from ..structures.working_size import resize_for_work, working_size

__all__ = ["write_maps"]

STRIDE = 16
_FITTED = 200  # pictures whose cells the projection is fitted to


@torch.no_grad()
def write_maps(
    backbone: nn.Module,
    source: Source,
    folder: str | Path,
    split: str,
    *,
    long_side: int = 384,
    channels: int = 64,
    cell: int = 4,
    grid: tuple[int, int] | None = None,
    batch_size: int = 8,
    about: dict[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> FeatureMaps:
    """Write the stride-16 maps of a source with scene graphs; `visgen.data.build_source("maps:FOLDER")` reads them.

    Channels are reduced by a fixed projection: the leading principal components of the cells of the first pictures of
    the split "train", each scaled to unit variance; other splits take it over.

    Args:
        backbone: Images (B, 3, H, W) in [0, 1] to Features.
        source: Samples with "scene_graph".
        folder: Gets the folder `split`, whole or not at all.
        split: Its name; "train" must be written first.
        long_side: Pictures are brought to this longer side, in pixels.
        channels: C, at most the width of the backbone's map.
        cell: Pixels of the kept small picture along a cell, at most 16.
        grid: (rows, columns) of all maps, smaller ones padded with zeros; None where all pictures have one size.
        batch_size: Pictures of one size per forward pass.
        about: More facts to note, plain values.
        progress: Called with (pictures done, pictures in all).
    Raises:
        ConfigError: `channels` or `cell` outside their range, or no projection yet.
        DataError: A sample without scene graph, or a map that does not fit the grid.
    """
    if not 1 <= cell <= STRIDE:
        raise ConfigError(f"cell is {cell} pixels; a cell of the map is {STRIDE} pixels of the picture, use 1..16.")
    base, final = Path(folder), Path(folder) / split
    base.mkdir(parents=True, exist_ok=True)
    projection = _projection(backbone, source, base, split, long_side, channels)
    work = base / f".{split}.tmp"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    first = source[0].targets.get("scene_graph")
    rows: list[dict[str, Any]] = []
    known = None if grid is None else (int(grid[0]), int(grid[1]))
    with (work / "maps.f16").open("wb") as maps, (work / "pictures.u8").open("wb") as pictures:
        for begin in range(0, len(source), batch_size):
            samples = [source[i] for i in range(begin, min(begin + batch_size, len(source)))]
            for sample, found in zip(samples, _seen(backbone, samples, long_side), strict=True):
                graph = sample.targets.get("scene_graph")
                if graph is None:
                    raise DataError(f"a sample of '{source.name}' has no target 'scene_graph'; open it with that task.")
                cells = (int(found.shape[-2]), int(found.shape[-1]))
                known = known or cells
                if cells[0] > known[0] or cells[1] > known[1] or (grid is None and cells != known):
                    raise DataError(f"a map has {cells} cells but the grid is {known}; give a grid that holds all.")
                pad = (0, known[1] - cells[1], 0, known[0] - cells[0])
                maps.write(F.pad(_project(found, projection), pad).half().numpy().tobytes())
                pictures.write(_small(sample.image, long_side, cell, known).numpy().tobytes())
                rows.append(_row(graph, sample, len(rows), long_side, cell, cells))
            if progress is not None:
                progress(len(rows), len(source))
    facts = {"format": MAPS_FORMAT, "grid": known, "channels": channels, "cell": cell, "long_side": long_side}
    labels = {"classes": first.boxes.classes, "predicates": first.predicates}  # type: ignore[union-attr]
    text = json.dumps({**facts, **labels, "source": source.name, **(about or {})}, indent=1)
    (work / "about.json").write_text(text, encoding="utf-8")
    (work / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    shutil.rmtree(final, ignore_errors=True)
    if split == "train":  # with the maps that it was fitted for, or other splits would be written beside older ones
        save_file(projection, base / "projection.safetensors")
    work.rename(final)
    return FeatureMaps(base, split)


def _seen(backbone: nn.Module, samples: list[Any], long_side: int) -> list[Tensor]:
    """Stride-16 maps (C, h, w) of samples, those of one size together."""
    images = [resize_for_work(s.image, long_side, long_side) for s in samples]
    found: list[Tensor] = [images[0]] * len(images)
    for size in sorted({tuple(i.shape) for i in images}):
        own = [n for n, i in enumerate(images) if tuple(i.shape) == size]
        maps = backbone(torch.stack([images[n] for n in own])).pyramid[STRIDE].float()
        for n, one in zip(own, maps, strict=True):
            found[n] = one
    return found


def _projection(
    backbone: nn.Module, source: Source, base: Path, split: str, long_side: int, channels: int
) -> dict[str, Tensor]:
    file = base / "projection.safetensors"
    if split != "train":
        if not file.is_file():
            raise ConfigError(f"{file} is missing, which the split 'train' fits; write that split first.")
        return load_file(file)
    step = max(len(source) // _FITTED, 1)
    chosen = [source[i] for i in range(0, len(source), step)][:_FITTED]
    cells = torch.cat(
        [m.flatten(1).T for n in range(0, len(chosen), 8) for m in _seen(backbone, chosen[n : n + 8], long_side)]
    )
    if not 1 <= channels <= cells.shape[1]:
        raise ConfigError(f"channels is {channels}; the backbone's map has {cells.shape[1]}: use 1..{cells.shape[1]}.")
    cells = cells.double()
    mean = cells.mean(0)
    values, vectors = torch.linalg.eigh((cells - mean).T @ (cells - mean) / len(cells))
    leading = vectors[:, -channels:].flip(1)  # (C, channels), the largest variance first
    # the sign of an eigenvector is free: its largest entry shall be positive
    leading = leading * leading.gather(0, leading.abs().argmax(0, keepdim=True)).sign()
    scale = values[-channels:].flip(0).clamp(min=1e-8).sqrt()
    found = {"mean": mean.float(), "matrix": (leading / scale).float().contiguous()}
    others = sorted(p.parent.name for p in base.glob("*/about.json") if p.parent.name != split)
    before = load_file(file) if others and file.is_file() else found
    if any(before[key].shape != part.shape or not torch.allclose(before[key], part) for key, part in found.items()):
        raise ConfigError(
            f"'{base}' holds maps of {', '.join(others)} under another projection; write all splits to a new folder."
        )
    return found


def _project(found: Tensor, projection: dict[str, Tensor]) -> Tensor:
    return torch.einsum("chw,cd->dhw", found - projection["mean"][:, None, None], projection["matrix"])


def _small(image: Tensor, long_side: int, cell: int, grid: tuple[int, int]) -> Tensor:
    """The picture with `cell` pixels along each cell, uint8, black beyond it."""
    height, width = working_size((int(image.shape[1]), int(image.shape[2])), long_side, long_side)
    size = (max(round(height * cell / STRIDE), 1), max(round(width * cell / STRIDE), 1))
    small = F.interpolate(image[None], size=size, mode="bilinear", antialias=True, align_corners=False)[0]
    room = (0, grid[1] * cell - size[1], 0, grid[0] * cell - size[0])
    return F.pad((small.clamp(0, 1) * 255).round().to(torch.uint8), room)


def _row(graph: Any, sample: Any, number: int, long_side: int, cell: int, cells: tuple[int, int]) -> dict[str, Any]:
    worked = working_size(sample.size, long_side, long_side)
    scale = torch.tensor([worked[1] / sample.size[1], worked[0] / sample.size[0]]).repeat(2) * cell / STRIDE
    return {
        "id": str(sample.meta.get("id", number)),
        "cells": cells,
        "boxes": [[round(v, 3) for v in box] for box in (graph.boxes.xyxy * scale).tolist()],
        "labels": graph.boxes.labels.tolist(),
        "triplets": graph.triplets.tolist(),
    }

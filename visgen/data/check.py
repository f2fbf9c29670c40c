"""Read a whole data set before hours are lost on it: broken files, labels, boxes, masks, depth, and leaks between
splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError, VisgenError
from ..structures import IGNORE, Boxes, ClassLabel, DepthMap, Masks, SceneGraph, SemanticMap
from .duplicates import difference_hash, near_pairs, pixel_digest
from .report import Finding, Report
from .sample import Sample
from .source import MissingSplit, Source, build_source, split_spec

__all__ = ["Finding", "Report", "check_source", "check_sources"]

_SPLITS = ("train", "val", "test")
_SHOWN = 20  # findings of one kind that are listed; all are counted
_SMALLEST = 32  # the models take images from 32 x 32
_MANY = 0.01  # share of the known pixels of a depth map; what lies exactly so far is far fewer


def check_source(spec: str, splits: Sequence[str] | None = None, limit: int | None = None, **options: Any) -> Report:
    """Check a data set on disk.

    Args:
        spec: "FORMAT:PATH", as for `build_source`.
        splits: Which splits; by default those of train, val and test that there are, or the whole where the data are
            one file or two folders without splits.
        limit: Read at most so many samples of each split, spread evenly.
        options: The reader's options.
    Returns:
        The report; what a reader refuses to open is an error in it, too.
    Raises:
        ConfigError, UnknownName: The spec or an option is not known, or the limit is below 1.
    """
    sources: dict[str, Source] = {}
    refused: list[Finding] = []
    missing: list[str] = []
    for split in splits or _splits_of(spec, options):
        try:
            sources[split] = build_source(spec, split, **options)
        except MissingSplit as error:
            missing.append(str(error))
            if splits:
                refused.append(Finding("error", "missing split", split, 1, (str(error),)))
        except VisgenError as error:
            if not isinstance(error, DataError):
                raise
            refused.append(Finding("error", "cannot be opened", split, 1, (str(error),)))
    if not sources and not refused:
        refused.append(Finding("error", "missing split", "train, val, test", 1, (missing[0],)))
    report = check_sources(sources, spec, limit)
    report.findings[:0] = refused
    return report


def check_sources(sources: Mapping[str, Source], name: str = "", limit: int | None = None) -> Report:
    """Check open sources, split name to source; see `check_source`."""
    if limit is not None and limit < 1:
        raise ConfigError(f"limit is {limit}; read at least 1 sample of each split, or leave it out for all.")
    report = Report(name or ", ".join(s.name for s in sources.values()))
    hashes: dict[str, _Hashes] = {}
    for split, source in sources.items():
        scan = _Scan(split, source)
        for index in _spread(len(source), limit):
            scan.read(index)
        report.splits[split] = scan.numbers()
        report.findings.extend(scan.findings())
        hashes[split] = scan.hashes
    splits = list(hashes)
    for i, first in enumerate(splits):
        for second in splits[i + 1 :]:
            report.findings.extend(_other_classes(first, sources[first], second, sources[second]))
            report.findings.extend(_leaks(first, hashes[first], second, hashes[second]))
    report.findings.sort(key=lambda f: f.level != "error")
    return report


def _splits_of(spec: str, options: Mapping[str, Any]) -> Sequence[str]:
    """The splits that are looked for where none is named; one for what every split would read from the same files."""
    form, path = split_spec(spec)
    if form == "ood":
        folders = [Path(part.strip()) / split for part in path.split(",") for split in _SPLITS]
        return _SPLITS if any(folder.is_dir() for folder in folders) else ("all",)
    if form in ("places", "unpaired") and not list(Path(options.get("lists") or path).glob("*_*.txt")):
        return ("all",)
    if "val_share" in options:  # which cuts one file in two
        return _SPLITS[:2]
    if Path(path).is_file():
        return ([split for split in _SPLITS if split in Path(path).stem] or ["train"])[:1]
    return _SPLITS


def _other_classes(first: str, one: Source, second: str, two: Source) -> list[Finding]:
    """Label sets that differ between two splits, which no head can be trained on and measured on."""
    found = []
    for task in sorted(one.classes.keys() & two.classes.keys()):
        a, b = one.classes[task], two.classes[task]
        if tuple(a) == tuple(b):
            continue
        lacks = {second: set(a) - set(b), first: set(b) - set(a)}
        said = [f"{split} lacks {', '.join(sorted(names))}" for split, names in lacks.items() if names]
        example = f"{task}: {'; '.join(said) or 'the order differs'}"
        found.append(Finding("error", "classes differ between splits", f"{first}, {second}", 1, (example,)))
    return found


@dataclass
class _Hashes:
    names: list[str] = field(default_factory=list)
    digests: dict[bytes, str] = field(default_factory=dict)
    bits: list[np.ndarray] = field(default_factory=list)
    bit_names: list[str] = field(default_factory=list)


class _Scan:
    """Reads one split and counts."""

    def __init__(self, split: str, source: Source) -> None:
        self.split, self.source, self.samples = split, source, 0
        self.troubles: dict[tuple[str, str], list[str]] = {}
        self.counts: Counter[tuple[str, str]] = Counter()
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.classes = {task: names for task, names in source.classes.items() if names}
        self.histogram = {task: np.zeros(len(names)) for task, names in self.classes.items()}
        self.depth: list[tuple[float, float, float, float]] = []
        self.hashes = _Hashes()
        for kind, count in getattr(source, "left_out", {}).items():
            if count:
                self.counts["warning", f"left out: {kind}"] = count

    def trouble(self, level: str, kind: str, example: str) -> None:
        self.counts[level, kind] += 1
        listed = self.troubles.setdefault((level, kind), [])
        if len(listed) < _SHOWN:
            listed.append(example)

    def read(self, index: int) -> None:
        try:
            sample = self.source[index]
        except VisgenError as error:
            self.trouble("error", "unreadable", str(error))
            return
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            self.trouble("error", "unreadable", f"sample {index}: {error!r}")
            return
        self.samples += 1
        name = str(sample.meta.get("id", index))
        self.sizes[sample.size] += 1
        if min(sample.size) < _SMALLEST:
            self.trouble("warning", f"image under {_SMALLEST} px", f"{name}: {sample.size[1]} x {sample.size[0]}")
        for task, value in sample.targets.items():
            size = getattr(value, "size", None)
            if isinstance(size, tuple) and size != sample.size:  # of a tensor it is a method
                self.trouble("error", "sizes differ", f"{name}: {task} {size}, image {sample.size} (H, W)")
            else:
                self.value(name, task, value, sample)
        self.hash(name, sample)

    def value(self, name: str, task: str, value: Any, sample: Sample) -> None:
        labelled = isinstance(value, (ClassLabel, Boxes, SemanticMap, SceneGraph))
        if labelled and task not in self.source.heads:  # such as the boxes of a graph, which come with its masks
            return
        if isinstance(value, (ClassLabel, Boxes, SemanticMap)) and tuple(value.classes) != self.classes.get(task):
            self.trouble("error", "classes differ", f"{name}: {task} has other classes than its source states")
        elif isinstance(value, ClassLabel):
            self.histogram[task][value.label] += 1
        elif isinstance(value, Boxes):
            np.add.at(self.histogram[task], value.labels.numpy(), 1)
            self.boxes(name, value)
        elif isinstance(value, SceneGraph):
            np.add.at(self.histogram[task], value.triplets[:, 2].numpy(), 1)
        elif isinstance(value, Masks):
            self.masks(name, value, sample.targets.get("detection"))
        elif isinstance(value, SemanticMap):
            counts = np.bincount(value.ids.numpy().ravel(), minlength=IGNORE + 1)
            self.histogram[task] += counts[: len(value.classes)]
            if counts[:IGNORE].sum() == 0:
                self.trouble("warning", "map without a labelled pixel", name)
        elif isinstance(value, DepthMap):
            known = value.metres[value.valid].numpy()
            if known.size == 0:
                self.trouble("warning", "depth without a known pixel", name)
            else:
                share = known.size / value.metres.numel()
                self.depth.append((float(known.min()), float(np.median(known)), float(known.max()), share))
                self.deepest(name, known)

    def deepest(self, name: str, known: np.ndarray) -> None:
        """Many pixels with the largest number that a depth file holds: a mark of what was not measured, as a rule."""
        deepest = getattr(self.source, "deepest", None)
        if deepest is not None and (share := float(np.isclose(known, deepest, rtol=1e-6, atol=0).mean())) > _MANY:
            self.trouble(
                "warning",
                "largest 16-bit value as depth",
                f"{name}: {100 * share:.1f} % of the known pixels are {deepest:g} m; if it marks missing depth, give "
                f"the option max_depth, such as max_depth={0.99 * deepest:.3g}",
            )

    def boxes(self, name: str, value: Boxes) -> None:
        height, width = value.size
        seen: set[tuple[float, ...]] = set()
        for row, label in zip(value.xyxy.tolist(), value.labels.tolist(), strict=True):
            at = f"{name}: {value.classes[label]} [{', '.join(f'{v:g}' for v in row)}]"
            x1, y1, x2, y2 = row
            if x2 - x1 <= 0 or y2 - y1 <= 0:
                self.trouble("error", "box without area", at)
            elif x2 - x1 < 1 or y2 - y1 < 1:
                self.trouble("warning", "box under 1 px", at)
            if x1 < -1 or y1 < -1 or x2 > width + 1 or y2 > height + 1:
                self.trouble("error", "box outside the image", f"{at} on {width} x {height}")
            if (*row, label) in seen:
                self.trouble("warning", "box twice", at)
            seen.add((*row, label))

    def masks(self, name: str, value: Masks, boxes: Any) -> None:
        if isinstance(boxes, Boxes) and len(boxes) != len(value):
            self.trouble("error", "masks and boxes differ in number", f"{name}: {len(value)} masks, {len(boxes)} boxes")
            return
        areas = value.masks.flatten(1).sum(1).tolist()
        tight = value.to_boxes().xyxy.tolist()
        for i, area in enumerate(areas):
            at = f"{name}: {value.classes[int(value.labels[i])]} number {i}"
            if area == 0:
                self.trouble("warning", "empty mask", at)
            elif isinstance(boxes, Boxes) and _overlap(tight[i], boxes.xyxy[i].tolist()) < 0.5:
                self.trouble("warning", "mask and box disagree (IoU < 0.5)", at)

    def hash(self, name: str, sample: Sample) -> None:
        if "other" in sample.targets:
            return  # of two pictures, in pairs that may share one
        if (path := str(sample.meta.get("path", name))) != name:
            name = f"{name} ({path})"
        pixels = sample.pixels if not sample.pixels.is_floating_point() else (sample.pixels * 255).round().byte()
        digest = pixel_digest(pixels)
        if digest in self.hashes.digests:
            self.trouble("warning", "same image twice", f"{self.hashes.digests[digest]} = {name}")
        self.hashes.digests.setdefault(digest, name)
        bits = difference_hash(pixels)
        if bits is not None:
            self.hashes.bits.append(bits)
            self.hashes.bit_names.append(name)

    def numbers(self) -> dict[str, Any]:
        out: dict[str, Any] = {"samples": self.samples, "sizes": _sizes_line(self.sizes)}
        if self.histogram:
            out["histogram"] = {
                task: dict(zip(self.classes[task], _tidy(task, counts), strict=True))
                for task, counts in self.histogram.items()
            }
        if self.depth:
            low, median, high, share = np.array(self.depth).T
            out["depth"] = {
                "min": float(low.min()),
                "median": float(np.median(median)),
                "max": float(high.max()),
                "valid_share": float(share.mean()),
            }
        return out

    def findings(self) -> list[Finding]:
        for task, counts in self.histogram.items():
            if self.samples == len(self.source):
                for label in np.flatnonzero(counts == 0).tolist():
                    self.trouble("warning", f"{task} class never seen", self.classes[task][label])
        return [
            Finding(level, kind, self.split, count, tuple(self.troubles.get((level, kind), ())))
            for (level, kind), count in self.counts.items()
        ]


def _leaks(first: str, a: _Hashes, second: str, b: _Hashes) -> list[Finding]:
    where = f"{first}, {second}"
    out = []
    shared = [(a.digests[d], b.digests[d]) for d in a.digests.keys() & b.digests.keys()]
    if shared:
        examples = tuple(f"{x} = {y}" for x, y in sorted(shared)[:_SHOWN])
        out.append(Finding("error", "same image in both splits", where, len(shared), examples))
    same = set(shared)
    pairs = near_pairs(_stack(b.bits), _stack(a.bits))
    near = [(a.bit_names[j], b.bit_names[i], bits) for i, j, bits in pairs]
    near = [row for row in near if row[:2] not in same]
    if near:
        near.sort(key=lambda row: row[2])
        examples = tuple(f"{x} ~ {y} ({bits} of 256 bits differ)" for x, y, bits in near[:_SHOWN])
        out.append(Finding("warning", "near duplicates between splits", where, len(near), examples))
    return out


def _stack(bits: list[np.ndarray]) -> np.ndarray:
    return np.stack(bits) if bits else np.zeros((0, 4), np.uint64)


def _spread(total: int, limit: int | None) -> list[int]:
    if limit is None or limit >= total:
        return list(range(total))
    return sorted({round(i * (total - 1) / max(limit - 1, 1)) for i in range(limit)})


def _overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """IoU of two boxes; the boxes of a data set, so at least one has an area."""
    inside = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    total = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inside
    return inside / total if total > 0 else 0.0


def _tidy(task: str, counts: np.ndarray) -> list[float]:
    """Counts as whole numbers; for maps the share of labelled pixels."""
    if task == "segmentation":
        return [round(float(c), 6) for c in counts / max(counts.sum(), 1)]
    return [int(c) for c in counts]


def _sizes_line(sizes: Counter[tuple[int, int]]) -> str:
    if not sizes:
        return "no size"
    if len(sizes) == 1:
        (height, width), _ = sizes.most_common(1)[0]
        return f"{width} x {height} px"
    heights, widths = zip(*sizes, strict=True)
    return f"{min(widths)} to {max(widths)} x {min(heights)} to {max(heights)} px, {len(sizes)} sizes"

"""What a check of a data set found, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Finding", "Report"]


@dataclass(frozen=True)
class Finding:
    """One kind of trouble in one split.

    Args:
        level: "error" (training or scores would be wrong) or "warning" (look at it).
        kind: Such as "unreadable" or "box outside".
        split: Where; "train, val" for what concerns two splits.
        count: How often.
        examples: Up to 20 items, with what is wrong there.
    """

    level: str
    kind: str
    split: str
    count: int
    examples: tuple[str, ...]


@dataclass
class Report:
    """What a check found.

    Args:
        spec: The data set.
        splits: Split to its numbers: "samples", "sizes", and per task "histogram" (class or predicate to images,
            boxes, relations or share of labelled pixels) or "depth" (metres and share of known pixels).
        findings: Errors first.
    """

    spec: str
    splits: dict[str, dict[str, Any]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is an error; warnings are allowed."""
        return not any(f.level == "error" for f in self.findings)

    @property
    def exit_status(self) -> int:
        """0 when ok, else 1."""
        return 0 if self.ok else 1

    def to_dict(self) -> dict[str, Any]:
        """Give the report as plain JSON-able values."""
        findings = [{**vars(f), "examples": list(f.examples)} for f in self.findings]
        return {"data": self.spec, "ok": self.ok, "splits": self.splits, "findings": findings}

    def table(self, classes: int = 12) -> str:
        """Give the report as text for people.

        Args:
            classes: How many classes of a histogram are shown, the most frequent and the rarest.
        """
        lines = [f"{self.spec}: {'ok' if self.ok else 'ERRORS'}"]
        for split, numbers in self.splits.items():
            lines.append(f"  {split}: {numbers['samples']} samples, {numbers['sizes']}")
            for task, histogram in numbers.get("histogram", {}).items():
                lines.append(f"    {task}: {_histogram_line(histogram, classes)}")
            if "depth" in numbers:
                d = numbers["depth"]
                lines.append(
                    f"    depth: {d['min']:.2f} to {d['max']:.2f} m, median {d['median']:.2f} m, "
                    f"{100 * d['valid_share']:.1f} % of pixels known"
                )
        for f in self.findings:
            lines.append(f"  {f.level.upper()} {f.split}: {f.kind}: {f.count}")
            lines.extend(f"      {example}" for example in f.examples[:5])
            if f.count > 5:
                lines.append(f"      and {f.count - 5} more")
        return "\n".join(lines)


def _histogram_line(histogram: Mapping[str, float], classes: int) -> str:
    rows = sorted(histogram.items(), key=lambda row: -row[1])
    shown = [f"{name} {value:g}" if isinstance(value, int) else f"{name} {100 * value:.1f} %" for name, value in rows]
    if len(shown) > classes:
        shown = [*shown[: classes // 2], f"... {len(shown) - 2 * (classes // 2)} more ...", *shown[-(classes // 2) :]]
    return f"{len(rows)} classes: " + ", ".join(shown)

"""The card of a model: what it answers, from which data, under which licence, how well, and what it cannot do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ModelCard"]


@dataclass(frozen=True)
class ModelCard:
    """What a person wants to know before using a model; every part that is left out is shown as not stated.

    Attributes:
        title: Heading.
        summary: A sentence or two.
        licence: Licence of the weights, as a name of huggingface.co/docs ("other" with `licence_note`).
        licence_note: What the licence means for a user.
        data: One line per training set: name, licence, count.
        metrics: Rows of (head or data set, metric, value, protocol, command); a value may be Markdown, such as a link
            to its record.
        limits: One line per known weakness.
    """

    title: str = "A visgen model"
    summary: str = ""
    licence: str = ""
    licence_note: str = ""
    data: Sequence[str] = ()
    metrics: Sequence[tuple[str, str, float | str, str, str]] = ()
    limits: Sequence[str] = ()
    tags: Sequence[str] = field(default=("visgen", "multi-task", "mixture-of-experts"))

    def render(self, config: Mapping[str, Any], parameters: int) -> str:
        """Give the card as Markdown with the front matter that the Hub reads.

        Args:
            config: The model's `config()`.
            parameters: Number of parameters.
        """
        heads: Mapping[str, Any] = config.get("heads", {})
        front = ["---", "library_name: visgen"]
        if self.licence:
            front.append(f"license: {self.licence}")
        front += ["tags:", *(f"- {tag}" for tag in self.tags), "---"]
        body = [
            f"# {self.title}",
            self.summary or "Several vision tasks answered by one model.",
            '```python\nfrom visgen import pipeline\n\nresult = pipeline(model=FOLDER_OR_HUB_ID)("photo.jpg")\n```',
            "## What it answers",
            "\n".join(["| head | task | classes |", "|---|---|---|", *(_head_row(k, v) for k, v in heads.items())]),
            f"Backbone `{config.get('backbone', {}).get('name', 'not stated')}`, {parameters:,} parameters; "
            f"photographs larger than {config.get('max_side', 'not stated')} px on their longer side are shrunk to it, "
            f"those smaller than {config.get('min_side', 0)} px enlarged.",
            "## Licence",
            " ".join(part for part in (self.licence, self.licence_note) if part) or "Not stated.",
            "## Training data",
            _lines(self.data),
            "## Figures",
            self._figures(),
            "## Limits",
            _lines(self.limits),
        ]
        return "\n".join(front) + "\n\n" + "\n\n".join(body) + "\n"

    def _figures(self) -> str:
        if not self.metrics:
            return "Not stated."
        shown = [v if isinstance(v, str) else f"{v:.4g}" for _, _, v, _, _ in self.metrics]
        rows = [f"| {d} | {m} | {v} | {p} | `{c}` |" for (d, m, _, p, c), v in zip(self.metrics, shown, strict=True)]
        return "\n".join(["| data | metric | value | protocol | command |", "|---|---|---|---|---|", *rows])


def _head_row(name: str, spec: Mapping[str, Any]) -> str:
    classes = spec.get("classes", ())
    shown = ", ".join(classes) if len(classes) <= 12 else f"{len(classes)}: {', '.join(classes[:8])}, ..."
    return f"| `{name}` | {spec.get('task', '')} | {shown or 'none'} |"


def _lines(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines) or "Not stated."

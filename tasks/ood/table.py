"""Write the table of the OOD study into the README beside this file, from its records.

    python tasks/ood/table.py model_zoo/results/ood_training_*.json

Each figure is a link to its place in the record; what stands between the two marks is replaced.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from visgen.errors import DataError, VisgenError
from visgen.metrics import read_record

README = Path(__file__).with_name("README.md")
MARKS = ("<!-- study: written by table.py -->", "<!-- end of study -->")
SCORES = {
    "msp": "MSP", "max_logit": "max logit", "energy": "energy", "react": "ReAct", "vim": "ViM", "knn": "kNN",
    "mahalanobis": "Mahalanobis", "relative_mahalanobis": "relative Mahalanobis", "subspace_angle": "angle",
    "max_logit_mahalanobis": "max logit + Mahalanobis",
}  # fmt: skip


def link(record: str, where: str, value: float) -> str:
    return f"[{value:.3f}]({record}#metrics.{where})"


def figure(record: str, where: str, value: dict[str, Any]) -> str:
    """The mean with its link, and the deviation over seeds with its own."""
    return f"{link(record, f'{where}.mean', value['mean'])} ± {link(record, f'{where}.std', value['std'])}"


def table(record: str, data: str, arms: dict[str, Any], near: str) -> list[str]:
    """Accuracy and radius by arm, then AUROC of every score by arm, near and far apart."""
    names = [name for name in SCORES if all(name in row for row in arms.values())]
    lines = [f"**{data}**, {near}; far: ood_textures.", ""]
    lines += ["| | " + " | ".join(f"`{arm}`" for arm in arms) + " |", "|---" * (len(arms) + 1) + "|"]
    for key, title in (("top1", "top-1"), ("radius", "radius of a class"), ("between", "between classes")):
        cells = [figure(record, f"{data}.{arm}.{key}", row[key]) for arm, row in arms.items()]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    for side in ("near", "far"):
        for name in names:
            places = [f"{data}.{arm}.{name}.{side}.AUROC" for arm in arms]
            cells = [
                link(record, f"{p}.mean", row[name][side]["AUROC"]["mean"])
                for p, row in zip(places, arms.values(), strict=True)
            ]
            lines.append(f"| {side} AUROC, {SCORES[name]} | " + " | ".join(cells) + " |")
    cells = []
    for arm, row in arms.items():
        spreads = {
            f"{name}.{side}.AUROC.std": row[name][side]["AUROC"]["std"] for name in names for side in ("near", "far")
        }
        widest = max(spreads, key=lambda place: spreads[place])
        cells.append(link(record, f"{data}.{arm}.{widest}", spreads[widest]))
    lines.append("| widest deviation of an AUROC over seeds | " + " | ".join(cells) + " |")
    return [*lines, ""]


def chosen(record: str, data: str, choice: dict[str, Any]) -> str:
    """Which training with which score was the best on half of the pictures, and by how much on the others."""
    where = f"choice.{data}.difference"
    bounds = [link(record, f"{where}.{end}", choice["difference"][end]) for end in ("difference", "low", "high")]
    verdict = "it would replace the default" if choice["replaces"] else "the default stays"
    return (
        f"Best on every other picture: `{choice['best']}`; on the others its mean AUROC is above that of "
        f"`{choice['present']}` by {bounds[0]} ({bounds[1]} to {bounds[2]} in 95 of 100 draws): {verdict}."
    )


def run(options: argparse.Namespace) -> None:
    lines: list[str] = []
    for file in options.records:
        record = read_record(file)
        place = os.path.relpath(file, options.readme.parent).replace(os.sep, "/")
        choices = record["metrics"].pop("choice", {})
        for data, arms in record["metrics"].items():
            lines += table(place, data, arms, str(record["data"].get(data, "")))
            lines += [] if data not in choices else [chosen(place, data, choices[data]), ""]
    text = options.readme.read_text(encoding="utf-8")
    if any(text.count(mark) != 1 for mark in MARKS):
        raise DataError(f"{options.readme} must hold '{MARKS[0]}' and '{MARKS[1]}' once each.")
    before, after = text.split(MARKS[0])[0], text.split(MARKS[1])[1]
    options.readme.write_text("\n".join([before + MARKS[0], "", *lines, MARKS[1]]) + after, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("records", type=Path, nargs="+")
    parser.add_argument("--readme", type=Path, default=README, help="page to write into")
    try:
        run(parser.parse_args())
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

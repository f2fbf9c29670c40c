"""Write the tables of scores, dense heads and pixels into the README beside this file, from their records.

    python tasks/ood/fill.py model_zoo/results/ood_scores.json model_zoo/results/ood_dense.json \\
        model_zoo/results/ood_pixels.json

Each figure is a link to its place in the record; what stands between the two marks of a table is replaced.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from visgen.errors import VisgenError
from visgen.metrics import Figure, fill_table, read_record

README = Path(__file__).with_name("README.md")
PIXELS = ("AUROC", "FPR95", "AUPR_out", "images")


def header(sides: list[str], *more: str) -> list[str]:
    chosen = [f"{side}, half 0" for side in sides]
    return ["score", *chosen, *(title for side in sides for title in (f"{side}, half 1", "FPR95")), "id_kept", *more]


def row(where: tuple[str, ...], sides: list[str], name: str) -> list[str | Figure]:
    """AUROC of each side on the half that chose; AUROC and FPR95 on the other, and what the threshold keeps there."""
    chosen = [Figure((*where, "half_0", name, side, "AUROC")) for side in sides]
    other = [Figure((*where, "half_1", name, side, key)) for side in sides for key in ("AUROC", "FPR95")]
    return [f"`{name}`", *chosen, *other, Figure((*where, "half_1", name, "id_kept"))]


def fill(page: Path, file: Path) -> None:
    """Write the table, or one for each head, of a record."""
    metrics: dict[str, Any] = read_record(file)["metrics"]
    if "half_0" in metrics:  # of eval.py
        names, sides = list(metrics["choice"]["ranking"]), ["far", "near"]
        rows = [[*row(("metrics",), sides, name), Figure(("metrics", "bytes", name))] for name in names]
        fill_table(page, "scores", file, header(sides, "bytes"), rows)
    elif all("half_0" in table for table in metrics.values()):  # of dense.py
        for head, table in metrics.items():
            names = list(table["choice"]["ranking"])
            sides = [side for side, found in table["half_0"][names[0]].items() if isinstance(found, dict)]
            fill_table(page, head, file, header(sides), [row(("metrics", head), sides, name) for name in names])
    else:  # of pixels.py
        places = [
            (data, what, name)
            for data, table in metrics.items()
            for name in table
            if name != "mIoU"
            for what in table[name]
        ]
        rows = [
            [data, what, f"`{name}`", *(Figure(("metrics", data, name, what, key)) for key in PIXELS)]
            for data, what, name in sorted(places)
        ]
        fill_table(page, "pixels", file, ["set", "unlike", "score", *PIXELS], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("records", type=Path, nargs="+")
    parser.add_argument("--readme", type=Path, default=README, help="page to write into")
    options = parser.parse_args()
    try:
        for file in options.records:
            fill(options.readme, file)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

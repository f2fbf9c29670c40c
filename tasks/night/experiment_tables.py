"""Write the tables of EXPERIMENTS.md anew from the records of the night experiments.

python tasks/night/experiment_tables.py --results model_zoo/results
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path

from visgen.engine.night import ARMS, RIVALS
from visgen.errors import VisgenError
from visgen.metrics import Figure, fill_table, read_record

HERE = Path(__file__).resolve().parent
DIFFERENCES = {
    ("claim", "over_best_rival"): "A5 less the best of {rivals}",
    ("claim", "over_base"): "A5 less A1",
    ("edge_term",): "A5 less A6 (edge term)",
    ("control",): "A8 less A5 (control)",
    ("oracle",): "A9 less A1 (oracle)",
}


def arm_rows(figure: str, arms: dict[str, str]) -> list[list[str | Figure]]:
    """A row for each arm: by night, by day."""
    paths = {name: ("metrics", figure, "arms", name) for name in arms}
    return [[f"{n}: {s}", Figure((*paths[n], "night")), Figure((*paths[n], "day"))] for n, s in arms.items()]


def difference_rows(figure: str, arms: Collection[str]) -> list[list[str | Figure]]:
    """A row for each difference by night, with its interval."""
    keys, own = ("difference", "low", "high"), [arm for arm in RIVALS if arm in arms]
    rivals = f"{own[0]} to {own[-1]}" if len(own) > 2 else " and ".join(own)
    return [
        [says.format(rivals=rivals), *(Figure(("metrics", figure, *path, k)) for k in keys)]
        for path, says in DIFFERENCES.items()
    ]


def write(page: Path, results: Path) -> None:
    """Fill the tables of all records."""
    told: dict[str, Sequence[str]] = {"night_places": ["mAP"], "night_places_others": ["mAP"]}
    told |= {
        name: ["mIoU"] for name in ("night_street", "night_street_grain", "night_street_labels", "night_street_longer")
    }
    for name, figures in told.items():
        record = results / f"{name}.json"
        says = read_record(record)["protocol"]["arms"]
        arms = {arm: says[arm] for arm in ("untrained", *ARMS) if arm in says}
        for figure in figures:
            header = ["arm", f"{figure} by night", "by day"]
            fill_table(page, f"{name} {figure}", record, header, arm_rows(figure, arms))
            header = ["gain by night", "difference", "from", "to"]
            fill_table(page, f"{name} {figure} differences", record, header, difference_rows(figure, arms))
    record = results / "night_answers.json"
    read = read_record(record)
    rows: list[list[str | Figure]] = [
        [name, *(Figure(("metrics", name, key)) for key in ("pixels", "labels"))] for name in read["protocol"]["shown"]
    ]
    fill_table(page, "night_answers", record, ["shown", "pixels", "labels"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="folder of the records")
    parser.add_argument("--page", type=Path, default=HERE / "EXPERIMENTS.md")
    options = parser.parse_args()
    try:
        write(options.page, options.results)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

"""Write the tables of the README beside this file and of the card of visgen-night-tiny from their records.

python tasks/night/tables.py model_zoo/results
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from visgen.errors import VisgenError
from visgen.metrics import Figure, fill_table, read_record

ROOT = Path(__file__).resolve().parents[2]
README, CARD = ROOT / "tasks/night/README.md", ROOT / "model_zoo/cards/visgen-night-tiny.md"
Rows = Sequence[Sequence[str | Figure]]


def at(*path: str, digits: int = 3) -> Figure:
    return Figure(("metrics", *path), digits)


def validity_rows(found: dict, command: str) -> Rows:
    """Rows of the card: data, metric, value, protocol, command."""
    rows: list[list[str | Figure]] = []
    for name in found["edges"]:
        for key in ("F", "precision", "recall"):
            rows.append([name, f"edges: {key}", at("edges", name, "generator", key)])
            rows.append([name, f"edges: {key} of the floor", at("edges", name, "floor", key)])
        rows.append([name, "edges: F asked for", at("edges", name, "wanted")])
        rows.append([name, "edges: F of the ceiling", at("edges", name, "ceiling", "F")])
    for name in ("val", "train", "camvid"):
        for key in ("translated", "darkened", "day"):
            rows.append([name, f"called night: {key}", at("realism", name, key)])
    for key in ("day", "night"):
        rows.append(["val", f"the judge is right by {key}", at("realism", "accuracy", key)])
    for key in ("translated", "darkened", "day"):
        rows.append(["train", f"1000 KD to nights: {key}", at("realism", "KD", key, digits=1)])
    if "consistency" in found:
        for key in ("night", "translated", "darkened", "day"):
            rows.append(["town", f"mIoU of a night segmenter: {key}", at("consistency", key, "mIoU")])
        rows.append(["town", "translated over night", at("consistency", "ratio")])
    for key in ("day", "translated", "night"):
        rows.append(["town", f"boxes without contrast: {key}", at("visibility", key)])
    rows.append(["mixed", "change under a shift of 4 px", at("stability", "shift", "largest", digits=4)])
    for name in ("sobel", "learned"):
        if name in found["stability"]:
            says = f"edge loss after noise and JPEG, {name}"
            for title, key in (("translated", ()), ("day, dimmed as much", ("dimmed",))):
                rows.append(["mixed", f"{says}: {title}, rise", at("stability", name, *key, "rise")])
                rows.append(["mixed", f"{says}: {title}, added", at("stability", name, *key, "added", digits=4)])
    return [[*row, "see the record", f"`{command}`"] for row in rows]


def edge_rows() -> Rows:
    names = {"learned": "side outputs on MobileNetV2", "sobel": "Sobel, no parameters", "canny": "Canny"}
    return [[title, *(at(key, figure) for figure in ("ODS", "OIS", "AP"))] for key, title in names.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    options = parser.parse_args()
    validity, edges = options.results / "night_validity.json", options.results / "night_edges.json"
    try:
        read = read_record(validity)
        found, header = read["metrics"], ("data", "metric", "value", "protocol", "command")
        rows = validity_rows(found, read["command"])
        fill_table(CARD, "figures", validity, header, rows)
        fill_table(README, "validity", validity, header[:3], [row[:3] for row in rows])
        short = options.results / "night_variants.json"
        arms = read_record(short)["metrics"]
        keys = ("F", "precision", "recall", "light")
        shown: Rows = [[f"`{arm}`", *(at(arm, key, "mean") for key in keys)] for arm in arms]
        fill_table(README, "variants", short, ("arm", *keys), shown)
        fill_table(README, "edges", edges, ("detector", "ODS", "OIS", "AP"), edge_rows())
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

"""How well are edges found? A trained detector, the one without parameters, and Canny, against what people drew.

python tasks/night/edges.py runs/night-edges/last --data-root DATA --record model_zoo/results/night_edges.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from visgen.data import build_source
from visgen.errors import VisgenError
from visgen.gan.night import SobelEdge, canny, load_edges
from visgen.metrics import write_record
from visgen.metrics.boundary import BoundaryMetric


def measure(detect: Callable[[Tensor], Tensor], data_root: Path, split: str, limit: int | None) -> dict[str, float]:
    source = build_source(f"boundary:{data_root / 'bsds500'}", split)
    metric = BoundaryMetric()
    with torch.no_grad():
        for i in range(min(len(source), limit or len(source))):
            metric.update([detect(source[i].image)], [source.share(i)])  # type: ignore[attr-defined]
    return metric.compute()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("detector", type=Path, help="folder that configs/night/edges.yaml leaves")
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--limit", type=int, help="first so many images only")
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    try:
        net, sobel = load_edges(options.detector), SobelEdge()
        detectors = {
            "learned": lambda image: net(image[None])[0, 0].sigmoid(),
            "sobel": lambda image: sobel(image[None])[0, 0].sigmoid(),
            "canny": lambda image: canny(image).float(),
        }
        found = {n: measure(d, options.data_root, options.split, options.limit) for n, d in detectors.items()}
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")
    print(json.dumps(found, indent=1))
    if options.record:
        write_record(
            options.record,
            command=f"python tasks/night/edges.py {options.detector} --data-root DATA --split {options.split}",
            config="configs/night/edges.yaml",
            seeds=[0],
            data="bsds500",
            split=options.split,
            protocol={"tolerance": "0.0075 of the diagonal", "thresholds": 33, "targets": "shares of all people"},
            metrics=found,
        )


if __name__ == "__main__":
    main()

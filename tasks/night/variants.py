"""Do the four ways of training, the control without edges and the other translator train? Equal, short budgets.

Every arm gets the same photographs, steps and crops. That tells that each of them runs and what it keeps at the start
of a training, not which is best at its end.

python tasks/night/variants.py --data-root DATA --out runs/night-variants --record model_zoo/results/night_variants.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from visgen.config import load_run
from visgen.data import build_source
from visgen.data.readers.files import read_pixels
from visgen.engine import train_run
from visgen.engine.night_report import edge_report, translate
from visgen.errors import ConfigError, VisgenError
from visgen.gan.night import load_night
from visgen.metrics import summarise, write_record
from visgen.structures.png import write_atomically

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "night" / "photos.yaml"
ARMS: dict[str, list[str]] = {
    "hedngan": [],
    "hedgan": ["objective.options.variant=hedgan"],
    "no edges": ["objective.options.edge_weight=0"],
    "cyclegan": ["objective.options.variant=cyclegan"],
    "cut": ["objective.options.variant=cut"],
    "hedngan, resnet": ["objective.options.translator={name: resnet, channels: 24, blocks: 4}"],
}
FIGURES = ("F", "precision", "recall", "light")


def run_arm(arm: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Train an arm unless it is there, and measure it on the days of val."""
    out = args.out / f"{arm.replace(', ', '-').replace(' ', '-')}-{seed}"
    known, before = out / "figures.json", out / "config.yaml"
    crop = {"name": "shared_crop", "size": args.size, "scale": [0.3, 0.6]}
    changes = [
        *(f"out={out}", f"seed={seed}", f"train.steps={args.steps}", f"train.save_every={args.steps}"),
        *("train.ema_decay=0.95", f"data.train.night.transforms={json.dumps([crop])}"),
    ]
    config = load_run(CONFIG, [*changes, *ARMS[arm]], args.data_root)
    if before.is_file() and told(load_run(before)) != told(config):
        raise ConfigError(f"{out} was trained by another configuration than is asked now; use another --out.")
    if known.is_file():
        return json.loads(known.read_text(encoding="utf-8"))
    if not train_run(config, resume=(out / "checkpoints").is_dir()).finished:
        sys.exit(f"{arm}, seed {seed} was stopped; the same command goes on")
    generator = load_night(out / "last")
    source: Any = build_source(f"unpaired:{args.data_root / 'night'}", "val")
    days = [read_pixels(file) for file in source.files[0]]
    found = edge_report(generator, days)
    light = sum(float(translate(generator, day).float().mean() / day.float().mean()) for day in days) / len(days)
    figures = {**found["generator"], "light": light, "floor": found["floor"], "ceiling": found["ceiling"]}
    write_atomically(known, (json.dumps(figures, indent=1) + "\n").encode())
    return figures


def told(config: Any) -> tuple[Any, ...]:
    """What the figures of an arm and a seed depend on, wherever data and runs lie."""
    return config.objective, config.train, config.data.train["night"].transforms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/night-variants"))
    parser.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--size", type=int, default=64, help="side of the crops")
    parser.add_argument("--record", type=Path)
    args = parser.parse_args()
    try:
        runs = {arm: [run_arm(arm, seed, args) for seed in args.seeds] for arm in args.arms}
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")
    found = {arm: {key: summarise([run[key] for run in rows]) for key in FIGURES} for arm, rows in runs.items()}
    print(json.dumps(found, indent=1))
    if args.record:
        write_record(
            args.record,
            command=f"python tasks/night/variants.py --data-root DATA --steps {args.steps} --size {args.size} --seeds "
            + " ".join(map(str, args.seeds)),
            config="configs/night/photos.yaml",
            seeds=args.seeds,
            data="night",
            split="val",
            protocol={
                "training": f"{args.steps} steps, one pair of crops of {args.size} px a step",
                "edges": "EdgeValidity on the ten days of val",
                "light": "mean grey of the nights over that of the days",
            },
            metrics=found,
        )


if __name__ == "__main__":
    main()

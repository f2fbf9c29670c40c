"""Does AdaptiveMix help a GAN? The same SN-DCGAN on CIFAR-10 with and without it, same seeds and steps.

    python tasks/gan/adaptive_mix.py --data-root DATA --out runs/adaptive-mix

Training goes on where it was stopped; `adaptive_mix_report.py` then measures every run.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from visgen.engine import train_from_config
from visgen.errors import VisgenError
from visgen.shipped import shipped_path

CONFIG = "configs/gan/cifar10.yaml"
ARMS = {"none": "[]", "adaptive_mix": "[{name: adaptive_mix}]", "mixed": "[{name: adaptive_mix, logits: mixed}]"}


def settings(out: Path, arm: str, seed: int) -> list[str]:
    """What one run changes in the run file."""
    return [f"objective.options.regularisers={ARMS[arm]}", f"seed={seed}", f"out={out}/{arm}-{seed}"]


def train(options: argparse.Namespace) -> None:
    for seed in options.seeds:  # all arms of a seed before the next one, so that an interrupted experiment is balanced
        for arm in options.arms:
            words = [*settings(options.out, arm, seed), *options.set]
            summary = train_from_config(shipped_path(CONFIG), words, resume=True, data_root=options.data_root)
            print(f"{arm} seed {seed}: {summary.reason} at step {summary.steps}, {summary.seconds:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, help="holds the folder cifar10")
    parser.add_argument("--out", type=Path, default=Path("runs/adaptive-mix"), help="a folder for each run goes there")
    parser.add_argument("--arms", nargs="+", default=["none", "adaptive_mix"], choices=tuple(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="as in visgen train")
    options = parser.parse_args()
    try:
        train(options)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

"""Does AdaptiveMix help a GAN? The same GAN with and without it, same seeds and steps.

    python tasks/gan/adaptive_mix.py --data-root DATA --out runs/adaptive-mix
    python tasks/gan/adaptive_mix.py --data-root DATA --config configs/gan/caltech3_64.yaml --out runs/mix-64    # a GPU

An arm adds its term to the regularisers of the run file, by default one of an SN-DCGAN on CIFAR-10. SIGTERM, Ctrl-C and
a time limit end the experiment after a save, with exit status 1; the same command goes on there.
`adaptive_mix_report.py` then measures every run.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from visgen.config import load_run
from visgen.engine import train_from_config
from visgen.errors import VisgenError
from visgen.shipped import shipped_path

CONFIG = "configs/gan/cifar10.yaml"
ARMS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "adaptive_mix": [{"name": "adaptive_mix"}],
    "mixed": [{"name": "adaptive_mix", "logits": "mixed"}],
    "pixels": [{"name": "adaptive_mix", "logits": "pixels", "weight": 0.0}],  # control: mixtures judged, no cosine
    "longer": [],  # control: without the term, as long as the arm with it takes
}
STEPS = {"longer": 1.6}  # times those of the run file: what a step of `adaptive_mix` costs, in steps of `none`


def settings(options: argparse.Namespace, arm: str, seed: int) -> list[str]:
    """What one run changes in the run file."""
    plain = load_run(shipped_path(options.config), options.set, options.data_root)
    terms = json.dumps([*plain.objective.options.get("regularisers", []), *ARMS[arm]])
    steps = round(STEPS.get(arm, 1) * plain.train.steps)
    own = [f"objective.options.regularisers={terms}", f"train.steps={steps}"]
    return [*options.set, *own, f"seed={seed}", f"out={options.out}/{arm}-{seed}"]


def train(options: argparse.Namespace) -> bool:
    """Train what is asked for; false where a signal or the time limit came first."""
    for seed in options.seeds:  # all arms of a seed before the next one, so that an interrupted experiment is balanced
        for arm in options.arms:
            words = settings(options, arm, seed)
            summary = train_from_config(shipped_path(options.config), words, resume=True, data_root=options.data_root)
            print(f"{arm} seed {seed}: {summary.reason} at step {summary.steps}, {summary.seconds:.0f} s", flush=True)
            if not summary.finished:
                return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, help="holds the folder of the run file")
    parser.add_argument("--config", default=CONFIG, help="run file of a GAN")
    parser.add_argument("--out", type=Path, default=Path("runs/adaptive-mix"), help="a folder for each run goes there")
    parser.add_argument("--arms", nargs="+", default=["none", "adaptive_mix"], choices=tuple(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="as in visgen train")
    options = parser.parse_args()
    try:
        if not train(options):
            parser.exit(1, "stopped; the same command goes on\n")
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

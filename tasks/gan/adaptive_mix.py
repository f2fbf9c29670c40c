"""Does AdaptiveMix help a GAN? The same SN-DCGAN on CIFAR-10 with and without it, same seeds and steps.

    python tasks/gan/adaptive_mix.py train --data-root DATA --out runs/adaptive-mix
    python tasks/gan/adaptive_mix.py report --data-root DATA --out runs/adaptive-mix --weights MOBILENET.safetensors \\
        --classifier runs/cifar10-classifier/last --record model_zoo/results/gan_adaptivemix_cifar10.json

Training goes on where it was stopped. The report needs every run; its figures are of images that no run was trained on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from visgen.engine import train_from_config
from visgen.errors import VisgenError
from visgen.shipped import shipped_path

CONFIG = "configs/gan/cifar10.yaml"
ARMS = {
    "none": "[]",
    "adaptive_mix": "[{name: adaptive_mix}]",
    "adaptive_mix_mixed": "[{name: adaptive_mix, logits: mixed}]",
}
SEEDS = (0, 1, 2)


def train(options: argparse.Namespace) -> None:
    for seed in SEEDS:  # arms of one seed after the other, so that an interrupted experiment is balanced
        for arm in options.arms:
            settings = [
                f"objective.options.regularisers={ARMS[arm]}",
                f"seed={seed}",
                f"out={options.out}/{arm}-{seed}",
            ]
            if options.steps:
                settings.append(f"train.steps={options.steps}")
            path, root = shipped_path(CONFIG), options.data_root
            summary = train_from_config(path, [*settings, *options.set], resume=True, data_root=root)
            print(f"{arm} seed {seed}: {summary.reason} at step {summary.steps}, {summary.seconds:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "report"))
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/adaptive-mix"))
    parser.add_argument("--arms", nargs="+", default=["none", "adaptive_mix"], choices=tuple(ARMS))
    parser.add_argument("--steps", type=int, help="in place of the configuration's")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=VALUE")
    options = parser.parse_args()
    try:
        train(options)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

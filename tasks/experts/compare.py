"""What to fine-tune? The head, the routers, some experts, added experts, everything, or low-rank updates.

Every arm starts from the same model and gets the same pictures, steps and seeds. `lora` trains no more parameters than
`top:4`. Several processes may share the arms; --report gathers them, --cost measures steps on a quiet machine.

    python tasks/experts/compare.py --data-root DATA --out runs/experts
    python tasks/experts/compare.py --data-root DATA --out runs/experts --report RECORD.json --readme tasks/experts/README.md
    python tasks/experts/compare.py --data-root DATA --cost COST.json --readme tasks/experts/README.md
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from visgen.config import RunConfig, load_run
from visgen.experts import finetune
from visgen.experts.prefix_cache import PrefixCache
from visgen.zoo import load_model

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "experts"
SETS = ("batik64", "cifar10", "clothing")
ARMS = ("head", "router", "top:4", "bottom:4", "new:2", "lora", "full")
# A part of the prefix trains, so nothing of it can be remembered; fresh low-rank factors learn at the full rate.
CHANGES = {"lora": ["finetune.cache_mb=0", "optim.lr_scales.backbone=1.0"], "full": ["finetune.cache_mb=0"]}


def arm_config(name: str, arm: str, seed: int, args: argparse.Namespace) -> RunConfig:
    """The run of one arm: the file of its data set with what trains, seed and folder changed."""
    out = args.out / f"{name}-{arm.replace(':', '')}-{seed}"
    changes = [f"finetune.experts={arm}", f"seed={seed}", f"out={out}", *CHANGES.get(arm, []), *args.set]
    return load_run(CONFIGS / f"{name}.yaml", changes, args.data_root)


def train(args: argparse.Namespace) -> None:
    """Train all arms that are not finished; runs on one data set share what the frozen prefix gives."""
    base = load_model("visgen-tiny", "cpu")
    for name in args.sets:
        cache: PrefixCache | None = None
        for seed in args.seeds:
            for arm in args.arms:
                config = arm_config(name, arm, seed, args)
                if (Path(config.out) / "finetune.json").exists():
                    continue
                size = config.finetune.cache_mb
                cache = cache or (PrefixCache(size * 2**20) if size else None)
                report = finetune(base, config, resume=True, cache=cache if size else None)
                shutil.rmtree(Path(config.out) / "checkpoints")
                figures = {k: round(v, 4) for k, v in report.summary.metrics.items() if k.count("/") == 1}
                print(name, arm, seed, report.trainable.trained, figures, file=sys.stderr, flush=True)


def main() -> None:
    """Read the command line and train, or report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", required=True, help="folder of the data sets")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--arms", nargs="+", default=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/experts"))
    parser.add_argument("--set", nargs="*", default=[], help="further overrides, a.b=c")
    args = parser.parse_args()
    train(args)


if __name__ == "__main__":
    main()

"""What to fine-tune? The head, the routers, some experts, added experts, everything, or low-rank updates.

Every arm starts from the same model and gets the same pictures, steps and seeds. `lora` trains no more parameters than
`top:4`. Several processes may share the arms; --report gathers them into a record and the rows of the README.

    python tasks/experts/compare.py --data-root DATA --out runs/experts
    python tasks/experts/compare.py --data-root DATA --out runs/experts --report model_zoo/results/experts_finetune.json
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from visgen.config import RunConfig, load_run
from visgen.errors import VisgenError
from visgen.experts import finetune
from visgen.experts.prefix_cache import PrefixCache
from visgen.metrics import Figure, fill_table, summarise, write_record
from visgen.zoo import load_model

HERE = Path(__file__).resolve().parent
CONFIGS = HERE.parents[1] / "configs" / "experts"
SETS = {"batik64": "batik64/top1", "cifar10": "cifar10/top1", "clothing": "clothing/mIoU"}
MODEL = "visgen-tiny"
ARMS = ("head", "router", "top:4", "bottom:4", "new:2", "lora", "full")
# A part of the prefix trains, so nothing of it can be remembered; a whole network moves more gently than a part.
CHANGES = {"lora": ["finetune.cache_mb=0"], "full": ["finetune.cache_mb=0", "optim.lr_scales.backbone=0.1"]}


def arm_config(name: str, arm: str, seed: int, args: argparse.Namespace) -> RunConfig:
    """The run of one arm: the file of its data set with what trains, seed and folder changed."""
    out = args.out / f"{name}-{arm.replace(':', '')}-{seed}"
    changes = [f"finetune.model={args.model}", f"finetune.experts={arm}", f"seed={seed}", f"out={out}"]
    changes += [*CHANGES.get(arm, []), *args.set]
    return load_run(CONFIGS / f"{name}.yaml", changes, args.data_root)


def train(args: argparse.Namespace) -> None:
    """Train all arms that are not finished; runs on one data set share what the frozen prefix gives."""
    base = load_model(args.model, "cpu")
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
                if not report.summary.finished:
                    (Path(config.out) / "finetune.json").unlink()
                    sys.exit(f"stopped by {report.summary.reason}; the same command goes on")
                shutil.rmtree(Path(config.out) / "checkpoints")
                print(name, arm, seed, report.summary.metrics.get(SETS[name]), file=sys.stderr, flush=True)


def report(args: argparse.Namespace) -> None:
    """Write the record of all runs and the rows of the README; every arm must have every seed."""
    found: dict = {"trained": {}, "figures": {}, "over head": {}}
    for name in args.sets:
        outs = {arm: [Path(arm_config(name, arm, seed, args).out) for seed in args.seeds] for arm in args.arms}
        runs = {arm: [json.loads((out / "finetune.json").read_text()) for out in row] for arm, row in outs.items()}
        values = {arm: [run["metrics"][SETS[name]] for run in rows] for arm, rows in runs.items()}
        pairs = {arm: [a - b for a, b in zip(row, values["head"], strict=True)] for arm, row in values.items()}
        found["trained"][name] = {arm: rows[0]["trained"] for arm, rows in runs.items()}
        found["figures"][name] = {arm: summarise(row) for arm, row in values.items()}
        found["over head"][name] = {arm: summarise(row) for arm, row in pairs.items() if arm != "head"}
    protocol = {"figures": SETS, "weights": "those of the last step", "over head": "difference to head, seed by seed"}
    told = "" if args.model == MODEL else f"--model {args.model} "
    command = f"python tasks/experts/compare.py --data-root DATA {told}--sets {' '.join(args.sets)}"
    write_record(
        args.report, command=command, config="configs/experts/*.yaml",
        seeds=args.seeds, data=", ".join(args.sets), split="val", protocol=protocol, metrics=found,
        environment={"model": args.model},
    )  # fmt: skip
    header = ["trains", *(cell for name in args.sets for cell in (f"{name}: parameters", SETS[name].split("/")[1]))]
    keys = [(key, name) for name in args.sets for key in ("trained", "figures")]
    rows = [[f"`{arm}`", *(Figure(("metrics", *key, arm)) for key in keys)] for arm in args.arms]
    fill_table(args.readme, args.table + "figures", args.report, header, rows)
    rows = [[f"`{a}`", *(Figure(("metrics", "over head", n, a)) for n in args.sets)] for a in args.arms if a != "head"]
    fill_table(args.readme, args.table + "over head", args.report, ["trains", *args.sets], rows)


def main() -> None:
    """Read the command line and train, report or measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", required=True, help="folder of the data sets")
    parser.add_argument("--model", default=MODEL, help="model that all arms start from")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--arms", nargs="+", default=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/experts"))
    parser.add_argument("--set", nargs="*", default=[], help="further overrides, a.b=c")
    parser.add_argument("--report", type=Path, help="gather finished runs into this record instead of training")
    parser.add_argument("--table", default="", help="what the names of the page's tables begin with")
    parser.add_argument("--readme", type=Path, default=HERE / "README.md", help="page whose rows are written anew")
    args = parser.parse_args()
    (report if args.report else train)(args)


if __name__ == "__main__":
    try:
        main()
    except VisgenError as error:
        sys.exit(f"error: {error}")

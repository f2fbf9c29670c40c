"""What does a training step cost when only a part trains? Time and memory of each selection, measured in turn.

Nothing else may run on the machine. The record and the rows of the README are written anew.

    python tasks/experts/cost.py --data-root DATA --record model_zoo/results/experts_finetune_cost.json
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from visgen.config import load_run
from visgen.errors import VisgenError
from visgen.experts import measure_costs
from visgen.metrics import Figure, fill_table, write_record
from visgen.zoo import load_model

HERE = Path(__file__).resolve().parent
CONFIGS = HERE.parents[1] / "configs" / "experts"
SETS = ("cifar10", "clothing")
ARMS = ("head", "router", "top:4", "bottom:4", "new:2", "lora", "full")
COLUMNS = {"step": ("step", "median_ms"), "with cache": ("cached step", "median_ms"), "memory": ("memory_MiB",)}


def main() -> None:
    """Measure, write the record, and fill the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", required=True, help="folder of the data sets")
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--arms", nargs="+", default=list(ARMS))
    parser.add_argument("--steps", type=int, default=10, help="steps of each arm")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--record", type=Path, required=True, help="record to write")
    parser.add_argument("--readme", type=Path, default=HERE / "README.md", help="page whose rows are written anew")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    base, found = load_model("visgen-tiny", "cpu"), {}
    for name in args.sets:
        # A cache of its own for each arm: what the file asks for would refuse those that train a part of the prefix.
        changes = {arm: [f"finetune.experts={arm}", "finetune.cache_mb=0"] for arm in args.arms}
        runs = {arm: load_run(CONFIGS / f"{name}.yaml", change, args.data_root) for arm, change in changes.items()}
        found[name] = {arm: cost.to_dict() for arm, cost in measure_costs(base, runs, args.steps).items()}
        for arm, cost in found[name].items():
            print(f"{name:<10}{arm:<10}{cost['step']['median_ms']:>9.1f} ms{cost['memory_MiB']:>9.1f} MiB", flush=True)

    write_record(
        args.record,
        command="python tasks/experts/cost.py --data-root DATA --record RECORD.json",
        config="configs/experts/*.yaml",
        seeds=[0],
        data=", ".join(args.sets),
        split="train",
        protocol={
            "order": "a step of each arm in turn, in one process",
            "steps": args.steps,
            "threads": args.threads,
            "with cache": "outputs of the frozen prefix remembered; absent where a part of it trains",
            "memory": "activations kept for the backward pass, gradients and optimiser state, counted",
        },
        metrics=found,
        environment={"model": "visgen-tiny"},
    )
    header = ["trains", *(f"{name}: {title}" for name in args.sets for title in COLUMNS)]
    rows: list[list[str | Figure]] = []
    for arm in args.arms:
        row: list[str | Figure] = [f"`{arm}`"]
        for name in args.sets:
            for path in COLUMNS.values():
                unit = " MiB" if "MiB" in path[0] else " ms"
                row.append(Figure(("metrics", name, arm, *path), 1, unit) if path[0] in found[name][arm] else "-")
        rows.append(row)
    fill_table(args.readme, "cost", args.record, header, rows)


if __name__ == "__main__":
    try:
        main()
    except VisgenError as error:
        sys.exit(f"error: {error}")

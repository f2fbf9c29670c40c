"""How large are the named sizes? Parameters and multiply-adds of each, beside its dense twin, counted by fvcore.

python tasks/multitask/sizes.py [--size 224] [--tasks 1] [--record RECORD.json]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from visgen.backbones import ViTMoE, ViTMoEConfig
from visgen.backbones.describe import describe
from visgen.errors import VisgenError
from visgen.metrics import write_record


def main() -> None:
    """Build each size, count, print a table and write a record when asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["tiny", "small", "base"])
    parser.add_argument("--size", type=int, default=224, help="side of the square image in pixels")
    parser.add_argument("--tasks", type=int, default=1, help="routed tasks")
    parser.add_argument("--record", type=Path)
    args = parser.parse_args()
    tasks = tuple(f"task{i}" for i in range(args.tasks))
    metrics: dict[str, dict[str, dict[str, int]]] = {}
    print(f"{'size':8s}{'layout':8s}{'parameters':>14s}{'active':>14s}{'multiply-adds':>16s}")
    for name in args.sizes:
        config = ViTMoEConfig.named(name, tasks=tasks)
        for layout, shape in (("moe", config), ("dense", config.dense_twin())):
            found = describe(ViTMoE(shape), (args.size, args.size), tasks[:1])
            row = {
                "parameters": found["parameters"],
                "active": found["active"][tasks[0]],
                "multiply_adds": found["flops"][tasks[0]],
            }
            metrics.setdefault(name, {})[layout] = row
            print(f"{name:8s}{layout:8s}{row['parameters']:14,d}{row['active']:14,d}{row['multiply_adds']:16,d}")
    if args.record:
        write_record(
            args.record,
            command=f"python tasks/multitask/sizes.py --size {args.size} --tasks {args.tasks}",
            config="ViTMoEConfig.named(size) and its dense_twin()",
            seeds=[],
            data=f"one image of {args.size} x {args.size} pixels",
            split="none",
            protocol={
                "multiply-adds": "fvcore, a multiply-add counts as one",
                "active": "parameters that a token meets",
            },
            metrics=metrics,
        )


if __name__ == "__main__":
    try:
        main()
    except VisgenError as error:
        sys.exit(f"error: {error}")

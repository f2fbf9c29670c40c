"""Does sharing one model help? Joint training, joint without the mutual-information loss, and single-task twins.

Every arm has the same stem, data, transforms and seed. A twin has dense blocks of equal active parameters and gets as many
batches of its task as the joint run draws for it. Arms can be trained one at a time, also by several processes; --report
gathers what is there.

    python tasks/multitask/compare.py --data-root DATA --steps 1200 --seeds 0 1 2 --out runs/compare
    python tasks/multitask/compare.py --data-root DATA --steps 1200 --seeds 0 1 2 --out runs/compare \
        --report model_zoo/results/multitask_compare.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from visgen.config import load_run
from visgen.data import build_source
from visgen.engine import measure_routing, train_from_config
from visgen.metrics import summarise, write_record
from visgen.zoo import load_model, save_pretrained

HERE = Path(__file__).resolve().parents[2] / "configs"
JOINT = HERE / "multitask" / "visgen_tiny.yaml"
ARMS = {
    "joint": (JOINT, []),
    "joint-without-mi": (JOINT, ["objective.routing.mi=0"]),
    "twin-classification": (HERE / "classification" / "twin.yaml", []),
    "twin-segmentation": (HERE / "segmentation" / "twin.yaml", []),
    "twin-depth": (HERE / "depth" / "twin.yaml", []),
}
FIGURES = {
    "classification": ("caltech100/top1",),
    "segmentation": ("camvid/mIoU", "coco/mIoU"),
    "depth": ("redkitchen/AbsRel", "hololens/AbsRel", "kitti/AbsRel"),
}


def train(arm: str, seed: int, args: argparse.Namespace) -> None:
    """Train one arm with one seed, unless its result is there, and write `result.json` into its folder."""
    out = args.out / f"{arm}-{seed}"
    if (out / "result.json").exists():
        return
    file, changes = ARMS[arm]
    steps, full = args.steps, load_run(JOINT, (), args.data_root)
    if arm.startswith("twin-"):
        total = sum(part.weight for part in full.data.train.values())
        own = load_run(file, (), args.data_root).data.train
        steps = round(args.steps * sum(full.data.train[name].weight for name in own) / total)
    overrides = [*changes, f"out={out}", f"seed={seed}", f"train.steps={steps}", f"train.threads={args.threads}"]
    summary = train_from_config(file, [*overrides, *args.set], resume=True, data_root=args.data_root, export=save_pretrained)
    result = {"steps": summary.steps, "seconds": summary.seconds, "metrics": dict(summary.metrics)}
    if arm.startswith("joint"):
        model = load_model(str(out / "last"))
        sources: dict[str, list] = {}
        for name, part in full.data.val.items():
            task = next(t for t, figures in FIGURES.items() if any(f.startswith(name + "/") for f in figures))
            sources.setdefault(task, []).append(build_source(part.source, split=part.split or "val", **part.options))
        result["routing"] = measure_routing(model, sources, limit=40)
    (out / "result.json").write_text(json.dumps(result, indent=1))


def report(args: argparse.Namespace) -> None:
    """Print the table and write the record of all finished runs; every arm must have every seed."""
    found = {arm: [json.loads((args.out / f"{arm}-{s}" / "result.json").read_text()) for s in args.seeds] for arm in args.arms}
    metrics: dict = {"figures": {}, "routing": {}}
    for arm, runs in found.items():
        metrics["figures"][arm] = {
            figure: summarise([run["metrics"][figure] for run in runs])
            for figures in FIGURES.values()
            for figure in figures
            if figure in runs[0]["metrics"]
        }
        for i, layer in enumerate(runs[0].get("routing", [])):
            rows = [run["routing"][i] for run in runs]
            metrics["routing"].setdefault(arm, {})[layer["layer"]] = {
                "I(T;E)/log T": summarise([row["normalised"] for row in rows]),
                "dead experts": summarise([len(row["dead"]) for row in rows]),
                "overlap": {pair: summarise([row["overlap"][pair] for row in rows]) for pair in layer["overlap"]},
            }
    for figure in [f for figures in FIGURES.values() for f in figures]:
        cells = [f"{arm} {row[figure]['mean']:.4f} +- {row[figure]['std']:.4f}" for arm, row in metrics["figures"].items() if figure in row]
        print(f"{figure:20s} {'   '.join(cells)}")
    for arm, layers in metrics["routing"].items():
        print(arm, {name: round(row["I(T;E)/log T"]["mean"], 3) for name, row in layers.items()})
    write_record(
        args.report,
        command=f"python tasks/multitask/compare.py --data-root DATA --steps {args.steps} --seeds {' '.join(map(str, args.seeds))}",
        config="configs/multitask/visgen_tiny.yaml, configs/<task>/twin.yaml",
        seeds=args.seeds,
        data="caltech100, camvid, coco_mini (semantic), depth: redkitchen, hololens, kitti",
        split="val",
        protocol={"steps of a joint run": args.steps, "weights": "average of the last step", "depth alignment": "none"},
        metrics=metrics,
        environment={"minutes of training": round(sum(r["seconds"] for runs in found.values() for r in runs) / 60, 1)},
    )


def main() -> None:
    """Read the command line and train, or report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", required=True, help="folder of the data sets")
    parser.add_argument("--steps", type=int, default=1200, help="steps of a joint run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--out", type=Path, default=Path("runs/compare"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=[], help="further overrides, a.b=c")
    parser.add_argument("--report", type=Path, help="gather finished runs into this record instead of training")
    args = parser.parse_args()
    if args.report:
        report(args)
        return
    for seed in args.seeds:
        for arm in args.arms:
            train(arm, seed, args)
            print("finished", arm, seed, file=sys.stderr)


if __name__ == "__main__":
    main()

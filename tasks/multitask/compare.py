"""Does sharing one model help? Joint training, joint without the mutual-information loss, and single-task twins.

Arms share stem, data, transforms and seed. A twin has dense blocks of equal active parameters and gets as many batches
of its task as the joint run draws. Several processes may share the arms; with --report RECORD.json it gathers them.

    python tasks/multitask/compare.py --data-root DATA --steps 1600 --out runs/compare
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from visgen.config import load_run
from visgen.data import build_source
from visgen.engine import evaluate, measure_routing, train_from_config
from visgen.errors import VisgenError
from visgen.metrics import summarise, write_record
from visgen.structures.png import write_atomically
from visgen.zoo import load_model, save_pretrained

HERE = Path(__file__).resolve().parents[2] / "configs"
JOINT = HERE / "multitask" / "joint.yaml"
TWINS = ("classification", "segmentation", "depth", "detection", "scene_graph")
ARMS = {"joint": (JOINT, []), "joint-without-mi": (JOINT, ["objective.routing.mi=0"])}
ARMS |= {f"twin-{task}": (HERE / task / "twin.yaml", []) for task in TWINS}
FIGURES = (
    *("caltech100/top1", "camvid/mIoU", "coco/mIoU", "redkitchen/AbsRel", "hololens/AbsRel", "kitti/AbsRel"),
    *("coco_boxes/AP50", "coco_boxes/AP50/person", "coco_boxes/AR@100", "graphs/predcls/R@20", "graphs/predcls/mR@20"),
)


def train(arm: str, seed: int, args: argparse.Namespace) -> None:
    """Train one arm with one seed, measure its averaged weights on val and write `result.json` into its folder."""
    out = args.out / f"{arm}-{seed}"
    if (out / "result.json").exists() and finished(out / "result.json", args):
        return
    file, changes = ARMS[arm]
    joint, own = load_run(JOINT, (), args.data_root), load_run(file, (), args.data_root)
    share = sum(joint.data.train[p].weight for p in own.data.train) / sum(p.weight for p in joint.data.train.values())
    settings = [f"out={out}", f"seed={seed}", f"train.steps={round(args.steps * share)}", "train.threads=1"]
    sets = [*changes, *settings, "data.val={}", *args.set]
    summary = train_from_config(file, sets, resume=True, data_root=args.data_root, export=save_pretrained)
    if not summary.finished:
        sys.exit(f"{arm} {seed} stopped by {summary.reason}; the same command goes on")
    model, figures, sources = load_model(str(out / "last")), {}, {}
    for name, part in own.data.val.items():
        source = build_source(part.source, part.split or "val", **part.options)
        task = next(iter(source.heads))
        sources.setdefault(task, []).append(source)
        sides = {"min_side": joint.model.min_side or None, "max_side": part.max_side}
        measured = evaluate(model, source, source.heads[task], **sides, metric=part.metric).metrics
        figures |= {f"{name}/{metric}": value for metric, value in measured.items()}
    routing = measure_routing(model, sources, limit=20) if arm.startswith("joint") else []
    told = {"steps": args.steps, "set": args.set, "metrics": figures, "routing": routing}
    write_atomically(out / "result.json", json.dumps(told, indent=1).encode())


def finished(file: Path, args: argparse.Namespace) -> dict:
    """Give what a run measured, if it was made with the options that are asked; old files do not tell."""
    found = json.loads(file.read_text(encoding="utf-8"))
    if any(found.get(name, asked) != asked for name, asked in (("steps", args.steps), ("set", args.set))):
        sys.exit(f"error: {file} was made with {found['steps']} steps and --set {found['set']}; use another --out")
    return found


def report(args: argparse.Namespace) -> None:
    """Print the table and write the record of all finished runs; every arm must have every seed."""
    found = {a: [finished(args.out / f"{a}-{s}" / "result.json", args) for s in args.seeds] for a in args.arms}
    metrics: dict = {"figures": {}, "routing": {}}
    for arm, runs in found.items():
        known = [figure for figure in FIGURES if figure in runs[0]["metrics"]]
        metrics["figures"][arm] = {figure: summarise([run["metrics"][figure] for run in runs]) for figure in known}
        for i, layer in enumerate(runs[0].get("routing", [])):
            rows = [run["routing"][i] for run in runs]
            metrics["routing"].setdefault(arm, {})[layer["layer"]] = {
                "normalised": summarise([row["I/logT"] for row in rows]),
                "dead experts": summarise([len(row["dead"]) for row in rows]),
                "overlap": {pair: summarise([row["overlap"][pair] for row in rows]) for pair in layer["overlap"]},
            }
    for arm, row in metrics["figures"].items():
        print(arm, {figure: f"{cell['mean']:.4f} +- {cell['std']:.4f}" for figure, cell in row.items()})
    for arm, layers in metrics["routing"].items():
        print(arm, {name: round(row["normalised"]["mean"], 3) for name, row in layers.items()})
    own = " ".join((args.out.name, "--arms", *args.arms, *(["--set"] if args.set else []), *args.set))
    write_record(
        args.report, seeds=args.seeds, split="val", metrics=metrics,
        command=f"python tasks/multitask/compare.py --data-root DATA --steps {args.steps} --out {own}",
        config="configs/multitask/joint.yaml, configs/<task>/twin.yaml",
        data="caltech100, camvid, coco_mini, scene_graph_coco_derived, depth: redkitchen, hololens, kitti",
        protocol={"steps of a joint run": args.steps, "weights": "average of the last step", "depth alignment": "none"},
    )  # fmt: skip


def main() -> None:
    """Read the command line and train, or report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", required=True, help="folder of the data sets")
    parser.add_argument("--steps", type=int, default=1600, help="steps of a joint run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--out", type=Path, default=Path("runs/compare"))
    parser.add_argument("--set", nargs="*", default=[], help="further overrides, a.b=c")
    parser.add_argument("--report", type=Path, help="gather finished runs into this record instead of training")
    args = parser.parse_args()
    if args.report:
        report(args)
    for seed in () if args.report else args.seeds:
        for arm in args.arms:
            train(arm, seed, args)
            print("finished", arm, seed, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except VisgenError as error:
        sys.exit(f"error: {error}")

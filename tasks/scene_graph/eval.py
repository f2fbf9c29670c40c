"""Measure scene graphs: the recall of true triplets among the best K, under three protocols.

    python tasks/scene_graph/eval.py --data scene-graph:PATH --head scene_graph.coco --into COCO/train.json

"predcls" gives the model the true boxes and their classes, "sgcls" the boxes, "sggen" nothing. Figures begin with the
protocol; those under "unconstrained/" let all predicates of a pair compete, the others take its best one. Standard
output is one JSON object; the table goes to standard error.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from visgen.data import Source, build_source
from visgen.engine import evaluate
from visgen.errors import VisgenError
from visgen.metrics import write_record
from visgen.task import TASKS, MultiTaskModel, build_model
from visgen.zoo import DEFAULT_MODEL, load_model

QUICK = "town:toy_vg?count=3&size=64x96&tasks=detection,scene_graph"
SHOWN = ("R@20", "R@50", "R@100", "mR@20", "mR@50", "mR@100", "zsR@20", "10shotR@20", "100shotR@20", "wR_tr@1")


def untrained(source: Source) -> MultiTaskModel:
    """A small model with the classes of the data and random weights: for --quick, where figures mean nothing."""
    tasks = ("detection", "scene_graph")
    heads = {source.heads[task]: {"task": task, "classes": source.classes[task]} for task in tasks}
    model = build_model({"backbone": {"name": "timm", "model": "mobilenetv3_small_050"}, "heads": heads})
    below, head = (source.heads[task] for task in tasks)
    TASKS.get("scene_graph").learn_counts(model.head(head), [source], model.specs[below])
    return model


def run(options: argparse.Namespace) -> None:
    # Data and model
    extra = {"into": options.into} if options.into else {}
    source = build_source(options.data, options.split, **extra)
    model = untrained(source) if options.quick else load_model(options.model)

    # Whole images, resized like a photograph that is given to `visgen predict`. How often training shows a triplet was
    # counted when the head was trained; the zero-shot, n-shot and weighted figures read it from the model.
    report: dict[str, Any] = {}
    for is_constrained in (True, False):
        given = {"protocol": options.protocol} if options.protocol else {}
        found = evaluate(
            model,
            source,
            options.head,
            max_side=model.max_side,
            min_side=model.min_side or None,
            limit=options.limit,
            device="auto",
            metric={"graph_constraint": is_constrained, "aggregate": options.aggregate, **given},
            name="untrained" if options.quick else options.model,
            data=options.data,
        ).to_dict()
        first = f"{options.protocol}/" if options.protocol else ""
        place = first if is_constrained else f"unconstrained/{first}"
        report = report or {**found, "metrics": {}}
        report["metrics"] |= {f"{place}{name}": value for name, value in found["metrics"].items()}
    report["protocol"] |= {"split": options.split, "metric": {"aggregate": options.aggregate}}

    # Table
    if options.out:
        Path(options.out).mkdir(parents=True, exist_ok=True)
        (Path(options.out) / "scene_graph.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if options.record:
        write_record(
            options.record,
            command=f"python tasks/scene_graph/eval.py {shlex.join(sys.argv[1:])}",
            config=model.config(),
            seeds=[],
            environment={"model": report["model"]},
            split=options.split,
            **{key: report[key] for key in ("data", "protocol", "metrics")},
        )
    print(json.dumps(report, indent=1))
    if not options.json:
        print(f"{report['model']} on {options.data} [{options.split}]", file=sys.stderr)
        for name, value in report["metrics"].items():
            if name.rpartition("/")[2] in SHOWN:
                print(f"{name:<36}{value:>8.4f}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="FORMAT:PATH, such as scene-graph:PATH, vg150:PATH or vrd:PATH")
    parser.add_argument("--split", default="val")
    parser.add_argument("--head", default="scene_graph", help="head, where the folder is not named like its label set")
    parser.add_argument("--into", metavar="FILE.json", help="COCO json with the classes of the detection head")
    parser.add_argument("--protocol", choices=("predcls", "sgcls", "sggen"), help="this one only")
    parser.add_argument("--aggregate", choices=("images", "relations"), default="images", help="what recall averages")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="shipped name, folder or Hub id")
    parser.add_argument("--limit", type=int, help="use so many images, evenly spaced")
    parser.add_argument("--json", action="store_true", help="nothing beside the JSON object")
    parser.add_argument("--record", metavar="FILE.json", help="also write a record as in model_zoo/results")
    parser.add_argument("--out", help="also write the JSON object into this folder")
    parser.add_argument("--quick", action="store_true", help="an untrained model on three procedural scenes")
    options = parser.parse_args()
    if options.quick:
        options.data = QUICK
    elif not options.data:
        parser.error("no data; give --data scene-graph:PATH, or --quick")
    try:
        run(options)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

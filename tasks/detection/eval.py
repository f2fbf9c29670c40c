"""Measure detection by COCO's rules: AP over IoU .50 to .95, AP50, AP75, and the recall of the 100 best boxes.

    python tasks/detection/eval.py --model visgen-tiny --data coco:PATH --head detection.coco

PATH holds val.json, or annotations/instances_val2017.json, with the images. Standard output is one JSON object; the
table goes to standard error.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path

from visgen.data import Source, build_source
from visgen.engine import evaluate
from visgen.errors import VisgenError
from visgen.metrics import write_record
from visgen.task import MultiTaskModel, build_model
from visgen.zoo import DEFAULT_MODEL, load_model

QUICK = "town:street?count=4&size=64x96&tasks=detection"


def untrained(source: Source) -> MultiTaskModel:
    """A small model with the classes of the data and random weights: for --quick, where figures mean nothing."""
    head = {"task": "detection", "classes": source.classes["detection"]}
    backbone = {"name": "timm", "model": "mobilenetv3_small_050"}
    return build_model({"backbone": backbone, "heads": {source.heads["detection"]: head}})


def run(options: argparse.Namespace) -> None:
    # Data and model
    coco = {"targets": ["detection"]} if options.data.startswith("coco:") else {}
    if options.into:  # a set with other categories, brought into the label set of the head
        coco["into"] = options.into
    source = build_source(options.data, options.split, **coco)
    model = untrained(source) if options.quick else load_model(options.model)

    # Whole images, resized like a photograph that is given to `visgen predict`, but without its display threshold: all
    # of the at most 100 boxes of an answer take part, and crowds count neither for nor against.
    report = evaluate(
        model,
        source,
        options.head,
        max_side=model.max_side,
        min_side=model.min_side or None,
        limit=options.limit,
        device="auto",
        metric={"per_class": True} if options.per_class else {},
        name="untrained" if options.quick else options.model,
        data=options.data,
    ).to_dict()
    report["protocol"]["split"] = options.split

    # Table
    if options.out:
        Path(options.out).mkdir(parents=True, exist_ok=True)
        (Path(options.out) / "detection.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if options.record:
        write_record(
            options.record,
            command=f"python tasks/detection/eval.py {shlex.join(sys.argv[1:])}",
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
            print(f"{name:<24}{value:>8.4f}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="FORMAT:PATH, such as coco:PATH")
    parser.add_argument("--split", default="val")
    parser.add_argument("--head", default="detection", help="head, where the folder is not named like its label set")
    parser.add_argument("--into", metavar="FILE.json", help="COCO json whose categories are those of the head")
    parser.add_argument("--per-class", action="store_true", help="also AP and AP50 of every class with true boxes")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="shipped name, folder or Hub id")
    parser.add_argument("--limit", type=int, help="use so many images, evenly spaced")
    parser.add_argument("--json", action="store_true", help="nothing beside the JSON object")
    parser.add_argument("--record", metavar="FILE.json", help="also write a record as in model_zoo/results")
    parser.add_argument("--out", help="also write the JSON object into this folder")
    parser.add_argument("--quick", action="store_true", help="an untrained model on four procedural scenes")
    options = parser.parse_args()
    if options.quick:
        options.data = QUICK
    elif not options.data:
        parser.error("no data; give --data coco:PATH, or --quick")
    try:
        run(options)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

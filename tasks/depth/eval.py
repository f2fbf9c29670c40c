"""Measure metric depth: AbsRel, RMSE in metres and delta1 over the measured pixels, by default without any alignment.

    python tasks/depth/eval.py --model visgen-tiny --data depth:PATH
    python tasks/depth/eval.py --model visgen-tiny --data depth:PATH --align scale

PATH holds val.txt with lines "IMAGE DEPTH"; depth is 16-bit PNG in millimetres, 0 where it was not measured (--scale
says otherwise). Standard output is one JSON object; the table goes to standard error. What no model at all reaches on
the same data: baselines.py.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path

from visgen.data import build_source
from visgen.engine import evaluate
from visgen.errors import VisgenError
from visgen.metrics import ALIGNMENTS, write_record
from visgen.task import MultiTaskModel, build_model
from visgen.zoo import DEFAULT_MODEL, load_model

QUICK = "town:room?count=4&size=64x96&tasks=depth"


def untrained() -> MultiTaskModel:
    """A small model with random weights: for --quick, where figures mean nothing."""
    backbone = {"name": "timm", "model": "mobilenetv3_small_050"}
    return build_model({"backbone": backbone, "heads": {"depth": {"task": "depth"}}})


def run(options: argparse.Namespace) -> None:
    # Data and model
    source = build_source(options.data, options.split, **({"scale": options.scale} if options.scale else {}))
    model = untrained() if options.quick else load_model(options.model)

    # Whole images, resized like a photograph that is given to `visgen predict`; answers are brought to the size of the
    # measured map. Each figure is taken within an image, then averaged over images.
    report = evaluate(
        model,
        source,
        "depth",
        max_side=model.max_side,
        min_side=model.min_side or None,
        limit=options.limit,
        device="auto",
        metric={"align": options.align, "max_depth": options.max_depth},
        name="untrained" if options.quick else options.model,
        data=options.data,
    ).to_dict()
    report["protocol"]["split"] = options.split

    # Table
    if options.out:
        Path(options.out).mkdir(parents=True, exist_ok=True)
        (Path(options.out) / "depth.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if options.record:
        write_record(
            options.record,
            command=f"python tasks/depth/eval.py {shlex.join(sys.argv[1:])}",
            config=model.config(),
            seeds=[],
            environment={"model": report["model"]},
            split=options.split,
            **{key: report[key] for key in ("data", "protocol", "metrics")},
        )
    print(json.dumps(report, indent=1))
    if not options.json:
        print(f"{report['model']} on {options.data} [{options.split}], align {options.align}", file=sys.stderr)
        for name, value in report["metrics"].items():
            print(f"{name:<10}{value:>8.4f}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="depth:PATH")
    parser.add_argument("--split", default="val")
    parser.add_argument("--scale", type=float, help="counts per metre in the depth files: 1000 if left out")
    parser.add_argument("--align", choices=ALIGNMENTS, default="none", help="fit each answer to its target first")
    parser.add_argument("--max-depth", type=float, help="metres; farther measurements do not count")
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
        parser.error("no data; give --data depth:PATH, or --quick")
    try:
        run(options)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

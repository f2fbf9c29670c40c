"""Which heads may share a router? Every head of a model on every router, without training.

    python tasks/multitask/routes.py visgen-tiny --data-root DATA --parts camvid redkitchen --record FILE.json

Heads on one router share its pass through the experts, which several tasks on one picture then pay once. The parts are
those under data.val of a run file, one head each. What is found here goes into a model as `route` of a head.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from visgen.config import load_run
from visgen.data import build_source
from visgen.engine import evaluate
from visgen.errors import ConfigError, VisgenError
from visgen.metrics import write_record
from visgen.shipped import shipped_path
from visgen.zoo import load_model

CONFIG = "configs/multitask/visgen_tiny.yaml"
FIGURES = ("top1", "mIoU", "AbsRel", "AP50", "AP50/person", "predcls/mR@20", "predcls/R@20", "sggen/R@50")


def measure(model: Any, head: str, part: Any, source: Any) -> dict[str, dict[str, float]]:
    """The figures of one head on the routers of its model; the model is left as it was."""
    spec, found = model.specs[head], {}
    try:
        for router in model.backbone.tasks:
            model.specs[head] = replace(spec, route=router)
            sides = {"min_side": model.min_side or None, "max_side": part.max_side or model.max_side}
            metrics = evaluate(model, source, head, **sides, metric=part.metric).metrics
            found[router] = {name: metrics[name] for name in FIGURES if name in metrics}
            print(f"{head} on {source.name}, router of {router}: {found[router]}", flush=True)
    finally:
        model.specs[head] = spec
    return found


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Part -> its head, the router that it takes, and the figures on each."""
    parts = load_run(shipped_path(options.config), (), options.data_root).data.val
    wrong = [name for name in options.parts if name not in parts]
    if wrong:
        raise ConfigError(f"the run file has no part '{wrong[0]}' under data.val; it has {', '.join(parts)}.")
    model = load_model(options.model, "cpu")
    if not getattr(model.backbone, "tasks", ()):
        raise ConfigError(f"model '{options.model}' has no routers; name one whose backbone is a mixture of experts.")
    found = {}
    for name in options.parts or parts:
        source = build_source(parts[name].source, parts[name].split or "val", **parts[name].options)
        head = model.resolve(next(iter(source.heads.values())))
        routers = measure(model, head, parts[name], source)
        found[name] = {"head": head, "takes": model.route(head), "routers": routers}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="shipped name, folder or Hub id")
    parser.add_argument("--data-root", required=True, help="folder of the data sets")
    parser.add_argument("--config", default=CONFIG, help="run file whose parts under data.val are measured")
    parser.add_argument("--parts", nargs="*", default=[], help="names of them; all when absent")
    parser.add_argument("--record", type=Path, metavar="FILE.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        metrics = compare(options)
        if options.record:
            write_record(
                options.record,
                command=shlex.join(["python", "tasks/multitask/routes.py", *sys.argv[1:]]),
                config=options.config,
                seeds=[],
                data=", ".join(metrics),
                split="val",
                protocol={"routers": "each head as it is, on the router of each task; no training"},
                metrics=metrics,
            )
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

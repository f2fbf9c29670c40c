"""Do experts carry the answers where heads read nothing else? The control, its sub-networks, and dense models.

For each seed: the small mixture of configs/experts/control.yaml, sub-networks of it by what is kept, and for each label
set a dense model as large as the experts that one token visits, trained on as many batches. Resumable.

    python tasks/experts/control.py --data-root DATA --out runs/control
    python tasks/experts/control.py --data-root DATA --out runs/control --report model_zoo/results/experts_control.json
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from visgen.config import RunConfig, load_run
from visgen.engine import evaluate, measure_routing, train_run
from visgen.engine.parts import open_part
from visgen.errors import VisgenError
from visgen.experts import collect_expert_stats
from visgen.experts.curves import extraction_curve, summarise_curves
from visgen.metrics import Figure, fill_table, summarise, write_record
from visgen.zoo import load_model, save_pretrained

HERE = Path(__file__).resolve().parent
CONFIG = HERE.parents[1] / "configs" / "experts" / "control.yaml"
KEEPS, RULES, STATS = (1, 2, 4, 8), ("visited most", "random", "largest weights"), 200


def configure(seed: int, dense: str | None, args: argparse.Namespace) -> RunConfig:
    """The run of the mixture, or of the dense model of one label set: the same steps on its batches alone."""
    out = args.out / f"{dense or 'experts'}-{seed}"
    config = load_run(CONFIG, [f"seed={seed}", f"out={out}", *args.set], args.data_root)
    if dense is None:
        return config
    head = f"classification.{dense}"
    model = replace(
        config.model,
        options={**config.model.options, "layout": "dense"},
        heads={head: replace(config.model.heads[head], route="")},
    )
    data = replace(config.data, train={dense: config.data.train[dense]}, val={dense: config.data.val[dense]})
    losses = {head: config.objective.loss_options[head]}
    return replace(config, model=model, data=data, objective=replace(config.objective, routing={}, loss_options=losses))


def measure(seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Train what is not trained, and give the figures of one seed by label set."""
    file = args.out / f"result-{seed}.json"
    if file.exists():
        return json.loads(file.read_text(encoding="utf-8"))
    config = configure(seed, None, args)
    for name in (None, *config.data.train):
        run = configure(seed, name, args)
        summary = train_run(run, resume=True, export=save_pretrained)  # one that is done goes on for no step
        if not summary.finished:
            sys.exit(f"stopped by {summary.reason}; the same command goes on")
        print("trained", name or "experts", seed, summary.metrics, file=sys.stderr, flush=True)
    model = load_model(f"{config.out}/last", "cpu")
    sources = {name: open_part(replace(part, limit=None), "val", name) for name, part in config.data.val.items()}
    train = {name: open_part(replace(part, cache=False), "train", name) for name, part in config.data.train.items()}
    routes = {model.route(f"classification.{name}"): [source] for name, source in train.items()}
    stats = collect_expert_stats(model, routes, STATS)
    found: dict[str, Any] = {"routing": measure_routing(model, routes, limit=STATS)}
    for name, source in sources.items():
        head = f"classification.{name}"
        limit, dense = config.data.val[name].limit, load_model(f"{configure(seed, name, args).out}/last", "cpu")
        curve = extraction_curve(model, head, source, stats, thetas=(0.03,), keeps=KEEPS, limit=limit)
        figures = evaluate(dense, source, head, batch_size=8, max_side=64, min_side=64, limit=limit).metrics
        size = sum(p.numel() for p in dense.parameters())
        found[name] = {"curve": curve, "dense": {"top1": figures["top1"], "parameters": size}}
        print("measured", name, seed, file=sys.stderr, flush=True)
    file.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


def report(args: argparse.Namespace) -> None:
    """Write the record of all seeds and the rows of the page."""
    runs = [measure(seed, args) for seed in args.seeds]
    names = [name for name in runs[0] if name != "routing"]
    found: dict[str, Any] = {name: summarise_curves([run[name]["curve"] for run in runs], "top1") for name in names}
    for name in names:
        dense = [run[name]["dense"] for run in runs]
        found[name]["dense"] = summarise([one["top1"] for one in dense]) | {"parameters": dense[0]["parameters"]}
    layers = [layer["layer"] for layer in runs[0]["routing"]]
    found["I over log T"] = {n: summarise([run["routing"][i]["I/logT"] for run in runs]) for i, n in enumerate(layers)}
    write_record(
        args.report, command="python tasks/experts/control.py --data-root DATA", config="configs/experts/control.yaml",
        seeds=args.seeds, data=", ".join(names), split="val", metrics=found,
        protocol={"figure": "top1", "visits": f"of {STATS} training pictures a set", "random": "three draws a model",
                  "dense": "one model a set, as large as what a token visits, as many batches of that set"},
    )  # fmt: skip
    paths: dict[str, tuple[str, ...]] = {"full model": ("full",), "all experts silent": ("silent",)}
    paths |= {f"{n} kept, {rule}": (f"keep {n}", rule) for n in KEEPS for rule in RULES}
    paths["dense, trained alone"] = ("dense",)
    rows = [[title, *(Figure(("metrics", n, *path)) for n in names)] for title, path in paths.items()]
    fill_table(args.readme, "control", args.report, ["", *names], rows)


def main() -> None:
    """Read the command line, train and measure, and report when asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", required=True, help="folder of the data sets")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/control"))
    parser.add_argument("--set", nargs="*", default=[], help="further overrides, a.b=c")
    parser.add_argument("--report", type=Path, help="also write this record and the rows of the page")
    parser.add_argument("--readme", type=Path, default=HERE / "README.md", help="page whose rows are written anew")
    args = parser.parse_args()
    report(args) if args.report else [measure(seed, args) for seed in args.seeds]


if __name__ == "__main__":
    try:
        main()
    except VisgenError as error:
        sys.exit(f"error: {error}")

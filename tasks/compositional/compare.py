"""Measure the arms that train.py trained, judge the claim, and write the record.

    python tasks/compositional/compare.py --out runs/compositional --split test --record FILE.json

Boxes and classes are given (PredCls), or boxes alone (SGCls). "appearance" asks only for the predicates that boxes do
not tell; the claim rests on these, in compositions that training never shows. Standard output is JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

from visgen.data import build_source
from visgen.data.town import VISUAL_PREDICATES
from visgen.engine.compositional import answer_by_counts, answer_maps, arm_tables, score_graphs
from visgen.engine.made_features import measure_made
from visgen.errors import VisgenError
from visgen.metrics import fill_table, paired_bootstrap, summarise, write_record
from visgen.metrics.arms import arm_claim
from visgen.task.compositional_saving import load_compositional

CONTROLS = ("baseline", "again", "swapped", "gan")
# What each difference isolates: the generator, the new compositions, the generator over a swap, and right names.
PAIRS = (("gan", "again"), ("graphn", "gan"), ("graphn", "swapped"), ("graphn", "again"), ("graphn", "shuffled"))

RULE = "graphn over the best control has an interval above 0 at K = 100, and R@100 of all is <= 0.005 under again's"


def measure(options: argparse.Namespace) -> dict[str, Any]:
    val = build_source(f"maps:{options.out}/maps", options.split)
    asked = list(VISUAL_PREDICATES) if set(VISUAL_PREDICATES) <= set(val.classes["scene_graph"]) else []
    scopes: dict[str, Any] = {"appearance": asked, "all": None} if asked else {"all": None}
    lead, figures, recalls = next(iter(scopes)), {}, {}
    for arm in options.arms:
        rows: dict[str, list[dict[str, float]]] = {}
        for seed in options.seeds:
            left = load_compositional(options.out / f"{arm}-{seed}" / "last")
            for protocol in ("predcls",) if arm == "geometry" else ("predcls", "sgcls"):
                answers = answer_maps(left.head, val, protocol)
                for scope, scores in score_graphs(answers, val, left.head.counts, protocol, scopes).items():
                    rows.setdefault(f"{scope}/{protocol}", []).append(scores.figures)
                    if protocol == "predcls":
                        recalls.setdefault(scope, {}).setdefault(arm, []).append(scores.recalls)
            shown = rows[f"{lead}/predcls"][-1]
            text = "  ".join(f"{k} {shown[k]:.3f}" for k in ("ng/zsR@20", "ng/zsR@50", "ng/zsR@100", "ng/R@100"))
            print(f"{arm:<9} seed {seed}  {text}", file=sys.stderr, flush=True)
        figures[arm] = {group: {k: summarise([r[k] for r in rs]) for k in rs[0]} for group, rs in rows.items()}
    scored = score_graphs(answer_by_counts(left.head.counts, val), val, left.head.counts, scopes=scopes)
    figures["counts"] = {f"{scope}/predcls": scores.figures for scope, scores in scored.items()}

    # Figures of several seeds as (S, N, 1), then differences and the claim.
    stacked = {
        scope: {arm: {k: torch.stack([r[k] for r in rs]) for k in rs[0]} for arm, rs in arms.items()}
        for scope, arms in recalls.items()
    }
    rng = torch.Generator().manual_seed(0)
    found: dict[str, Any] = {"arms": figures, "differences": {}, "claim": {}}
    for k in (20, 50, 100):
        zero = {arm: values[f"ng/zsR@{k}"] for arm, values in stacked[lead].items()}
        for one, other in (pair for pair in PAIRS if set(pair) <= set(zero)):
            named = found["differences"].setdefault(f"{one} less {other}", {})
            named[f"ng/zsR@{k}"] = paired_bootstrap(zero[other], zero[one], rng, options.draws)
        if {"graphn", *CONTROLS} <= set(zero):
            whole = {arm: values[f"ng/R@{k}"] for arm, values in stacked["all"].items()}
            rule: dict[str, Any] = {"arm": "graphn", "base": "again", "rivals": CONTROLS, "draws": options.draws}
            found["claim"][f"K={k}"] = arm_claim(zero, whole, rng, **rule)
    if not options.no_made and "graphn" in options.arms:
        train = build_source(f"maps:{options.out}/maps", "train")
        found["made"] = measure_made(options.out / f"graphn-{options.seeds[0]}" / "last", train, val)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/compositional"), help="what train.py wrote")
    parser.add_argument("--split", default="val", help="choices are made on val, the record is of test")
    parser.add_argument("--arms", nargs="+", default=[*CONTROLS, "graphn", "shuffled"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--draws", type=int, default=2000, help="of the bootstrap")
    parser.add_argument("--no-made", action="store_true", help="leave out what the made features are worth")
    parser.add_argument("--data", default="town:compositions (procedural)", help="what the record calls the data")
    parser.add_argument("--record", help="write the figures to this .json file")
    parser.add_argument("--readme", type=Path, help="page whose tables named after the record to fill")
    options = parser.parse_args()
    try:
        figures = measure(options)
        if options.record:
            command = " ".join(["python", "tasks/compositional/compare.py", *sys.argv[1:]])
            run = (options.out / f"{options.arms[-1]}-{options.seeds[0]}" / "config.yaml").read_text(encoding="utf-8")
            protocol = {"claim": RULE, "interval": "paired bootstrap over pictures and seeds, 95 %"}
            about = {"command": command, "config": run, "seeds": options.seeds, "split": options.split}
            write_record(options.record, **about, data=options.data, protocol=protocol, metrics=figures)
            if options.readme:
                name = Path(options.record).stem
                for table, (header, rows) in zip((name, f"{name} differences"), arm_tables(figures), strict=True):
                    fill_table(options.readme, table, options.record, header, rows)
    except VisgenError as error:
        parser.exit(2, f"{type(error).__name__}: {error}\n")
    print(json.dumps({k: figures[k] for k in figures if k != "arms"}, indent=1))


if __name__ == "__main__":
    main()

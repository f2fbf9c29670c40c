"""NightTown: does training on generated night help on rendered night? Dense tasks on procedural streets.

    python tasks/night/experiment.py --data-root DATA --out runs/night-street --record FILE.json

DATA/../weights holds an ImageNet MobileNetV2, the fixed backbone. Set A trains by day, set B teaches the generators, C
tests by day and by night; `--part V` measures on a small set for choices. All is procedural. It goes on after a stop.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

from visgen.config import load_run
from visgen.engine.night import (
    ARMS,
    RIVALS,
    StreetStudy,
    choose_arms,
    compare_arms,
    gather_measures,
    night_generators,
    street_sets,
)
from visgen.errors import VisgenError
from visgen.experts.prefix_cache import PrefixCache
from visgen.metrics import write_record
from visgen.shipped import shipped_path

SIZE, COUNTS, QUICK = (64, 96), (150, 80, 40), (6, 2, 2)


def run(options: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(1)
    quick = ["train.steps=2", "train.save_every=0"]
    few = " | ".join(f"town:night_town?size=64,96&count=4&tasks=segmentation&time={t}" for t in ("day", "night"))
    small = [*quick, "optim.warmup_steps=0", "data.train.street.batch_size=2"] if options.quick else []
    source = [*quick, f"data.train.street.source=unpaired-sources:{few}"] if options.quick else []
    source.append(f"seed={options.generator_seed}")
    if not options.data_root:  # a quick run does without ImageNet weights
        small, source = [*small, "model.options.weights=null"], [*source, "objective.options.feature_weight=0"]
    asked = (options.config, small), (options.generator, source)
    config, teaching = (load_run(shipped_path(file), changes, options.data_root or ".") for file, changes in asked)
    generators = night_generators(teaching, options.out, arms=choose_arms(options.arms).values())
    sets = street_sets(SIZE, QUICK if options.quick else COUNTS)
    chosen = options.part, options.share, options.shift, options.grain
    study = StreetStudy(config, sets, generators, options.out, PrefixCache(2**30).attach, *chosen)
    runs: dict[str, dict[int, Any]] = {}
    for seed in options.seeds:  # all arms of a seed before the next, so that an interrupted experiment is balanced
        for name, arm in choose_arms(options.arms).items():
            found = runs.setdefault(name, {})[seed] = study.run(name, arm, seed)
            night, day = (found[f"{options.part} {time}/iou"].nanmean(0).nanmean() for time in ("night", "day"))
            print(f"{name} seed {seed}: mIoU by night {night:.3f}, by day {day:.3f}", file=sys.stderr, flush=True)
    return {
        figure: compare_arms(
            *(gather_measures(runs, f"{options.part} {time}/{key}") for time in ("night", "day")),
            lower_is_better=key == "absrel",
        )
        for figure, key in (("mIoU", "iou"), ("AbsRel", "absrel"))
        if f"{options.part} day/{key}" in found
    }


def record(options: argparse.Namespace, metrics: dict[str, Any]) -> None:
    write_record(
        options.record, command=" ".join(["python", "tasks/night/experiment.py", *sys.argv[1:]]),
        config={"model": options.config, "generator": options.generator}, seeds=options.seeds,
        data={"town": "procedural streets, 64 x 96 pixels", "A": "seed 20 of split train, 150 scenes by day",
              "B": "300 nights of seed 22, and the days that the run file of the generators names",
              "C, V": "80 scenes of seed 23, test, and 40 of seed 24, val, for choices; each by day and by night"},
        split=f"{options.part}; no scene is in two sets",
        protocol={
            "mIoU": "mean over classes of means over pictures that show the class, so that pictures can be drawn again",
            "intervals": "95 % of 2000 draws of test pictures and seeds, paired",
            "share": f"{options.share:g} of the pictures of A2 and A4 to A9, drawn anew each time",
            "arms": {name: ARMS[name].says for name in options.arms},
            "wrong": f"A8: the generated night lies {options.shift} pixels beside its labels",
            "grain": "what A4 to A6 and A8 show has the noise of set B's nights" if options.grain else "none added",
            "claim": f"A5 by night above the best of {', '.join(a for a in RIVALS if a in options.arms)}, interval "
            "without 0; at most 0.005 lost to A1 by day",
        },
        metrics=metrics, notes="Procedural; nights are rendered, no function of the day. One seed of generators.",
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", help="folder beside the folder weights; needed for figures, not for --quick")
    parser.add_argument("--out", type=Path, default=Path("runs/night-street"))
    parser.add_argument("--config", default="configs/night/street.yaml", help="run file of the heads")
    parser.add_argument("--generator", default="configs/night/street_generator.yaml", help="of the generators")
    parser.add_argument("--generator-seed", type=int, default=0, help="of their training")
    parser.add_argument("--share", type=float, default=StreetStudy.share, help="of pictures that arms replace")
    parser.add_argument("--grain", action="store_true", help="give made nights the noise of unlabelled ones")
    parser.add_argument("--shift", type=int, default=StreetStudy.shift, help="pixels of A8 beside its labels")
    parser.add_argument("--part", default="C", choices=("C", "V"), help="what is measured")
    parser.add_argument("--arms", nargs="+", default=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--record", type=Path, metavar="FILE.json")
    parser.add_argument("--quick", action="store_true", help="two steps on a few scenes, to see that it runs")
    options = parser.parse_args()
    if not (options.data_root or options.quick):
        parser.error("--data-root is missing: it says where ImageNet weights lie, and only --quick does without")
    if options.quick:  # never mixes with a real run
        options.seeds, options.out = options.seeds[:1], options.out / "quick"
    try:
        if (metrics := run(options)) and options.record:
            record(options, metrics)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")
    print(json.dumps(metrics, indent=1))


if __name__ == "__main__":
    main()

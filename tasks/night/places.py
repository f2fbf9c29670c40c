"""Place recognition from night to day: does a head trained on generated night find the day of a place by night?

    python tasks/night/places.py --data-root DATA --out runs/night-places --record model_zoo/results/night_places.json

Two folds over the places that have pictures of both times. Generator and head see the training places of a fold only;
the backbone is a fixed ImageNet MobileNetV2 (DATA/../weights). It goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

from visgen.backbones import BACKBONES
from visgen.config import load_run
from visgen.data import Subset, build_source
from visgen.engine.night import ARMS, PlacesStudy, choose_arms, compare_arms, folds_of, night_generators
from visgen.errors import VisgenError
from visgen.metrics import summarise, write_record
from visgen.shipped import shipped_path

SIZE = (144, 192)
CONFIG, GENERATOR = "configs/night/places.yaml", "configs/night/places_generator.yaml"


def study_of(fold: int, tested: list[str], options: argparse.Namespace) -> PlacesStudy:
    """The study of one fold, its generators trained."""
    root, out, others = options.data_root, options.out / f"fold{fold}", None
    both = [place for places in folds_of(build_source(f"places:{root}/night", "all")) for place in places]
    trained = ",".join(place for place in both if place not in tested)
    days, nights = (f"places:{root}/night?times={time}&places={trained}" for time in ("day", "night"))
    words = [f"data.train.places.source=unpaired-sources:{days} | {nights}", *options.set_generator]
    generators = night_generators(load_run(shipped_path(GENERATOR), words, root), out)
    config = load_run(shipped_path(CONFIG), options.set, root)
    torch.manual_seed(0)
    backbone = BACKBONES.build(config.model.backbone, **config.model.options).eval()
    source = build_source(f"places:{root}/night", "all", places=both)
    if options.others:
        whole, out = build_source(options.others, "train"), out / "others"
        others = Subset(whole, [i * len(whole) // options.count for i in range(options.count)])
    return PlacesStudy(config, backbone, source, tested, generators, SIZE, out, others)


def run(options: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(1)
    folds = folds_of(build_source(f"places:{options.data_root}/night", "all"))
    values: dict[str, dict[str, dict[int, dict[str, float]]]] = {"night": {}, "day": {}}
    for fold, tested in enumerate(folds):
        study = study_of(fold, tested, options)
        for seed in options.seeds:
            arms = {name: study.read(study.run(name, a, seed)) for name, a in choose_arms(options.arms).items()}
            for name, vectors in {"untrained": study.untrained(seed), **arms}.items():
                found = study.by_place(vectors)
                for time, row in found.items():
                    values[time].setdefault(name, {}).setdefault(seed, {}).update(row)
                shown = ", ".join(f"by {t} {sum(row.values()) / len(row):.3f}" for t, row in found.items())
                print(f"fold {fold} seed {seed} {name}: mAP {shown}", file=sys.stderr, flush=True)
    night, day = (gather(values[time], options.seeds) for time in ("night", "day"))
    places = list(values["night"]["untrained"][options.seeds[0]])  # in the order of the values of `gather`
    each = {arm: {p: summarise(x[:, i, 0].tolist()) for i, p in enumerate(places)} for arm, x in night.items()}
    return {"mAP": compare_arms(night, day), "mAP by night of each place": each}


def gather(values: dict[str, dict[int, dict[str, float]]], seeds: list[int]) -> dict[str, torch.Tensor]:
    """Values (S, places, 1): places count as pictures do elsewhere, for the pictures of one are minutes apart."""
    return {arm: torch.tensor([list(rows[s].values()) for s in seeds])[..., None] for arm, rows in values.items()}


def record(options: argparse.Namespace, metrics: dict[str, Any]) -> None:
    protocol = {
        "folds": "places with both times by name, every second one tested; generator and head see the others only",
        "queries": "pictures of the tested places by night, or by day; searched: their pictures by day, not the query",
        "mAP": "trapezoid rule; the mean over places of means over queries, for pictures of a place are minutes apart",
        "intervals": "95 % of 2000 draws of places and seeds, paired",
        "size": f"{SIZE} for every picture, so that its proportions do not name the camera",
        "backbone": "ImageNet MobileNetV2, fixed; its stride-32 map, a linear map, GeM",
        "arms": {"untrained": "the head as it starts", **{name: ARMS[name].says for name in options.arms}},
        "wrong": "A8: the generated nights of a place bear the name of another place",
        "others": options.others or "none",
        "claim": "A5 above the better of A1 and A2 by night, interval without 0, at most 0.005 lost to A1 by day",
    }
    more = f" --others {options.others} --count {options.count}" if options.others else ""
    write_record(
        options.record, command=f"python tasks/night/places.py --data-root DATA{more} --out RUNS --record FILE",
        config={"head": CONFIG, "generator": GENERATOR}, seeds=options.seeds, data="night",
        split="two folds over ten places", protocol=protocol, metrics=metrics,
        notes="Ten cameras: few scenes. One seed of generators in each fold; only A9 uses labels of night.",
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", required=True, help="holds the folder night; weights lie beside it")
    parser.add_argument("--out", type=Path, default=Path("runs/night-places"))
    parser.add_argument("--arms", nargs="+", default=[name for name in ARMS if name not in ("A3", "A4")])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--record", type=Path, metavar="FILE.json")
    parser.add_argument(
        "--others", metavar="FORMAT:PATH", help="photographs by day, each a place of its own to train on"
    )
    parser.add_argument("--count", type=int, default=200, help="of these photographs")
    parser.add_argument("--set", nargs="*", default=[], help="overrides of the head's run, a.b=c")
    parser.add_argument("--set-generator", nargs="*", default=[], help="overrides of the generator's run, a.b=c")
    options = parser.parse_args()
    try:
        metrics = run(options)
        if options.record:
            record(options, metrics)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")
    print(json.dumps(metrics["mAP"], indent=1))


if __name__ == "__main__":
    main()

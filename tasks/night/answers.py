"""Do answers about a place hold by night? A six-task model on ten places by day, by night and by generated night.

    python tasks/night/answers.py --data-root DATA --generators runs/night-places --record FILE.json

Nothing is labelled: what the days of a fixed camera agree on is the reference. The generators are those of places.py,
each applied to the places that it was not trained on.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from visgen.data import Sample, build_source
from visgen.data.transforms import Darken
from visgen.engine.night import agreement, brighten, folds_of
from visgen.engine.night.answers import Agreement, mean_of_places
from visgen.errors import VisgenError
from visgen.gan.night import load_night
from visgen.metrics import summarise, write_record
from visgen.structures.working_size import resize_for_work
from visgen.zoo import load_model

SHOWN = {
    "day": "another day of the place (the ceiling)",
    "night": "the place by night",
    "night, brightened": "by night, raised to the power that brings the mean to 0.45",
    "generated": "a day turned to night by a generator that never saw the place",
    "darkened": "a day with gamma, gain and noise",
}


@torch.no_grad()
def answers(model: Any, head: str, images: list[Tensor]) -> tuple[Tensor, list[int]]:
    """Class ids (N, H, W) and class label of each image."""
    maps, labels = [], []
    for image in images:
        small = resize_for_work(image, model.max_side, model.min_side or None)
        size = (int(image.shape[1]), int(image.shape[2]))
        found = model.predict(small[None], [head, "classification"], sizes=[size])
        maps.append(found[head][0].ids)
        labels.append(found[model.resolve("classification")][0].label_id)
    return torch.stack(maps), labels


def at_place(model: Any, head: str, days: list[Sample], nights: list[Sample], generator: Any) -> dict[str, Agreement]:
    """Agreement of each kind of picture with the days of the place."""
    darken, rng = Darken(p=1.0), torch.Generator().manual_seed(0)
    day_ids, day_labels = answers(model, head, [s.image for s in days])
    itself = list(range(len(days)))
    shown = {
        "night": ([s.image for s in nights], None),
        "night, brightened": ([brighten(s.image) for s in nights], None),
        "generated": ([generator(s.image[None])[0] for s in days], itself),
        "darkened": ([darken(s, rng).image for s in days], itself),
    }
    found = {"day": agreement(day_ids, day_labels, day_ids, day_labels, itself)}
    for name, (images, own) in shown.items():
        found[name] = agreement(day_ids, day_labels, *answers(model, head, images), own)
    return found


def run(options: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(1)
    model = load_model(options.model, "cpu")
    source = build_source(f"places:{options.data_root}/night", "all")
    rows: dict[str, dict[str, Agreement]] = {name: {} for name in SHOWN}
    for fold, tested in enumerate(folds_of(source)):
        generator = load_night(options.generators / f"fold{fold}" / "generator-edges" / "last")
        for place in tested:
            own = [[source[i] for i, (_, p, t) in enumerate(source.rows) if (p, t) == (place, time)]
                   for time in ("day", "night")]  # fmt: skip
            days, nights = (
                [found[i * len(found) // options.limit] for i in range(options.limit)]
                if len(found) > options.limit else found
                for found in own
            )  # fmt: skip
            for name, value in at_place(model, options.head, days, nights, generator).items():
                rows[name][place] = value
            print(place, {name: f"{row[place].pixels:.3f}" for name, row in rows.items()}, file=sys.stderr, flush=True)
    return {name: {k: summarise(v) for k, v in mean_of_places(row).items()} for name, row in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", required=True, help="holds the folder night")
    parser.add_argument("--generators", type=Path, required=True, help="--out of places.py")
    parser.add_argument("--model", default="visgen-tiny")
    parser.add_argument("--head", default="segmentation.camvid", help="its classes are those of streets")
    parser.add_argument("--limit", type=int, default=8, help="pictures of each place and time")
    parser.add_argument("--record", type=Path, metavar="FILE.json")
    options = parser.parse_args()
    try:
        metrics = run(options)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")
    print(json.dumps({name: {k: v["mean"] for k, v in row.items()} for name, row in metrics.items()}, indent=1))
    if options.record:
        protocol = {"reference": "class on which 75 % of the other days of the place agree; no picture is labelled",
                    "pixels": "share of those pixels with that class, mean over pictures, spread over places",
                    "labels": "share of pictures with the most frequent class label of the other days",
                    "limit": options.limit, "head": options.head, "shown": SHOWN}  # fmt: skip
        words = (
            f"python tasks/night/answers.py --data-root DATA --generators RUNS --limit {options.limit} --record FILE"
        )
        write_record(options.record, command=words, config=None, seeds=[], data="night", protocol=protocol,
                     split="ten places, 'values' by name", metrics=metrics,
                     environment={"model": options.model})  # fmt: skip


if __name__ == "__main__":
    main()

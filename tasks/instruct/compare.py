"""Three answers of two models on the same photographs: heads on experts, heads on diffusion features, drawn pictures.

    python tasks/instruct/compare.py --data-root DATA --out model_zoo/results
    python tasks/instruct/compare.py --data-root DATA --costs --out model_zoo/results   # parameters and time instead

CamVid classes and red-kitchen depth, val parts. Both backbones are frozen and know both sets from their own training;
the fresh heads on them have the same class, batches, steps and seeds. The drawn pictures are measured as the model
ships, and a constant (most frequent class at each place, median depth) shows what looking at no image gives.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from visgen.cli.benches.clock import compute_threads, environment, interleave
from visgen.data import Cached, build_source
from visgen.engine.instruct_compare import answer_costs, compare_answers
from visgen.errors import VisgenError
from visgen.metrics import write_record
from visgen.zoo import DEFAULT_MODEL, INSTRUCT_MODEL, load_model

SETS = {"segmentation.camvid": "semantic:{}/camvid", "depth": "depth:{}/depth_7scenes_redkitchen"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--experts", default=DEFAULT_MODEL, help="model whose backbone is a mixture of experts")
    parser.add_argument("--instruct", default=INSTRUCT_MODEL, help="instruction model")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int, help="use so many val images of each set")
    parser.add_argument("--costs", action="store_true", help="measure what the answers cost, on two threads")
    parser.add_argument("--out", type=Path, help="write the record into this folder")
    arguments = parser.parse_args()
    opened = {
        split: {name: Cached(build_source(data.format(arguments.data_root), split)) for name, data in SETS.items()}
        for split in ("train", "val")
    }
    experts, drawing = load_model(arguments.experts, "cpu"), load_model(arguments.instruct, "cpu")
    seeds, facts = tuple(range(arguments.seeds)), {"experts": arguments.experts, "instruct": arguments.instruct}
    protocol = {"steps": arguments.steps, "limit": arguments.limit, "backbones": "frozen", "train": "144x192",
                "scored_at": "size of the labels", "depth": "metric, no alignment"}  # fmt: skip
    if arguments.costs:
        classes = tuple(opened["val"]["segmentation.camvid"].classes["segmentation"])
        with compute_threads(2):
            figures = answer_costs(experts, drawing, classes, lambda cases: interleave(cases, 15))
        protocol = {"timed": "classes and depth of one random picture of 320x240", "repeats": 15}
        facts |= environment(2, 15)
    else:
        figures = compare_answers(
            experts, drawing, opened["train"], opened["val"], steps=arguments.steps, seeds=seeds, limit=arguments.limit
        )
    print(json.dumps(figures, indent=1))
    if arguments.out is not None:
        words = " ".join(["python tasks/instruct/compare.py", *sys.argv[1:]])
        command = words.replace(str(arguments.data_root), "DATA")
        write_record(
            arguments.out / f"instruct_{'costs' if arguments.costs else 'compare'}.json",
            command=command,
            config=None,
            seeds=() if arguments.costs else seeds,
            data={name: data.format("DATA") for name, data in SETS.items()},
            split="val",
            protocol=protocol,
            metrics=figures,
            environment=facts,
        )  # fmt: skip


if __name__ == "__main__":
    try:
        main()
    except VisgenError as error:
        sys.exit(f"error: {error}")

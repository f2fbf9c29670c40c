"""Is a photograph unlike what the model was trained on? The score with its threshold, drawn and printed.

    python tasks/ood/demo.py --model runs/with-ood                        # the photographs in data/samples
    python tasks/ood/demo.py PHOTO.jpg FOLDER --model runs/with-ood --out out/mine

The model needs a fitted OOD head: `visgen fit` adds one, see the README beside this file.
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

from visgen import pipeline
from visgen.data import build_source
from visgen.engine import fit_head, with_head
from visgen.errors import VisgenError
from visgen.shipped import shipped_path
from visgen.task import HeadSpec, MultiTaskModel, build_model
from visgen.zoo import DEFAULT_MODEL

SCENES = "town:street?count=12&size=64x96&tasks=classification"


def fitted() -> MultiTaskModel:
    """A small untrained model fitted to a few procedural scenes, for --quick: what it calls unusual means nothing."""
    train, val = (build_source(SCENES, split) for split in ("train", "val"))
    head = {"task": "classification", "classes": train.classes["classification"]}
    backbone = {"name": "timm", "model": "mobilenetv3_small_050"}
    model = build_model({"backbone": backbone, "heads": {train.heads["classification"]: head}, "max_side": 96})
    few = {"score": "knn", "score_options": {"k": 1, "bank": 12}}  # the default asks for images of every class
    model = with_head(model, "ood", HeadSpec("ood", options=few))
    fit_head(model, "ood", train, val)
    return model


def run(options: argparse.Namespace) -> None:
    ask = pipeline("ood", fitted() if options.quick else options.model)
    images = options.images or [str(shipped_path("data/samples"))]
    options.out.mkdir(parents=True, exist_ok=True)
    for number, result in enumerate(islice(ask.chain(images), 2 if options.quick else None)):
        name, verdict = Path(result.source).stem, result.ood
        result.plot().save(options.out / f"{number:03d}-{name}.png")
        print(f"{name:<20}{verdict.explain()}")
    print(f"the pictures are in {options.out}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", help="photographs, folders, patterns, addresses; else data/samples")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="shipped name, folder or Hub id, with a fitted OOD head")
    parser.add_argument("--out", type=Path, default=Path("out/ood"), help="folder for the pictures")
    parser.add_argument("--quick", action="store_true", help="fit to a few procedural scenes, ask of two photographs")
    options = parser.parse_args()
    try:
        run(options)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

"""What is each pixel of a photograph? One map for each label set of the model, drawn, and its largest classes, printed.

python tasks/segmentation/demo.py                        # the photographs in data/samples
python tasks/segmentation/demo.py PHOTO.jpg FOLDER --head segmentation.camvid --out out/mine
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

from visgen import pipeline
from visgen.errors import VisgenError
from visgen.shipped import shipped_path
from visgen.zoo import DEFAULT_MODEL, load_model


def run(options: argparse.Namespace) -> None:
    model = load_model(options.model)
    ask = pipeline(options.head or [h for h, spec in model.specs.items() if spec.task == "segmentation"], model)
    images = options.images or [str(shipped_path("data/samples"))]
    options.out.mkdir(parents=True, exist_ok=True)
    for number, result in enumerate(islice(ask.chain(images), 2 if options.quick else None)):
        name = Path(result.source).stem
        result.plot().save(options.out / f"{number:03d}-{name}.png")
        for _, label_set, regions in result.answers():
            largest = ", ".join(f"{label} {share:.0%}" for _, label, share in regions.shares()[:4])
            print(f"{name:<16}{label_set:<16}{largest}")
    print(f"the pictures are in {options.out}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", help="photographs, folders, patterns, addresses; else data/samples")
    parser.add_argument("--head", action="append", help="a head such as segmentation.camvid; else every label set")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="shipped name, folder or Hub id")
    parser.add_argument("--out", type=Path, default=Path("out/segmentation"), help="folder for the pictures")
    parser.add_argument("--quick", action="store_true", help="two photographs only")
    options = parser.parse_args()
    try:
        run(options)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

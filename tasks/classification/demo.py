"""What does a photograph show? The five likeliest classes, printed and drawn.

python tasks/classification/demo.py                      # the photographs in data/samples
python tasks/classification/demo.py PHOTO.jpg FOLDER --out out/mine
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

from visgen import pipeline
from visgen.errors import VisgenError
from visgen.shipped import shipped_path
from visgen.zoo import DEFAULT_MODEL


def run(options: argparse.Namespace) -> None:
    ask = pipeline("classification", options.model)
    images = options.images or [str(shipped_path("data/samples"))]
    options.out.mkdir(parents=True, exist_ok=True)
    for number, result in enumerate(islice(ask.chain(images), 2 if options.quick else None)):
        name = Path(result.source).stem
        result.plot().save(options.out / f"{number:03d}-{name}.png")
        guesses = ", ".join(f"{label} {p:.0%}" for label, p in result.classification.top(5))
        print(f"{name:<20}{guesses}")
    print(f"the pictures are in {options.out}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", help="photographs, folders, patterns, addresses; else data/samples")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="shipped name, folder or Hub id")
    parser.add_argument("--out", type=Path, default=Path("out/classification"), help="folder for the pictures")
    parser.add_argument("--quick", action="store_true", help="two photographs only")
    options = parser.parse_args()
    try:
        run(options)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

"""How far away is it? A depth map of each photograph, drawn, and its nearest, median and farthest metres, printed.

python tasks/depth/demo.py                               # the photographs in data/samples
python tasks/depth/demo.py PHOTO.jpg FOLDER --out out/mine
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
    ask = pipeline("depth", options.model)
    images = options.images or [str(shipped_path("data/samples"))]
    options.out.mkdir(parents=True, exist_ok=True)
    for number, result in enumerate(islice(ask.chain(images), 2 if options.quick else None)):
        name = Path(result.source).stem
        result.plot().save(options.out / f"{number:03d}-{name}.png")
        metres = result.depth.metres[result.depth.valid]
        print(f"{name:<20}nearest {metres.min():.1f} m, median {metres.median():.1f} m, farthest {metres.max():.1f} m")
    print(f"the pictures are in {options.out}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", help="photographs, folders, patterns, addresses; else data/samples")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="shipped name, folder or Hub id")
    parser.add_argument("--out", type=Path, default=Path("out/depth"), help="folder for the pictures")
    parser.add_argument("--quick", action="store_true", help="two photographs only")
    options = parser.parse_args()
    try:
        run(options)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

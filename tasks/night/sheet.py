"""Day and night side by side: photographs of data/samples and procedural streets, all of which may be passed on.

python tasks/night/sheet.py visgen-night-tiny docs/night_pairs.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

from torch import Tensor

from visgen.data.readers.files import read_pixels
from visgen.engine.night_report import town_scenes, translate
from visgen.errors import VisgenError
from visgen.gan.night import day_night_sheet, load_night
from visgen.shipped import shipped_path

SAMPLES = ("crossing.jpg", "cyclist.jpg", "dog.jpg")


def pictures(samples: int, streets: int, size: tuple[int, int] | None = None) -> list[Tensor]:
    photographs = [read_pixels(shipped_path(f"data/samples/{n}")) for n in SAMPLES[:samples]]
    return [*photographs, *(day.pixels for day, _ in town_scenes(streets, size=size))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generator", help="folder, or a shipped name")
    parser.add_argument("out", type=Path, help="the sheet, .jpg or .png")
    parser.add_argument("--samples", type=int, default=len(SAMPLES), help="how many photographs")
    parser.add_argument("--streets", type=int, default=5)
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), help="of the streets, if not their own")
    parser.add_argument("--height", type=int, default=120, help="of each picture, in pixels")
    options = parser.parse_args()
    try:
        generator = load_night(options.generator)
        days = pictures(options.samples, options.streets, options.size and tuple(options.size))
        sheet = day_night_sheet([(day, translate(generator, day)) for day in days], 4, options.height)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")
    sheet.save(options.out, quality=82, optimize=True)


if __name__ == "__main__":
    main()

"""Take the background class of Caltech-101, as small JPEG files: the near side of OOD evaluations.

python data/ood_clutter/prepare.py 101_ObjectCategories OUT
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from visgen.data.prepare import require, run, write_photo

SIDE, QUALITY = 192, 86  # as the images inside are stored, so that no resampling tells the sides apart


def prepare(arguments: argparse.Namespace) -> None:
    """Write OUT/images/*.jpg."""
    folder = require(arguments.source / "BACKGROUND_Google", "the background class of Caltech-101")
    for file in sorted(folder.glob("*.jpg")):
        write_photo(arguments.out / "images" / file.name, file, SIDE, QUALITY)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; gives its exit status."""
    return run(__file__, prepare, argv=argv)


if __name__ == "__main__":
    sys.exit(main())

"""Take ten texture categories of DTD, as small JPEG files: the far side of OOD evaluations.

python data/ood_textures/prepare.py dtd OUT
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from visgen.data.prepare import require, run, write_photo

CATEGORIES = ("banded", "blotchy", "braided", "bubbly", "bumpy", "chequered", "cobwebbed", "cracked", "crosshatched")
CATEGORIES += ("crystalline",)
SIDE, QUALITY = 192, 86  # as the images inside are stored, so that no resampling tells the sides apart


def prepare(arguments: argparse.Namespace) -> None:
    """Write OUT/<category>/*.jpg."""
    for category in CATEGORIES:
        for file in sorted(require(arguments.source / "images" / category, "a category of DTD").glob("*.jpg")):
            write_photo(arguments.out / category / file.name, file, SIDE, QUALITY)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; gives its exit status."""
    return run(__file__, prepare, argv=argv)


if __name__ == "__main__":
    sys.exit(main())

"""Split Caltech-101 into folders of the format `imagefolder`.

python data/caltech101/prepare.py 101_ObjectCategories OUT

Of each class 8 images go to val and 7 to test, drawn by a hash of their names; the rest is train.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from visgen.data.prepare import place, run, stable_order

BACKGROUND = "BACKGROUND_Google"  # no object class: random web pictures, usable as out-of-distribution images
VAL, TEST = 8, 7


def prepare(arguments: argparse.Namespace) -> None:
    """Draw the splits and place the files."""
    for folder in sorted(p for p in arguments.source.iterdir() if p.is_dir() and p.name != BACKGROUND):
        names = stable_order((p.name for p in folder.glob("*.jpg")), f"caltech101/{folder.name}")
        for i, name in enumerate(names):
            split = "val" if i < VAL else "test" if i < VAL + TEST else "train"
            place(folder / name, arguments.out / split / folder.name / name)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; gives its exit status."""
    return run(__file__, prepare, argv=argv)


if __name__ == "__main__":
    sys.exit(main())

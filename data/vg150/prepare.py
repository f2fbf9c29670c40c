"""Check Visual Genome's scene graphs, which the format `vg150` reads as they are published.

python data/vg150/prepare.py VG VG   # only count
python data/vg150/prepare.py VG OUT  # link the files into OUT first
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from visgen.data.prepare import place, require, run
from visgen.data.readers.vg150 import FOLDERS

FILES = ("VG-SGG.h5", "VG-SGG-dicts.json", "image_data.json")


def prepare(arguments: argparse.Namespace) -> None:
    """Link annotations and images into OUT where it is another folder."""
    source, out = arguments.source, arguments.out
    for name in FILES:
        place(require(source / name, "an annotation file"), out / name)
    for folder in FOLDERS:
        for file in sorted((source / folder).glob("*.jpg")):
            place(file, out / folder / file.name)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; gives its exit status."""
    return run(__file__, prepare, argv=argv)


if __name__ == "__main__":
    sys.exit(main())

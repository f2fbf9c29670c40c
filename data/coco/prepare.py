"""Check COCO 2017, which the format `coco` reads as it is published, and make semantic maps of its instances.

python data/coco/prepare.py COCO COCO            # only count
python data/coco/prepare.py COCO COCO --semantic # also write COCO/semantic/*.png and COCO/classes.txt
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from visgen.data import build_source
from visgen.data.prepare import place, run, write_lines, write_png
from visgen.data.readers.coco import Coco

SPLITS = ("train", "val")


def semantic_map(source: Coco, index: int) -> np.ndarray:
    """Give ids (H, W) uint8: 0 background, label + 1 for objects (smaller ones on top), 255 for crowds."""
    boxes, masks = source.targets_of(index)
    ids = np.zeros(boxes.size, np.uint8)
    planes = masks.masks.numpy()
    for i in np.argsort(-planes.sum((1, 2)), kind="stable"):
        crowd = boxes.is_crowd is not None and bool(boxes.is_crowd[i])
        ids[planes[i]] = 255 if crowd else int(boxes.labels[i]) + 1
    return ids


def prepare(arguments: argparse.Namespace) -> None:
    """Link the public folders into OUT where it is another folder, and write the maps if asked."""
    source, out = arguments.source, arguments.out
    if out.resolve() != source.resolve():
        for folder in ("annotations", *(f"{split}2017" for split in SPLITS)):
            for file in sorted((source / folder).glob("*")):
                place(file, out / folder / file.name)
    if not arguments.semantic:
        return
    for split in SPLITS:
        opened = build_source(f"coco:{out}", split)
        assert isinstance(opened, Coco)
        for index, record in enumerate(opened.records):
            if not all(row.get("segmentation") for row in opened.rows[index]):
                continue  # boxes only (small versions of COCO have such images)
            write_png(out / "semantic" / f"{record['file_name'].rsplit('.', 1)[0]}.png", semantic_map(opened, index))
        write_lines(out / "classes.txt", ("background", *opened.names))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; gives its exit status."""
    semantic = {"action": "store_true", "help": "write semantic maps of the instances"}
    return run(__file__, prepare, ("--semantic", semantic), argv=argv)


if __name__ == "__main__":
    sys.exit(main())

"""Bring Clothing Co-Parsing into the format `coco`: a person per photograph, and maps of its 59 labels.

python data/clothing_ccp/prepare.py clothing-co-parsing OUT
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import loadmat

from visgen.data.prepare import require, run, shrink, stable_order, write_lines, write_photo, write_png
from visgen.data.town.source import run_lengths

SIDE = 320  # longer side of what is written
CARRIED = ("null", "bag", "purse", "wallet")  # not part of a person
VAL, TEST = 99, 100


def prepare(arguments: argparse.Namespace) -> None:
    """Write pictures, maps, class names and a json per split."""
    base, out = arguments.source, arguments.out
    listed = loadmat(require(base / "label_list.mat", "the label names"), squeeze_me=True)["label_list"]
    names = [str(name) for name in listed]
    person = np.array([name not in CARRIED for name in names])
    write_lines(out / "classes.txt", names)
    rows: dict[str, tuple[dict, dict]] = {}
    for file in sorted(require(base / "annotations" / "pixel-level", "the pixel labels").glob("*.mat")):
        labels = Image.fromarray(loadmat(file)["groundtruth"].astype(np.uint8))
        ids = np.array(shrink(labels, SIDE, Image.Resampling.NEAREST))
        mask = person[ids]
        if not mask.any():
            continue
        photo = require(base / "photos" / f"{file.stem}.jpg", "the photograph of these labels")
        write_photo(out / "images" / photo.name, photo, SIDE, quality=88)
        write_png(out / "semantic" / f"{file.stem}.png", ids)
        rows[photo.name] = _records(photo, mask)
    order = stable_order(rows, "clothing_ccp")
    for split, part in (("val", order[:VAL]), ("test", order[VAL : VAL + TEST]), ("train", order[VAL + TEST :])):
        data = {
            "categories": [{"id": 1, "name": "person"}],
            "images": [rows[name][0] for name in sorted(part)],
            "annotations": [rows[name][1] for name in sorted(part)],
        }
        (out / f"{split}.json").write_text(json.dumps(data), encoding="utf-8")


def _records(photo: Path, mask: np.ndarray) -> tuple[dict, dict]:
    """The COCO records of a photograph and of the one person in it."""
    number, (y, x) = int(photo.stem), np.nonzero(mask)
    left, top = int(x.min()), int(y.min())
    image = {"id": number, "file_name": photo.name, "width": mask.shape[1], "height": mask.shape[0]}
    box = [left, top, int(x.max()) + 1 - left, int(y.max()) + 1 - top]
    region = {"bbox": box, "area": int(mask.sum()), "segmentation": run_lengths(mask), "iscrowd": 0}
    return image, {"id": number, "image_id": number, "category_id": 1, **region}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; gives its exit status."""
    return run(__file__, prepare, argv=argv)


if __name__ == "__main__":
    sys.exit(main())

"""Put the derived scene graphs and the images they name into one folder.

python data/scene_graph_coco_derived/prepare.py SOURCE OUT
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import PurePosixPath

from visgen.data.prepare import place, require, run

SPLITS = ("train", "val")


def prepare(arguments: argparse.Namespace) -> None:
    """Place the images in OUT/images and write the json files with their paths there."""
    for split in SPLITS:
        data = json.loads(require(arguments.source / f"{split}.json", "the relations").read_text(encoding="utf-8"))
        for image in data["images"]:
            file = f"images/{PurePosixPath(image['file']).name}"
            place(require(arguments.source / image["file"], "an image"), arguments.out / file)
            image["file"] = file
        (arguments.out / f"{split}.json").write_text(json.dumps(data), encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; gives its exit status."""
    return run(__file__, prepare, argv=argv)


if __name__ == "__main__":
    sys.exit(main())

"""Bring the HoloLens sample scene of DeepVideoMVS into the layout of the format `depth`.

python data/hololens/prepare.py deep-video-mvs/sample-data/hololens-dataset/000 OUT

Every second frame of three separate blocks of the walk: frames 1-250 are train, 263-310 val, 323-373 test.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from visgen.data.prepare import place, require, run, write_lines

BLOCKS = {"train": (1, 250), "val": (263, 310), "test": (323, 373)}


def prepare(arguments: argparse.Namespace) -> None:
    """Place the frames (depth is registered and in millimetres already) and write the lists."""
    frames = sorted(require(arguments.source / "images", "the colour frames").glob("*.png"))
    for split, (first, last) in BLOCKS.items():
        lines = []
        for frame in frames[first - 1 : last : 2]:
            depth = require(arguments.source / "depth" / frame.name, "the depth of this frame")
            place(frame, arguments.out / "rgb" / frame.name)
            place(depth, arguments.out / "depth" / frame.name)
            lines.append(f"rgb/{frame.name} depth/{frame.name}")
        write_lines(arguments.out / f"{split}.txt", lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; gives its exit status."""
    return run(__file__, prepare, argv=argv)


if __name__ == "__main__":
    sys.exit(main())

"""Bring the KITTI depth prediction set into the layout of the format `depth`.

python data/kitti/prepare.py KITTI OUT

KITTI holds what the unpacked archives give in one folder: train/DRIVE/proj_depth/groundtruth/image_02/FRAME.png (and
val/), and the raw recordings DATE/DRIVE/image_02/data/FRAME.png (or .jpg). Depth keeps KITTI's 256 counts per metre.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from visgen.data.prepare import place, require, run, write_lines
from visgen.errors import DataError

CAMERAS = ("image_02", "image_03")


def colour_of(source: Path, drive: str, camera: str, frame: str) -> Path:
    """The raw image of a depth frame."""
    folder = source / drive[:10] / drive / camera / "data"
    for suffix in (".png", ".jpg"):
        if (folder / f"{frame}{suffix}").is_file():
            return folder / f"{frame}{suffix}"
    raise DataError(f"{folder / frame}.png does not exist; fetch the raw recording of {drive} (synced+rectified).")


def prepare(arguments: argparse.Namespace) -> None:
    """Place pairs and write the lists."""
    for split in ("train", "val"):
        lines = []
        for drive in sorted(p for p in require(arguments.source / split, "annotated depth").iterdir() if p.is_dir()):
            for camera in CAMERAS:
                for depth in sorted((drive / "proj_depth" / "groundtruth" / camera).glob("*.png")):
                    colour = colour_of(arguments.source, drive.name, camera, depth.stem)
                    name = f"{drive.name}_{camera}_{depth.stem}"
                    place(colour, arguments.out / "rgb" / f"{name}{colour.suffix}")
                    place(depth, arguments.out / "depth" / f"{name}.png")
                    lines.append(f"rgb/{name}{colour.suffix} depth/{name}.png")
        write_lines(arguments.out / f"{split}.txt", lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; gives its exit status."""
    return run(__file__, prepare, argv=argv)


if __name__ == "__main__":
    sys.exit(main())

"""Bring 7-Scenes into the layout of the format `depth`, with depth registered to colour.

python data/sevenscenes/prepare.py 7SCENES OUT [--scene redkitchen ...] [--every 3]

7SCENES holds one folder per scene with its unpacked sequences (chess/seq-01/frame-000000.color.png, ...).
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from visgen.data.prepare import place, require, run, write_lines, write_png
from visgen.data.readers.files import read_ids
from visgen.errors import DataError

INVALID = 65535
DEPTH_FOCAL, COLOUR_FOCAL, CENTRE = 585.0, 525.0, (320.0, 240.0)  # pixels; the values usual for this Kinect
LISTS = {"train": "TrainSplit.txt", "test": "TestSplit.txt"}


def register(depth: np.ndarray, shift: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> np.ndarray:
    """Reproject depth (H, W) in millimetres, 0 missing, into the colour camera; the nearest surface wins.

    Args:
        depth: As the depth camera sees it.
        shift: Position of the depth camera's centre in the colour camera's frame, millimetres; the axes are taken as
            parallel.
    """
    rows, columns = np.nonzero(depth)
    z = depth[rows, columns].astype(np.float64)
    # Pixel centres lie at + 0.5.
    x = (columns + 0.5 - CENTRE[0]) * z / DEPTH_FOCAL + shift[0]
    y = (rows + 0.5 - CENTRE[1]) * z / DEPTH_FOCAL + shift[1]
    z = z + shift[2]
    u = np.floor(x * COLOUR_FOCAL / z + CENTRE[0]).astype(int)
    v = np.floor(y * COLOUR_FOCAL / z + CENTRE[1]).astype(int)
    inside = (u >= 0) & (u < depth.shape[1]) & (v >= 0) & (v < depth.shape[0]) & (z > 0)
    out = np.full(depth.shape, np.iinfo(np.uint16).max, np.uint16)
    np.minimum.at(out, (v[inside], u[inside]), np.rint(z[inside]).astype(np.uint16))
    return np.where(out == np.iinfo(np.uint16).max, 0, out).astype(np.uint16)


def sequences(scene: Path, split: str) -> list[Path]:
    """Folders of a split's sequences, from lines such as "sequence1"."""
    lines = require(scene / LISTS[split], f"the list of {split} sequences").read_text(encoding="utf-8").split()
    numbers = [re.search(r"\d+$", line) for line in lines]
    if not all(numbers):
        raise DataError(f"{scene / LISTS[split]} holds {lines}; each line must end in a sequence number.")
    return [scene / f"seq-{int(n.group()):02d}" for n in numbers if n]


def prepare(arguments: argparse.Namespace) -> None:
    """Place colour, register and write depth, and write the lists."""
    if arguments.every < 1:
        raise DataError(f"--every is {arguments.every}; it must be at least 1.")
    scenes = arguments.scene or sorted(p.name for p in arguments.source.iterdir() if (p / LISTS["train"]).is_file())
    for split in LISTS:
        lines = []
        for scene in scenes:
            for folder in sequences(require(arguments.source / scene, "a scene"), split):
                colours = sorted(require(folder, "an unpacked sequence").glob("frame-*.color.png"))
                for colour in colours[:: arguments.every]:
                    name = f"{scene}_{folder.name}_{colour.name.split('.')[0]}"
                    depth = read_ids(require(colour.with_name(colour.name.replace("color", "depth")), "its depth"))
                    depth[depth == INVALID] = 0
                    write_png(arguments.out / "depth" / f"{name}.png", register(depth, tuple(arguments.shift)))
                    place(colour, arguments.out / "rgb" / f"{name}.png")
                    lines.append(f"rgb/{name}.png depth/{name}.png")
        write_lines(arguments.out / f"{split}.txt", lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; gives its exit status."""
    shift = {"type": float, "nargs": 3, "default": (0.0, 0.0, 0.0), "help": "depth camera in the colour frame, mm"}
    scene = {"nargs": "+", "help": "scenes to take (all by default); use with --partial"}
    every = {"type": int, "default": 1, "help": "take every n-th frame; use with --partial"}
    return run(__file__, prepare, ("--scene", scene), ("--every", every), ("--shift", shift), argv=argv)


if __name__ == "__main__":
    sys.exit(main())

"""Pack CIFAR-10 (the binary version, which needs no pickle) into two npz files of the format `npz`.

python data/cifar10/prepare.py cifar-10-batches-bin OUT
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from visgen.data.prepare import require, run
from visgen.errors import DataError

RECORD = 1 + 3 * 32 * 32  # a label, then the red, green and blue planes, row by row
FILES = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}


def read_batch(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Give images (N, 32, 32, 3) uint8 and labels (N,) uint8 of one binary file."""
    data = np.fromfile(require(file, "a binary batch of CIFAR-10"), np.uint8)
    if data.size == 0 or data.size % RECORD:
        raise DataError(f"{file} has {data.size} bytes; it must be a multiple of {RECORD}: fetch it again.")
    records = data.reshape(-1, RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0]


def prepare(arguments: argparse.Namespace) -> None:
    """Read the batches and write train.npz and test.npz."""
    text = require(arguments.source / "batches.meta.txt", "the class names of CIFAR-10").read_text(encoding="utf-8")
    classes = [line.strip() for line in text.splitlines() if line.strip()]
    arguments.out.mkdir(parents=True, exist_ok=True)
    for split, files in FILES.items():
        batches = [read_batch(arguments.source / file) for file in files]
        images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        np.savez(arguments.out / f"{split}.npz", images=images, labels=labels, classes=np.array(classes))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; gives its exit status."""
    return run(__file__, prepare, argv=argv)


if __name__ == "__main__":
    sys.exit(main())

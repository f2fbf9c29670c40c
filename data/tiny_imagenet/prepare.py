"""Pack Tiny ImageNet into parquet files of the format `parquet`.

python data/tiny_imagenet/prepare.py tiny-imagenet-200 OUT

The JPEG bytes are kept. Boxes are stored as in the source: inclusive corner pixels, so read them with
box_format=xyxy_inclusive.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from visgen.data.prepare import require, run, stable_order
from visgen.errors import DataError

SHARD = 10_000


def rows_of(file: Path, folder: Path, labels: dict[str, int], wnid: str | None = None) -> Iterator[dict]:
    """Give a row per line of a box list: "NAME x1 y1 x2 y2" of one class, or "NAME WNID x1 y1 x2 y2"."""
    for line in require(file, "a list of boxes").read_text(encoding="utf-8").splitlines():
        name, *rest = line.split()
        if len(rest) != (4 if wnid else 5):
            raise DataError(
                f"{file} has the line '{line}'; it must hold a name, {'' if wnid else 'a class, '}4 numbers."
            )
        data = require(folder / name, "an image of this list").read_bytes()
        box = [int(v) for v in rest[-4:]]
        yield {"image": {"bytes": data, "path": name}, "label": labels[wnid or rest[0]], "bbox_xyxy": box}


def write(rows: list[dict], file: Path) -> None:
    """Write one shard."""
    import pyarrow
    from pyarrow import parquet

    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    box = pyarrow.list_(pyarrow.int16(), 4)
    schema = pyarrow.schema([("image", image), ("label", pyarrow.int16()), ("bbox_xyxy", box)])
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), file)


def class_table(source: Path) -> list[dict]:
    """Classes in the order of their WordNet ids, with all their names."""
    lines = require(source / "words.txt", "the names of WordNet ids").read_text(encoding="utf-8").splitlines()
    words = dict(line.split("\t", 1) for line in lines if "\t" in line)
    wnids = sorted(require(source / "wnids.txt", "the list of the 200 classes").read_text(encoding="utf-8").split())
    names = [[word.strip() for word in words[wnid].split(",")] for wnid in wnids]
    return [
        {"id": label, "wnid": wnid, "name": own[0], "synonyms": own}
        for label, (wnid, own) in enumerate(zip(wnids, names, strict=True))
    ]


def prepare(arguments: argparse.Namespace) -> None:
    """Write train and val shards and classes.json."""
    source, out = arguments.source, arguments.out
    classes = class_table(source)
    labels = {row["wnid"]: row["id"] for row in classes}
    train: list[dict] = []
    for wnid in labels:
        folder = source / "train" / wnid
        train.extend(rows_of(folder / f"{wnid}_boxes.txt", folder / "images", labels, wnid))
    # Mixed, so that each shard is a sample of all classes.
    order = {name: i for i, name in enumerate(stable_order((row["image"]["path"] for row in train), "tiny_imagenet"))}
    train.sort(key=lambda row: order[row["image"]["path"]])
    val = list(rows_of(source / "val" / "val_annotations.txt", source / "val" / "images", labels))
    out.mkdir(parents=True, exist_ok=True)
    for split, rows in (("train", train), ("val", val)):
        shards = max(1, -(-len(rows) // SHARD))
        for i in range(shards):
            write(rows[i * SHARD : (i + 1) * SHARD], out / f"{split}-{i:05d}-of-{shards:05d}.parquet")
    (out / "classes.json").write_text(json.dumps(classes, indent=1), encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; gives its exit status."""
    return run(__file__, prepare, argv=argv)


if __name__ == "__main__":
    sys.exit(main())

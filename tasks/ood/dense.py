"""Does a segmentation or detection head know photographs that are unlike its training images?

    python tasks/ood/dense.py --data-root DATA --record FILE.json

Both heads of visgen-tiny, every score that reads the evidence for each class anywhere in the image, or the image
vector. Fitted on the head's training images; chosen on one half of the held-out ones and reported on the other.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import torch

from visgen.data import Subset, build_source
from visgen.data.pinned import check_pin
from visgen.engine import collect_features, with_head
from visgen.errors import VisgenError
from visgen.metrics import write_record
from visgen.ood import fit_scores, table_of_halves
from visgen.task import HeadSpec, MultiTaskModel
from visgen.zoo import DEFAULT_MODEL, load_model

PINNED = Path(__file__).with_name("sets.json")
KEEP, PRESENT = 0.95, "joint_energy"
SCORES = ("msp", "max_logit", "energy", "joint_energy", "knn")  # statistics by class need images of every class
HEADS: dict[str, dict[str, Any]] = {
    "segmentation.camvid": {
        "inside": ("semantic:{}/camvid", {}),
        "outside": {"near": "night/day", "dark": "night/night", "far": "indoor85", "textures": "ood_textures"},
    },
    "detection.coco": {
        "inside": ("coco:{}/coco_mini", {"targets": ["detection"], "name": "coco"}),
        "outside": {"near": "ood_clutter", "far": "ood_textures"},
    },
}


def file_of(source: Any, row: int) -> Path:
    """Where a reader finds the picture of a row."""
    if hasattr(source, "items"):
        return Path(source.items[row][0])
    if hasattr(source, "stems"):
        return Path(source.base / "images" / source.images[row])
    return Path(source.images / source.records[row]["file_name"])


def parts_of(root: Path, given: dict[str, Any], few: int | None) -> dict[str, Subset]:
    """The training part, and every held-out part in two halves: neighbours of one film stay together."""
    spec, options = given["inside"]
    train, val = (build_source(spec.format(root), split, **options) for split in ("train", "val"))
    found = {"train": Subset(train, range(len(train))[:few])}
    middle = len(val) // 2
    found |= {"val0": Subset(val, range(middle)[:few]), "val1": Subset(val, range(middle, len(val))[:few])}
    for side, folder in given["outside"].items():
        for half in (0, 1):
            out = build_source(f"ood:{root}/caltech100,{root}/{folder}", "val", half=half, side="out")
            found[f"{side}{half}"] = Subset(out, range(len(out))[:few])
    return found


def measure(model: MultiTaskModel, head: str, parts: dict[str, Subset], outside: dict[str, str]) -> dict[str, Any]:
    """Figures of every score on one head."""
    reader = f"ood.{head.partition('.')[2]}"
    grown = with_head(model, reader, HeadSpec("ood", options={"score": PRESENT}, on=head))
    seen = {}
    for part, source in parts.items():
        task = "ood" if part[:-1] in outside else None
        seen[part] = collect_features(grown, head, source, task=task, reader=reader)
        print(f"{head}: {part}, {len(seen[part].targets)} images", file=sys.stderr, flush=True)
    logits = {part: found.logits for part, found in seen.items()}
    vectors = {part: found.features for part, found in seen.items()}
    rows = len(logits["train"])
    labels = torch.zeros(rows, dtype=torch.int64)  # none of these scores reads them
    values = fit_scores(SCORES, logits, vectors, labels, options={"knn": {"bank": rows, "k": min(10, rows)}})
    return table_of_halves({name: found for name, (_, found) in values.items()}, tuple(outside), PRESENT, KEEP)


def run(options: argparse.Namespace) -> None:
    model, metrics, lists = load_model(options.model), {}, {}
    pinned = {} if options.limit else json.loads(PINNED.read_text(encoding="utf-8"))["lists"]
    for head, given in HEADS.items():
        parts = parts_of(options.data_root, given, options.limit)
        for part, found in parts.items():
            pictures = [file_of(found.source, row).read_bytes() for row in found.indices]
            lists[f"{head}/{part}"] = check_pin(f"{head}/{part}", pictures, pinned)
        metrics[head] = measure(model, head, parts, given["outside"])
    protocol = {"lists": lists, "threshold": f"keeps {KEEP} of the inside images of half 0",
                "halves": "inside: first and second half of the list; outside: by the sha256 of the file name",
                "evidence": "of each class the largest logit over the image; knn: the image vector",
                "choice": "by the mean AUROC of all sides on half 0; difference on half 1, bootstrap over images",
                "input": f"longer side {model.min_side} to {model.max_side}, resized alike on both sides"}  # fmt: skip
    words = shlex.join(["python", "tasks/ood/dense.py", *sys.argv[1:]])
    data = {head: {"inside": given["inside"][0].format("DATA"), **given["outside"]} for head, given in HEADS.items()}
    write_record(options.record, command=words, config=model.config(), seeds=[], data=data, split="val",
                 protocol=protocol, metrics=metrics)  # fmt: skip
    for head, table in metrics.items():
        print(json.dumps({head: table["choice"]}, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data-root", type=Path, required=True, help="camvid, coco_mini, night, indoor85, ood_*")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="shipped name, folder or Hub id")
    parser.add_argument("--record", required=True, metavar="FILE.json")
    parser.add_argument("--limit", type=int, help="so many images of each part, to see that it runs")
    try:
        run(parser.parse_args())
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

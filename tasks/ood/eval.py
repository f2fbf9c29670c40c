"""Compare every OOD score on one half of the held-out images, and report the best of them on the other half.

    python tasks/ood/eval.py --data-root DATA --model visgen-tiny --record FILE.json

DATA holds caltech100 (train/ and val/, a folder per class), ood_textures and ood_clutter. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from visgen.data import build_source
from visgen.engine import Collected, collect_features
from visgen.errors import VisgenError
from visgen.metrics import OODMetric, write_record
from visgen.ood import OOD_SCORES, build_score, threshold_keeping
from visgen.structures import OODVerdict
from visgen.task import MultiTaskModel, build_model
from visgen.zoo import DEFAULT_MODEL, load_model

OUTSIDE = {"far": "ood_textures", "near": "ood_clutter"}
KEEP = 0.95
RANK, QUICK_RANK, RANKED = 384, 4, ("mahalanobis", "relative_mahalanobis", "max_logit_mahalanobis", "vim")


def invent(root: Path) -> MultiTaskModel:
    """Noise in the layout of the real sets and an untrained model."""
    rng = np.random.default_rng(0)
    inside = [f"caltech100/{split}/{label}" for split in ("train", "val") for label in ("dark", "light")]
    for folder in map(root.joinpath, (*inside, *OUTSIDE.values())):
        folder.mkdir(parents=True)
        for i in range(8):
            Image.fromarray(rng.integers(0, 200 + 7 * i, (40, 48, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    heads = {"classification.caltech100": {"task": "classification", "classes": ("dark", "light")}}
    return build_model({"backbone": {"name": "timm", "model": "mobilenetv3_small_050"}, "heads": heads})


def measure(name: str, score: Any, given: Collected, threshold: float | None = None) -> dict[str, float]:
    """Figures of a fitted score on images with OOD labels."""
    metric, found = OODMetric(threshold), score(given.logits, given.seen_by(name))
    metric.update([OODVerdict(v) for v in found.tolist()], given.targets)
    return metric.compute()


def run(options: argparse.Namespace, root: Path) -> None:
    # Data and model: every score reads the same logits and vectors
    model = invent(root) if options.quick else load_model(options.model)
    head = model.resolve("classification.caltech100")
    usage = bool(getattr(model.backbone, "routed_layers", ()))
    train = collect_features(model, head, build_source(f"imagefolder:{root}/caltech100", "train"), usage=usage)
    held = {}
    for side, half in [(side, half) for side in OUTSIDE for half in (0, 1)]:
        source = build_source(f"ood:{root}/caltech100,{root}/{OUTSIDE[side]}", "val", half=half)
        held[side, half] = collect_features(model, head, source, task="ood", usage=usage)

    # Fit on train, compare on half 0
    fitted, compared = {}, {}
    labels, readout = torch.tensor([t.label for t in train.targets]), model.head(head).readout()  # type: ignore[operator]
    names = [name for name in OOD_SCORES if name != "routing" or usage]
    rank = {"rank": QUICK_RANK if options.quick else RANK}
    for name in names if not options.quick else ("msp", "vim", "mahalanobis"):
        dims = train.logits.shape[1], train.seen_by(name).shape[1]
        score = build_score(name, *dims, **(rank if name in RANKED else {}))
        fitted[name] = score.fit(train.logits, train.seen_by(name), labels, readout)
        row: dict[str, Any] = {side: measure(name, score, held[side, 0]) for side in OUTSIDE}
        row["mean_AUROC"] = sum(row[side]["AUROC"] for side in OUTSIDE) / len(OUTSIDE)
        row["bytes"] = sum(buffer.nbytes for buffer in score.buffers())
        compared[name] = row
    best = max(compared, key=lambda name: compared[name]["mean_AUROC"])

    # The best on half 1; its threshold from half 0
    seen = held["far", 0]
    inside = torch.tensor([not target.is_ood for target in seen.targets])
    threshold = threshold_keeping(fitted[best](seen.logits, seen.seen_by(best))[inside], KEEP)
    reported = {side: measure(best, fitted[best], held[side, 1], threshold) for side in OUTSIDE}

    counts = {f"{side}, half {h}": sum(t.is_ood for t in found.targets) for (side, h), found in held.items()}
    measured: dict[str, Any] = {
        "data": {"inside": "caltech100", **OUTSIDE},
        "metrics": {"half_0": compared, "half_1": reported, "best": best},
        "protocol": {
            "images": {"train": len(train.targets), "inside, half 0": int(inside.sum()), **counts},
            "halves": "of both sides, by the lowest bit of the first byte of the sha256 of the file name",
            "threshold": f"keeps {KEEP} of the inside images of half 0",
            "input": f"longer side {model.min_side} to {model.max_side}, resized alike on both sides",
        },
    }
    if options.record:
        words = shlex.join(["python", "tasks/ood/eval.py", *sys.argv[1:]])
        write_record(options.record, command=words, config=model.config(), seeds=[], split="val", **measured)
    print(json.dumps({"task": "ood", "model": "none" if options.quick else options.model, **measured}, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data-root", type=Path, required="--quick" not in sys.argv, help="folder of the three sets")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="shipped name, folder or Hub id")
    parser.add_argument("--record", metavar="FILE.json", help="also write a record as in model_zoo/results")
    parser.add_argument("--out", help="not used: the figures are printed")
    parser.add_argument("--quick", action="store_true", help="an untrained model on invented pictures")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            run(options, Path(scratch) if options.quick else options.data_root)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

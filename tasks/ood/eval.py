"""Compare every OOD score on one half of the held-out images, and hold the best against the default on the other half.

    python tasks/ood/eval.py --data-root DATA --model visgen-tiny --record FILE.json

DATA holds caltech100 (train/ and val/, a folder per class), ood_textures and ood_clutter; sets.json pins their lists.
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

from visgen.data import Subset, build_source
from visgen.data.pinned import check_pin
from visgen.data.readers.ood import half_of
from visgen.engine import collect_features
from visgen.errors import VisgenError
from visgen.metrics import write_record
from visgen.ood import DEFAULT_SCORE, OOD_SCORES, fit_scores, table_of_halves
from visgen.structures.calibration_drawing import draw_calibration
from visgen.task import MultiTaskModel, build_model
from visgen.zoo import DEFAULT_MODEL, load_model

OUTSIDE = {"far": "ood_textures", "near": "ood_clutter"}
PINNED, KEEP = Path(__file__).with_name("sets.json"), 0.95
QUICK, RANK = ("msp", "vim", DEFAULT_SCORE), 384
RANKED = ("mahalanobis", "relative_mahalanobis", "max_logit_mahalanobis", "vim")


def invent(root: Path) -> MultiTaskModel:
    rng = np.random.default_rng(0)
    inside = [f"caltech100/{split}/{label}" for split in ("train", "val") for label in ("dark", "light")]
    for folder in map(root.joinpath, (*inside, *OUTSIDE.values())):
        folder.mkdir(parents=True)
        for i in range(8):
            Image.fromarray(rng.integers(0, 200 + 7 * i, (40, 48, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    heads = {"classification.caltech100": {"classes": ("dark", "light"), "task": "classification"}}
    return build_model({"backbone": {"name": "timm", "model": "mobilenetv3_small_050"}, "heads": heads})


def parts_of(root: Path) -> dict[str, Any]:
    train, val = (build_source(f"imagefolder:{root}/caltech100", split) for split in ("train", "val"))
    found: dict[str, Any] = {"train": Subset(train, range(len(train)))}
    for half in (0, 1):
        rows = [i for i, (file, _) in enumerate(val.items) if half_of(Path(file).name) == half]  # type: ignore[attr-defined]
        found[f"val{half}"] = Subset(val, rows)
        for side, folder in OUTSIDE.items():
            out = build_source(f"ood:{root}/caltech100,{root}/{folder}", "val", half=half, side="out")
            found[f"{side}{half}"] = Subset(out, range(len(out)))
    return found


def bytes_of(part: Any) -> list[bytes]:
    folder = Path(getattr(part.source, "folder", ""))
    return [folder.joinpath(part.source.items[i][0]).read_bytes() for i in part.indices]


def run(options: argparse.Namespace, root: Path) -> None:
    model = invent(root) if options.quick else load_model(options.model)
    pinned = {} if options.quick else json.loads(PINNED.read_text(encoding="utf-8"))["lists"]
    head, parts = model.resolve("classification.caltech100"), parts_of(root)
    lists = {part: check_pin(f"eval/{part}", bytes_of(source), pinned) for part, source in parts.items()}
    usage, seen = bool(getattr(model.backbone, "routed_layers", ())), {}
    for part, source in parts.items():
        seen[part] = collect_features(model, head, source, task="ood" if part[:-1] in OUTSIDE else None, usage=usage)
    logits = {part: given.logits for part, given in seen.items()}
    labels = {part: torch.tensor([t.label for t in seen[part].targets]) for part in ("train", "val0", "val1")}

    readout, sizes, values = model.head(head).readout(), {}, {}  # type: ignore[operator]
    for name in [n for n in OOD_SCORES if n != "routing" or usage] if not options.quick else QUICK:
        vectors = {part: given.seen_by(name) for part, given in seen.items()}
        settings = {name: {"rank": 4 if options.quick else RANK} if name in RANKED else {}}
        score, values[name] = fit_scores([name], logits, vectors, labels["train"], readout, options=settings)[name]
        sizes[name] = sum(buffer.nbytes for buffer in score.buffers())
    metrics = table_of_halves(values, tuple(OUTSIDE), DEFAULT_SCORE, KEEP)
    top1 = {part: float((logits[part].argmax(1) == labels[part]).float().mean()) for part in ("val0", "val1")}
    protocol = {"lists": lists, "rank": f"{RANK} axes of a covariance",
                "halves": "of both sides, by the lowest bit of the first byte of the sha256 of the file name",
                "threshold": f"keeps {KEEP} of the inside images of half 0",
                "choice": "by the mean AUROC of both sides on half 0; difference on half 1, bootstrap over images",
                "input": f"longer side {model.min_side} to {model.max_side}, resized alike on both sides"}  # fmt: skip
    measured: dict[str, Any] = {"data": {"inside": "caltech100", **OUTSIDE}, "protocol": protocol}
    measured["metrics"] = {**metrics, "bytes": sizes, "top1": top1}
    if options.picture:
        used, at = values[DEFAULT_SCORE], metrics["half_1"][DEFAULT_SCORE]["threshold"]
        shown = {f"{OUTSIDE[side]} ({side})": used[f"{side}1"] for side in OUTSIDE}
        draw_calibration(used["val1"], at, shown, score_name=DEFAULT_SCORE).save(options.picture)
    words = shlex.join(["python", "tasks/ood/eval.py", *sys.argv[1:]])
    if options.record:
        write_record(options.record, command=words, config=model.config(), seeds=[], split="val", **measured)
    print(json.dumps({"task": "ood", "model": "none" if options.quick else options.model, **measured}, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data-root", type=Path, required="--quick" not in sys.argv, help="of the three sets")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="shipped name, folder or Hub id")
    parser.add_argument("--record", metavar="FILE.json", help="also write a record as in model_zoo/results")
    parser.add_argument("--picture", type=Path, help="also draw where the default's threshold lies, on half 1")
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

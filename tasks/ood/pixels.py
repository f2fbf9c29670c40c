"""Which pixels does a segmentation head know as unlike? Kinds that it never saw labelled, among those it did.

    python tasks/ood/pixels.py --data-root DATA --camvid visgen-tiny runs/ood-camvid-held-out/last \\
        --town runs/ood-town-known/last --record FILE.json --pictures FOLDER

Unlike in camvid: classes that the head does not know, or unlabelled pixels where it knows all; in the town: unseen
kinds, and known kinds in unseen textures. All against pixels of known classes in the same photographs.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from visgen.data import build_source
from visgen.engine import evaluate
from visgen.errors import VisgenError
from visgen.metrics import ood_figures, write_record
from visgen.ood.pixel_scores import PIXEL_SCORES, pixel_scores
from visgen.structures import IGNORE, OODVerdict
from visgen.structures.masks import rle_to_mask
from visgen.task import MultiTaskModel
from visgen.zoo import load_model

KNOWN = "town:street?count=60&size=120x160&tasks=segmentation"
STRANGE = "town:street?count=120&size=120x160&tasks=segmentation&ood_share=1&seed=1"
EVERY, DRAWN = 2, "max_logit"  # each second pixel of each second row is measured; the score of the picture
Drawn = Iterator[tuple[str, Tensor, Tensor, Tensor]]  # what is unlike, pixels, mask of it, mask of known classes


def camvid(root: Path, classes: tuple[str, ...]) -> Drawn:
    source: Any = build_source(f"semantic:{root}/camvid", "val")
    names = source.classes["segmentation"]
    for sample in map(source.__getitem__, range(len(source))):
        ids = sample.targets["segmentation"].ids
        strange = {name: ids == i for i, name in enumerate(names) if name not in classes} or {
            "unlabelled": ids == IGNORE
        }
        known = (ids != IGNORE) & ~torch.stack(list(strange.values())).any(0)
        yield from ((name, sample.pixels, mask, known) for name, mask in strange.items())


def town(root: Path, classes: tuple[str, ...]) -> Drawn:
    source: Any = build_source(STRANGE, "val")
    for sample in map(source.__getitem__, range(len(source))):
        if sample.meta["ood"]:
            strange = rle_to_mask(sample.meta["ood_mask"])
            known = (sample.targets["segmentation"].ids != IGNORE) & ~strange
            yield f"unseen {sample.meta['ood_reason']}s", sample.pixels, strange, known


@torch.no_grad()
def measure(model: MultiTaskModel, head: str, drawn: Drawn) -> tuple[dict[str, Any], Image.Image]:
    kept: dict[str, dict[str, list[tuple[Tensor, Tensor]]]] = {name: {} for name in PIXEL_SCORES}
    most, shown = 0, Image.new("RGB", (1, 1))
    for what, pixels, strange, known in (row for row in drawn if bool(row[2].any())):
        image = pixels.float() / (255 if pixels.dtype == torch.uint8 else 1)
        logits, _ = model.eval()(image[None], head)
        for name, rows in kept.items():
            scores = F.interpolate(pixel_scores(logits, name)[:, None], pixels.shape[-2:], mode="bilinear")[0, 0]
            few, inside, outside = (part[::EVERY, ::EVERY] for part in (scores, known, strange))
            rows.setdefault(what, []).append((few[inside], few[outside]))
            if name == DRAWN and int(strange.sum()) > most:
                most, photo = int(strange.sum()), (255 * image).byte().permute(1, 2, 0).numpy()
                shown = OODVerdict(float(scores.amax()), None, None, name, map=scores).draw(Image.fromarray(photo), 480)
    figures: dict[str, Any] = {name: {} for name in kept}
    for name, what in [(name, what) for name, rows in kept.items() for what in rows]:
        inside, outside = (torch.cat(side) for side in zip(*kept[name][what], strict=True))
        figures[name][what] = ood_figures(inside, outside) | {"images": len(kept[name][what]), "pixels": len(outside)}
    return figures, shown


def run(options: argparse.Namespace) -> None:
    metrics = dict[str, Any]()
    for name, draw in (("camvid", camvid), ("town", town)):
        for model in map(load_model, getattr(options, name)):
            classes = model.specs[head := f"segmentation.{name}"].classes
            found, picture = measure(model, head, islice(draw(options.data_root, classes), options.limit))
            source = build_source(spec := KNOWN if name == "town" else f"semantic:{options.data_root}/camvid", "val")
            if missing := [c for c in source.classes["segmentation"] if c not in classes]:
                source = build_source(spec, "val", held_out=missing)
            found["mIoU"] = evaluate(model, source, head, limit=options.limit).metrics["mIoU"]
            metrics[f"{name} {len(classes)}"] = found  # by how many classes the head knows
            picture.quantize(128).save(options.pictures / f"ood_pixels_{name}_{len(classes)}.png")
    protocol = {"pixels": f"each {EVERY}nd of each {EVERY}nd row, in photographs that show some unlike ones"}
    words = shlex.join(["python", "tasks/ood/pixels.py", *sys.argv[1:]])
    write_record(options.record, command=words, config=None, seeds=[0], data={"camvid": "camvid", "town": STRANGE},
                 split="val", protocol=protocol, metrics=metrics)  # fmt: skip
    print(json.dumps(metrics, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data-root", type=Path, required=True, help="holds the folder camvid")
    parser.add_argument(
        "--camvid", nargs="*", default=[], help="visgen-tiny, model of configs/ood/camvid_held_out.yaml"
    )
    parser.add_argument("--town", nargs="*", default=[], help="models of configs/ood/town_known.yaml")
    parser.add_argument("--record", required=True, metavar="FILE.json")
    parser.add_argument("--pictures", type=Path, required=True, help="folder, which is there")
    parser.add_argument("--limit", type=int, help="so many photographs, to see that it runs")
    try:
        run(parser.parse_args())
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

"""Look at the sets of the OOD study once with a frozen ImageNet stem, and keep what it saw.

    python tasks/ood/features.py --data-root DATA --out FOLDER

For each set: vectors of training pictures, of pixel mixes of them, of held-out pictures, and of both outsides. All
pictures of a set pass through the same resizing. sets.json pins every list of pictures by hash.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from visgen.backbones.conv_stem import ConvStem, ConvStemConfig
from visgen.data import build_source
from visgen.data.pinned import by_hash, centre_square, check_pin, files_by_hash, to_pixmap
from visgen.data.town.crops import object_crops
from visgen.errors import VisgenError
from visgen.losses import draw_mix, mix_rows

PINNED = Path(__file__).with_name("sets.json")
STEM = "../weights/mobilenetv2_keras_int8/mobilenetv2_100_imagenet.safetensors"
SIDES = {"cifar10": (32, 96), "caltech100": (112, 112), "town": (48, 96)}  # pixels kept, pixels shown to the stem
MIXES, BATCH = 2, 64

Listed = tuple[list[bytes], list[int]]  # encoded pictures in order, and labels where they have some


def photos(folder: Path, few: bool) -> Listed:
    return [p.read_bytes() for p in files_by_hash(folder, limit=20 if few else None)], []


def cifar10(root: Path, few: bool) -> dict[str, Listed]:
    inside: Any = build_source(f"npz:{root}/cifar10", "train")
    cut = lambda i: inside.blob[int(inside.offsets[i]) : int(inside.offsets[i + 1])].tobytes()  # noqa: E731
    parts = by_hash(inside.labels.tolist(), (20, 10) if few else (400, 100))
    train, val = (([cut(i) for i in part], [int(inside.labels[i]) for i in part]) for part in parts)
    tiny: Any = build_source(f"parquet:{root}/tiny_imagenet", "val")
    labels = [int(y) for y in tiny.table["label"]]
    overlap = set(json.loads(PINNED.read_text(encoding="utf-8"))["tiny_imagenet_overlap"])
    kept = [i for i in by_hash(labels, (1 if few else 5,))[0] if tiny.names[labels[i]].split(" (")[0] not in overlap]
    near = [tiny.table[i]["image"]["bytes"] for i in kept]
    return {"train": train, "val": val, "near": (near, []), "far": photos(root / "ood_textures", few)}


def caltech100(root: Path, few: bool) -> dict[str, Listed]:
    found = {"near": photos(root / "ood_clutter", few), "far": photos(root / "ood_textures", few)}
    for split, most in (("train", 4 if few else 24), ("val", 1 if few else None)):
        folders = enumerate(sorted(p for p in (root / "caltech100" / split).iterdir() if p.is_dir()))
        rows = [(file.read_bytes(), k) for k, folder in folders for file in files_by_hash(folder, limit=most)]
        found[split] = [picture for picture, _ in rows], [k for _, k in rows]
    return found


def town(root: Path, few: bool) -> dict[str, Listed]:
    scenes = "town:street?count={}&size=192x256&tasks=detection&ood_share={}"
    sizes = (12, 12, 12) if few else (300, 120, 240)
    kinds_of = zip(sizes, (0, 0, 1), ("train", "val", "val"), strict=True)
    draw = [build_source(scenes.format(n, share), split) for n, share, split in kinds_of]
    train, val = (list(object_crops(map(source.__getitem__, range(len(source))))) for source in draw[:2])
    kinds = sorted({kind for kind, _ in train})
    strange = object_crops(map(draw[2].__getitem__, range(len(draw[2]))), unseen=True)
    found = {"near": ([to_pixmap(x) for _, x in strange], []), "far": photos(root / "ood_textures", few)}
    for name, rows in (("train", train), ("val", [row for row in val if row[0] in kinds])):
        kept = by_hash([kind for kind, _ in rows], (200 if name == "train" else 60,))[0]
        found[name] = [to_pixmap(rows[i][1]) for i in kept], [kinds.index(rows[i][0]) for i in kept]
    return found


@torch.no_grad()
def look(stem: ConvStem, images: Tensor) -> Tensor:
    return torch.cat([stem(part)[32].mean((2, 3)) for part in images.split(BATCH)])


def run(options: argparse.Namespace) -> None:
    weights = None if options.quick else str(options.stem or options.data_root / STEM)
    pinned = {} if options.quick else json.loads(PINNED.read_text(encoding="utf-8"))["lists"]
    stem = ConvStem(ConvStemConfig(options={"pad_type": "same"}, mean=(0.5,) * 3, std=(0.5,) * 3, weights=weights,
                                   final_conv=True, fold_norm=True)).eval()  # fmt: skip
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.sets:
        file, kept = options.out / f"{name}.safetensors", {}
        if file.exists():
            continue
        lists = {"cifar10": cifar10, "caltech100": caltech100, "town": town}[name](options.data_root, options.quick)
        pins = {part: check_pin(f"{name}/{part}", rows, pinned) for part, (rows, _) in lists.items()}
        torch.manual_seed(0)
        for part, (rows, labels) in lists.items():
            images = torch.cat([centre_square(row, *SIDES[name]) for row in rows])
            kept[f"{part}.x"], kept[f"{part}.y"] = look(stem, images), torch.tensor(labels, dtype=torch.int64)
            for mix in range(MIXES if part == "train" else 0):
                partner, batches = torch.randperm(len(images)), torch.arange(len(images)).split(BATCH)
                share = torch.cat([torch.full((len(rows),), draw_mix(1)[0]) for rows in batches])
                kept[f"mix{mix}.x"] = look(stem, mix_rows(images, partner, share))
                kept[f"mix{mix}.partner"], kept[f"mix{mix}.lam"] = partner, share
        save_file(kept, file, metadata={"lists": json.dumps(pins)})
        print(json.dumps({name: pins}))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data-root", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--stem", type=Path, help=f"ImageNet MobileNetV2 in timm's names; DATA/{STEM} if left out")
    parser.add_argument("--sets", nargs="*", choices=list(SIDES), default=list(SIDES))
    parser.add_argument("--out", type=Path, required=True, help="folder of the vectors; sets that are there stay")
    parser.add_argument("--quick", action="store_true", help="a few pictures and an untrained stem")
    try:
        run(parser.parse_args())
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

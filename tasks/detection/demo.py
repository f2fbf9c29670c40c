"""What is where in a photograph? The boxes that the model is sure of, drawn, and the surest of them, printed.

python tasks/detection/demo.py                           # the photographs in data/samples
python tasks/detection/demo.py PHOTO.jpg FOLDER --threshold 0.5 --out out/mine
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

from visgen import pipeline
from visgen.errors import VisgenError
from visgen.shipped import shipped_path
from visgen.task import MultiTaskModel, build_model
from visgen.zoo import DEFAULT_MODEL


def untrained() -> MultiTaskModel:
    """A small model with random weights, for --quick: it shows that the demo runs, not what a model sees."""
    head = {"task": "detection", "classes": ("person", "dog")}
    return build_model({"backbone": {"name": "timm", "model": "mobilenetv3_small_050"}, "heads": {"detection": head}})


def run(options: argparse.Namespace) -> None:
    ask = pipeline(options.head, untrained() if options.quick else options.model)
    images = options.images or [str(shipped_path("data/samples"))]
    options.out.mkdir(parents=True, exist_ok=True)
    found = ask.chain(images, threshold=options.threshold)
    for number, result in enumerate(islice(found, 2 if options.quick else None)):
        name, boxes = Path(result.source).stem, result.detection  # best first
        result.plot().save(options.out / f"{number:03d}-{name}.png")
        surest = [f"{label} {score:.0%}" for label, score in zip(boxes.names, boxes.scores.tolist(), strict=True)]
        print(f"{name:<16}{', '.join(surest[:6]) or 'nothing above the threshold'}")
    print(f"the pictures are in {options.out}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", help="photographs, folders, patterns, addresses; else data/samples")
    parser.add_argument("--head", default="detection", help="a head such as detection.coco; else the model's default")
    parser.add_argument("--threshold", type=float, help="least score of a box that is shown; else 0.3")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="shipped name, folder or Hub id")
    parser.add_argument("--out", type=Path, default=Path("out/detection"), help="folder for the pictures")
    parser.add_argument("--quick", action="store_true", help="an untrained model on two photographs")
    options = parser.parse_args()
    try:
        run(options)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

"""How do the things in a photograph relate? Boxes and the surest relations between them, drawn and printed.

python tasks/scene_graph/demo.py                         # the photographs in data/samples
python tasks/scene_graph/demo.py PHOTO.jpg FOLDER --top 8 --out out/mine
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
    boxes = {"task": "detection", "classes": ("person", "dog")}
    graph = {"task": "scene_graph", "classes": ("left of", "right of")}
    heads = {"detection": boxes, "scene_graph": graph}
    return build_model({"backbone": {"name": "timm", "model": "mobilenetv3_small_050"}, "heads": heads})


def run(options: argparse.Namespace) -> None:
    ask = pipeline(options.head, untrained() if options.quick else options.model)
    images = options.images or [str(shipped_path("data/samples"))]
    options.out.mkdir(parents=True, exist_ok=True)
    found = ask.chain(images, top_k=options.top)
    for number, result in enumerate(islice(found, 2 if options.quick else None)):
        name, graph = Path(result.source).stem, result.scene_graph  # the best predicate of a pair, the best pairs first
        result.plot().save(options.out / f"{number:03d}-{name}.png")
        print(f"{name:<16}{len(graph.boxes)} boxes")
        for (subject, predicate, target), score in zip(graph.names, graph.scores.tolist(), strict=True):
            print(f"{'':<16}{subject} {predicate} {target}, {score:.0%}")
    print(f"the pictures are in {options.out}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", help="photographs, folders, patterns, addresses; else data/samples")
    parser.add_argument("--head", default="scene_graph", help="a head such as scene_graph.coco; else the default one")
    parser.add_argument("--top", type=int, default=5, help="most relations of a photograph")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="shipped name, folder or Hub id")
    parser.add_argument("--out", type=Path, default=Path("out/scene_graph"), help="folder for the pictures")
    parser.add_argument("--quick", action="store_true", help="an untrained model on two photographs")
    options = parser.parse_args()
    try:
        run(options)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

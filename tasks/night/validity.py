"""Do the labels of the day still hold on a generator's nights? Edges, segmentation, visibility, realism, stability.

python tasks/night/validity.py visgen-night-tiny --data-root DATA --segmenter runs/night-segmenter/last \\
    --detector runs/night-edges/last --record model_zoo/results/night_validity.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from torch import Tensor

from visgen.data import build_source
from visgen.data.readers.files import read_pixels
from visgen.engine.night_report import (
    Remembered,
    consistency_report,
    edge_report,
    realism_report,
    stability_report,
    town_scenes,
    visibility_report,
)
from visgen.errors import VisgenError
from visgen.gan.night import DayNight, SobelEdge, load_edges, load_night
from visgen.metrics import write_record
from visgen.zoo import load_model
from visgen.zoo.feature_network import timm_feature_network

WEIGHTS = "../weights/mobilenetv2_keras_int8/mobilenetv2_100_imagenet.safetensors"


def photographs(root: Path, split: str) -> tuple[list[Tensor], list[Tensor]]:
    source: Any = build_source(f"unpaired:{root / 'night'}", split)
    day, night = ([read_pixels(file) for file in side] for side in source.files)
    return day, night


def measure(options: argparse.Namespace) -> dict[str, Any]:
    generator, root = Remembered(load_night(options.generator)), options.data_root
    train, val = (photographs(root, split) for split in ("train", "val"))
    camvid = build_source(f"semantic:{root / 'camvid'}", "val")
    streets = [camvid[i].pixels for i in range(0, len(camvid), 6)]
    scenes = town_scenes(options.scenes, size=options.size and tuple(options.size))
    town = [day.pixels for day, _ in scenes]
    days = {"photographs val": val[0], "photographs train": train[0][::4]}
    found: dict[str, Any] = {
        "edges": {name: edge_report(generator, images) for name, images in {**days, "town": town}.items()},
        "visibility": visibility_report(generator, scenes),
    }
    sobel = SobelEdge()
    detectors: dict[str, Any] = {"sobel": (sobel, sobel)}
    if options.detector is not None:
        teacher = load_edges(options.detector)
        student = Path(options.generator) / "student"
        detectors["learned"] = (teacher, load_edges(student) if student.is_dir() else teacher)
    found["stability"] = stability_report(generator, train[0][::12] + town[:8], detectors)
    network = timm_feature_network(root / WEIGHTS, size=224, pad_type="same")
    found["realism"] = realism_report(generator, DayNight(network), train, val, {"camvid": streets})
    if options.segmenter is not None:
        segmenter = load_model(str(options.segmenter))
        found["consistency"] = consistency_report(generator, segmenter, segmenter.resolve("segmentation"), scenes)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generator", help="folder that a night config leaves, or a shipped name")
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--segmenter", type=Path, help="what configs/night/segmenter.yaml leaves")
    parser.add_argument("--detector", type=Path, help="what configs/night/edges.yaml leaves: the teacher")
    parser.add_argument("--scenes", type=int, default=40, help="town scenes of split val")
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), help="of town scenes, if not their own")
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    try:
        found = measure(options)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")
    print(json.dumps(found, indent=1))
    if options.record:
        extra = [f"--{k} {getattr(options, k)}" for k in ("segmenter", "detector") if getattr(options, k)]
        extra += [f"--scenes {options.scenes}"] if options.scenes != parser.get_default("scenes") else []
        extra += ["--size {} {}".format(*options.size)] if options.size else []
        write_record(
            options.record,
            command=f"python tasks/night/validity.py {options.generator} --data-root DATA {' '.join(extra)}".strip(),
            config=None,
            seeds=[0],
            data="night, camvid, town:night_town",
            split="val; days of train where so named",
            protocol={
                "edges": "Canny on the log-luminance; tolerance 2 px at 362; floor: night of another picture; ceiling: "
                "power 2.2 and noise of 2 grey levels",
                "consistency": f"{options.scenes} town scenes; segmenter trained on labelled nights of other scenes",
                "realism": "logistic regression on MobileNetV2 features of the photographs of train (135 and 135)",
                "stability": "shift of 4 px; noise of 2 grey levels and JPEG 75",
            },
            metrics=found,
        )


if __name__ == "__main__":
    main()

"""Measure an instruction model on town and on real photographs, each figure with its bound and its control.

    python tasks/instruct/eval.py visgen-instruct-tiny --data-root DATA --out model_zoo/results

"bound" is the true answer picture sent through codec and VAE alone, "shuffled" the model's picture for the sentence of
another question, and "gain" the score above that control with a 95 % interval over questions.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from visgen.data import build_source
from visgen.diffusion import InstructDiffusion, QueryConfig, Sampling, build_tiny
from visgen.engine.instruct_eval import ask, measure_town, summarise_ways
from visgen.errors import VisgenError
from visgen.metrics import write_record
from visgen.zoo import INSTRUCT_MODEL, load_model

# name: (data, options, queries, whether a question counts)
REAL: dict[str, tuple[str, dict[str, Any], QueryConfig, Any]] = {
    "camvid road": ("semantic:{}/camvid", {}, QueryConfig({"segmentation": 40.0}, 0.0, 0.0),
                    lambda q: q.request.classes == ("road",)),
    "camvid": ("semantic:{}/camvid", {}, QueryConfig({"segmentation": 3.0}, 0.2, 0.0), None),
    "clothing person": ("coco:{}/clothing_ccp", {}, QueryConfig({"segmentation": 1.0}, 0.0, 0.0), None),
    "coco segmentation": ("coco:{}/coco_mini", {}, QueryConfig({"segmentation": 2.0}, 0.2, 0.0, least=0.01), None),
    "coco boxes": ("coco:{}/coco_mini", {}, QueryConfig({"detection": 3.0}, 0.2, least=0.002), None),
    "redkitchen": ("depth:{}/depth_7scenes_redkitchen", {}, QueryConfig({"depth": 1.0}), None),
    "hololens": ("depth:{}/depth_hololens_indoor", {}, QueryConfig({"depth": 1.0}), None),
    "kitti": ("depth:{}/depth_kitti_lidar", {}, QueryConfig({"depth": 1.0}), None),
    "caltech100 yes or no": ("imagefolder:{}/caltech100", {}, QueryConfig({"classification": 2.0}, coloured=0.0),
                             lambda q: len(q.request.classes) == 1),
    "caltech100 panel": ("imagefolder:{}/caltech100", {}, QueryConfig({"classification": 2.0}),
                         lambda q: len(q.request.classes) == 4),
    "graphs": ("scene-graph:{}/scene_graph_coco_derived", {"targets": ["scene_graph"]},
               QueryConfig({"scene_graph": 2.0}, least=0.01), None),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=INSTRUCT_MODEL, help="shipped name, or a folder of a model")
    parser.add_argument("--data-root", type=Path, help="folder of the real sets; without it, town alone")
    parser.add_argument("--scenes", type=int, default=150, help="town scenes")
    parser.add_argument("--images", type=int, default=100, help="images of each real set")
    parser.add_argument("--steps", type=int, default=1, help="denoising steps; 1 draws without noise")
    parser.add_argument("--text-scale", type=float, default=1.0)
    parser.add_argument("--image-scale", type=float, default=1.0)
    parser.add_argument("--name", default="instruct_tiny", help="what the records are called")
    parser.add_argument("--out", type=Path, help="write the records into this folder")
    parser.add_argument(
        "--quick", action="store_true", help="a few town scenes and random weights, to see that it runs"
    )
    arguments = parser.parse_args()
    model: Any = random_model() if arguments.quick else load(arguments.model)
    if arguments.quick:
        arguments.scenes, arguments.data_root, arguments.name = 6, None, "quick"
    sampling = Sampling(arguments.steps, arguments.text_scale, arguments.image_scale)
    figures = {"town": measure_town(model, arguments.scenes, sampling)}
    if arguments.data_root is not None:
        figures["real"] = measure_real(model, arguments.data_root, arguments.images, sampling)
    for name, metrics in figures.items():
        row = {"task": "instruct", "model": arguments.model, "data": name, "metrics": metrics}
        print(json.dumps({**row, "protocol": {"split": "val", **vars(sampling)}}))
        if arguments.out is not None:
            write(arguments, name, metrics, model)


def load(name: str) -> Any:
    """A model of the zoo, or the folder of a diffusers pipeline."""
    is_pipeline = (Path(name) / "model_index.json").is_file()
    return InstructDiffusion.from_pretrained(name) if is_pipeline else load_model(name, "cpu")


def random_model() -> Any:
    """Fresh weights, for a quick run."""
    model = build_tiny(["segment the dog"], size=64, vae_widths=(8, 8, 8), vae_groups=4, unet_widths=(8, 8),
                       unet_groups=4, text_width=8, text_layers=1, tokens=64, vocabulary=600)  # fmt: skip
    model.config = replace(model.config, codec={"near": 0.4, "far": 65.0, "predicates": ["left of", "on", "behind"]})
    return model.eval()


def measure_real(model: Any, root: Path, images: int, sampling: Sampling) -> dict[str, Any]:
    """Questions about the val parts of real sets."""
    found = {}
    for name, (data, options, queries, keep) in REAL.items():
        source = build_source(data.format(root), "val", **options)
        rows = ask(model, source, queries, limit=min(images, len(source)), keep=keep)
        found[name] = summarise_ways(model, rows, sampling=sampling)
    return found


def write(arguments: argparse.Namespace, name: str, metrics: dict[str, Any], model: Any) -> None:
    command = shlex.join(["python", "tasks/instruct/eval.py", *sys.argv[1:]]).replace(str(arguments.data_root), "DATA")
    protocol = {"steps": arguments.steps, "text_scale": arguments.text_scale, "image_scale": arguments.image_scale,
                "canvas": model.config.size, "answers": "scored at the size of the photograph, no display threshold",
                "codec": dict(model.config.codec), "scenes": arguments.scenes, "images": arguments.images}  # fmt: skip
    data = "town:instruct at 64 px" if name == "town" else {key: value[0].format("DATA") for key, value in REAL.items()}
    record = arguments.out / f"{arguments.name}_{name}.json"
    write_record(record, command=command, config=None, seeds=[0], data=data, split="val", protocol=protocol,
                 metrics=metrics, environment={"model": arguments.model})  # fmt: skip


if __name__ == "__main__":
    try:
        main()
    except VisgenError as error:
        sys.exit(f"error: {error}")

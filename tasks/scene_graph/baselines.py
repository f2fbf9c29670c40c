"""What pixels add to boxes: the scene-graph head with and without sight, trained alike on features of a fixed backbone.

    python tasks/scene_graph/baselines.py scene-graph:PATH --masks TRAIN.json --sight --record FILE.json

Does a head that looks at the picture beat one that is given boxes and labels alone? Both get the same pictures, steps,
rate and geometry. PredCls, one predicate per pair, on `val`, with a paired bootstrap over images and seeds. `--sight`:
what tells figures, and both arms' class embedding, come from the model and stay fixed; both learn relations alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import torch

from visgen.backbones import BACKBONES
from visgen.data import build_source, build_transform
from visgen.engine.probe import Probe, answer, see
from visgen.errors import VisgenError
from visgen.heads import HEADS
from visgen.losses import class_weight_vector
from visgen.metrics import paired_bootstrap, summarise, write_record
from visgen.task import HeadSpec, SceneGraphTask
from visgen.zoo import load_model

SHOWN = ("R@20", "mR@20", "R@50", "mR@50")
AUGMENT = [
    {"name": "random_resized_crop", "size": [256, 320], "scale": [0.6, 1.0], "ratio": [0.8, 1.25]},
    {"name": "horizontal_flip"},
    {"name": "color_jitter", "brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.02},
]


class Told(SceneGraphTask):
    """Every box comes with its label in training, since a blind head cannot name boxes."""

    labelled = 1.0


# Arm -> (task, options of the head, options of the loss).
ARMS: dict[str, tuple[SceneGraphTask, dict[str, Any], dict[str, float]]] = {
    "blind": (Told(), {"pixels": False}, {"node_weight": 0.0}),
    "full": (SceneGraphTask(), {}, {}),
}


def fixed_parts(options: argparse.Namespace) -> tuple[Any, Any]:
    """Images (B, 3, H, W) -> Features, with `channels` and `token_dim`; the head whose sight is taken over, or None."""
    if options.backbone:
        wanted = json.loads(options.backbone)
        return BACKBONES.get(wanted.pop("name"))(**wanted).eval(), None
    model = load_model(options.model, "cpu")
    heads = [model.heads[n.replace(".", "__")] for n, spec in model.specs.items() if spec.task == "scene_graph"]
    return model.backbone, heads[0] if options.sight else None


def run(options: argparse.Namespace) -> dict[str, Any]:
    into = {"into": options.masks} if options.sight else {}  # classes in the order of the model
    train = build_source(options.data, "train", masks=options.masks, targets=["scene_graph"], **into)
    val = build_source(options.data, "val", targets=["scene_graph"], **into)
    (backbone, sight), augment, count = fixed_parts(options), build_transform(AUGMENT), len(train)
    draws = ((train[i % count], torch.Generator().manual_seed(i)) for i in range(options.views * count))
    known = [see(backbone, augment(*draw), "scene_graph") for draw in draws]
    asked = [see(backbone, val[i], "scene_graph") for i in range(len(val))]
    predicates, graphs = train.classes["scene_graph"], [train.graph_of(i) for i in range(count)]
    below = HeadSpec("detection", graphs[0].boxes.classes)
    weights = class_weight_vector(SceneGraphTask().class_counts(graphs, predicates), predicates, "auto")

    figures, recalls = {}, []
    for arm, (task, head_options, loss) in ARMS.items():
        task, loss = (task, loss) if sight is None else (Told(), {"node_weight": 0.0, "figure_weight": 0.0})
        probe = Probe(steps=max(options.epochs * count // 6, 1), loss=loss, weights=weights)
        rows, found = [], []
        for seed in range(options.seeds):
            torch.manual_seed(seed)
            shape = (backbone.channels, backbone.token_dim, len(predicates), len(below.classes))
            head = HEADS.get("scene_graph")(*shape, **head_options)
            head.take_sight(sight)
            probe.fit(head, task, known, seed)
            metric = task.metric(predicates, objects=below.classes, protocol="predcls")
            for one in asked:
                metric.update([answer(head, task, predicates, one, "predcls")], [one.targets["scene_graph"]])
            rows.append(metric.compute())
            found.append(metric.image_recall(20))
            print(f"{arm:<6} seed {seed}  " + "  ".join(f"{k} {rows[-1][k]:.3f}" for k in SHOWN), file=sys.stderr)
        figures[arm] = {k: summarise([row[k] for row in rows]) for k in SHOWN}
        recalls.append(torch.stack(found))
    return {**figures, "gain in mR@20": paired_bootstrap(*recalls, torch.Generator().manual_seed(0))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="scene-graph:PATH with train.json and val.json")
    parser.add_argument("--masks", default="", help="COCO json with masks of the training pictures")
    parser.add_argument("--model", default="visgen-tiny", help="name or folder of a visgen model whose backbone looks")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--backbone", help="instead: JSON of a backbone, its registry name under 'name'")
    chosen.add_argument("--sight", action="store_true", help="take over, and fix, what looks at pixels in --model")
    for name, value in (("seeds", 3), ("epochs", 16), ("views", 4)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--record", help="write the figures to this .json file")
    options = parser.parse_args()
    try:
        figures = run(options)
        if options.record:
            arms = {arm: {"head": head, "loss": loss} for arm, (_, head, loss) in ARMS.items()}
            config = {"arms": arms, "epochs": options.epochs, "views": options.views, "sight": options.sight}
            about = {"command": " ".join(["python", *sys.argv]), "config": config, "seeds": list(range(options.seeds))}
            protocol = {"given": "predcls", "graph_constraint": True, "interval": "paired bootstrap, 95 %"}
            write_record(options.record, **about, data=options.data, split="val", protocol=protocol, metrics=figures)
    except VisgenError as error:
        parser.exit(2, f"{type(error).__name__}: {error}\n")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()

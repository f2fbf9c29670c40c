"""Train scene graphs on your own relations: a new head between the boxes of a visgen model, or of a whole timm model.

    python tasks/scene_graph/train.py --data scene-graph:PATH --into COCO/train.json --masks COCO/train.json
    python tasks/scene_graph/train.py --data vrd:PATH --val-split test --backbone timm:resnet50 --pretrained

A scene-graph head stands on a detection head, which names the boxes. A model's own stays where it knows the classes of
the data (--into brings them into its label set); else a new one learns from the boxes of the graphs.
"""

from __future__ import annotations

import argparse

import torch

from visgen.config import OptimConfig, TrainConfig
from visgen.data import Mixture, MixturePart, Source, build_source, build_transform
from visgen.engine import Trainer, evaluate
from visgen.errors import VisgenError
from visgen.losses import class_weight_vector
from visgen.losses.routing import RoutingLossConfig
from visgen.task import TASKS, MultiTaskModel, MultiTaskObjective, build_model
from visgen.zoo import DEFAULT_MODEL, load_model, save_pretrained

QUICK = {"data": "town:toy_vg?count=6&size=64x96", "backbone": "timm:mobilenetv3_small_050"}
QUICK |= {"steps": 2, "batch_size": 2, "size": [64, 96]}


def start(options: argparse.Namespace, data: Source) -> MultiTaskModel:
    """Both heads on a visgen backbone, which stays fixed like a detection head that it has, or on a timm model."""
    torch.manual_seed(options.seed)
    below, classes = data.heads["detection"], data.classes["detection"]
    boxes = {"task": "detection", "classes": classes, "options": {"width": 80, "depth": 2}}
    graph = {"task": "scene_graph", "classes": data.classes["scene_graph"]}
    graph["options"] = {"figures": bool(options.masks or options.quick)}  # masks teach the figures inside the boxes
    heads = {below: boxes, data.heads["scene_graph"]: graph}
    if options.backbone:
        name, _, timm_model = options.backbone.partition(":")
        backbone, side = {"name": name, "model": timm_model, "pretrained": options.pretrained}, max(options.size)
        return build_model({"backbone": backbone, "heads": heads, "max_side": side, "min_side": side})
    base = load_model(options.model, "cpu")
    known = [name for name, s in base.specs.items() if s.task == "detection" and tuple(s.classes) == classes]
    if known:
        heads[below] = base.config()["heads"][known[0]]
    model = build_model({**base.config(), "heads": heads, "default_heads": {}}, load_weights=False)
    model.backbone.load_state_dict(base.backbone.state_dict())
    model.backbone.requires_grad_(False)
    if known:
        model.head(below).requires_grad_(False).load_state_dict(base.head(known[0]).state_dict())
    return model


def run(options: argparse.Namespace) -> None:
    kept = {"tasks" if options.data.startswith("town:") else "targets": ["detection", "scene_graph"]}
    kept |= {name: file for name, file in (("into", options.into), ("masks", options.masks)) if file}
    train, val = (build_source(options.data, split, **kept) for split in ("train", options.val_split))
    model, below, head = start(options, train), train.heads["detection"], train.heads["scene_graph"]
    TASKS.get("scene_graph").learn_counts(model.head(head), [train], model.specs[below])  # for zero-shot figures
    if not next(model.head(below).parameters()).requires_grad:  # it has learnt before
        train.heads = {"scene_graph": head}
    augment = [
        {"name": "random_resized_crop", "size": options.size, "scale": [0.5, 1.0], "ratio": [0.8, 1.25]},
        {"name": "horizontal_flip"},
        {"name": "color_jitter", "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.03},
    ]
    mixture = Mixture([MixturePart(train, build_transform(augment), batch_size=options.batch_size)], options.seed)
    weights = class_weight_vector(model.head(head).counts[..., 1:].sum((0, 1)), train.classes["scene_graph"], "auto")
    objective = MultiTaskObjective(model, None, {head: weights}, None, RoutingLossConfig(mi=0.0))

    # Fit: what was trained before stays, or moves at a tenth of the heads' rate.
    scales = {"backbone": 0.1} if options.pretrained else {}
    optim = OptimConfig(lr=options.lr, warmup_steps=options.steps // 20, lr_scales=scales)
    loop = TrainConfig(steps=options.steps, ema_decay=0.998, workers=0 if options.quick else 1)
    trainer = Trainer(
        objective, mixture, optim, loop, options.out, seed=options.seed,
        export=lambda module, path: save_pretrained(module["model"], path),
    )  # fmt: skip
    summary = trainer.fit(options.resume)
    if not summary.finished:
        print(f"stopped at step {summary.steps}; the same command with --resume goes on")
        return

    # Table: whole pictures of val
    model = trainer.module["model"]
    figures = evaluate(model, val, head, max_side=model.max_side, min_side=model.min_side, device="auto").metrics
    print(f"{len(train)} training and {len(val)} other images; model: {summary.out}/last")
    for name in ("predcls", "sgcls", "sggen"):
        print(f"{name:<12}R@20 {figures[f'{name}/R@20']:.4f}   mR@20 {figures[f'{name}/mR@20']:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="FORMAT:PATH, such as scene-graph:PATH, vg150:PATH or vrd:PATH")
    parser.add_argument("--val-split", default="val")
    parser.add_argument("--into", metavar="FILE.json", help="COCO json with the classes of the detection head")
    parser.add_argument("--masks", metavar="FILE.json", help="COCO json with masks of the training pictures")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="visgen model whose backbone gets the head")
    parser.add_argument("--backbone", metavar="timm:NAME", help="start from this timm model instead")
    parser.add_argument("--pretrained", action="store_true", help="let timm fetch its weights (needs a network)")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--size", type=int, nargs=2, default=[256, 320], help="height and width of training crops")
    parser.add_argument("--lr", type=float, default=2e-3, help="peak learning rate of the heads")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    parser.add_argument("--out", default="runs/scene_graph", help="folder for log, checkpoints and the model")
    parser.add_argument("--quick", action="store_true", help="two steps on the procedural world, to see that it runs")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(QUICK)
    elif not options.data:
        parser.error("no data; give --data scene-graph:PATH, or --quick")
    try:
        run(options)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

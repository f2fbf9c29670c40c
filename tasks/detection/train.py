"""Train detection on your own boxes: a new head on a visgen model, or a whole timm model.

    python tasks/detection/train.py --data coco:PATH
    python tasks/detection/train.py --data coco:PATH --backbone timm:resnet50 --pretrained

PATH holds train.json and val.json in COCO's form, or annotations/instances_train2017.json and so on, with the images.
The model is written to OUT/last, ready for eval.py, demo.py and `visgen predict --model`.
"""

from __future__ import annotations

import argparse

import torch

from visgen.config import OptimConfig, TrainConfig
from visgen.data import Mixture, MixturePart, build_source, build_transform
from visgen.engine import Trainer, evaluate
from visgen.errors import VisgenError
from visgen.losses.routing import RoutingLossConfig
from visgen.task import MultiTaskModel, MultiTaskObjective, build_model
from visgen.zoo import DEFAULT_MODEL, load_model, save_pretrained

QUICK = {"data": "town:street?count=6&size=64x96&tasks=detection", "backbone": "timm:mobilenetv3_small_050"}
QUICK |= {"steps": 2, "batch_size": 2, "size": [64, 96]}


def start(options: argparse.Namespace, head: str, classes: tuple[str, ...]) -> MultiTaskModel:
    """A head on the backbone of a visgen model, which stays fixed unless --tune all, or on a timm model."""
    torch.manual_seed(options.seed)
    heads = {head: {"task": "detection", "classes": classes, "options": {"width": 80, "depth": 2}}}
    if options.backbone:
        name, _, timm_model = options.backbone.partition(":")
        backbone = {"name": name, "model": timm_model, "pretrained": options.pretrained}
        side = max(options.size)  # things then look about as large in a whole picture as in the crops
        return build_model({"backbone": backbone, "heads": heads, "max_side": side, "min_side": side})
    base = load_model(options.model, "cpu")
    known = [name for name, s in base.specs.items() if s.task == "detection" and tuple(s.classes) == classes]
    if known:  # a label set that the model has learned before goes on from there
        heads = {head: base.config()["heads"][known[0]]}
    model = build_model({**base.config(), "heads": heads, "default_heads": {}}, load_weights=False)
    model.backbone.load_state_dict(base.backbone.state_dict())
    if known:
        model.head(head).load_state_dict(base.head(known[0]).state_dict())
    model.backbone.requires_grad_(options.tune == "all")
    return model


def run(options: argparse.Namespace) -> None:
    # Data: crops that keep at least a third of the picture, so that large objects stay recognisable.
    kept = {"targets": ["detection"]} if options.data.startswith(("coco:", "scene-graph:")) else {}
    train, val = (build_source(options.data, split, **kept) for split in ("train", "val"))
    augment = build_transform([
        {"name": "random_resized_crop", "size": options.size, "scale": [0.35, 1.0], "ratio": [0.8, 1.25]},
        {"name": "horizontal_flip"},
        {"name": "color_jitter", "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.03},
    ])  # fmt: skip
    mixture = Mixture([MixturePart(train, augment, batch_size=options.batch_size)], options.seed)

    # Model and task: each box is learnt at the points that predict it best, the others are background.
    head, classes = train.heads["detection"], train.classes["detection"]
    model = start(options, head, classes)
    objective = MultiTaskObjective(model, routing=RoutingLossConfig(mi=0.0))

    # Fit: what was trained before moves at a tenth of the head's rate, and the average of the weights is kept.
    is_new = options.backbone and not options.pretrained
    optim = OptimConfig(lr=options.lr, warmup_steps=options.steps // 20, lr_scales={} if is_new else {"backbone": 0.1})
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
    trained = trainer.module["model"]
    sides = {"max_side": trained.max_side, "min_side": trained.min_side or None}
    report = evaluate(trained, val, head, **sides, device="auto")
    print(f"{len(train)} training and {len(val)} other images of {len(classes)} classes; model: {summary.out}/last")
    for name, value in report.metrics.items():
        print(f"{name:<10}{value:>8.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="FORMAT:PATH, such as coco:PATH")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="visgen model whose backbone gets the head")
    parser.add_argument("--tune", choices=("head", "all"), default="head", help="with --model: what is trained")
    parser.add_argument("--backbone", metavar="timm:NAME", help="start from this timm model instead")
    parser.add_argument("--pretrained", action="store_true", help="let timm fetch its weights (needs a network)")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--size", type=int, nargs=2, default=[256, 320], metavar=("H", "W"), help="training crops")
    parser.add_argument("--lr", type=float, default=1e-3, help="peak learning rate of the head")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    parser.add_argument("--out", default="runs/detection", help="folder for log, checkpoints and the model")
    parser.add_argument("--quick", action="store_true", help="two steps on the procedural world, to see that it runs")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(QUICK)
    elif not options.data:
        parser.error("no data; give --data coco:PATH, or --quick")
    try:
        run(options)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

"""Train a classifier on your own photographs: a new head on a visgen model, or a whole timm model.

    python tasks/classification/train.py --data imagefolder:PATH
    python tasks/classification/train.py --data imagefolder:PATH --backbone timm:resnet50 --pretrained

PATH holds train/CLASS/*.jpg and val/CLASS/*.jpg; with --hold-out 0.2 it holds CLASS/*.jpg, and a fifth is kept for val.
The model is written to OUT/last, ready for eval.py, demo.py and `visgen predict --model`.
"""

from __future__ import annotations

import argparse

import torch

from visgen.config import OptimConfig, TrainConfig
from visgen.data import Mixture, MixturePart, Source, Subset, build_source, build_transform
from visgen.engine import Trainer, evaluate
from visgen.errors import VisgenError
from visgen.losses.routing import RoutingLossConfig
from visgen.task import MultiTaskModel, MultiTaskObjective, build_model
from visgen.zoo import DEFAULT_MODEL, load_model, save_pretrained

QUICK = {"data": "town:street?count=6&size=64x96&tasks=classification", "backbone": "timm:mobilenetv3_small_050"}
QUICK |= {"steps": 2, "batch_size": 2, "size": 64}


def open_data(options: argparse.Namespace) -> tuple[Source, Source]:
    """Training and validation data: the set's own splits, or a random share kept aside."""
    if options.hold_out is None:
        return build_source(options.data, "train"), build_source(options.data, "val")
    whole = build_source(options.data, "")
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(options.seed)).tolist()
    kept = max(1, round(options.hold_out * len(whole)))
    return Subset(whole, order[kept:]), Subset(whole, order[:kept])


def start(options: argparse.Namespace, head: str, classes: tuple[str, ...]) -> MultiTaskModel:
    """A fresh head on the backbone of a visgen model, which stays fixed unless --tune all, or on a timm model."""
    torch.manual_seed(options.seed)
    heads = {head: {"task": "classification", "classes": classes, "options": {"dropout": 0.2}}}
    # A training crop shows about 0.7 of a photograph at `size`, so things look as large in a whole one at 1.2 `size`.
    sides = dict.fromkeys(("min_side", "max_side"), round(1.2 * options.size))
    settings = {"heads": heads, "default_heads": {}, **sides}
    if options.backbone:
        name, _, timm_model = options.backbone.partition(":")
        backbone = {"name": name, "model": timm_model, "pretrained": options.pretrained}
        return build_model({**settings, "backbone": backbone})
    base = load_model(options.model, "cpu")
    model = build_model({**base.config(), **settings}, load_weights=False)
    model.backbone.load_state_dict(base.backbone.state_dict())
    model.backbone.requires_grad_(options.tune == "all")
    return model


def run(options: argparse.Namespace) -> None:
    # Data: random crops, flips and colours for training, whole photographs for the figures.
    train, val = open_data(options)
    augment = [
        {"name": "random_resized_crop", "size": options.size, "scale": [0.4, 1.0]},
        {"name": "horizontal_flip"},
        {"name": "color_jitter", "brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.02},
        {"name": "random_erasing", "p": 0.2},
    ]
    mixture = Mixture([MixturePart(train, build_transform(augment), batch_size=options.batch_size)], options.seed)

    # Model and task: cross entropy with smoothed labels; one task alone leaves routers nothing to divide.
    head, classes = train.heads["classification"], train.classes["classification"]
    model, loss = start(options, head, classes), {head: {"label_smoothing": 0.1}}
    objective = MultiTaskObjective(model, loss_options=loss, routing=RoutingLossConfig(mi=0.0))

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

    trained = trainer.module["model"]  # table: whole photographs of val
    report = evaluate(trained, val, head, max_side=trained.max_side, min_side=trained.min_side, device="auto")
    print(f"{len(train)} training and {len(val)} other images of {len(classes)} classes; model: {summary.out}/last")
    for name, value in report.metrics.items():
        print(f"{name:<10}{value:>8.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="FORMAT:PATH, such as imagefolder:PATH")
    parser.add_argument("--hold-out", type=float, metavar="SHARE", help="PATH has no splits: keep this share for val")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="visgen model whose backbone gets a new head")
    parser.add_argument("--tune", choices=("head", "all"), default="head", help="with --model: what is trained")
    parser.add_argument("--backbone", metavar="timm:NAME", help="start from this timm model instead")
    parser.add_argument("--pretrained", action="store_true", help="let timm fetch its weights (needs a network)")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=24)
    parser.add_argument("--size", type=int, default=224, help="side of the training crops in pixels")
    parser.add_argument("--lr", type=float, default=1e-3, help="peak learning rate of the head")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    parser.add_argument("--out", default="runs/classification", help="folder for log, checkpoints and the model")
    parser.add_argument("--quick", action="store_true", help="two steps on the procedural world, to see that it runs")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(QUICK)
    elif not options.data:
        parser.error("no data; give --data imagefolder:PATH, or --quick")
    try:
        run(options)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

"""Train metric depth on your own pairs: the head of a visgen model, or a whole timm model; one or several sets.

    python tasks/depth/train.py --data depth:PATH
    python tasks/depth/train.py --data depth:PATH --data depth:PATH2 --backbone timm:resnet50 --pretrained

PATH holds train.txt and val.txt with lines "IMAGE DEPTH"; depth is 16-bit PNG in millimetres (or as --scale says), 0
where it was not measured. All sets train one head, since all are in metres. The model is written to OUT/last, ready for
eval.py, demo.py and `visgen predict --model`.
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

QUICK = {"data": ["town:room?count=6&size=64x96&tasks=depth"], "backbone": "timm:mobilenetv3_small_050"}
QUICK |= {"steps": 2, "batch_size": 2, "size": [64, 96], "scale": None}


def start(options: argparse.Namespace) -> MultiTaskModel:
    """The depth part of a visgen model, its backbone fixed unless --tune all, or a timm model with a new head."""
    torch.manual_seed(options.seed)
    if options.backbone:
        name, _, timm_model = options.backbone.partition(":")
        backbone = {"name": name, "model": timm_model, "pretrained": options.pretrained}
        head = {"task": "depth", "options": {"width": 64, "fine_width": 48}}
        # A crop shows about 0.8 of a picture, so things look as large in a whole one at 1.12 times the crop's size.
        side = round(1.12 * max(options.size))
        return build_model({"backbone": backbone, "heads": {"depth": head}, "max_side": side, "min_side": side})
    base = load_model(options.model, "cpu")
    head = base.config()["heads"][base.resolve("depth")]
    model = build_model({**base.config(), "heads": {"depth": head}, "default_heads": {}}, load_weights=False)
    model.backbone.load_state_dict(base.backbone.state_dict())
    model.head("depth").load_state_dict(base.head(base.resolve("depth")).state_dict())
    model.backbone.requires_grad_(options.tune == "all")
    return model


def run(options: argparse.Namespace) -> None:
    # Data: each step draws one of the sets. A crop is a view from nearer, so its metres shrink with it (depth_scale).
    counts = {"scale": options.scale} if options.scale else {}
    train, val = ([build_source(spec, split, **counts) for spec in options.data] for split in ("train", "val"))
    augment = build_transform(
        [
            {"name": "random_resized_crop", "size": options.size, "scale": [0.6, 1.0], "ratio": [0.95, 1.05],
             "depth_scale": True},
            {"name": "horizontal_flip"},
            {"name": "color_jitter", "brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.03},
        ]
    )  # fmt: skip
    mixture = Mixture([MixturePart(s, augment, batch_size=options.batch_size) for s in train], options.seed)

    # Model and task: errors of log depth (in part up to one scale per image), and of its edges, at every second pixel.
    model, loss = start(options), {"depth": {"stride": 2, "silog": 1.0, "log_l1": 0.5, "gradient": 0.5}}
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

    # Table
    trained = trainer.module["model"]
    sides = {"max_side": trained.max_side, "min_side": trained.min_side or None}
    print(f"model: {summary.out}/last\n{'val of':<30}{'images':>8}{'AbsRel':>9}{'RMSE m':>9}{'delta1':>9}")
    for source in val:
        figures = evaluate(trained, source, "depth", **sides, device="auto").metrics
        cells = "".join(f"{figures[name]:>9.4f}" for name in ("AbsRel", "RMSE", "delta1"))
        print(f"{source.name:<30}{len(source):>8}{cells}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", help="depth:PATH; may repeat")
    parser.add_argument("--scale", type=float, help="counts per metre in the depth files; else 1000")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="visgen model to go on from")
    parser.add_argument("--tune", choices=("head", "all"), default="head", help="with --model: what is trained")
    parser.add_argument("--backbone", metavar="timm:NAME", help="start from this timm model instead")
    parser.add_argument("--pretrained", action="store_true", help="let timm fetch its weights (needs a network)")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=6)
    parser.add_argument("--size", type=int, nargs=2, default=[192, 256], metavar=("H", "W"), help="training crops")
    parser.add_argument("--lr", type=float, default=1e-3, help="peak learning rate of the head")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    parser.add_argument("--out", default="runs/depth", help="folder for log, checkpoints and the model")
    parser.add_argument("--quick", action="store_true", help="two steps on the procedural world, to see that it runs")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(QUICK)
    elif not options.data:
        parser.error("no data; give --data depth:PATH, or --quick")
    try:
        run(options)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

"""Train segmentation on your own maps: new heads on a visgen model, or a whole timm model; one or several label sets.

    python tasks/segmentation/train.py --data semantic:PATH
    python tasks/segmentation/train.py --data semantic:PATH --data coco:PATH2 --backbone timm:resnet50 --pretrained

A semantic set holds images/, semantic/*.png (class ids, 255 ignored), classes.txt, train.txt and val.txt; each set has
its own head. The model is written to OUT/last, ready for eval.py, demo.py and `visgen predict --model`.
"""

from __future__ import annotations

import argparse

import torch

from visgen.config import OptimConfig, TrainConfig
from visgen.data import Mixture, MixturePart, build_source, build_transform
from visgen.engine import Trainer, evaluate
from visgen.errors import VisgenError
from visgen.losses import class_weight_vector
from visgen.losses.routing import RoutingLossConfig
from visgen.task import MultiTaskModel, MultiTaskObjective, build_model, count_classes
from visgen.zoo import DEFAULT_MODEL, load_model, save_pretrained

QUICK = {"data": ["town:street?count=6&size=64x96&tasks=segmentation"], "backbone": "timm:mobilenetv3_small_050"}
QUICK |= {"steps": 2, "batch_size": 2, "size": [64, 96]}


def start(options: argparse.Namespace, labels: dict[str, tuple[str, ...]]) -> MultiTaskModel:
    """Heads on the backbone of a visgen model, which stays fixed unless --tune all, or on a timm model."""
    torch.manual_seed(options.seed)
    shape = {"width": 96, "fine_width": 64, "stride": 2}
    heads = {head: {"task": "segmentation", "classes": names, "options": shape} for head, names in labels.items()}
    if options.backbone:
        name, _, timm_model = options.backbone.partition(":")
        backbone = {"name": name, "model": timm_model, "pretrained": options.pretrained}
        # A crop shows about 0.65 of a picture, so things look as large in a whole one at 1.25 times the crop's size.
        side = round(1.25 * max(options.size))
        return build_model({"backbone": backbone, "heads": heads, "max_side": side, "min_side": side})
    base = load_model(options.model, "cpu")
    known = [head for head in heads if head in base.specs and tuple(base.specs[head].classes) == labels[head]]
    heads |= {head: base.config()["heads"][head] for head in known}
    model = build_model({**base.config(), "heads": heads, "default_heads": {}}, load_weights=False)
    model.backbone.load_state_dict(base.backbone.state_dict())
    for head in known:  # a label set that the model has learned before goes on from there
        model.head(head).load_state_dict(base.head(head).state_dict())
    model.backbone.requires_grad_(options.tune == "all")
    return model


def run(options: argparse.Namespace) -> None:
    # Data: each step draws one of the sets.
    coco = {spec: {"targets": ["segmentation"]} for spec in options.data if spec.startswith("coco:")}
    train, val = ([build_source(d, split, **coco.get(d, {})) for d in options.data] for split in ("train", "val"))
    augment = build_transform([
        {"name": "random_resized_crop", "size": options.size, "scale": [0.3, 1.0], "ratio": [0.8, 1.25]},
        {"name": "horizontal_flip"},
        {"name": "color_jitter", "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.03},
    ])  # fmt: skip
    mixture = Mixture([MixturePart(s, augment, batch_size=options.batch_size) for s in train], options.seed)

    # Model and task: cross entropy in which rare classes weigh more, and half a Lovasz term, which is nearer to mIoU.
    labels = {s.heads["segmentation"]: s.classes["segmentation"] for s in train}
    model, weights = start(options, labels), {}
    for source, head in zip(train, labels, strict=True):
        maps = (source[i].targets["segmentation"] for i in range(0, len(source), max(1, len(source) // 500)))
        weights[head] = class_weight_vector(sum(count_classes(model, head, [m]) for m in maps), labels[head], "auto")
    loss = {head: {"stride": 2, "lovasz": 0.5} for head in labels}
    objective = MultiTaskObjective(model, None, weights, loss, RoutingLossConfig(mi=0.0))

    # Fit: what was trained before moves at a tenth of the heads' rate, and the average of the weights is kept.
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
    print(f"model: {summary.out}/last\n{'val of':<30}{'images':>8}{'mIoU':>8}{'pixel_accuracy':>16}")
    for source, head in zip(val, labels, strict=True):
        sides = {"max_side": trained.max_side, "min_side": trained.min_side or None}
        figures = evaluate(trained, source, head, **sides, device="auto").metrics
        print(f"{head:<30}{len(source):>8}{figures['mIoU']:>8.4f}{figures['pixel_accuracy']:>16.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", help="FORMAT:PATH, such as semantic:PATH; may repeat")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="visgen model whose backbone gets the heads")
    parser.add_argument("--tune", choices=("head", "all"), default="head", help="with --model: what is trained")
    parser.add_argument("--backbone", metavar="timm:NAME", help="start from this timm model instead")
    parser.add_argument("--pretrained", action="store_true", help="let timm fetch its weights (needs a network)")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--size", type=int, nargs=2, default=[192, 256], metavar=("H", "W"), help="training crops")
    parser.add_argument("--lr", type=float, default=1e-3, help="peak learning rate of the heads")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    parser.add_argument("--out", default="runs/segmentation", help="folder for log, checkpoints and the model")
    parser.add_argument("--quick", action="store_true", help="two steps on the procedural world, to see that it runs")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(QUICK)
    elif not options.data:
        parser.error("no data; give --data semantic:PATH, or --quick")
    try:
        run(options)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

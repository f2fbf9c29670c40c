"""Train a GAN on your own small images, with or without labels.

    python tasks/gan/train.py --data npz:PATH/cifar10 --resolution 32
    python tasks/gan/train.py --data imagefolder:PATH --resolution 64 --labels --regulariser adaptive_mix

Pictures are cropped to squares of the resolution. The averaged generator and the discriminator are written to OUT/last,
ready for eval.py, demo.py and `visgen.gan.GanSource`.
"""

from __future__ import annotations

import argparse

import torch

from visgen.config import OptimConfig, TrainConfig
from visgen.data import Mixture, MixturePart, build_source, build_transform
from visgen.engine import Trainer
from visgen.errors import VisgenError
from visgen.gan import GanConfig
from visgen.task import GanObjective

QUICK = {"data": "town:street?count=6&size=64x96&tasks=classification", "steps": 2, "batch_size": 2, "channels": 4}


def run(options: argparse.Namespace) -> None:
    # Data: squares, mirrored by chance. Augmentation of what the discriminator sees is part of the GAN instead.
    source = build_source(options.data, options.split)
    size = options.resolution
    crop = [{"name": "random_resized_crop", "size": size, "scale": [0.9, 1.0], "ratio": [1.0, 1.0]}]
    transform = build_transform([*crop, {"name": "horizontal_flip"}])
    mixture = Mixture([MixturePart(source, transform, batch_size=options.batch_size)], options.seed)

    # Both networks, and the rules of the game.
    config = GanConfig(
        resolution=size,
        generator={"name": options.generator, "channels": options.channels},
        discriminator={"name": options.discriminator, "channels": options.channels},
        condition={"name": "projection" if options.labels else "none"},
        loss=options.loss,
        regularisers=tuple({"name": name} for name in options.regulariser),
        augment={"name": options.augment},
    )
    torch.manual_seed(options.seed)
    objective = GanObjective(config, source.classes.get("classification", ()))

    # Fit: Adam with a short memory, no decay, no schedule; the generator's average is kept inside the objective.
    optim = OptimConfig(lr=options.lr, betas=(0.5, 0.999), weight_decay=0.0, schedule="constant", clip_norm=None)
    loop = TrainConfig(steps=options.steps, workers=0 if options.quick else 1, log_every=min(20, options.steps))
    trainer = Trainer(objective, mixture, optim, loop, options.out, seed=options.seed, export=objective.export)
    summary = trainer.fit(options.resume)
    if not summary.finished:
        print(f"stopped at step {summary.steps}; the same command with --resume goes on")
        return
    print(f"{len(source)} images, {summary.steps} steps of {options.batch_size}, {summary.seconds / 60:.1f} minutes")
    print(f"generator and discriminator: {summary.out}/last")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="FORMAT:PATH, such as npz:PATH or imagefolder:PATH")
    parser.add_argument("--split", default="train")
    parser.add_argument("--resolution", type=int, default=32, help="side in pixels, a power of two")
    parser.add_argument("--labels", action="store_true", help="make images of a wanted class")
    parser.add_argument("--generator", default="dcgan", help="dcgan or resnet")
    parser.add_argument("--discriminator", default="sn_dcgan", help="sn_dcgan or sn_resnet")
    parser.add_argument("--channels", type=int, default=32, help="width of the finest maps")
    parser.add_argument("--loss", default="hinge", help="hinge, non_saturating, least_squares or wasserstein")
    parser.add_argument("--regulariser", action="append", default=[], help="r1, adaptive_mix, ...; may repeat")
    parser.add_argument("--augment", default="none", help="none, diff_augment or adaptive")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=2e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    parser.add_argument("--out", default="runs/gan", help="folder for log, checkpoints and the networks")
    parser.add_argument("--quick", action="store_true", help="two steps on the procedural world, to see that it runs")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(QUICK)
    elif not options.data:
        parser.error("no data; give --data npz:PATH, or --quick")
    try:
        run(options)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

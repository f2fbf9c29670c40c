"""Measure a GAN: how far its images are from real ones through the eyes of a given network.

    python tasks/gan/eval.py --gan runs/gan/last --data npz:PATH --split test --weights MOBILENETV2.safetensors
    python tasks/gan/eval.py --gan runs/gan/last --data npz:PATH --split test --classifier runs/my-classifier/last

The real images must be ones that the GAN was not trained on; --train-split names those it was, for the copy check. All
real images are used, and as many generated ones. Standard output is one JSON object; the table goes to standard error.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

from visgen.data import Mapped, Source, build_source, build_transform
from visgen.errors import ConfigError, VisgenError
from visgen.gan import GanConfig, GanSource, SavedGan, load_gan
from visgen.metrics.generative import FeatureNetwork, generative_figures, stack_pixels
from visgen.task import GanObjective
from visgen.zoo.feature_network import classifier_feature_network, timm_feature_network

QUICK = {"data": "town:street?count=8&size=64x64&tasks=classification", "split": "train", "train_split": None}


def untrained(folder: Path) -> SavedGan:
    """A small GAN with random weights: for --quick, where figures mean nothing."""
    config = GanConfig(generator={"name": "dcgan", "channels": 4}, discriminator={"name": "sn_dcgan", "channels": 4})
    objective = GanObjective(config)
    return load_gan(objective.export(objective.module, folder))


def eyes(options: argparse.Namespace) -> FeatureNetwork:
    """The network that looks: of the file or folder given; for --quick, colours on a grid."""
    if options.quick:
        return FeatureNetwork("colours", lambda x: torch.nn.functional.avg_pool2d(x, 8).flatten(1), "none", 16)
    if options.classifier:
        return classifier_feature_network(options.classifier)
    return timm_feature_network(options.weights, pad_type="same", size=options.size)


def pixels(source: Source, side: int) -> torch.Tensor:
    """All images of a source as squares of the GAN's resolution, uint8."""
    steps = [{"name": "resize", "size": side}, {"name": "center_crop", "size": side}]
    crop = build_transform(steps)
    return stack_pixels(Mapped(source, lambda sample: crop(sample, torch.Generator().manual_seed(0))))


def classes(source: Source) -> torch.Tensor:
    """The class of every sample, for the distance class by class of a GAN with labels."""
    return torch.tensor([source[i].targets["classification"].label for i in range(len(source))])


def run(options: argparse.Namespace) -> None:
    gan = untrained(Path(options.out) / "untrained") if options.quick else load_gan(options.gan)
    network, side = eyes(options), gan.generator.resolution
    source = build_source(options.data, options.split)
    real = network.see(pixels(source, side))
    drawn = GanSource(gan, len(real), options.seed)
    fake = network.see(stack_pixels(drawn))
    is_known = bool(gan.classes) and gan.classes == source.classes.get("classification")
    both = (classes(source), classes(drawn)) if is_known else None
    train = network.see(pixels(build_source(options.data, options.train_split), side)) if options.train_split else None
    k, blocks = (2, 0) if options.quick else (5, 10)
    found = generative_figures(network, real, fake, train=train, labels=both, neighbours=k, blocks=blocks)
    report = {
        "task": "gan",
        "model": gan.sha256,
        "data": options.data,
        "metrics": found["metrics"],
        "protocol": {**found["protocol"], "split": options.split, "seed": options.seed},
    }
    if options.out:
        Path(options.out).mkdir(parents=True, exist_ok=True)
        (Path(options.out) / "gan.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))
    for name, value in found["metrics"].items():
        shown = value if isinstance(value, float) else "  ".join(f"{k} {v:.4g}" for k, v in value.items())
        print(f"{name:<26}{shown}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gan", help="folder of a trained GAN")
    parser.add_argument("--data", help="FORMAT:PATH of real images")
    parser.add_argument("--split", default="test", help="images that the GAN was not trained on")
    parser.add_argument("--train-split", help="images that it was trained on, for the copy check")
    parser.add_argument("--weights", help="ImageNet MobileNetV2 as safetensors, in timm's names")
    parser.add_argument("--classifier", help="folder of a visgen classifier, instead; gives IS as well")
    parser.add_argument("--size", type=int, default=128, help="side at which MobileNetV2 looks")
    parser.add_argument("--seed", type=int, default=1, help="of the generated images")
    parser.add_argument("--out", help="also write the JSON object into this folder")
    parser.add_argument("--quick", action="store_true", help="an untrained GAN on a few procedural scenes")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(QUICK)
    try:
        if not options.quick and not (options.gan and options.data and (options.weights or options.classifier)):
            raise ConfigError("--gan, --data and one of --weights and --classifier are needed, or --quick.")
        run(options)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

"""Measure the runs of adaptive_mix.py on images that none was trained on, and write the record.

    visgen train configs/classification/cifar10.yaml --data-root DATA
    python tasks/gan/adaptive_mix_report.py --data-root DATA --out runs/adaptive-mix \\
        --weights MOBILENETV2.safetensors --classifier runs/classification-cifar10/last \\
        --record model_zoo/results/gan_adaptivemix_cifar10.json

Beside the runs it measures as many real training images, the best that can be reached.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from visgen.config import load_run
from visgen.data import Subset, build_source
from visgen.engine import build_run, evaluate
from visgen.errors import VisgenError
from visgen.gan import GanSource, load_gan, measure_shrinkage
from visgen.metrics import summarise, write_record
from visgen.metrics.generative import FeatureNetwork, generative_figures, stack_pixels
from visgen.shipped import shipped_path
from visgen.zoo import load_model
from visgen.zoo.feature_network import classifier_feature_network, timm_feature_network

CONFIG = "configs/gan/cifar10.yaml"
REGULARISERS = {
    "none": "[]",
    "adaptive_mix": "[{name: adaptive_mix}]",
    "mixed": "[{name: adaptive_mix, logits: mixed}]",
}


class Judge:
    """Held-out reals, training images, and what each network sees in them."""

    def __init__(self, options: argparse.Namespace) -> None:
        whole = build_source(f"npz:{options.data_root}/cifar10")
        held_out, trained = (Subset(whole, [i for i in range(len(whole)) if (i % 5 == 4) == k]) for k in (True, False))
        self.held_out, self.labels = held_out, torch.tensor([s.targets["classification"].label for s in held_out])
        self.real, self.trained, self.blocks = stack_pixels(held_out), stack_pixels(trained), options.blocks
        self.networks = (
            timm_feature_network(options.weights, pad_type="same"),
            classifier_feature_network(options.classifier),
        )
        self.known = [(n, n.see(self.real), n.see(self.trained)) for n in self.networks]
        self.protocol: dict[str, Any] = {}

    def measure(self, fake: torch.Tensor) -> dict[str, Any]:
        figures: dict[str, Any] = {}
        for network, real, trained in self.known:
            found = generative_figures(network, real, network.see(fake), train=trained, blocks=self.blocks)
            self.protocol[network.name] = found["protocol"]
            figures.update(flat(found["metrics"], network))
        return figures

    def measure_gan(self, folder: Path) -> dict[str, Any]:
        gan = load_gan(folder)
        fake = stack_pixels(GanSource(gan, len(self.real), seed=1))
        discriminator = gan.discriminator()
        on_real = measure_shrinkage(discriminator, self.real, self.labels)
        on_fake = measure_shrinkage(discriminator, fake)
        shrinkage = {f"D/{k}/{side}": v for side, d in (("real", on_real), ("fake", on_fake)) for k, v in d.items()}
        return {**self.measure(fake), **shrinkage}


def flat(metrics: dict[str, Any], network: FeatureNetwork) -> dict[str, float]:
    """Figures under one name each; those without the network in their name get it."""
    found: dict[str, float] = {}
    for key, value in metrics.items():
        name = key if network.name in key else f"{key}-{network.name}"
        for part, number in value.items() if isinstance(value, dict) else [("value", value)]:
            if part not in ("low", "high"):
                found[name if part == "value" else f"{name}/{part}"] = number
    return found


def seconds_per_step(options: argparse.Namespace, arm: str) -> float:
    """Least processor time of ten steps of both sides."""
    words = [f"objective.options.regularisers={REGULARISERS[arm]}"]
    run, found = build_run(load_run(shipped_path(CONFIG), words, options.data_root)), []
    for step in range(10):
        batch, start = run.mixture.batches(step)[0], time.process_time()
        for phase in run.objective.phases:
            phase.loss(batch)["loss"].backward()
        found.append(time.process_time() - start)
    return min(found)


def report(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    cost = {arm: seconds_per_step(options, arm) for arm in options.arms}
    judge = Judge(options)
    model = load_model(options.classifier, "cpu")
    top1 = evaluate(model, judge.held_out, min_side=model.min_side, max_side=model.max_side, batch_size=50).metrics
    spaced = torch.linspace(0, len(judge.trained) - 1, len(judge.real)).long()
    single = {"real": judge.measure(judge.trained[spaced]), "classifier": top1}
    arms: dict[str, Any] = {}
    for arm in options.arms:
        found = []
        for seed in options.seeds:
            found.append(judge.measure_gan(options.out / f"{arm}-{seed}" / "last"))
            print(f"measured {arm} {seed}", file=sys.stderr, flush=True)
        arms[arm] = {name: summarise([f[name] for f in found]) for name in found[0]}
    first = arms[options.arms[0]]
    less = {
        arm: {k: summarise([b - a for a, b in zip(first[k]["values"], v["values"])]) for k, v in figures.items()}
        for arm, figures in arms.items()
        if arm != options.arms[0]
    }
    record = write_record(
        options.record,
        command="python tasks/gan/adaptive_mix_report.py (runs by adaptive_mix.py; see tasks/gan/README.md)",
        config=CONFIG, seeds=options.seeds, data="cifar10", split="every fifth image of train.npz, never trained on",
        protocol={"networks": judge.protocol, "difference": f"arm less '{options.arms[0]}', seed by seed"},
        metrics={"arms": arms, "difference": less, **single, "seconds_per_step": cost},
    )  # fmt: skip
    print(
        json.dumps(
            {arm: {k: v["mean"] for k, v in f.items()} for arm, f in record["metrics"]["arms"].items()}, indent=1
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/adaptive-mix"))
    parser.add_argument("--weights", type=Path, required=True, help="ImageNet MobileNetV2 as safetensors, timm's names")
    parser.add_argument("--classifier", type=Path, required=True, help="folder of a visgen classifier of CIFAR-10")
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", default=["none", "adaptive_mix"], choices=tuple(REGULARISERS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--blocks", type=int, default=10, help="of the jackknife behind the intervals of one run")
    options = parser.parse_args()
    try:
        report(options)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

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
from visgen.gan import GanJudge, load_gan
from visgen.metrics import summarise, write_record
from visgen.metrics.generative import stack_pixels
from visgen.shipped import shipped_path
from visgen.zoo import load_model
from visgen.zoo.feature_network import classifier_feature_network, timm_feature_network

CONFIGS = {"none": "configs/gan/cifar10.yaml", "adaptive_mix": "configs/gan/cifar10_adaptive_mix.yaml"}


def seconds_per_step(options: argparse.Namespace, arm: str) -> float:
    """Least processor time of ten steps of both sides."""
    run, found = build_run(load_run(shipped_path(CONFIGS[arm]), (), options.data_root)), []
    for step in range(10):
        batch, start = run.mixture.batches(step)[0], time.process_time()
        for phase in run.objective.phases:
            phase.loss(batch)["loss"].backward()
        found.append(time.process_time() - start)
    return min(found)


def report(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    cost = {arm: seconds_per_step(options, arm) for arm in CONFIGS}

    # Data: the fifth of the images that the run files leave out, and those that they train on.
    whole = build_source(f"npz:{options.data_root}/cifar10")
    held_out, trained = (Subset(whole, [i for i in range(len(whole)) if (i % 5 == 4) == k]) for k in (True, False))
    labels = torch.tensor([s.targets["classification"].label for s in held_out])

    # Two pairs of eyes, neither of them a discriminator's: ImageNet's, and those of a classifier of these ten classes.
    model = load_model(options.classifier, "cpu")
    sides = {"min_side": model.min_side, "max_side": model.max_side}
    top1 = evaluate(model, held_out, batch_size=50, **sides).metrics["top1"]
    networks = timm_feature_network(options.weights, pad_type="same"), classifier_feature_network(options.classifier)
    judge = GanJudge(networks, stack_pixels(held_out), labels, stack_pixels(trained), options.blocks)

    # Figures: the best that can be reached, then every run.
    spaced = torch.linspace(0, len(trained) - 1, len(held_out)).long().tolist()
    real = judge.measure(stack_pixels(trained[i] for i in spaced))
    arms: dict[str, Any] = {}
    for arm in CONFIGS:
        found = []
        for seed in options.seeds:
            found.append(judge.measure_gan(load_gan(options.out / f"{arm}-{seed}" / "last")))
            print(f"measured {arm} {seed}", file=sys.stderr, flush=True)
        arms[arm] = {name: summarise([f[name] for f in found]) for name in found[0]}
    pairs = {k: zip(arms["none"][k]["values"], v["values"]) for k, v in arms["adaptive_mix"].items()}
    difference = {k: summarise([b - a for a, b in pair]) for k, pair in pairs.items()}

    write_record(
        options.record,
        command=(
            "python tasks/gan/adaptive_mix.py --data-root DATA --out RUNS && python tasks/gan/adaptive_mix_report.py "
            "--data-root DATA --out RUNS --weights MOBILENETV2.safetensors --classifier CLASSIFIER --record FILE"
        ),
        config={arm: Path(path).as_posix() for arm, path in CONFIGS.items()},
        seeds=options.seeds,
        data="cifar10",
        split="every fifth image of train.npz, which no run was trained on",
        protocol={"networks": judge.protocol, "difference": "adaptive_mix less none, seed by seed"},
        metrics={"arms": arms, "difference": difference, "real": real, "top1": top1, "seconds_per_step": cost},
        notes="FD and KD are not FID and KID: the networks are others. `real` compares training with held-out images.",
    )
    for name in ("FD", "KD"):
        for network in judge.protocol:
            key = f"{name}-{network}"
            shown = [f"{arm} {f[key]['mean']:.1f} +- {f[key]['std']:.1f}" for arm, f in arms.items()]
            print(f"{key:<24}real {real[key]:.1f}   {'   '.join(shown)}")
    print(json.dumps({k: v["mean"] for k, v in difference.items() if k.startswith("D/")}, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/adaptive-mix"))
    parser.add_argument("--weights", type=Path, required=True, help="ImageNet MobileNetV2 as safetensors, timm's names")
    parser.add_argument("--classifier", type=Path, required=True, help="folder of a visgen classifier of CIFAR-10")
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--blocks", type=int, default=10, help="of the jackknife behind the standard errors of a run")
    options = parser.parse_args()
    try:
        report(options)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

"""Measure the runs of adaptive_mix.py on images that none was trained on, and write the record.

    visgen train configs/classification/cifar10.yaml --data-root DATA
    python tasks/gan/adaptive_mix_report.py --out runs/adaptive-mix --weights MOBILENETV2.safetensors \\
        --classifier runs/classification-cifar10/last --record model_zoo/results/gan_adaptivemix_cifar10.json

Beside the runs it measures real training images, the best that can be reached, and the networks before training.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from visgen.config import RunConfig, load_run
from visgen.data import Subset, build_source
from visgen.engine import build_run, evaluate
from visgen.engine.evaluate import evenly_spaced
from visgen.errors import ConfigError, VisgenError
from visgen.gan import GanJudge
from visgen.metrics import summarise, write_record
from visgen.metrics.generative import stack_pixels
from visgen.zoo import load_model
from visgen.zoo.feature_network import classifier_feature_network, timm_feature_network


def config_of(options: argparse.Namespace, arm: str, seed: int) -> RunConfig:
    return load_run(options.out / f"{arm}-{seed}" / "config.yaml")


def parts_of(config: RunConfig) -> tuple[Subset, Subset]:
    (part,) = config.data.train.values()
    whole: Any = build_source(part.source, part.split or "train", **part.options)
    left = sorted(set(range(len(whole))) - set(taken := evenly_spaced(len(whole), part.limit)))
    if not left:
        raise ConfigError(
            f"the runs train on all {len(whole)} images; give their part a `limit`, so that some are left."
        )
    return Subset(whole, left), Subset(whole, taken)


def seconds_per_step(config: RunConfig) -> float:
    """Least processor time of ten steps of both sides."""
    run, found = build_run(config), []
    for step in range(10):
        batch, start = run.mixture.batches(step)[0], time.process_time()
        for phase in run.objective.phases:
            phase.loss(batch)["loss"].backward()
        found.append(time.process_time() - start)
    return min(found)


def measure(options: argparse.Namespace, judge: GanJudge, arm: str, seed: int) -> dict[str, float]:
    folder = options.out / f"{arm}-{seed}" / "last"
    if arm == "untrained":  # the networks as they are before the first step
        objective: Any = build_run(config_of(options, "none", seed)).objective
        objective.export(objective.module, folder)
    print(time.strftime("%H:%M:%S"), arm, seed, file=sys.stderr, flush=True)
    return judge.measure_saved(folder)


def report(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    firsts = {arm: config_of(options, arm, options.seeds[0]) for arm in options.arms}
    paid = {"seconds_per_step": {arm: seconds_per_step(config) for arm, config in firsts.items()},
            "steps": {arm: config.train.steps for arm, config in firsts.items()}}  # fmt: skip
    held_out, trained = parts_of(firsts["none"])
    labels = torch.tensor([s.targets["classification"].label for s in held_out])
    model = load_model(options.classifier, "cpu")
    top1 = evaluate(model, held_out, batch_size=50, min_side=model.min_side, max_side=model.max_side).metrics["top1"]
    twins = [classifier_feature_network(options.classifier, random_seed=seed) for seed in options.twins]
    eyes = timm_feature_network(options.weights, pad_type="same"), classifier_feature_network(options.classifier)
    judge = GanJudge((*twins, *eyes), stack_pixels(held_out), labels, stack_pixels(trained), options.blocks)
    real = judge.measure(stack_pixels(trained[i] for i in evenly_spaced(len(trained), len(held_out))))
    runs = {arm: [measure(options, judge, arm, seed) for seed in options.seeds] for arm in (*options.arms, "untrained")}
    arms = {arm: {k: summarise([f[k] for f in found]) for k in found[0]} for arm, found in runs.items()}
    difference = {arm: {k: summarise([b[k] - a[k] for a, b in zip(runs["none"], runs[arm])]) for k in arms[arm]}
                  for arm in options.arms if arm != "none"}  # fmt: skip
    write_record(
        options.record,
        command=shlex.join(["python", "tasks/gan/adaptive_mix_report.py", *sys.argv[1:]]),
        config=asdict(config_of(options, "none", options.seeds[0]).objective),
        seeds=options.seeds,
        data=held_out.name,
        split="the images that the run file leaves out, which no run was trained on",
        protocol={"networks": judge.protocol, "difference": "arm less none, seed by seed"},
        metrics={"arms": arms, "difference": difference, "real": real, "top1": top1, **paid},
        notes="FD and KD are not FID and KID: the networks are others. `real` compares training with held-out images.",
    )
    for key in [f"{name}-{network}" for name in ("FD", "KD") for network in judge.protocol]:
        shown = [f"{arm} {f[key]['mean']:.1f} +- {f[key]['std']:.1f}" for arm, f in arms.items()]
        print(f"{key:<24}real {real[key]:.1f}   {'   '.join(shown)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/adaptive-mix"))
    parser.add_argument("--weights", type=Path, required=True, help="ImageNet MobileNetV2 as safetensors, timm's names")
    parser.add_argument("--classifier", type=Path, required=True, help="folder of a visgen classifier of CIFAR-10")
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", default=["none", "adaptive_mix"], help="`none` among them")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--twins", nargs="*", type=int, default=[], help="seeds of untrained twins of it, as controls")
    parser.add_argument("--blocks", type=int, default=10, help="of the jackknife behind the standard errors of a run")
    options = parser.parse_args()
    try:
        report(options)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

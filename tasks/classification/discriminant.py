"""Add a linear discriminant, which no step trains, to the last layer of a trained classifier.

    python tasks/classification/discriminant.py MODEL --data imagefolder:PATH --out FOLDER
    python tasks/classification/discriminant.py MODEL --data imagefolder:PATH --trials RECORD.json

The new logits are (old + SHARE * discriminant) / TEMPERATURE, again one linear layer, so that no picture takes longer.
OOD heads that stand on it are calibrated anew. Prints the figures on val before and after; with --trials it only
writes those of many shares and shrinkages, to choose from.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from visgen.data import Source, build_source
from visgen.engine import fit_head
from visgen.engine.fit import collect_features
from visgen.errors import ConfigError, VisgenError
from visgen.heads.classification import ClassificationHead
from visgen.metrics import write_record
from visgen.nn.discriminant import linear_discriminant
from visgen.task import MultiTaskModel
from visgen.zoo import load_model, save_pretrained

STATISTICS = ("means", "axes", "floor", "centre", "bank")  # buffers of OOD scores that read the vectors alone
Layer = tuple[Tensor, Tensor]  # weight (K, D) and bias (K,)
SHARES, SHRINKS = (0.0, 0.005, 0.01, 0.02, 0.04, 0.08), (0.02, 0.05, 0.1, 0.2, 0.4, 0.7)  # of --trials


def blend(head: ClassificationHead, found: Layer, share: float, temperature: float) -> Layer:
    """Give the last layer of a head with a share of a discriminant in it; the head stays as it is."""
    weight, bias = head.linear.weight.detach(), head.linear.bias.detach()
    return (weight + share * found[0]) / temperature, (bias + share * found[1]) / temperature


@torch.no_grad()
def figures(layer: Layer, inputs: Tensor, labels: Tensor) -> dict[str, float]:
    """Top-1 accuracy of a layer, and its mean negative log-likelihood in nats."""
    logits = F.linear(inputs, *layer)
    right = float((logits.argmax(1) == labels).float().mean())
    return {"top1": round(right, 4), "nll": round(float(F.cross_entropy(logits, labels)), 4)}


@torch.no_grad()
def see(model: MultiTaskModel, name: str, source: Source) -> tuple[Tensor, Tensor]:
    """What the last layer of a head reads of a source's images (N, D), and their labels (N,)."""
    seen = collect_features(model, name, source)
    return model.head(name).norm(seen.features), torch.tensor([target.label for target in seen.targets])  # type: ignore[operator]


def calibrate(model: MultiTaskModel, below: str, train: Source, val: Source) -> list[str]:
    """Fit the heads that stand on a changed one, but for what they know of the vectors, which did not change."""
    heads = [name for name in model.specs if model.below(name) == below]
    for name in heads:
        module = model.head(name)
        kept = {key: value.clone() for key, value in module.state_dict().items() if key.split(".")[-1] in STATISTICS}
        fit_head(model, name, train, val)
        module.load_state_dict({**module.state_dict(), **kept})
    return heads


def run(options: argparse.Namespace) -> dict[str, Any]:
    if not options.temperature > 0:
        raise ConfigError(f"temperature is {options.temperature}; it must be above 0.")
    model: MultiTaskModel = load_model(options.model)
    head = model.head(name := model.resolve(options.head))
    if not isinstance(head, ClassificationHead):
        raise ConfigError(f"head '{name}' is a {type(head).__name__}; a discriminant goes into a classification head.")
    train, val = build_source(options.data, "train"), build_source(options.data, "val")
    known, new, classes = see(model, name, train), see(model, name, val), head.linear.out_features
    said: dict[str, Any] = {"head": name, "before": figures((head.linear.weight, head.linear.bias), *new)}
    if options.trials:
        tried = {"as it was": said["before"]}
        for shrink in SHRINKS:
            found = linear_discriminant(*known, classes, shrink)
            layers = {f"share {share:g}": blend(head, found, share, options.temperature) for share in SHARES}
            tried[f"shrink {shrink:g}"] = {share: figures(layer, *new) for share, layer in layers.items()}
        words = f"{options.model} --data {options.data} --temperature {options.temperature:g} --trials RECORD.json"
        write_record(options.trials, command=f"python tasks/classification/discriminant.py {words}", config=None,
                     seeds=[], data=options.data, split="val", protocol={"vectors": "of train, not augmented"},
                     metrics=tried, environment={"model": options.model})  # fmt: skip
        return {**said, "trials": options.trials}
    weight, bias = blend(head, linear_discriminant(*known, classes, options.shrink), options.share, options.temperature)
    weight = (weight / options.step).round() * options.step if options.step else weight
    head.load_state_dict({**head.state_dict(), "linear.weight": weight, "linear.bias": bias})
    said |= {"after": figures((weight, bias), *new), "refitted": calibrate(model, name, train, val)}
    save_pretrained(model, options.out, dtype=options.dtype)
    return {**said, "out": options.out}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="shipped name, folder or Hub id")
    parser.add_argument("--data", required=True, metavar="FORMAT:PATH", help="images that the classifier was taught on")
    parser.add_argument("--head", default="classification", help="head or task")
    parser.add_argument("--share", type=float, default=0.02, help="factor on the discriminant")
    parser.add_argument("--shrink", type=float, default=0.4, help="share of the covariance that is made round")
    parser.add_argument("--temperature", type=float, default=1.5, help="all logits are divided by it")
    parser.add_argument("--step", type=float, default=0.0, help="round the matrix to multiples of it; 0 does not")
    parser.add_argument("--dtype", default="float16", help="of the matrices on disk")
    to = parser.add_mutually_exclusive_group(required=True)
    to.add_argument("--out", help="folder of the new model")
    to.add_argument("--trials", metavar="RECORD.json", help="write the figures of many shares and shrinkages")
    options = parser.parse_args()
    try:
        print(json.dumps(run(options)))
    except VisgenError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()

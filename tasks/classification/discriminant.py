"""Add a linear discriminant, which no step trains, to the last layer of a trained classifier.

    python tasks/classification/discriminant.py MODEL --data imagefolder:PATH --out FOLDER

The new logits are (old + SHARE * discriminant) / TEMPERATURE, which is again one linear layer: nothing else changes and
no picture takes longer. Class means and covariance are those of the training images' vectors. OOD heads that stand on
the classifier are calibrated anew; their statistics of the vectors stay. Prints the figures on val before and after.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from visgen.data import build_source
from visgen.engine import fit_head
from visgen.engine.fit import Collected, collect_features
from visgen.errors import ConfigError, VisgenError
from visgen.heads.classification import ClassificationHead
from visgen.nn.discriminant import linear_discriminant
from visgen.task import TASKS, MultiTaskModel
from visgen.zoo import load_model, save_pretrained

STATISTICS = ("means", "axes", "floor", "centre", "bank")  # buffers of OOD scores that read the vectors alone


@torch.no_grad()
def blend(head: ClassificationHead, train: Collected, share: float, shrink: float, temperature: float, step: float
          ) -> None:  # fmt: skip
    """Put the discriminant of training images into a head, its matrix rounded to multiples of `step`."""
    labels = torch.tensor([target.label for target in train.targets])
    weight, bias = linear_discriminant(head.norm(train.features), labels, head.linear.out_features, shrink)
    mixed = (head.linear.weight + share * weight) / temperature
    head.linear.weight.copy_((mixed / step).round() * step if step else mixed)
    head.linear.bias.copy_((head.linear.bias + share * bias) / temperature)


@torch.no_grad()
def figures(head: ClassificationHead, val: Collected) -> dict[str, float]:
    """Top-1 accuracy, and the mean negative log-likelihood in nats, of a head on vectors of val."""
    labels = torch.tensor([target.label for target in val.targets])
    logits: Tensor = head.linear(head.norm(val.features))
    right = float((logits.argmax(1) == labels).float().mean())
    return {"top1": round(right, 4), "nll": round(float(F.cross_entropy(logits, labels)), 4)}


def run(options: argparse.Namespace) -> dict[str, Any]:
    if not options.temperature > 0 or options.step < 0:
        raise ConfigError(
            f"temperature is {options.temperature} and step {options.step}; the first must be above 0, the second 0 or "
            "more."
        )
    model: MultiTaskModel = load_model(options.model)
    name = model.resolve(options.head)
    head = model.head(name)
    if not isinstance(head, ClassificationHead):
        raise ConfigError(f"head '{name}' is a {type(head).__name__}; a discriminant goes into a classification head.")
    train, val = build_source(options.data, "train"), build_source(options.data, "val")
    seen = collect_features(model, name, val)
    before = figures(head, seen)
    blend(head, collect_features(model, name, train), options.share, options.shrink, options.temperature, options.step)
    fitted = [other for other in model.specs if not TASKS.get(model.specs[other].task).is_trained]
    fitted = [other for other in fitted if model.below(other) == name]
    for other in fitted:
        module = model.head(other)
        kept = {key: value.clone() for key, value in module.state_dict().items() if key.split(".")[-1] in STATISTICS}
        fit_head(model, other, train, val)
        module.load_state_dict({**module.state_dict(), **kept})
    save_pretrained(model, options.out, dtype=options.dtype)
    return {"head": name, "before": before, "after": figures(head, seen), "refitted": fitted, "out": options.out}


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
    parser.add_argument("--out", required=True, help="folder of the new model")
    options = parser.parse_args()
    try:
        print(json.dumps(run(options)))
    except VisgenError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()

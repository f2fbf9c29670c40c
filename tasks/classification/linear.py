"""Fit the last layer of a classification head anew, on the image vectors of whole pictures at the size of use.

    python tasks/classification/linear.py MODEL --data imagefolder:PATH --head classification.caltech100 --out FOLDER

Every picture is seen once, not cropped and not augmented, as it will be when the model is used; so it takes minutes.
The vectors are brought to mean 0 and deviation 1 per channel before the layer is trained, which makes the rate and the
decay mean the same for every channel, and that step is folded into the layer afterwards. Nothing else of the model
changes. An OOD head on top must be fitted again (`visgen fit`).
"""

from __future__ import annotations

import argparse
import json
import sys

import torch
import torch.nn.functional as F
from torch import Tensor

from visgen.data import build_source
from visgen.engine import collect_features
from visgen.errors import ConfigError, VisgenError
from visgen.heads import ClassificationHead
from visgen.zoo import load_model, save_pretrained


def fit_layer(
    vectors: Tensor, labels: Tensor, classes: int, *, epochs: int, decay: float, smoothing: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Give weight (K, D) and bias (K,) of a linear layer on layer-normalised vectors (N, D), trained by AdamW."""
    vectors = F.layer_norm(vectors, vectors.shape[1:])
    mean, spread = vectors.mean(0), vectors.std(0) + 1e-3 * vectors.std()
    vectors = (vectors - mean) / spread
    weight = torch.zeros(classes, vectors.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    groups = [{"params": [weight], "weight_decay": decay}, {"params": [bias], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=0.003)
    steps = max(1, epochs * len(vectors) // 256)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        some = torch.randint(len(vectors), (256,), generator=generator)
        loss = F.cross_entropy(F.linear(vectors[some], weight, bias), labels[some], label_smoothing=smoothing)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rate.step()
    folded = weight.detach() / spread
    return folded, bias.detach() - folded @ mean


def run(options: argparse.Namespace) -> dict[str, object]:
    """Fit the layer, put it in, and save the model."""
    model = load_model(options.model)
    head = model.head(options.head)
    if not isinstance(head, ClassificationHead):
        raise ConfigError(f"'{options.head}' is a {type(head).__name__}; name a head of the task classification.")
    source = build_source(options.data, options.split)
    seen = collect_features(model, options.head, source, limit=options.limit)
    labels = torch.tensor([target.label for target in seen.targets])
    settings = {"epochs": options.epochs, "decay": options.decay, "smoothing": options.smoothing, "seed": options.seed}
    weight, bias = fit_layer(seen.features, labels, head.linear.out_features, **settings)
    with torch.no_grad():
        head.norm.weight.fill_(1.0), head.norm.bias.zero_()
        head.linear.weight.copy_(weight), head.linear.bias.copy_(bias)
    right = (head.linear(head.norm(seen.features)).argmax(1) == labels).float().mean()
    save_pretrained(model, options.out, dtype=options.dtype)
    return {"head": options.head, "images": len(labels), "top1 of these": float(right), "out": options.out, **settings}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="shipped name, folder or Hub id")
    parser.add_argument("--data", required=True, metavar="FORMAT:PATH", help="labelled pictures")
    parser.add_argument("--split", default="train", help="part of the data")
    parser.add_argument("--head", default="classification", help="classification head whose last layer is fitted")
    parser.add_argument("--out", required=True, help="folder of the new model")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--decay", type=float, default=10.0, help="weight decay of AdamW, on standardised vectors")
    parser.add_argument("--smoothing", type=float, default=0.1, help="label smoothing")
    parser.add_argument("--limit", type=int, help="use so many pictures, evenly spaced")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", default="float16", help="of the matrices on disk")
    try:
        print(json.dumps(run(parser.parse_args())))
    except VisgenError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()

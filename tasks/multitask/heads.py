"""Put heads of other runs into a model: one run's, or the mean of several runs that share their start.

    python tasks/multitask/heads.py MODEL detection.coco=RUN+RUN depth=RUN --out FOLDER
    python tasks/multitask/heads.py MODEL depth=RUN --routes depth=detection segmentation.camvid=detection --out FOLDER
    python tasks/multitask/heads.py MODEL --weigh detection.coco=segmentation.coco --out FOLDER

The backbones must be equal, to the last bit of the precision in which MODEL was saved. Prints what was put in.
"""

from __future__ import annotations

import argparse
import json
import sys

import torch
from torch import Tensor

from visgen.errors import CheckpointError, VisgenError
from visgen.nn.round_bits import round_bits
from visgen.task import MultiTaskModel
from visgen.zoo import load_model, save_pretrained

TOLERANCE = 2**-10  # of a value: what half precision on disk may have rounded away


def part(model: MultiTaskModel, prefix: str) -> dict[str, Tensor]:
    """The tensors of a model whose names begin with `prefix`."""
    return {name: value for name, value in model.state_dict().items() if name.startswith(prefix)}


def mean_head(model: MultiTaskModel, head: str, runs: list[str]) -> dict[str, Tensor]:
    """Mean over runs of a head's tensors, after a check that it belongs on the backbone of `model`."""
    prefix = f"heads.{head.replace('.', '__')}."
    wanted = {name: value.shape for name, value in part(model, prefix).items()}
    if not wanted:
        raise CheckpointError(f"the model has no head {head!r}; it has {', '.join(model.specs)}.")
    sums = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in wanted.items()}
    for run in runs:
        other = load_model(run)
        backbone = part(other, "backbone.")
        for name, value in part(model, "backbone.").items():  # a run without a task has no routers for it
            if name in backbone and not torch.allclose(value, backbone[name], rtol=TOLERANCE, atol=1e-6):
                raise CheckpointError(f"{run} has another backbone (see {name}); its heads would read other features.")
        found = part(other, prefix)
        if {name: value.shape for name, value in found.items()} != wanted:
            raise CheckpointError(f"{run} has no head {head!r} of the same tensors; name a run that trained it.")
        sums = {name: value + found[name].double() / len(runs) for name, value in sums.items()}
    return sums


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", help="shipped name, folder or Hub id")
    parser.add_argument("heads", nargs="*", metavar="HEAD=RUN[+RUN...]", help="a head and the models that trained it")
    parser.add_argument("--routes", nargs="+", default=[], metavar="HEAD=ROUTER", help="routers that heads then take")
    parser.add_argument("--weigh", nargs="+", default=[], metavar="HEAD=HEAD", help="heads whose maps weigh boxes then")
    parser.add_argument("--out", required=True, help="folder of the new model")
    parser.add_argument("--bits", type=int, help="significant bits that the matrices of these heads keep")
    parser.add_argument("--dtype", default="float16", help="of the matrices on disk")
    options = parser.parse_args()
    try:
        model, state = load_model(options.model), {}
        for item in options.heads:
            head, _, runs = item.partition("=")
            for name, value in mean_head(model, head, runs.split("+")).items():
                state[name] = round_bits(value, options.bits)
        model.load_state_dict({**model.state_dict(), **state})
        for item in options.routes:
            head, _, router = item.partition("=")
            model.set_route(head, router)
        for item in options.weigh:
            head, _, other = item.partition("=")
            model.set_weigher(head, other)
        save_pretrained(model, options.out, dtype=options.dtype)
        print(json.dumps({"heads": options.heads, "tensors": len(state), "out": options.out}))
    except VisgenError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()

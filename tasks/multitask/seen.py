"""Train heads of a run file on what its fixed backbone sees of a few augmented views, each seen once.

    python tasks/multitask/seen.py configs/multitask/visgen_tiny_boxes.yaml --data-root DATA --views coco=3 clothing=1

`visgen train` asks a backbone that does not change again at every step. Here every part is augmented `views` times
over, the backbone sees each view once, and the heads named in `optim.only` learn from what it saw: more steps in the
same time, from fewer different views. Everything else comes from the run file; parts must augment to one size, and the
rate follows the schedule of `visgen.engine.probe.Probe`. Writes the model to OUT/last.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

from visgen.config import load_run
from visgen.data import build_transform
from visgen.engine.parts import open_part
from visgen.engine.probe import Probe, Seen, see
from visgen.engine.run import build_run
from visgen.errors import ConfigError, VisgenError
from visgen.task import TASKS
from visgen.zoo import save_pretrained


def look(backbone: Any, part: Any, where: str, views: int, half: bool) -> tuple[str, list[Seen]]:
    """Give the head that a part feeds and what the backbone sees of its augmented pictures."""
    source, augment = open_part(part, "train", where), build_transform(part.transforms)
    ((task, head),) = source.heads.items()
    seen = []
    for i in range(views * len(source)):
        sample = augment(source[i % len(source)], torch.Generator().manual_seed(i))
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            seen.append(see(backbone, sample, task, max(sample.image.shape[1:])))
    return head, seen


def run(options: argparse.Namespace) -> dict[str, Any]:
    config = load_run(options.config, options.set, options.data_root)
    views = {name: int(count) for name, _, count in (item.partition("=") for item in options.views)}
    lost = set(views) - set(config.data.train)
    if lost or not views:
        raise ConfigError(f"--views names {sorted(lost)}; the run file has the parts {', '.join(config.data.train)}.")
    objective: Any = build_run(config).objective
    model, half = objective.model, config.train.precision == "bf16"
    model.eval()
    pictures: dict[str, list[Seen]] = {}
    for name, count in views.items():
        head, seen = look(model.backbone, config.data.train[name], f"data.train.{name}", count, half)
        pictures.setdefault(head, []).extend(seen)
        print(f"{name}: {len(seen)} views seen", file=sys.stderr, flush=True)
    for head, seen in pictures.items():
        task, module = TASKS.get(model.specs[head].task), model.heads[head.replace(".", "__")]
        probe = Probe(
            steps=config.train.steps,
            batch_size=options.batch_size,
            lr=config.optim.lr,
            weight_decay=config.optim.weight_decay,
            clip=config.optim.clip_norm or float("inf"),
            loss=objective.loss_options[head],
            weights=objective.weights_of(head, torch.device("cpu")),
            average=config.train.ema_decay,
            half=half,
        )
        probe.fit(module, task, seen, config.seed)
    out = Path(config.out) / "last"
    save_pretrained(model, out)
    return {"heads": {head: len(seen) for head, seen in pictures.items()}, "steps": config.train.steps, "out": str(out)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="run file that trains heads alone")
    parser.add_argument("--data-root", help="folder that ${data_root} stands for")
    parser.add_argument("--views", nargs="+", required=True, metavar="PART=N", help="parts, and augmented views")
    parser.add_argument("--batch-size", type=int, default=6, help="pictures per step, drawn from all views of a head")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the run file")
    options = parser.parse_args()
    try:
        print(json.dumps(run(options)))
    except VisgenError as error:
        parser.exit(2, f"{type(error).__name__}: {error}\n")


if __name__ == "__main__":
    main()

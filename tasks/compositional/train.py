"""Do made features of rare compositions help? Train every arm of the experiment on the same feature maps.

    python tasks/compositional/train.py --weights MOBILENET.safetensors --out runs/compositional
    python tasks/compositional/train.py --config configs/compositional/vrd.yaml --data vrd:PATH --splits train test ...

Maps of a fixed backbone are written once; then all arms of a seed are trained before the next seed. Training goes on
where it was stopped; `compare.py` measures what is there.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from visgen.backbones import BACKBONES
from visgen.data import build_source
from visgen.engine import train_from_config, write_maps
from visgen.errors import ConfigError, VisgenError
from visgen.shipped import shipped_path

CONFIG = "configs/compositional/town.yaml"
TOWN = "town:compositions?tasks=scene_graph"
UNSEEN = "&composition=heldout&relation_share=1"  # stage what training never shows, and list all true relations
COUNTS = {"train": 1500, "val": 100, "test": 300}
PLAIN = {"options": {"pad_type": "same"}, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
BACKBONE = {"name": "timm", "model": "mobilenetv2_100", **PLAIN}
BLIND = "{name: scene_graph, pixels: false}"
# Arm -> what it changes among the objective's options.
ARMS: dict[str, dict[str, str]] = {
    "baseline": {"second": "none"},  # one step per batch
    "again": {"second": "real"},  # the second step on the same real features
    "swapped": {"second": "swapped"},  # new compositions without a generator
    "gan": {"perturb": "null"},  # a generator without new compositions
    "rand": {"perturb": "{name: rand}"},
    "neigh": {"perturb": "{name: neigh}"},
    "graphn": {},
    "graphn5": {"perturb": "{name: graphn, alpha: 5}"},
    "graphn10": {"perturb": "{name: graphn, alpha: 10}"},
    "shuffled": {"shuffle": "true"},  # made features under wrong names, which must not help
    "geometry": {"second": "real", "head": BLIND, "told": "true", "loss": "{node_weight: 0.0}"},  # boxes and classes
}
CORE = ("baseline", "again", "swapped", "gan", "graphn", "shuffled")
QUICK: dict[str, Any] = {"count": 4, "side": 128, "arms": ["again", "graphn"], "seeds": [0]}


def write(options: argparse.Namespace) -> None:
    """Write the maps of each split that is not there; raises ConfigError where others than are asked for lie there."""
    wanted: dict[str, Any] = json.loads(options.backbone)
    if options.weights:
        wanted["weights"] = str(options.weights)
    about = {"backbone": {**wanted, "weights": Path(wanted.get("weights", "")).name}}
    for split in options.splits:
        name = "train" if split == options.splits[0] else split
        spec = options.data
        if spec.startswith("town:"):
            spec += f"&count={options.count or COUNTS[split]}" + ("" if name == "train" else UNSEEN)
        facts = {**about, "asked": {"data": spec, "split": split, "side": options.side, "grid": options.grid}}
        file = options.out / "maps" / name / "about.json"
        if file.is_file():
            kept = json.loads(file.read_text(encoding="utf-8"))
            changed = {key: kept[key] for key, value in facts.items() if kept.get(key, value) != value}
            if changed:
                now = {key: facts[key] for key in changed}
                raise ConfigError(f"{file} tells of {changed}, but {now} is asked for; use another --out.")
            continue
        source = build_source(spec, split)
        backbone = BACKBONES.get(wanted["name"])(**{k: v for k, v in wanted.items() if k != "name"}).eval()
        print(f"{split}: {len(source)} pictures", flush=True)
        size = {"long_side": options.side, "grid": None if options.grid is None else tuple(options.grid)}
        write_maps(backbone, source, options.out / "maps", name, about=facts, **size)


def settings(out: Path, arm: str, seed: int) -> list[str]:
    """What one run changes in the run file."""
    changed = [f"objective.options.{key}={value}" for key, value in ARMS[arm].items()]
    return [*changed, f"data.train.graphs.source=maps:{out}/maps", f"seed={seed}", f"out={out}/{arm}-{seed}"]


def train(options: argparse.Namespace) -> None:
    write(options)
    for seed in options.seeds:
        for arm in options.arms:
            words = [*settings(options.out, arm, seed), *options.set]
            summary = train_from_config(shipped_path(options.config), words, resume=True)
            print(f"{arm} seed {seed}: {summary.reason} at step {summary.steps}, {summary.seconds:.0f} s", flush=True)
            if summary.reason != "all steps":  # a signal or the time limit ends the experiment, not one arm of it
                return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=CONFIG, help="run file of the arm graphn")
    parser.add_argument("--data", default=TOWN, help="FORMAT:PATH with scene graphs, such as vrd:PATH or vg150:PATH")
    parser.add_argument("--splits", nargs="+", default=["train", "val", "test"], help="the first one is trained on")
    parser.add_argument("--backbone", default=json.dumps(BACKBONE), help="JSON of a backbone, its name under 'name'")
    parser.add_argument("--weights", type=Path, help="safetensors file of the backbone, such as ImageNet weights")
    parser.add_argument("--side", type=int, default=320, help="longer side of what the backbone sees, in pixels")
    parser.add_argument("--grid", type=int, nargs=2, help="rows and columns of all maps, for pictures of several sizes")
    parser.add_argument("--out", type=Path, default=Path("runs/compositional"), help="maps and a folder for each run")
    parser.add_argument("--arms", nargs="+", default=list(CORE), choices=tuple(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--count", type=int, help="pictures of each split of town, in place of those of the record")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="as in visgen train")
    parser.add_argument("--quick", action="store_true", help="two steps on four pictures, without weights")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(QUICK)
        options.set += ["train.steps=2", "data.train.graphs.batch_size=2"]
    try:
        train(options)
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

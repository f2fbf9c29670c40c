"""Train one small network in five ways on what a frozen stem saw, and ask every OOD score about each.

    python tasks/ood/compare.py --vectors FOLDER --record FILE.json

FOLDER is what features.py wrote. Mixes are of pixels, two for each training picture; all arms take as many steps.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor, nn

from visgen.errors import VisgenError
from visgen.heads import HEADS
from visgen.losses import mixed_cross_entropy, shrink_loss
from visgen.metrics import summarise, write_record
from visgen.ood import DEFAULT_SCORE, OOD_SCORES, choose_training, fit_scores, table_of
from visgen.structures.features import Features

# Scale of the frozen orthogonal classifier; None for a linear one. "orthogonal" is plain cross entropy on the former.
ARMS = {"cross_entropy": None, "mixup": None, "orthogonal": 10.0, "adaptive_mix": 1.0, "adaptive_mix_10": 10.0}
WIDTH, BATCH, EPOCHS, RATE, DECAY, KEEP = 256, 128, 20, 1e-3, 0.05, 0.95


def loss_of(arm: str, trunk: nn.Module, head: Any, given: dict[str, Tensor], rows: Tensor, mix: str) -> Tensor:
    x, y, lam, partner = given["train.x"], given["train.y"], given[f"{mix}.lam"][rows], given[f"{mix}.partner"][rows]
    see = lambda vectors: Features({}, trunk(vectors))  # noqa: E731
    if arm in ("cross_entropy", "orthogonal"):
        return F.cross_entropy(head(see(x[rows])), y[rows])
    if arm == "mixup":
        return mixed_cross_entropy(head(see(given[f"{mix}.x"][rows])), y[rows], y[partner], lam)
    seen = see(torch.cat([x[rows], x[partner], given[f"{mix}.x"][rows]]))
    first, second, hard = head.embed(seen).chunk(3)
    middle = second.lerp(first, lam[:, None])
    cross = mixed_cross_entropy(head.score(middle) + head.score(hard), y[rows], y[partner], lam)
    return cross + shrink_loss(hard, middle)


def train(arm: str, given: dict[str, Tensor], seed: int, epochs: int) -> tuple[nn.Module, Any]:
    torch.manual_seed(seed)
    width, classes = given["train.x"].shape[1], int(given["train.y"].max()) + 1
    trunk = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))
    name, scale = ("classification", {}) if ARMS[arm] is None else ("orthogonal", {"scale": ARMS[arm]})
    head = HEADS.build(name, channels={}, token_dim=WIDTH, outputs=classes, **scale)
    batches = [rows for _ in range(epochs) for rows in torch.randperm(len(given["train.y"])).split(BATCH)]
    optimiser = torch.optim.AdamW([*trunk.parameters(), *head.parameters()], RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, len(batches))
    for step, rows in enumerate(batches):
        optimiser.zero_grad()
        loss_of(arm, trunk, head, given, rows, f"mix{step % 2}").backward()
        optimiser.step()
        schedule.step()
    return trunk.eval(), head.eval()


@torch.no_grad()
def measure(trunk: nn.Module, head: Any, given: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, Any]]:
    vectors = {part: trunk(given[f"{part}.x"]) for part in ("train", "val", "near", "far")}
    logits = {part: head(Features({}, x)) for part, x in vectors.items()}
    labels, unit = given["val.y"], F.normalize(vectors["val"], dim=1)
    centres = F.normalize(torch.zeros(logits["val"].shape[1], WIDTH).index_add(0, labels, unit), dim=1)
    found: dict[str, Any] = {"top1": float((logits["val"].argmax(1) == labels).float().mean())}
    found["radius"] = float((unit - centres[labels]).norm(dim=1).mean())  # of a class on the sphere
    found["between"] = float(torch.pdist(centres[labels.unique()]).mean())  # of the centres of two classes
    names = [name for name in OOD_SCORES if name not in ("routing", "joint_energy")]  # no experts, one class each
    bank = {"knn": {"bank": min(2000, len(given["train.y"]))}}
    fitted = fit_scores(names, logits, vectors, given["train.y"], head.readout(), options=bank)
    values = {name: seen for name, (_, seen) in fitted.items()}
    return found | table_of(values, KEEP), values


def gather(rows: list[Any]) -> Any:
    return {k: gather([row[k] for row in rows]) for k in rows[0]} if isinstance(rows[0], dict) else summarise(rows)


def run(options: argparse.Namespace) -> None:
    metrics, lists = dict[str, Any](choice={}), {}
    for file in sorted(options.vectors.glob("*.safetensors")):
        with safe_open(file, "pt") as stored:
            given = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118 (not a dict)
            lists[file.stem] = json.loads(stored.metadata()["lists"])
        metrics[file.stem], values = {}, {}
        for arm in ARMS:
            runs = [measure(*train(arm, given, seed, options.epochs), given) for seed in options.seeds]
            metrics[file.stem][arm], values[arm] = gather([run[0] for run in runs]), [run[1] for run in runs]
        metrics["choice"][file.stem] = choose_training(values, ("cross_entropy", DEFAULT_SCORE))
    protocol = {"lists": lists, "steps": f"{options.epochs} epochs of batches of {BATCH}, the same for every arm",
                "trained": f"two layers of width {WIDTH} on the frozen stem's vector, AdamW {RATE}, decay {DECAY}",
                "threshold": f"keeps {KEEP} of every other inside picture; id_kept is of the others",
                "choice": "by the mean AUROC of both sides on every other picture; difference on others"}  # fmt: skip
    near = {"cifar10": "tiny_imagenet", "caltech100": "ood_clutter", "town": "unseen kinds"}
    data = {**{name: f"near {side}" for name, side in near.items() if name in lists}, "far": "ood_textures"}
    words = f"python tasks/ood/compare.py {shlex.join(sys.argv[1:])}"
    write_record(options.record, command=words, config=None, seeds=options.seeds, data=data, split="val",
                 protocol=protocol, metrics=metrics)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--vectors", type=Path, required=True, help="folder that features.py wrote")
    parser.add_argument("--record", required=True, metavar="FILE.json")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    try:
        run(parser.parse_args())
    except VisgenError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

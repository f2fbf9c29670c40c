"""How far depth gets without a model: the mean map of the training set, and a copy of the nearest training images.

    python tasks/depth/baselines.py depth:PATH [depth:PATH ...] --record model_zoo/results/depth_baselines.json

Question: what does a scene's average layout already say, and what does remembering similar views add? A depth model has
to beat both. `mean_map` predicts at each pixel the mean of the training depths measured there (the median of all where
none was). `copy_5` averages the depths measured at that pixel in the 5 training images nearest to the picture (the mean
map where none was), near by the distance between 32x24 thumbnails after subtracting each one's mean colour and dividing
by its spread, or, with --model, by the cosine between its depth tokens.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from visgen.data.source import Source, build_source
from visgen.errors import VisgenError
from visgen.metrics import DepthMetric, write_record
from visgen.structures import DepthMap

NEIGHBOURS = 5
Embed = Callable[[Tensor], Tensor]


def thumbnail(images: Tensor) -> Tensor:
    """Colour-normalised thumbnails (B, 3 * 24 * 32) of images (B, 3, H, W)."""
    small = F.interpolate(images, size=(24, 32), mode="bilinear", antialias=True)
    small = small - small.mean((2, 3), keepdim=True)
    return (small / small.std((1, 2, 3), keepdim=True).clamp_min(1e-6)).flatten(1)


def embedding(model: str | None) -> tuple[str, Embed]:
    """Name and function of the features by which images are near."""
    if model is None:
        return "thumbnail 32x24", thumbnail
    from visgen.zoo import load_model

    backbone = load_model(model, device="cpu").backbone
    return f"token of {model}", lambda images: F.normalize(backbone(images, "depth").token.float(), dim=1)


def read(source: Source, embed: Embed) -> tuple[Tensor, list[Tensor]]:
    """Features (N, D) and depth maps (H, W) of a source."""
    samples = [source[i] for i in range(len(source))]
    features = torch.cat([embed(s.image[None]) for s in samples])
    return features, [s.targets["depth"].metres for s in samples]


def resize(metres: Tensor, size: tuple[int, ...]) -> Tensor:
    """Maps (N, H, W) at another size by nearest neighbour, so that 0 stays missing."""
    return metres if metres.shape[1:] == size else F.interpolate(metres[:, None], size=size, mode="nearest")[:, 0]


def mean_of_valid(maps: Tensor, fallback: Tensor) -> Tensor:
    """Mean over N of the measured pixels of maps (N, H, W); `fallback` where there is none."""
    count = (maps > 0).sum(0)
    return torch.where(count > 0, maps.sum(0) / count.clamp_min(1), fallback)


@torch.no_grad()
def measure(spec: str, embed: Embed, max_depth: float | None) -> dict[str, dict[str, float]]:
    """Figures of both baselines on the val part of one set."""
    known, depths = read(build_source(spec, "train"), embed)
    asked, targets = read(build_source(spec, "val"), embed)
    maps = torch.stack([resize(d[None], depths[0].shape)[0] for d in depths])
    mean_map = mean_of_valid(maps, maps[maps > 0].median())
    metrics = {"mean_map": DepthMetric(max_depth=max_depth), f"copy_{NEIGHBOURS}": DepthMetric(max_depth=max_depth)}
    for feature, target in zip(asked, targets, strict=True):
        near = (known - feature).square().sum(1).topk(min(NEIGHBOURS, len(known)), largest=False).indices
        for metric, guess in zip(metrics.values(), (mean_map, mean_of_valid(maps[near], mean_map)), strict=True):
            metric.update([DepthMap(resize(guess[None], target.shape)[0])], [DepthMap(target)])
    return {name: metric.compute() for name, metric in metrics.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", help="depth:PATH or PATH of a set with train.txt and val.txt")
    parser.add_argument(
        "--data", dest="more", action="append", default=[], metavar="DATA", help="the same, as an option"
    )
    parser.add_argument("--model", help="shipped name or folder of a visgen model whose features say what is near")
    parser.add_argument("--max-depth", type=float, help="metres; farther measurements do not count")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--record", help="write the figures to this .json file")
    options = parser.parse_args()
    if not (sets := options.data + options.more):
        parser.error("no data set; give depth:PATH")
    try:
        features, embed = embedding(options.model)
        specs = [s if s.startswith("depth:") else f"depth:{s}" for s in sets]
        figures = {s.rstrip("/").split("/")[-1]: measure(s, embed, options.max_depth) for s in specs}
        protocol = DepthMetric(max_depth=options.max_depth).protocol()
        protocol = {k: protocol[k] for k in ("align", "min_depth", "max_depth", "aggregate")} | {"near by": features}
        if options.record:
            command = " ".join(["python", "tasks/depth/baselines.py", *sys.argv[1:]])
            parts = {"command": command, "config": None, "seeds": [], "data": ", ".join(figures), "split": "val"}
            write_record(options.record, **parts, protocol=protocol, metrics=figures)
    except VisgenError as error:
        parser.exit(2, f"{type(error).__name__}: {error}\n")
    if options.json:
        print(json.dumps({"task": "depth", "metrics": figures, "protocol": protocol}, indent=1))
        return
    print(f"{'set':<30}{'baseline':<10}{'AbsRel':>9}{'RMSE m':>9}{'delta1':>9}")
    for name, rows in figures.items():
        for baseline, row in rows.items():
            print(f"{name:<30}{baseline:<10}{row['AbsRel']:>9.3f}{row['RMSE']:>9.3f}{row['delta1']:>9.3f}")


if __name__ == "__main__":
    main()

"""What travels with an exported graph: how to make its input from a picture, and how to read its output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..structures.working_size import MIN_SIDE
from ..task import MultiTaskModel
from ..task.box_weighing import AROUND, INSIDE, LEAST, MARGIN
from ..task.detection import CANDIDATES, LEAST_SCORE, MOST, OVERLAP
from .dense import bank_size, routed_parts, selectable
from .graph import OUTPUTS, HeadGraph

__all__ = ["FORMAT", "SIDES", "describe", "output_names"]

FORMAT = 1
SIDES = (33, 4096)  # least and most of height and width that a graph of any size is recorded for

_OUTPUT = {
    "classification": ("(batch, classes)", "class scores before softmax"),
    "detection": (
        "(batch, points, 7 + classes)",
        "one row per point: x, y and stride of the point, distances left, top, right, bottom to the box edges, all in "
        "pixels of the input, then class scores before sigmoid",
    ),
    "segmentation": ("(batch, classes, rows, columns)", "class scores of cells before softmax"),
    "depth": ("(batch, 1, rows, columns)", "natural logarithm of depth in metres, per cell"),
    "ood": ("(batch,)", "out-of-distribution score, higher is less like the training images"),
}
_RESIZE = (
    "enlarge by the factor `stride` (input height / rows, rounded) with bilinear interpolation, half-pixel centres, "
    "no antialias; keep the top left height x width of the input; where the photograph is larger or smaller, resize to "
    "its size with bilinear interpolation, half-pixel centres, no antialias"
)
_DECODE: dict[str, list[str]] = {
    "classification": ["softmax over the classes"],
    "detection": [
        "box = (x - left, y - top, x + right, y + bottom); score = sigmoid of the class scores",
        "drop points with x >= width or y >= height of the input",
        f"take the {CANDIDATES} best (point, class) pairs, drop scores under {LEAST_SCORE}, clip boxes to the input",
        f"non-maximum suppression per class at IoU {OVERLAP}, keep the {MOST} best",
        "multiply x by photograph width / input width, y by photograph height / input height",
    ],
    "segmentation": [_RESIZE, "argmax over the classes"],
    "depth": [_RESIZE, "exp: metres"],
    "ood": ["compare with `threshold`: above it the picture counts as out-of-distribution"],
}

# Boxes that a map weighs, before they are brought to the photograph.
_WEIGH = [
    "for each box kept whose class the map of `weighed_by` has: softmax of the map over its classes; inside = mean of "
    "the class over the cells that the box covers (pixels / stride of the map, to the nearest cell, at least one); "
    f"around = mean over the cells that come in when the box grows by {MARGIN} of its sides on every side; where none "
    "do, around = inside",
    f"multiply the odds of the score by (inside + {LEAST})^{INSIDE} / (around + {LEAST})^{AROUND}; sort, best first",
]


def output_names(meta: Mapping[str, Any]) -> list[str]:
    """Names of a graph's outputs in their order, as its metadata has them."""
    return [meta["output"]["name"], *([meta["weighed_by"]["output"]] if "weighed_by" in meta else [])]


def describe(
    model: MultiTaskModel,
    head: str,
    graph: HeadGraph,
    size: tuple[int, int] | None,
    experts: str,
    least: int = MIN_SIDE,
) -> dict[str, Any]:
    """Give the metadata of one exported head, plain values that JSON can hold.

    Args:
        model: The model.
        head: Head name.
        graph: Its graph.
        size: (H, W) of a graph of one size, or None for any.
        experts: The form of the experts in the graph, "dense" or "sparse".
        least: Least height and width that a graph of any size takes.
    """
    from .. import __version__

    spec = model.specs[head]
    shape, meaning = _OUTPUT[spec.task]
    found: dict[str, Any] = {
        "format": FORMAT,
        "visgen": __version__,
        "task": spec.task,
        "head": head,
        "classes": list(spec.classes),
        "input": {
            "name": "images",
            "layout": "NCHW",
            "dtype": "float32",
            "color": "RGB",
            "range": [0.0, 1.0],
            "batch": "any",
            "height": [least, SIDES[1]] if size is None else size[0],
            "width": [least, SIDES[1]] if size is None else size[1],
        },
        "prepare": _prepare(model, size, least),
        "inside": {
            "pad": {"multiple": 32, "mode": "edge", "sides": "right and bottom"},
            "normalise": _statistics(graph),
        },
        "output": {"name": OUTPUTS[spec.task], "shape": shape, "meaning": meaning},
        "decode": _DECODE[spec.task],
        "experts": {
            "form": experts,
            "layers": {
                name: {
                    "bank": bank_size(part),
                    "per_token": part.router.k_of(graph.route),
                    "selectable": list(selectable(part, graph.route)),
                }
                for name, part in routed_parts(graph)
            },
        },
    }
    weigher = model.weigher(head)
    if weigher is not None:
        found["weighed_by"] = {
            "head": weigher,
            "output": "map",
            "classes": list(model.specs[weigher].classes),
            "shape": _OUTPUT["segmentation"][0],
            "meaning": _OUTPUT["segmentation"][1],
        }
        found["decode"] = [*_DECODE[spec.task][:-1], *_WEIGH, _DECODE[spec.task][-1]]
    if spec.task == "ood":
        module: Any = model.head(head)
        found["threshold"] = float(module.threshold) if bool(module.is_calibrated) else None
        found["keeps"], found["score"] = module.keep, module.score_name
    return found


def _prepare(model: MultiTaskModel, size: tuple[int, int] | None, least: int) -> list[dict[str, Any]]:
    """The steps from a picture file to the input, in order."""
    steps: list[dict[str, Any]] = [
        {"step": "decode", "color": "RGB", "upright": "turn by the EXIF orientation", "transparent": "lay on white"},
        {"step": "scale", "divide_by": 255, "dtype": "float32"},
    ]
    filter_ = {"filter": "bilinear", "antialias": True, "centres": "half-pixel", "clip": [0.0, 1.0]}
    if size is None:
        steps.append(
            {
                "step": "resize",
                "longer_side_at_most": model.max_side,
                "longer_side_at_least": model.min_side or None,
                "side_at_least": least,
                "rounding": "each side times the factor, half to even; no step where the size stays",
                **filter_,
            }
        )
    else:
        steps.append({"step": "resize", "height": size[0], "width": size[1], **filter_})
    return [*steps, {"step": "layout", "from": "HWC", "to": "NCHW"}]


def _statistics(graph: nn.Module) -> dict[str, Any] | None:
    """Mean and standard deviation that the graph itself subtracts and divides by; None where it has none."""
    for module in graph.modules():
        mean, std = getattr(module, "mean", None), getattr(module, "std", None)
        if isinstance(mean, torch.Tensor) and isinstance(std, torch.Tensor) and mean.numel() == std.numel() == 3:
            return {"mean": _plain(mean), "std": _plain(std)}
    return None


def _plain(values: torch.Tensor) -> list[float]:
    return [round(float(v), 7) for v in values.flatten()]

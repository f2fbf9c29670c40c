"""What an exported file computes: images to the raw outputs of one head, with nothing but tensors on the way."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError
from ..nn.routing import Router
from ..task import MultiTaskModel
from .dense import make_dense

__all__ = ["OUTPUTS", "HeadGraph", "build_graph", "check_exportable", "each_output"]

# Task -> the name of the graph's output.
OUTPUTS = {
    "classification": "logits",
    "detection": "rows",
    "segmentation": "logits",
    "depth": "log_depth",
    "ood": "score",
}


class HeadGraph(nn.Module):
    """Images (B, 3, H, W) in [0, 1] to what one head gives, through the experts of its task.

    Where another head weighs its answers, the graph gives what both say: a pair, the head's own first.

    Args:
        model: A model in evaluation mode; its parts are used as they are.
        head: Head name.
    """

    def __init__(self, model: MultiTaskModel, head: str) -> None:
        super().__init__()
        self.backbone, self.route = model.backbone, model.route(head)
        self.head = model.head(head)
        below = model.below(head)
        self.below = None if below is None else model.head(below)
        weigher = model.weigher(head)
        self.weigher = None if weigher is None else model.head(weigher)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        features = self.backbone(images, self.route)
        queries = None if self.below is None else self.below(features)
        own: Tensor = self.head(features, queries)
        return own if self.weigher is None else (own, self.weigher(features))


class _SamePadding(nn.Module):
    """A strided convolution with "same" padding whose input is always a multiple of its stride, so that the padding is
    a constant; the original works it out from sizes, which would tie a graph to one of them."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        kernel, stride, dilation = conv.kernel_size, conv.stride, conv.dilation
        lacking = [max(d * (k - 1) + 1 - s, 0) for k, s, d in zip(kernel, stride, dilation, strict=True)]
        height, width = ((n // 2, n - n // 2) for n in lacking)
        self.pad = (*width, *height)

    def forward(self, x: Tensor) -> Tensor:
        conv = self.conv
        return F.conv2d(F.pad(x, self.pad), conv.weight, conv.bias, conv.stride, 0, conv.dilation, conv.groups)


def check_exportable(model: MultiTaskModel, head: str) -> None:
    """Raise ConfigError for a head that has no graph of its own."""
    task, below = model.specs[head].task, model.below(head)
    if task == "scene_graph":
        raise ConfigError(
            f"head '{head}' is of task '{task}', which cannot be exported: between its detector and its relations lie "
            "suppression and a choice of boxes whose number differs from picture to picture; export the detection "
            f"head '{below}', or run it with visgen.pipeline."
        )
    if task not in OUTPUTS:
        raise ConfigError(
            f"head '{head}' is of task '{task}', which has no exported form; run it with visgen.pipeline."
        )
    if task == "ood" and (model.specs[str(below)].task != "classification" or model.head(head).reads != "token"):
        raise ConfigError(
            f"head '{head}' stands on '{below}' and reads '{model.head(head).reads}'; an exported OOD head stands on a "
            "classification head and reads the image vector. Run it with visgen.pipeline."
        )
    weigher = model.weigher(head)
    if weigher is not None and model.route(weigher) != model.route(head):
        raise ConfigError(
            f"head '{head}' is weighed by '{weigher}', whose features pass the router '{model.route(weigher)}' and not "
            f"'{model.route(head)}', so that one graph would need two passes; take `weighed_by` out of its spec."
        )
    if task == "ood" and not bool(model.head(head).score.fitted):  # type: ignore[union-attr, arg-type]
        raise ConfigError(f"head '{head}' was never fitted, so it has no score; run visgen fit first.")


def build_graph(model: MultiTaskModel, head: str, is_dense: bool = True) -> HeadGraph:
    """Give the graph of one head from copies of the parts that it needs; the model is left as it is.

    Args:
        model: Any MultiTaskModel.
        head: Head name.
        is_dense: Put the dense form of the experts in (`visgen.export.dense`).
    """
    graph = copy.deepcopy(HeadGraph(model, head)).float().eval().requires_grad_(False)
    _drop_other_tasks(graph.backbone, graph.route)
    if is_dense:
        make_dense(graph)
        for parent in list(graph.modules()):
            for name, part in list(parent.named_children()):
                if type(part).__name__ == "Conv2dSame" and not isinstance(parent, _SamePadding):
                    setattr(parent, name, _SamePadding(part))  # type: ignore[arg-type]
    return graph


def _drop_other_tasks(backbone: Any, route: str) -> None:
    """Take routers and embeddings of other tasks out of a copy."""
    for part in backbone.modules():
        if isinstance(part, Router):
            for name in [name for name in part.tasks if name != route]:
                del part.tasks[name]
    embedding = getattr(backbone, "task_embedding", None)
    if embedding is not None:
        for name in [name for name in embedding if name != route]:
            del embedding[name]


def each_output(found: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """The outputs of a graph in their order, however many it has."""
    return [found] if isinstance(found, Tensor) else list(found)

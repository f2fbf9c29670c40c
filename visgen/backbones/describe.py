"""Parameters and FLOPs of a model, counted by fvcore."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .vit_moe import ViTMoE

__all__ = ["active_parameters", "count_flops", "describe"]


def active_parameters(model: ViTMoE, task: str) -> int:
    """Parameters that one token of `task` meets, or could: all but the experts not picked and other tasks' own.

    A router counts in full, a bank counts k of its E experts.
    """
    total = 0
    banks = {name: bank.router.k_of(task) / bank.router.num_experts for name, bank in model.banks.items()}
    for name, parameter in model.named_parameters():
        parts = name.split(".")
        if parts[0] == "task_embedding":
            total += parameter.numel() if parts[1] == task else 0
        elif "router" in parts:
            total += parameter.numel() if parts[parts.index("tasks") + 1] == task else 0
        elif parts[-1] in ("w1", "b1", "w2", "b2", "q", "o"):
            total += round(parameter.numel() * banks[".".join(parts[:3])])
        else:
            total += parameter.numel()
    return total


class _Tensors(nn.Module):
    """A backbone that gives tensors, as tracing wants."""

    def __init__(self, model: nn.Module, task: str | None) -> None:
        super().__init__()
        self.model, self.task = model, task

    def forward(self, images: Tensor) -> list[Tensor]:
        found = self.model(images, self.task)
        return [*found.pyramid.values(), found.token]


def _shape(value: Any) -> list[int]:
    return list(value.type().sizes())


def _attention_flops(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """q k^T and the weighted sum of values, one multiply-add each."""
    *batch, queries, dim = _shape(inputs[0])
    keys, value_dim = _shape(inputs[1])[-2], _shape(inputs[2])[-1]
    heads = 1
    for size in batch:
        heads *= size
    return Counter({"attention": heads * queries * keys * (dim + value_dim)})


def _product_flops(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """A matrix product of two matrices, also one that writes into a given tensor, which fvcore's own handle refuses."""
    rows, inner = _shape(inputs[0])
    return Counter({"matmul": rows * inner * _shape(inputs[1])[1]})


def _bias_product_flops(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """The same with a bias before the two matrices."""
    return _product_flops(inputs[1:], outputs)


def _grouped_flops(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """visgen::grouped_linear: each row meets one expert's matrix."""
    rows, width = _shape(inputs[0])
    return Counter({"experts": rows * width * _shape(inputs[1])[1]})


def _expert_flops(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """visgen::expert_mlp: each of S * k assignments meets both matrices of one expert."""
    width, (slots, k), hidden = _shape(inputs[0])[1], _shape(inputs[1]), _shape(inputs[2])[1]
    return Counter({"experts": 2 * slots * k * width * hidden})


@torch.no_grad()
def count_flops(
    model: nn.Module, size: tuple[int, int], task: str | None = None, *, images: Tensor | None = None
) -> dict[str, int]:
    """Multiply-adds of one image of `size` (H, W), by operator as fvcore names them; norms and adds left out.

    As usual in vision papers, a multiply-add counts as one. Where the cost depends on the picture, as it does when
    tokens visit as many experts as their probabilities ask for, pass `images` (B, 3, H, W); `size` is then not read.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)  # fvcore's, on import
        from fvcore.nn import FlopCountAnalysis

    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    given = torch.zeros(1, 3, *size, device=device) if images is None else images.to(device)
    analysis = FlopCountAnalysis(_Tensors(model, task), given)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    analysis.set_op_handle("aten::scaled_dot_product_attention", _attention_flops)
    analysis.set_op_handle("aten::mm", _product_flops).set_op_handle("aten::addmm", _bias_product_flops)
    analysis.set_op_handle("visgen::grouped_linear", _grouped_flops)
    analysis.set_op_handle("visgen::expert_mlp", _expert_flops)
    counted = analysis.by_operator()
    model.train(was_training)
    return {name: int(value) for name, value in counted.items() if not name.endswith("_norm")}


def describe(
    model: nn.Module, size: tuple[int, int] = (224, 224), tasks: Sequence[str] | None = None
) -> dict[str, Any]:
    """Give the size and cost of a backbone.

    Args:
        model: Any backbone.
        size: Image (H, W) in pixels.
        tasks: Routed tasks to describe; all of them when None.
    Returns:
        `parameters` in all; `active` {task: parameters one token meets}; `flops` {task: multiply-adds of one image};
        `size`. A backbone without routed tasks has the one entry "all".
    """
    total = sum(p.numel() for p in model.parameters())
    found: dict[str, Any] = {"parameters": total, "active": {}, "flops": {}, "size": tuple(size)}
    if not isinstance(model, ViTMoE):
        return found | {"active": {"all": total}, "flops": {"all": sum(count_flops(model, size).values())}}
    for task in tasks or model.tasks:
        found["active"][task] = active_parameters(model, task)
        found["flops"][task] = sum(count_flops(model, size, task).values())
    return found

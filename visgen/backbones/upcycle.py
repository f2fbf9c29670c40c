"""Sparse upcycling: a dense vision transformer of timm becomes a mixture of experts that computes the same at first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from timm.layers import resample_patch_embed
from torch import Tensor, nn

from ..errors import CheckpointError, ConfigError, nearest
from ..nn.moe import MoEMlp
from ..nn.routing import Router
from .vit_moe import STRIDE, ViTMoE
from .vit_moe_config import ViTMoEConfig

__all__ = ["upcycle"]

MODES = ("copy", "slice")
LAYOUTS = ("odd_mlp", "all_mlp")
LEFT_BEHIND = ("head.", "head_dist.", "attn_pool.", "pre_logits.", "fc_norm.", "norm.")
# With probabilities as gates, equal experts need nearly equal gates: this spreads them by about 1e-4 of their size,
# enough to break ties between experts. V-MoE and Mod-Squad start from 0.02.
FLAT_STD = 1e-5


def upcycle(
    vit: nn.Module | Mapping[str, Tensor],
    tasks: Sequence[str],
    num_experts: int = 16,
    top_k: int = 4,
    mode: str = "copy",
    *,
    layout: str = "odd_mlp",
    heads: int | None = None,
    grid: tuple[int, int] | None = None,
    resample_patch: bool = False,
    generator: torch.Generator | None = None,
    **changes: Any,
) -> ViTMoE:
    """Turn a plain ViT of timm into a ViTMoE whose features equal those of the ViT at the start.

    Everything is copied; each routed MLP is filled from the dense MLP in its place. "copy" gives every expert the whole
    MLP: gates that sum to 1 then change nothing, and a token pays for k of them. "slice" cuts the hidden units into k
    slices and gives expert e slice e mod k, at the cost of the dense MLP; experts of a group share their router row, so
    that at first a token visits the k slices of one group with gates 1 / k, which the output weights make good.
    With gate_norm="none" the output weights are scaled likewise and routers start nearly flat; equality then holds to
    about 1e-3 relative. Maps at strides 4 and 8 come from new layers, and task embeddings start at zero.

    Args:
        vit: A timm `VisionTransformer`, or its state dict.
        tasks: Routed tasks.
        num_experts, top_k: Bank and active experts; for "slice" a multiple of top_k.
        mode: "copy" or "slice".
        layout: "odd_mlp" (every second block) or "all_mlp". Dense attention with a key and value per head cannot become
            routed attention, which shares them. With prefix_depth at the depth of the ViT nothing is routed.
        heads: Attention heads, needed with a state dict.
        grid: Token grid (h, w) of the position table, needed with a state dict if it is not square.
        resample_patch: Resample a patch embedding of another size than 16 px, which changes the network.
        generator: For the routers; the global one when None.
        changes: Further fields of `ViTMoEConfig`, such as prefix_depth, drop_path or gate_norm.
    Raises:
        ConfigError: An unknown mode, or numbers that do not fit together.
        CheckpointError: A network with parts that a ViTMoE lacks; the message names them.
    Source: Komatsuzaki et al. 2022, arXiv:2212.05055 (copies); He et al. 2024, arXiv:2410.07524, section 4 (slices and
        grouped router rows).
    """
    if mode not in MODES:
        raise ConfigError(f"mode '{mode}' is unknown{nearest(mode, MODES, ';')} use copy or slice.")
    if layout not in LAYOUTS:
        raise ConfigError(f"layout is '{layout}': only MLPs can be upcycled; use odd_mlp or all_mlp.")
    module: Any = vit if isinstance(vit, nn.Module) else None
    state: dict[str, Tensor] = dict(vit.state_dict() if isinstance(vit, nn.Module) else vit)
    if module is not None:
        _check_module(module)
        heads, grid = module.blocks[0].attn.num_heads, tuple(module.patch_embed.grid_size)
    if heads is None:
        raise ConfigError("heads is missing: a state dict does not tell the number of attention heads; pass heads=.")
    missing = [k for k in ("patch_embed.proj.weight", "pos_embed", "blocks.0.mlp.fc1.weight") if k not in state]
    if not {"norm.weight", "fc_norm.weight"} & set(state):
        missing.append("norm.weight")
    if missing:
        raise CheckpointError(f"the state lacks {missing}; upcycle reads timm VisionTransformer checkpoints.")
    fields = _fields(state, module, grid)
    dense_hidden = state["blocks.0.mlp.fc1.weight"].shape[0]
    if mode == "slice" and (num_experts % top_k or dense_hidden % top_k):
        raise ConfigError(
            f"num_experts is {num_experts} and the dense MLP has {dense_hidden} hidden units; slices need both to be "
            f"multiples of top_k = {top_k}."
        )
    fields |= {
        "tasks": tuple(tasks),
        "heads": heads,
        "num_experts": num_experts,
        "top_k": top_k,
        "expert_hidden": dense_hidden if mode == "copy" else dense_hidden // top_k,
        "mlp_ratio": dense_hidden / fields["width"],
        "layout": layout,
    }
    model = ViTMoE(ViTMoEConfig(**{**fields, **changes}))
    _fill(model, state, mode, resample_patch, generator)
    return model


def _check_module(vit: Any) -> None:
    """Refuse what a state dict cannot show."""
    kind = type(vit).__name__
    blocks = getattr(vit, "blocks", None)
    if kind != "VisionTransformer" or blocks is None or type(blocks[0]).__name__ != "Block":
        inner = type(blocks[0]).__name__ if blocks is not None and len(blocks) else "none"
        raise CheckpointError(
            f"the network is a {kind} with blocks of type {inner}; upcycle takes a timm VisionTransformer with plain "
            "blocks."
        )
    act = getattr(blocks[0].mlp, "act", None)
    if not isinstance(act, nn.GELU) or act.approximate != "none":
        raise CheckpointError(f"the MLP uses {act}; experts use the exact GELU, so choose a checkpoint with it.")
    is_twice = vit.global_pool == "token" and isinstance(vit.fc_norm, nn.LayerNorm)
    if vit.global_pool in ("max", "avgmax") or getattr(vit, "pool_include_prefix", False) or is_twice:
        raise CheckpointError(f"the network pools by '{vit.global_pool}' as no ViTMoE does; build it with 'avg' alone.")


def _fields(state: Mapping[str, Tensor], module: Any, grid: tuple[int, int] | None) -> dict[str, Any]:
    """Fields of the config that the checkpoint decides."""
    width = state["patch_embed.proj.weight"].shape[0]
    extra = sum(state[k].shape[1] for k in ("cls_token", "reg_token") if k in state)
    positions = state["pos_embed"].shape[1]
    if grid is None:
        sides = {n: math.isqrt(n) for n in (positions, positions - extra)}
        square = [s for n, s in sides.items() if s * s == n]
        if not square:
            raise ConfigError(f"pos_embed has {positions} rows, which is no square grid; pass grid=(h, w).")
        grid = (square[0], square[0])
    pool = getattr(module, "global_pool", None)
    token = "mean_norm" if "fc_norm.weight" in state else "class" if "cls_token" in state else "mean"
    if pool == "avg" and token == "class":
        token = "mean"
    norm = getattr(module, "norm", None)
    norm = norm if isinstance(norm, nn.LayerNorm) else getattr(module, "fc_norm", None)
    statistics = getattr(module, "pretrained_cfg", None) or {}
    found = {
        "width": width,
        "depth": 1 + max(int(k.split(".")[1]) for k in state if k.startswith("blocks.")),
        "grid": grid,
        "position": "learned",
        "class_token": "cls_token" in state,
        "registers": state["reg_token"].shape[1] if "reg_token" in state else 0,
        "token": token,
        "qkv_bias": "blocks.0.attn.qkv.bias" in state,
        "layer_scale": 1.0 if "blocks.0.ls1.gamma" in state else None,
        "pre_norm": "norm_pre.weight" in state,
        "mean": statistics.get("mean", (0.5, 0.5, 0.5)),
        "std": statistics.get("std", (0.5, 0.5, 0.5)),
    }
    return found | ({"norm_eps": norm.eps} if isinstance(norm, nn.LayerNorm) else {})


@torch.no_grad()
def _fill(
    model: ViTMoE, state: Mapping[str, Tensor], mode: str, resample_patch: bool, generator: torch.Generator | None
) -> None:
    """Copy the checkpoint into the model, and let nothing of it go unread."""
    config = model.config
    left = {k: v.float() for k, v in state.items() if not k.startswith(LEFT_BEHIND)}
    own: dict[str, Tensor] = {}
    patch = left.pop("patch_embed.proj.weight")
    if tuple(patch.shape[-2:]) != (STRIDE, STRIDE):
        if not resample_patch:
            raise ConfigError(
                f"the patch size is {patch.shape[-1]} but visgen maps have stride {STRIDE}; use a checkpoint of patch "
                f"{STRIDE}, or resample_patch=True to approximate it."
            )
        patch = resample_patch_embed(patch, [STRIDE, STRIDE])
    own["patch_embed.weight"] = patch
    own["patch_embed.bias"] = left.pop("patch_embed.proj.bias", torch.zeros(config.width))
    table = left.pop("pos_embed")
    cells = config.grid[0] * config.grid[1]
    own["position.table"] = table[:, table.shape[1] - cells :]
    extra = [left.pop(k) for k in ("cls_token", "reg_token") if k in left]
    if extra:
        tokens = torch.cat(extra, dim=1)
        own["extra_tokens"] = tokens + table[:, : table.shape[1] - cells] if table.shape[1] > cells else tokens
    norm = "fc_norm" if "fc_norm.weight" in state else "norm"
    own |= {f"norm.{part}": state[f"{norm}.{part}"].float() for part in ("weight", "bias")}
    for index, block in enumerate(model.blocks):
        if isinstance(block.mlp, MoEMlp):
            dense = [left.pop(f"blocks.{index}.mlp.{k}") for k in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")]
            _fill_experts(block.mlp, dense, mode)
            _fill_router(block.mlp.router, mode, generator)
    own |= left
    for embedding in (model.task_embedding or {}).values():
        embedding.zero_()
    kept = {k for k in model.state_dict() if k.startswith(("pyramid.", "task_embedding.")) or _is_expert(k)}
    wanted = set(model.state_dict()) - kept
    if set(own) != wanted:
        unknown, absent = sorted(set(own) - wanted)[:4], sorted(wanted - set(own))[:4]
        raise CheckpointError(
            f"the checkpoint does not map onto a ViTMoE: parts without a place {unknown}, places without a part "
            f"{absent}; use a plain timm VisionTransformer."
        )
    model.load_state_dict(own, strict=False)


def _is_expert(name: str) -> bool:
    return ".router." in name or name.endswith((".w1", ".b1", ".w2", ".b2"))


def _fill_experts(layer: MoEMlp, dense: Sequence[Tensor], mode: str) -> None:
    w1, b1, w2, b2 = dense
    router = layer.router
    k, num_experts = router.top_k, router.num_experts
    # what the k gates of a token sum to is made good for, so that they weigh the experts by 1 / k, or each slice by 1
    share = 1.0 if router.gate_norm == "topk" else num_experts / k
    if mode == "copy":
        layer.w1.copy_(w1.expand_as(layer.w1))
        layer.b1.copy_(b1.expand_as(layer.b1))
        layer.w2.copy_((share * w2).expand_as(layer.w2))
    else:
        slices = torch.arange(num_experts) % k
        layer.w1.copy_(w1.view(k, -1, w1.shape[1])[slices])
        layer.b1.copy_(b1.view(k, -1)[slices])
        layer.w2.copy_(share * k * w2.view(w2.shape[0], k, -1).transpose(0, 1)[slices])
    layer.b2.copy_((share * b2).expand_as(layer.b2))


def _fill_router(router: Router, mode: str, generator: torch.Generator | None) -> None:
    std = 0.02 if router.gate_norm == "topk" else FLAT_STD
    for task in router.tasks.values():
        weight: Any = task.weight  # (E or 2 E, D)
        fresh = torch.randn(router.num_experts, weight.shape[1], generator=generator) * std
        if mode == "slice":  # one row per group of k slices
            fresh = fresh[:: router.top_k].repeat_interleave(router.top_k, dim=0)
        weight[: router.num_experts].copy_(fresh)
        weight[router.num_experts :].zero_()

"""The dense form of experts gives what the sparse form gives, whatever the routes say, and needs no ragged rows."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from visgen.backbones.vit_moe import ViTMoE, ViTMoEConfig
from visgen.export.dense import DenseMoEAttention, DenseMoEMlp, make_dense, routed_parts, selectable
from visgen.nn.routing import Route

SMALL = {"width": 32, "depth": 4, "heads": 2, "num_experts": 6, "top_k": 3, "attention_experts": 5}
VARIANTS: dict[str, dict[str, Any]] = {
    "topk gates": {},
    "reference gates": {"gate_norm": "none"},
    "all_mlp": {"layout": "all_mlp"},
    "two-layer router": {"router_hidden": 8, "noise": "learned"},
    "all experts active": {"top_k": 6, "num_experts": 6},
}


def backbone(**options: Any) -> ViTMoE:
    torch.manual_seed(0)
    return ViTMoE(ViTMoEConfig(tasks=("depth", "segmentation"), **{**SMALL, **options})).eval()


def same(model: ViTMoE, task: str = "depth") -> None:
    """Compare a model with its dense form, features of one task."""
    images = torch.rand(2, 3, 64, 80, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        sparse = model(images, task)
        make_dense(model)
        dense = model(images, task)
    assert any(isinstance(part, DenseMoEMlp | DenseMoEAttention) for _, part in routed_parts(model))
    torch.testing.assert_close(dense.token, sparse.token, rtol=1e-4, atol=1e-5)
    for stride, value in sparse.pyramid.items():
        torch.testing.assert_close(dense.pyramid[stride], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_dense_equals_sparse(variant: str) -> None:
    same(backbone(**VARIANTS[variant]))


@pytest.mark.parametrize(
    "route",
    [
        Route(top_k=2),
        Route(deny=(0, 2)),
        Route(tau=0.5),
        Route(index=(0, 1, 2, 2, 3), top_k=2),
        Route(index=(-1, 1, 2, 3, 4)),
        Route(width=3),
    ],
    ids=["fewer", "denied", "threshold", "twins", "gone", "narrow"],
)
def test_dense_follows_the_route_of_a_task(route: Route) -> None:
    model = backbone(attention_experts=5, num_experts=5)
    for bank in model.banks.values():
        if route.width or route.index:  # a route may only say what the task's router scores
            scores = route.scores(5)
            for router in bank.router.tasks.values():
                router.weight = torch.nn.Parameter(router.weight.detach()[:scores])
            bank.router.set_route("segmentation", Route(width=scores) if scores < 5 else None)
        bank.router.set_route("depth", route)
    same(model)


def test_split_banks_come_out_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    model = backbone()
    for bank in model.banks.values():
        bank.split([1, 4])
        assert bank.num_parts > 1
    same(model)


def test_selectable_experts_follow_the_route() -> None:
    model = backbone(attention_experts=5, num_experts=5)
    for bank in model.banks.values():
        bank.router.set_route("depth", Route(deny=(0, 2)))
    parts = dict(routed_parts(model))
    assert all(selectable(part, "depth") == (1, 3, 4) for part in parts.values())
    assert all(selectable(part, "segmentation") == (0, 1, 2, 3, 4) for part in parts.values())

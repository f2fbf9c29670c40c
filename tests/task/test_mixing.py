"""Training on mixed pictures through the ordinary objective: mixup and AdaptiveMix on any backbone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from visgen.data import Batch
from visgen.errors import ConfigError
from visgen.structures import ClassLabel, DepthMap
from visgen.task import TASKS, MultiTaskModel, MultiTaskObjective, build_model
from visgen.task import classification as module

NAMES = ("cat", "dog", "owl")
BACKBONES: dict[str, dict[str, Any]] = {
    "timm": {"name": "timm", "model": "mobilenetv3_small_050"},
    "vit_moe": {
        "name": "vit_moe",
        "width": 16,
        "depth": 2,
        "heads": 2,
        "num_experts": 4,
        "top_k": 2,
        "attention_experts": 4,
    },
}


def build(backbone: str = "vit_moe", head: str = "orthogonal", **more: Any) -> MultiTaskModel:
    torch.manual_seed(0)
    heads = {"classification": {"task": "classification", "classes": NAMES, "head": head}, **more}
    return build_model({"backbone": BACKBONES[backbone], "heads": heads})


def batch(heads: dict[str, str] | None = None) -> Batch:
    images = torch.rand(4, 3, 32, 48, generator=torch.Generator().manual_seed(3))
    labels: list[Any] = [ClassLabel(i % 3, NAMES) for i in range(4)]
    depth = [DepthMap(torch.ones(32, 48)) for _ in range(4)]
    return Batch(images, {"classification": labels, "depth": depth}, heads or {"classification": "classification"}, [])


def step(model: MultiTaskModel, given: Batch | None = None, **options: Any) -> dict[str, torch.Tensor]:
    objective = MultiTaskObjective(model, loss_options={"classification": options})
    torch.manual_seed(5)
    return objective.loss(given or batch())


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("mix", ["mixup", "adaptive_mix"])
def test_every_backbone_trains_on_mixes(backbone: str, mix: str) -> None:
    model = build(backbone).train()
    frozen = model.head("classification").weight.clone()
    logs = step(model, mix=mix)
    logs["loss"].backward()
    # the image vector does not pass through the maps of a pyramid
    named = [(n, p) for n, p in model.backbone.named_parameters() if p.requires_grad and not n.startswith("pyramid")]
    assert not [n for n, p in named if p.grad is None or not p.grad.isfinite().all()]
    head = model.head("classification")
    assert torch.equal(head.weight, frozen) and not list(head.parameters())
    assert ("classification/shrink" in logs) == (mix == "adaptive_mix")


def test_a_share_of_one_is_plain_training_with_doubled_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "draw_mix", lambda rows, alpha: (1.0, torch.arange(rows).flip(0)))
    model, given = build().eval(), batch()
    logs = step(model, mix="adaptive_mix", sigma=0.0)
    logits, _ = model(given.images, "classification")
    labels = torch.tensor([t.label for t in given.targets["classification"]])
    torch.testing.assert_close(logs["classification/cross_entropy"], F.cross_entropy(2 * logits, labels))
    assert float(logs["classification/shrink"]) == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(step(model, mix="mixup")["classification"], F.cross_entropy(logits, labels))


def test_the_loss_is_the_formula() -> None:
    model, given = build().eval(), batch()
    logs = step(model, mix="adaptive_mix", alpha=0.7, sigma=0.05, shrink=2.0)
    torch.manual_seed(5)
    lam = float(torch.distributions.Beta(0.7, 0.7).sample())
    partner = torch.randperm(4)
    w = model.head("classification").weight
    see = lambda x: F.normalize(model.backbone(x, "classification").token, dim=1)  # noqa: E731
    f_a, f_m = see(given.images), see(lam * given.images + (1 - lam) * given.images[partner])
    f_mix = lam * f_a + (1 - lam) * f_a[partner]
    shrink = ((f_m - f_mix - 0.05 * torch.randn_like(f_mix)) ** 2).mean()
    scores = (f_mix @ w.T).abs() + (f_m @ w.T).abs()
    y = torch.tensor([0, 1, 2, 0])
    cross = lam * F.cross_entropy(scores, y) + (1 - lam) * F.cross_entropy(scores, y[partner])
    torch.testing.assert_close(logs["classification"], cross + 2 * shrink)


def test_the_head_is_frozen_orthonormal_and_even() -> None:
    head = build().head("classification")
    torch.testing.assert_close(head.weight @ head.weight.T, torch.eye(3), rtol=0, atol=1e-5)
    point = torch.randn(5, head.weight.shape[1])
    torch.testing.assert_close(head.score(point), head.score(-point))
    assert float(head.score(F.normalize(point, dim=1)).max()) <= 1 + 1e-6
    assert build(classification={"task": "classification", "classes": tuple(map(str, range(40))), "head": "orthogonal"})


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="the head is a ClassificationHead, which embeds nothing; set head: orthog"):
        step(build(head="classification"), mix="adaptive_mix")
    with pytest.raises(ConfigError, match="classification loss: mix is 'mix_up'; did you mean 'mixup'"):
        step(build(), mix="mix_up")
    with pytest.raises(ConfigError, match="with label_smoothing 0.1"):
        step(build(), mix="adaptive_mix", label_smoothing=0.1)
    with pytest.raises(ConfigError, match="alpha 0, sigma 0.05"):
        step(build(), mix="mixup", alpha=0)
    both = batch({"classification": "classification", "depth": "depth"})
    with pytest.raises(ConfigError, match="which also feeds depth; let a part with this head alone feed it"):
        step(build(depth={"task": "depth"}), both, mix="mixup")
    with pytest.raises(ConfigError, match="dim 2 and 3 classes"):
        build(classification={"task": "classification", "classes": NAMES, "head": "orthogonal", "options": {"dim": 2}})
    with pytest.raises(NotImplementedError, match="DepthTask mixes no pictures"):
        TASKS.get("depth").mixed_loss(None, None, torch.zeros(1), [], {})

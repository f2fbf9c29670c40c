"""Exactly what is announced trains: the laws of `set_trainable`."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from visgen.errors import ConfigError
from visgen.experts import Selection, check_movement, set_trainable, tensor_hashes
from visgen.experts.start import add_experts
from visgen.experts.trainable import trained_parameters
from visgen.task import MultiTaskModel, build_model

HEAD = "classification.pets"
USAGE = {"blocks.2.attn": [0.1, 0.5, 0.2, 0.7, 0.4, 0.1], "blocks.3.mlp": [0.9, 0.0, 0.3, 0.2, 0.6, 0.0]}
ATTENTION, MLP = 2 * 16 * 32, 32 * 64 + 64 + 64 * 32 + 32  # values of one expert: d = 16, hidden = 4 * 32 / 2
ROUTER = 2 * 6 * 32 + 32  # two routers of six experts, and the task embedding
SELECTIONS = ["head", "router", "top:2", "bottom:2", "1,4", "lora:2", "full"]


def step(model: MultiTaskModel, weight_decay: float = 0.1, steps: int = 3) -> torch.optim.AdamW:
    """A few steps of AdamW over all parameters that the model owns, in training mode."""
    torch.manual_seed(1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=weight_decay)
    for _ in range(steps):
        optimiser.zero_grad(set_to_none=True)
        logits, _ = model(torch.rand(4, 3, 32, 32), HEAD)
        torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 0])).backward()
        optimiser.step()
    return optimiser


@pytest.mark.parametrize("selection", SELECTIONS)
def test_exactly_the_announced_tensors_move(model: MultiTaskModel, selection: str) -> None:
    trainable = set_trainable(model, HEAD, selection, USAGE)
    before = tensor_hashes(model)
    optimiser = step(model)
    report = check_movement(before, tensor_hashes(model), trainable.all_names)
    names = dict(model.named_parameters())
    assert {n for n, p in names.items() if p.requires_grad} == set(trainable.all_names)
    assert {n for n, p in names.items() if p.grad is not None} <= set(trainable.all_names)
    assert {id(p) for p in optimiser.state} <= {id(names[n]) for n in trainable.all_names}
    # this head does not read the pyramid of maps, and decay leaves zero biases of experts that nobody visits alone
    assert all(".pyramid." in name or name.endswith((".b1", ".b2")) for name in report.unmoved)
    assert report.unmoved == () or selection == "full"
    assert sum(trainable.parameters.values()) == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trainable.total == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("selection", ["top:2", "1,4"])
def test_a_gradient_mask_in_place_of_a_split_fails_the_same_check(model: MultiTaskModel, selection: str) -> None:
    """The negative control: weight decay moves what a mask on the gradient was to hold."""
    bank = model.backbone.banks["blocks.3.mlp"]
    model.requires_grad_(False)
    chosen = torch.tensor([0, 4] if selection == "top:2" else [1, 4])
    mask = torch.zeros(6, 1, 1).index_fill(0, chosen, 1.0)

    def masked(gradient: Tensor) -> Tensor:
        return gradient * mask

    bank.w1.requires_grad_(True).register_hook(masked)
    before = bank.w1.detach().clone()
    step(model)
    others = [e for e in range(6) if e not in chosen.tolist()]
    assert not torch.equal(bank.w1[others], before[others])


def test_outputs_are_the_same_before_and_after(model: MultiTaskModel) -> None:
    model.eval()
    images = torch.rand(2, 3, 48, 64)
    wanted = {head: model(images, head)[0] for head in model.specs}
    for selection in ("top:2", "bottom:1", "0,3", "lora:3"):
        set_trainable(model, HEAD, selection, USAGE)
        assert all(torch.equal(model(images, head)[0], logits) for head, logits in wanted.items()), selection


def test_everything_is_what_the_head_reads(model: MultiTaskModel) -> None:
    found = set_trainable(model, HEAD, "full")
    held = {n for n, p in model.named_parameters() if not p.requires_grad}
    assert held == {n for n, _ in model.named_parameters() if "segmentation" in n} and held
    assert found.trained == trained_parameters(model, HEAD, "full")


def test_counts_by_hand(model: MultiTaskModel) -> None:
    head = 2 * 32 + 32 * 3 + 3
    assert dict(set_trainable(model, HEAD, "head").parameters) == {"head": head}
    assert dict(set_trainable(model, HEAD, "router").parameters) == {"head": head, "router": ROUTER}
    found = set_trainable(model, HEAD, "top:2", USAGE)
    assert dict(found.parameters) == {"head": head, "router": ROUTER, "experts": 2 * (ATTENTION + MLP)}
    assert found.trained == trained_parameters(model, HEAD, "bottom:2")
    # linear layers of the blocks: 32 -> 96 and 32 -> 32 in three blocks, 32 -> 128 -> 32 in three, one 32 -> 32
    assert set_trainable(model, HEAD, "lora:1").parameters["low rank"] == 3 * (128 + 64) + 3 * (160 + 160) + 64


def test_top_and_bottom_go_by_usage_and_lower_numbers_win_ties(model: MultiTaskModel) -> None:
    assert set_trainable(model, HEAD, "top:2", USAGE).experts == {"blocks.2.attn": (1, 3), "blocks.3.mlp": (0, 4)}
    found = set_trainable(model, HEAD, "bottom:2", USAGE)
    assert found.experts == {"blocks.2.attn": (0, 5), "blocks.3.mlp": (1, 5)}
    held = {e for name in found.names["experts"] for e in [name.rpartition(".")[0]]}
    assert len(found.names["experts"]) == 2 + 4 and len(held) == 2, "two parts, one in each layer"


def test_all_experts_of_a_bank_need_no_split(model: MultiTaskModel) -> None:
    found = set_trainable(model, HEAD, "top:6", USAGE)
    assert found.names["experts"] == tuple(f"backbone.blocks.2.attn.{n}" for n in "qo") + tuple(
        f"backbone.blocks.3.mlp.{n}" for n in ("w1", "b1", "w2", "b2")
    )


def test_the_backward_pass_ends_at_the_lowest_part_that_trains(model: MultiTaskModel) -> None:
    seen: dict[str, bool] = {}

    def note(name: str) -> None:
        def hook(module: torch.nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
            seen[name] = (output[0] if isinstance(output, tuple) else output).requires_grad  # type: ignore[index]

        model.backbone.blocks[int(name)].register_forward_hook(hook)

    for i in range(4):
        note(str(i))
    for selection, wanted in (("head", []), ("router", [2, 3]), ("1", [2, 3]), ("lora:1", [0, 1, 2, 3])):
        set_trainable(model, HEAD, selection, USAGE)
        model(torch.rand(2, 3, 32, 32), HEAD)
        assert [int(i) for i, has in seen.items() if has] == wanted, selection


def test_added_experts_train_alone(model: MultiTaskModel) -> None:
    add_experts(model, "classification", 2, USAGE)
    found = set_trainable(model, HEAD, "new:2")
    assert found.experts == {"blocks.2.attn": (6, 7), "blocks.3.mlp": (6, 7)}
    before = tensor_hashes(model)
    step(model)
    assert check_movement(before, tensor_hashes(model), found.all_names).unmoved == ()


def test_a_low_rank_update_takes_as_many_parameters_as_its_match(model: MultiTaskModel) -> None:
    wanted = trained_parameters(model, HEAD, "top:2")
    found = set_trainable(model, HEAD, "lora", match="top:2")
    one_more = 3 * (128 + 64) + 3 * (160 + 160) + 64
    assert found.selection == Selection("lora", found.selection.count) and found.selection.count > 1
    assert wanted - one_more < found.trained <= wanted


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ("top:7", r"7 experts are to train but layer blocks\.2\.attn has 6; use 1\.\.6"),
        ("6", r"expert 6 is to train but layer blocks\.2\.attn has 6; use 0\.\.5"),
        ("new:2", r"experts 'new:2' trains added experts, but the last part of layer blocks\.2\.attn holds 6"),
        ("top:0", "selects no expert at all"),
    ],
)
def test_what_is_out_of_range_is_refused(model: MultiTaskModel, selection: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        set_trainable(model, HEAD, selection, USAGE)
    with pytest.raises(ConfigError, match="goes by usage, which is missing"):
        set_trainable(model, HEAD, "top:2")


def test_a_dense_model_has_no_experts_to_train() -> None:
    heads = {HEAD: {"task": "classification", "classes": ("a", "b")}}
    backbone = {"name": "vit_moe", "width": 32, "depth": 2, "heads": 2, "layout": "dense"}
    dense = build_model({"backbone": backbone, "heads": heads})
    with pytest.raises(ConfigError, match=r"needs a mixture of experts, but the backbone ViTMoE routes nothing"):
        set_trainable(dense, HEAD, "top:2", USAGE)
    assert set(set_trainable(dense, HEAD, "head").names) == {"head"}
    assert set(set_trainable(dense, HEAD, "lora:2").names) == {"head", "low rank"}

"""What ships of an instruction model: trained matrices rounded, everything else to the last bit as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch

from visgen.nn.round_bits import round_bits
from visgen.zoo import load_model


def test_only_what_was_trained_changes(load_recipe: Callable[[str], ModuleType], tmp_path: Path) -> None:
    recipe, model = load_recipe("instruct/release"), load_recipe("instruct/eval").random_model()
    model.save_pretrained(tmp_path / "run0")
    part = {"config": "a.yaml", "denoiser_steps": 3}
    first = recipe.release(tmp_path / "run0", tmp_path / "base", 11, None, part)
    assert first["parameters"] == sum(p.numel() for p in model.parameters())
    base = load_model(tmp_path / "base", "cpu")
    before = {name: value.clone() for name, value in base.state_dict().items()}
    with torch.no_grad():
        base.unet.conv_out.weight.add_(0.1234)
        base.unet.conv_out.bias.add_(0.5)
    base.save_pretrained(tmp_path / "run1")
    trained = base.unet.conv_out.weight.clone()
    further = {"config": "b.yaml", "denoiser_steps": 5}
    second = recipe.release(tmp_path / "run1", tmp_path / "new", 6, load_model(tmp_path / "base", "cpu"), further)
    assert second["tensors"] == 2 and second["packed_bytes"] < first["packed_bytes"] / 10
    new = load_model(tmp_path / "new", "cpu")
    changed = [name for name, value in new.state_dict().items() if not torch.equal(value, before[name])]
    assert sorted(changed) == ["unet.conv_out.bias", "unet.conv_out.weight"]
    assert torch.equal(new.unet.conv_out.weight, round_bits(trained, 6))
    assert new.config.details["parts"] == [part, further]

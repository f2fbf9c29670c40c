"""What ships of an instruction model: trained matrices rounded, everything else to the last bit as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file

from visgen.errors import ConfigError
from visgen.nn.round_bits import round_bits
from visgen.zoo import load_model
from visgen.zoo.files import read_tensors


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


def test_updates_ship_beside_weights_that_stay(load_recipe: Callable[[str], ModuleType], tmp_path: Path) -> None:
    recipe, model = load_recipe("instruct/release"), load_recipe("instruct/eval").random_model()
    part = {"config": "a.yaml", "denoiser_steps": 3}
    model.save_pretrained(tmp_path / "run0")
    recipe.release(tmp_path / "run0", tmp_path / "base", 11, None, part)
    base = load_model(tmp_path / "base", "cpu")
    name, bias = "unet.conv_in.weight", base.state_dict()["unet.conv_in.bias"] + 0.3
    factors = {f"{name}.up": torch.randn(8, 1), f"{name}.down": torch.randn(1, 72)}
    base.save_pretrained(tmp_path / "run1")
    save_file({**factors, "unet.conv_in.bias": bias}, tmp_path / "run1" / "updates.safetensors")
    with pytest.raises(ConfigError, match="hold its updates already; name the model"):
        recipe.release(tmp_path / "run1", tmp_path / "new", 5, None, part)
    found = recipe.release(tmp_path / "run1", tmp_path / "new", 5, base, part)
    assert found["tensors"] == 3 and found["parameters"] == 8 + 72 + 8
    old, new = (read_tensors(tmp_path / folder / "model.safetensors") for folder in ("base", "new"))
    assert {key for key in new if key not in old} == set(factors)
    assert {key for key in old if not torch.equal(old[key], new[key])} == {"unet.conv_in.bias"}
    loaded, before = load_model(tmp_path / "new", "cpu").state_dict(), base.state_dict()
    update = round_bits(factors[f"{name}.up"], 5) @ round_bits(factors[f"{name}.down"], 5)
    assert torch.allclose(loaded[name], before[name] + update.view(8, 8, 3, 3), atol=1e-6)
    assert torch.allclose(loaded["unet.conv_in.bias"], bias, atol=1e-3)
    assert "_name_or_path" not in (tmp_path / "new" / "config.json").read_text()  # where it was read from

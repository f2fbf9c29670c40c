"""A saved model loads as itself, and everything that does not fit is refused with a reason."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from visgen.errors import CheckpointError, ConfigError, UnknownName
from visgen.task import MultiTaskModel
from visgen.zoo import ModelCard, from_pretrained, load_model, save_pretrained
from visgen.zoo import files as files_module


def answers(model: MultiTaskModel) -> dict[str, Any]:
    picture = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(1))
    found = model.predict(picture)
    return {
        "classification": found["classification"][0].probabilities,
        "segmentation.camvid": found["segmentation.camvid"][0].ids,
        "depth": found["depth"][0].metres,
    }


def test_a_folder_loads_as_the_same_model(model: MultiTaskModel, folder: Path) -> None:
    loaded = from_pretrained(folder)
    assert not loaded.training
    assert loaded.config() == model.config()
    assert loaded.specs == model.specs
    for name, value in answers(model).items():
        assert torch.equal(answers(loaded)[name], value), name


def test_half_precision_halves_the_file_and_keeps_the_answers(model: MultiTaskModel, folder: Path) -> None:
    half = save_pretrained(model, folder.parent / "half", dtype="float16")
    matrices = sum(p.numel() for p in model.parameters() if p.ndim >= 2)
    whole, small = ((f / "model.safetensors").stat().st_size for f in (folder, half))
    assert whole - small == pytest.approx(2 * matrices, rel=0.01)
    loaded = from_pretrained(half)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert torch.allclose(answers(loaded)["depth"], answers(model)["depth"], rtol=2e-2)
    assert torch.allclose(answers(loaded)["classification"], answers(model)["classification"], atol=5e-3)


def test_equal_weights_give_equal_bytes(model: MultiTaskModel, tmp_path: Path) -> None:
    stored = {(save_pretrained(model, tmp_path / str(i)) / "model.safetensors").read_bytes() for i in range(8)}
    assert len(stored) == 1


def test_values_that_half_precision_cannot_hold_stay_whole(model: MultiTaskModel, tmp_path: Path) -> None:
    name, weight = next((n, p) for n, p in model.named_parameters() if p.ndim == 2)
    with torch.no_grad():
        weight[0, 0] = 1e6  # float16 ends at 65504
    stored = load_file(save_pretrained(model, tmp_path / "big", dtype="float16") / "model.safetensors")
    assert stored[name].dtype == torch.float32
    assert stored[name][0, 0] == 1e6
    assert any(t.dtype == torch.float16 for t in stored.values())


def test_a_tiny_running_variance_survives_half_precision(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    module[1].running_var.fill_(1e-9)
    files_module.write_tensors(module, tmp_path / "bn.safetensors", "float16")
    assert torch.equal(files_module.read_tensors(tmp_path / "bn.safetensors")["1.running_var"], torch.full((4,), 1e-9))


def test_a_shared_tensor_is_stored_once_and_tied_again(tmp_path: Path) -> None:
    def build() -> torch.nn.ModuleDict:
        module = torch.nn.ModuleDict({"a": torch.nn.Linear(100, 100), "b": torch.nn.Linear(100, 100)})
        module["b"].weight = module["a"].weight
        return module

    path = tmp_path / "tied.safetensors"
    module, other = build(), build()
    files_module.write_tensors(module, path)
    assert path.stat().st_size < 4 * (100 * 100 + 2 * 100) + 1000
    assert sorted(load_file(path)) == ["a.bias", "a.weight", "b.bias"]
    files_module.fill_model(other, files_module.read_tensors(path), "tied")
    assert other["a"].weight is other["b"].weight
    assert torch.equal(other["b"].weight, module["a"].weight)


def test_a_torn_file_is_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=rf"has {len(whole) // 2} bytes but .*config\.json' says {len(whole)}"):
        from_pretrained(folder)
    with pytest.raises(CheckpointError, match=r"torn or not safetensors"):
        files_module.read_tensors(path)
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"\(0 bytes\) is torn"):
        files_module.read_tensors(path)


def test_one_changed_bit_is_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="it was changed"):
        from_pretrained(folder)


def rewrite(folder: Path, change: Any) -> None:
    """Replace the tensors of a folder, config and hash included, as another program would."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    config = json.loads((folder / "config.json").read_text())
    config["weights"] = {**config["weights"], "sha256": files_module.hash_file(path), "bytes": path.stat().st_size}
    (folder / "config.json").write_text(json.dumps(config))


def test_missing_and_unexpected_tensors_are_named(folder: Path) -> None:
    name = sorted(load_file(folder / "model.safetensors"))[0]
    rewrite(folder, lambda tensors: tensors.update({"extra.weight": tensors.pop(name)}))
    with pytest.raises(CheckpointError, match=rf"1 missing \({name}\); 1 unexpected \(extra\.weight\)"):
        from_pretrained(folder)


def test_another_shape_is_named_with_both_shapes(folder: Path) -> None:
    name, value = next((n, t) for n, t in sorted(load_file(folder / "model.safetensors").items()) if t.ndim == 1)
    rewrite(folder, lambda tensors: tensors.update({name: torch.zeros(len(value) + 1)}))
    with pytest.raises(CheckpointError, match=rf"'{name}' is \({len(value) + 1},\) but .* \({len(value)},\)"):
        from_pretrained(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not readable JSON"),
        ("[]", "no 'model' part"),
        ('{"model": {}, "format": 9}', "format 9, this visgen reads 1"),
    ],
)
def test_a_bad_config_is_refused(folder: Path, text: str, message: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        from_pretrained(folder)


def test_a_config_of_an_unknown_backbone_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["model"]["backbone"]["name"] = "vit_mo"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"cannot be built: .*'vit_mo' is not registered; did you mean 'vit_moe'"):
        from_pretrained(folder)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json' does not exist"):
        from_pretrained(tmp_path)


def test_an_unknown_name_is_neither_folder_nor_model() -> None:
    with pytest.raises(UnknownName, match="'no-such-model' is neither a folder nor a shipped model"):
        from_pretrained("no-such-model")
    with pytest.raises(UnknownName, match="'./no/such/folder'"):
        from_pretrained("./no/such/folder")


def test_saving_again_replaces_and_leaves_other_files(model: MultiTaskModel, folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)
    save_pretrained(model, folder)
    assert torch.equal(answers(from_pretrained(folder))["depth"], answers(model)["depth"])
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "config.json", "model.safetensors", "notes.txt"]
    assert [p.name for p in folder.parent.iterdir()] == ["tiny"]


def test_a_failed_save_leaves_what_was_there(
    model: MultiTaskModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files_module, "save_file", full)
    for target in (folder, folder.parent / "new"):
        with pytest.raises(OSError, match="No space left"):
            save_pretrained(model, target)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert [p.name for p in folder.parent.iterdir()] == ["tiny"]


def test_a_save_killed_between_two_renames_is_refused(model: MultiTaskModel, folder: Path) -> None:
    with torch.no_grad():
        next(model.parameters()).add_(1.0)
    newer = save_pretrained(model, folder.parent / "newer")
    (folder / "model.safetensors").write_bytes((newer / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="sha256"):
        from_pretrained(folder)


def test_what_a_killed_save_left_is_swept_and_a_running_one_is_not(model: MultiTaskModel, folder: Path) -> None:
    dead, alive = folder.parent / ".tiny.dead.tmp", folder.parent / ".tiny.alive.tmp"
    for path in (dead, alive):
        path.mkdir()
        (path / "model.safetensors").write_bytes(b"half")
    os.utime(dead, (0, 0))
    save_pretrained(model, folder)
    assert not dead.exists()
    assert alive.exists()


def test_bad_requests_are_refused(model: MultiTaskModel, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="stored as 'int8'"):
        save_pretrained(model, tmp_path / "x", dtype="int8")
    bare = MultiTaskModel(model.backbone, model.specs)
    with pytest.raises(ConfigError, match="no configuration to save"):
        save_pretrained(bare, tmp_path / "x")
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="is a file"):
        save_pretrained(model, tmp_path / "file")
    with pytest.raises(ConfigError, match="device 'quantum'"):
        load_model(tmp_path, device="quantum")


def test_the_card_tells_what_is_known_and_what_is_not(model: MultiTaskModel, tmp_path: Path) -> None:
    plain = (save_pretrained(model, tmp_path / "plain") / "README.md").read_text()
    assert plain.startswith("---\nlibrary_name: visgen\n")
    assert "| `segmentation.camvid` | segmentation | sky, road |" in plain
    assert "## Licence\n\nNot stated." in plain
    card = ModelCard(
        title="Tiny",
        licence="apache-2.0",
        data=("camvid, 367 images",),
        metrics=(("camvid val", "mIoU", 0.68349, "11 classes", "visgen evaluate ..."),),
        limits=("untrained",),
    )
    full = (save_pretrained(model, tmp_path / "full", card=card) / "README.md").read_text()
    assert "license: apache-2.0" in full
    assert "| camvid val | mIoU | 0.6835 | 11 classes | `visgen evaluate ...` |" in full
    assert "- camvid, 367 images" in full
    assert "- untrained" in full
    assert (save_pretrained(model, tmp_path / "own", card="# Mine\n") / "README.md").read_text() == "# Mine\n"

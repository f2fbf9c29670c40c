"""The list of shipped models: adding, listing, hash checks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from visgen.errors import CheckpointError, UnknownName
from visgen.zoo import add_to_index, from_pretrained, list_models, save_pretrained

from .conftest import new_model


def test_an_added_model_is_listed_and_loads(folder: Path, tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    entry = add_to_index(folder, "my-tiny", zoo=zoo, metrics={"depth": {"AbsRel": 0.2}})
    assert list_models(zoo) == {"my-tiny": entry}
    assert entry.tasks == ("classification", "segmentation.camvid", "depth")
    assert entry.bytes == (zoo / entry.file).stat().st_size
    assert json.loads((zoo / "index.json").read_text())["my-tiny"]["metrics"] == {"depth": {"AbsRel": 0.2}}
    assert (zoo / entry.card).read_text() == (folder / "README.md").read_text()
    loaded, direct = from_pretrained("my-tiny", zoo=zoo), from_pretrained(folder)
    for (name, a), b in zip(loaded.state_dict().items(), direct.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert not [p for p in zoo.rglob("*") if p.name.endswith(".tmp")]


def test_names_are_sorted_and_a_second_add_replaces_but_keeps_figures(folder: Path, tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    add_to_index(folder, "b", zoo=zoo, metrics={"depth": {"AbsRel": 0.2}})
    add_to_index(folder, "a", zoo=zoo)
    save_pretrained(new_model(seed=1), folder)
    again = add_to_index(folder, "b", zoo=zoo)
    assert list(list_models(zoo)) == ["a", "b"]
    assert again.sha256 != list_models(zoo)["a"].sha256
    assert again.metrics == {"depth": {"AbsRel": 0.2}}


def test_a_changed_shipped_file_is_refused(folder: Path, tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    entry = add_to_index(folder, "my-tiny", zoo=zoo)
    path = zoo / entry.file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=rf"the model index for 'my-tiny' says {entry.sha256}"):
        from_pretrained("my-tiny", zoo=zoo)
    path.write_bytes(data[:100])
    with pytest.raises(CheckpointError, match=f"has 100 bytes but the model index for 'my-tiny' says {entry.bytes}"):
        from_pretrained("my-tiny", zoo=zoo)
    path.unlink()
    with pytest.raises(CheckpointError, match="does not exist but"):
        from_pretrained("my-tiny", zoo=zoo)


def test_a_near_name_is_suggested(folder: Path, tmp_path: Path) -> None:
    add_to_index(folder, "my-tiny", zoo=tmp_path / "zoo")
    with pytest.raises(UnknownName, match=r"'my-tinny' .*did you mean 'my-tiny'\? Shipped: my-tiny"):
        from_pretrained("my-tinny", zoo=tmp_path / "zoo")


def test_a_revision_belongs_to_the_hub(folder: Path, tmp_path: Path) -> None:
    add_to_index(folder, "my-tiny", zoo=tmp_path / "zoo")
    with pytest.raises(CheckpointError, match="revision 'v1' was given for 'my-tiny'"):
        from_pretrained("my-tiny", zoo=tmp_path / "zoo", revision="v1")


def test_a_bad_name_a_torn_folder_and_a_bad_index_are_refused(folder: Path, tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    for name in ("../evil", "My Model", ""):
        with pytest.raises(CheckpointError, match=f"model name '{name}' must be"):
            add_to_index(folder, name, zoo=zoo)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="bytes but"):
        add_to_index(folder, "torn", zoo=zoo)
    assert list_models(zoo) == {}
    zoo.mkdir()
    (zoo / "index.json").write_text('{"x": {"file": "a"}}')
    with pytest.raises(CheckpointError, match="breaks its schema"):
        list_models(zoo)

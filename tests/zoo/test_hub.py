"""The Hub without a network: what would be uploaded, and what a download is asked for."""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch

from visgen.errors import CheckpointError
from visgen.task import MultiTaskModel
from visgen.zoo import from_pretrained, push_to_hub


class LocalHub:
    """Keeps uploads in a folder; the signatures of its methods are checked against the real HfApi."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.created: list[tuple[str, Any]] = []

    def create_repo(self, repo_id: str, **options: Any) -> None:
        inspect.signature(huggingface_hub.HfApi.create_repo).bind(None, repo_id, **options)
        self.created.append((repo_id, options))

    def upload_folder(self, **options: Any) -> str:
        inspect.signature(huggingface_hub.HfApi.upload_folder).bind(None, **options)
        allowed = huggingface_hub.utils.filter_repo_objects(
            [p.name for p in Path(options["folder_path"]).iterdir()], allow_patterns=options["allow_patterns"]
        )
        target = self.root / options["repo_id"]
        target.mkdir(parents=True)
        for name in allowed:
            shutil.copy(Path(options["folder_path"]) / name, target / name)
        return f"https://hub.example/{options['repo_id']}/commit/{options['revision'] or 'main'}"


def test_a_push_without_a_network_is_an_error_of_ours(model: MultiTaskModel, monkeypatch: pytest.MonkeyPatch) -> None:
    class Offline:
        def create_repo(self, repo_id: str, **options: Any) -> None:
            raise huggingface_hub.errors.OfflineModeIsEnabled("no network")

    with pytest.raises(CheckpointError, match="'me/tiny' could not be written on the Hub: no network"):
        push_to_hub(model, "me/tiny", api=Offline())
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("me/my--model", "bad name!!"):  # names that the Hub's own tools refuse
        with pytest.raises(CheckpointError, match="could not be written on the Hub: .*[Rr]epo"):
            push_to_hub(model, name)
    with pytest.raises(CheckpointError, match="'me/my--model' is not a folder here and was not found"):
        from_pretrained("me/my--model")


def test_a_push_uploads_a_folder_that_loads(model: MultiTaskModel, tmp_path: Path) -> None:
    hub = LocalHub(tmp_path)
    address = push_to_hub(model, "me/tiny", api=hub, private=True, revision="dev", dtype="float16")
    assert address == "https://hub.example/me/tiny/commit/dev"
    assert hub.created == [("me/tiny", {"private": True, "exist_ok": True, "repo_type": "model"})]
    uploaded = tmp_path / "me" / "tiny"
    assert sorted(p.name for p in uploaded.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert (uploaded / "README.md").read_text().startswith("---\nlibrary_name: visgen")
    assert from_pretrained(uploaded).config() == model.config()


def test_a_hub_id_is_fetched_by_revision_and_only_three_files(
    model: MultiTaskModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def snapshot(repo_id: str, **options: Any) -> str:
        asked.append({"repo_id": repo_id, **options})
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    loaded = from_pretrained("me/tiny", revision="v2", local_files_only=True)
    assert asked == [
        {
            "repo_id": "me/tiny",
            "revision": "v2",
            "local_files_only": True,
            "token": None,
            "allow_patterns": ["config.json", "model.safetensors", "README.md"],
        }
    ]
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), model.parameters(), strict=True))


def test_a_hub_id_that_is_not_cached_is_a_named_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="'nobody/nothing' is not a folder here .* not found in the local cache"):
        from_pretrained("nobody/nothing", local_files_only=True)

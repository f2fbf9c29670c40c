"""Fetch models from the Hugging Face Hub and send them there; the only module of the package that talks to it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CheckpointError
from .card import ModelCard
from .files import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE
from .pretrained import save_pretrained

if TYPE_CHECKING:
    from ..task import MultiTaskModel

__all__ = ["download", "push_to_hub"]


def download(
    repo_id: str, *, revision: str | None = None, local_files_only: bool = False, token: str | None = None
) -> Path:
    """Fetch the three files of a model folder into the Hub's cache and give the folder.

    Raises:
        CheckpointError: The repository, revision or a file is not there, or the network is not.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            repo_id,
            revision=revision,
            local_files_only=local_files_only,
            token=token,
            allow_patterns=[CONFIG_FILE, WEIGHTS_FILE, CARD_FILE],
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        where = "in the local cache" if local_files_only else "on the Hub"
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"model '{repo_id}' is not a folder here and was not found {where}: {reason}; check the name, the network "
            "and your access."
        ) from error
    return Path(folder)


def push_to_hub(
    model: MultiTaskModel,
    repo_id: str,
    *,
    card: ModelCard | str | None = None,
    dtype: str = "float32",
    private: bool | None = None,
    revision: str | None = None,
    commit_message: str = "Upload a visgen model",
    token: str | None = None,
    api: Any = None,
) -> str:
    """Upload what `save_pretrained` writes and give the address of the commit.

    Args:
        model, card, dtype: As in `save_pretrained`.
        repo_id: "owner/name"; created when absent.
        private: Visibility of a repository that is created; None takes the owner's default.
        revision: Branch to commit to.
        token: Access token; None takes the one that the Hub's own tools stored.
        api: A `huggingface_hub.HfApi`, or any object with its `create_repo` and `upload_folder`.
    """
    from httpx import HTTPError
    from huggingface_hub.errors import HFValidationError

    if api is None:
        from huggingface_hub import HfApi

        api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as scratch:
        folder = save_pretrained(model, Path(scratch) / "model", card=card, dtype=dtype)
        try:
            api.create_repo(repo_id, private=private, exist_ok=True, repo_type="model")
            commit = api.upload_folder(
                repo_id=repo_id,
                folder_path=str(folder),
                repo_type="model",
                revision=revision,
                commit_message=commit_message,
                allow_patterns=[CONFIG_FILE, WEIGHTS_FILE, CARD_FILE],
            )
        except (OSError, HTTPError, HFValidationError) as error:  # OSError: also what the Hub's tools make of answers
            raise CheckpointError(f"'{repo_id}' could not be written on the Hub: {str(error).rstrip('.')}.") from error
    return str(commit)

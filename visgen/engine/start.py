"""Begin a run from the weights of another model."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from ..errors import CheckpointError
from ..task import MultiTaskModel

__all__ = ["start_from"]


def start_from(model: MultiTaskModel, path: Path) -> list[str]:
    """Fill a model with the weights of another; heads that are new, of other classes or of another size stay fresh.

    Args:
        path: A safetensors file of a state dict, or a folder that holds `model.safetensors`.
    Returns:
        Names of the tensors that stayed fresh.
    Raises:
        CheckpointError: The file cannot be read, or the backbone in it is not this one.
    """
    file = path / "model.safetensors" if path.is_dir() else path
    try:
        found = load_file(file)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"model.weights is '{path}', which cannot be read: {error}; give a safetensors file or a folder with "
            "model.safetensors."
        ) from error
    # A training state holds the model under this name.
    found = {name.removeprefix("model."): tensor for name, tensor in found.items()}
    for head in _heads_of_other_classes(model, file):
        stem = f"heads.{head.replace('.', '__')}."
        found = {name: tensor for name, tensor in found.items() if not name.startswith(stem)}
    own = model.state_dict()
    fits = {name: t for name, t in found.items() if name in own and own[name].shape == t.shape}
    fresh = [name for name in own if name not in fits]
    wrong = [name for name in fresh if not name.startswith("heads.")]
    if wrong:
        theirs = f"of shape {tuple(found[wrong[0]].shape)}" if wrong[0] in found else "absent"
        raise CheckpointError(
            f"model.weights '{path}' does not fit the backbone: {len(wrong)} tensors differ, such as '{wrong[0]}', "
            f"{tuple(own[wrong[0]].shape)} here and {theirs} there; use the backbone options of that model."
        )
    model.load_state_dict({name: t.to(own[name].dtype) for name, t in fits.items()}, strict=False)
    return fresh


def _heads_of_other_classes(model: MultiTaskModel, file: Path) -> list[str]:
    """Heads that the model of a weights file has under the same name for other classes, or in another order.

    What is in the file is told by the `config.json` beside a `model.safetensors`, or the json of the same name.
    """
    beside = file.with_name("config.json") if file.name == "model.safetensors" else file.with_suffix(".json")
    try:
        theirs = json.loads(beside.read_text(encoding="utf-8"))["model"]["heads"]
        known = {name: tuple(theirs[name]["classes"]) for name in model.specs if name in theirs}
    except (FileNotFoundError, KeyError):  # nothing describes the tensors: shapes have to do
        return []
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"'{beside}', which tells the classes in '{file}', cannot be read: {error}.") from error
    return [name for name, classes in known.items() if classes != tuple(model.specs[name].classes)]

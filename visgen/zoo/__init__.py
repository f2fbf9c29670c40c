"""The model zoo: shipped models, saving, loading and sharing; safetensors only, hashes checked."""

from .card import ModelCard
from .device import autocast, resolve_device, resolve_dtype, synchronise
from .hub import push_to_hub
from .index import DEFAULT_MODEL, ModelEntry, add_to_index, check_hash, list_models, zoo_folder
from .instruct import INSTRUCT_MODEL, save_instruct
from .pretrained import from_pretrained, load_heads, load_model, save_pretrained

__all__ = [
    "DEFAULT_MODEL",
    "INSTRUCT_MODEL",
    "ModelCard",
    "ModelEntry",
    "add_to_index",
    "autocast",
    "check_hash",
    "from_pretrained",
    "list_models",
    "load_heads",
    "load_model",
    "push_to_hub",
    "resolve_device",
    "resolve_dtype",
    "save_instruct",
    "save_pretrained",
    "synchronise",
    "zoo_folder",
]

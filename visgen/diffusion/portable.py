"""An instruction model as one JSON description and one state dict, so that the zoo keeps it as any other model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..errors import CheckpointError
from ..options import build_options
from .config import DiffusionConfig
from .model import InstructDiffusion

__all__ = ["KIND", "build_described", "describe_model"]

KIND = "instruct"
TASKS = ("classification", "detection", "segmentation", "depth", "ood", "scene_graph")


def describe_model(model: InstructDiffusion) -> dict[str, Any]:
    """Give everything but the weights as plain JSON values; `build_described` makes the model of it.

    "heads" lists the tasks with the classes that training showed, as the zoo's index and cards show them.
    """
    vocabulary = json.loads(model.tokenizer.backend_tokenizer.to_str())["model"]
    marks = {f"{name}_token": getattr(model.tokenizer, f"{name}_token") for name in ("bos", "eos", "pad", "unk")}
    settings = model.config.to_dict()
    heads = {task: {"task": task, "classes": settings["classes"].get(task, [])} for task in TASKS}
    return {
        "kind": KIND,
        "vae": _plain(model.vae),
        "unet": _plain(model.unet),
        "text_encoder": json.loads(model.text_encoder.config.to_json_string()),
        "scheduler": _plain(model.scheduler),
        "tokenizer": {
            "vocab": vocabulary["vocab"],
            "merges": [list(pair) if not isinstance(pair, str) else pair.split(" ") for pair in vocabulary["merges"]],
            "model_max_length": model.tokens,
            **marks,
        },
        "settings": settings,
        "heads": heads,
        "max_side": settings["size"],
    }


def build_described(description: Mapping[str, Any]) -> InstructDiffusion:
    """Build the model of a description, its weights random and still to be filled.

    Raises:
        CheckpointError: The description names a class that diffusers does not have, or lacks a part.
    """
    import diffusers
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    def make(part: str) -> Any:
        values = dict(description[part])
        kind = getattr(diffusers, str(values.get("_class_name")), None)
        if kind is None:
            raise CheckpointError(f"the {part} is a '{values.get('_class_name')}', which diffusers does not have.")
        return kind.from_config(values)

    try:
        words = dict(description["tokenizer"])
        words["merges"] = [tuple(pair) for pair in words["merges"]]
        text = {k: v for k, v in description["text_encoder"].items() if k != "architectures"}
        return InstructDiffusion(
            make("vae"),
            make("unet"),
            CLIPTextModel(CLIPTextConfig(**text)),
            CLIPTokenizer(**words),
            make("scheduler"),
            build_options(DiffusionConfig, description["settings"], "settings"),
        ).eval()
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"the description of the instruction model is incomplete: {error!r}.") from error


def _plain(part: Any) -> dict[str, Any]:
    values = json.loads(part.to_json_string())
    values.pop("_name_or_path", None)  # the folder that it was read from
    return values

"""A tiny model in a folder, tiny data sets on disk, and a way to call the commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from visgen.cli import app
from visgen.task import build_model
from visgen.zoo import save_pretrained

torch.set_num_threads(1)  # tiny tensors gain nothing from threads, and a busy machine loses much

BACKBONE = {"width": 32, "depth": 2, "heads": 2, "num_experts": 4, "top_k": 2, "attention_experts": 4}


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random mixture of experts, saved."""
    torch.manual_seed(0)
    heads = {
        "classification": {"task": "classification", "classes": ("cat", "dog", "owl")},
        "segmentation.street": {"task": "segmentation", "classes": ("sky", "road")},
        "segmentation.pets": {"task": "segmentation", "classes": ("cat", "dog", "floor")},
        "depth": {"task": "depth"},
    }
    config = {"backbone": {"name": "vit_moe", **BACKBONE}, "heads": heads, "max_side": 64}
    return save_pretrained(build_model(config), tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures in a folder."""
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for name, size in (("a.png", (48, 64)), ("b.png", (64, 48)), ("sub/c.png", (48, 64))):
        (folder / name).parent.mkdir(exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        coarse.resize(size[::-1], Image.Resampling.BICUBIC).save(folder / name)
    return folder


@pytest.fixture(scope="session")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`street` (semantic), `pets` (semantic, other classes) and `garden` (depth), four samples per split."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for name, classes in (("street", ("sky", "road")), ("pets", ("cat", "dog", "floor"))):
        base = root / name
        for sub in ("images", "semantic"):
            (base / sub).mkdir(parents=True)
        (base / "classes.txt").write_text("\n".join(classes) + "\n")
        for split in ("train", "val"):
            stems = [f"{split}{i}" for i in range(4)]
            (base / f"{split}.txt").write_text("\n".join(stems) + "\n")
            for stem in stems:
                ids = np.zeros((48, 64), np.uint8)
                ids[24:] = len(classes) - 1
                picture = rng.integers(0, 60, (48, 64, 3), dtype=np.uint8) + 180 * (ids[..., None] > 0).astype(np.uint8)
                Image.fromarray(picture).save(base / "images" / f"{stem}.png")
                Image.fromarray(ids).save(base / "semantic" / f"{stem}.png")
    base = root / "garden"
    for sub in ("images", "depth"):
        (base / sub).mkdir(parents=True)
    for split in ("train", "val"):
        rows = []
        for i in range(4):
            picture, depth = f"images/{split}{i}.png", f"depth/{split}{i}.png"
            Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(base / picture)
            Image.fromarray(np.tile(np.linspace(1000, 4000, 64).astype(np.uint16), (48, 1))).save(base / depth)
            rows.append(f"{picture} {depth}")
        (base / f"{split}.txt").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture
def visgen() -> Callable[..., Any]:
    """Call a command in this process; gives its result (exit_code, stdout, stderr)."""

    def call(*words: Any) -> Any:
        result = CliRunner().invoke(app, [str(w) for w in words], prog_name="visgen")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture
def visgen_json(visgen: Callable[..., Any]) -> Callable[..., Any]:
    """Call a command with --json; its standard output must be JSON and nothing else."""

    def call(*words: Any, code: int = 0) -> Any:
        result = visgen(*words, "--json")
        assert result.exit_code == code, result.output
        return json.loads(result.stdout)

    return call


@pytest.fixture
def entry_point() -> list[str]:
    """The command as another process starts it."""
    return [sys.executable, "-c", "from visgen.cli import main; main()"]

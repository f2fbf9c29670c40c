"""Recipes as modules, and a small set of days and nights."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from visgen.gan.architecture.relight import RelightTranslator
from visgen.gan.night import save_night

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def load_recipe() -> Callable[[str], ModuleType]:
    """A function that gives a script below tasks/ as a module."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name.replace("/", "_"), ROOT / "tasks" / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def small_night(tmp_path: Path) -> Path:
    """A generator that has not learned: it dims to about a half."""
    torch.manual_seed(0)
    options = {"channels": 2, "blocks": 0}
    made = RelightTranslator(**options)  # type: ignore[arg-type]
    return save_night(tmp_path / "small", made, {"name": "relight", **options}, 32, {"variant": "hedgan"})


@pytest.fixture
def night_data(tmp_path: Path) -> Path:
    """A data root with eight days, eight nights and their lists, and three street maps."""
    root = tmp_path / "data"
    random = np.random.default_rng(0)
    for domain, top in (("day", 256), ("night", 60)):
        (root / "night" / domain).mkdir(parents=True)
        for i in range(8):
            pixels = np.kron(random.integers(0, top, (6, 8, 3)), np.ones((12, 12, 1))).astype(np.uint8)
            Image.fromarray(pixels).save(root / "night" / domain / f"{i}.png")
        for split, numbers in (("train", range(8)), ("val", range(6, 8))):
            (root / "night" / f"{split}_{domain}.txt").write_text(
                "".join(f"{i}.png\n" for i in numbers), encoding="utf-8"
            )
    for folder in ("images", "semantic"):
        (root / "camvid" / folder).mkdir(parents=True)
    for i in range(3):
        Image.fromarray(random.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(root / f"camvid/images/{i}.png")
        Image.fromarray(np.zeros((48, 64), np.uint8)).save(root / f"camvid/semantic/{i}.png")
    (root / "camvid" / "classes.txt").write_text("road\n", encoding="utf-8")
    (root / "camvid" / "val.txt").write_text("0\n1\n2\n", encoding="utf-8")
    return root

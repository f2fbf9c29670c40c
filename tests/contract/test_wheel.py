"""The wheel, built from the sdist, holds one top-level name and everything that a user without the checkout needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

from visgen import __version__


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_one_top_level_name(names: set[str]) -> None:
    assert {n.split("/")[0] for n in names} == {"visgen", f"visgen-{__version__}.dist-info"}


def test_the_whole_package_is_inside(root: Path, names: set[str]) -> None:
    modules = {str(p.relative_to(root)) for p in (root / "visgen").rglob("*.py")}
    assert modules <= names
    assert "visgen/py.typed" in names


def test_configs_index_cards_weights_and_samples_are_inside(root: Path, names: set[str]) -> None:
    wanted = [
        *(root / "configs").rglob("*.yaml"),
        *(root / "model_zoo" / "cards").glob("*.md"),
        *(root / "model_zoo" / "weights").glob("*.safetensors"),
        *(p for p in (root / "data" / "samples").iterdir() if p.suffix in (".jpg", ".png", ".md")),
        root / "model_zoo" / "index.json",
        root / "model_zoo" / "LICENSE-WEIGHTS",
    ]
    missing = [str(p.relative_to(root)) for p in wanted if f"visgen/_shipped/{p.relative_to(root)}" not in names]
    assert not missing
    for ending in (".yaml", ".safetensors", ".jpg"):
        assert any(n.startswith("visgen/_shipped/") and n.endswith(ending) for n in names), ending


def test_nothing_else_slips_in(names: set[str]) -> None:
    inner = {n.split("/")[2] for n in names if n.startswith("visgen/_shipped/")}
    assert inner == {"configs", "data", "model_zoo"}
    assert not [n for n in names if "__pycache__" in n or n.endswith((".pyc", ".log", ".csv", ".pt", ".pth"))]
    assert not [n for n in names if n.startswith("visgen/_shipped/") and n.endswith(".py")]


def test_metadata(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = f"visgen-{__version__}.dist-info"
        metadata = message_from_string(archive.read(f"{info}/METADATA").decode())
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
        assert f"{info}/licenses/LICENSE" in archive.namelist()
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert "visgen = visgen.cli:main" in entry_points
    required = metadata.get_all("Requires-Dist")
    assert any(r.startswith("huggingface-hub") and "<2" in r for r in required)


def test_the_wheel_works_outside_the_checkout(unpacked_wheel: Path, tmp_path: Path) -> None:
    code = (
        "import json, visgen\n"
        "from visgen.shipped import shipped_path\n"
        "shipped = ('configs', 'model_zoo/index.json', 'data/samples')\n"
        "places = [visgen.__file__] + [str(shipped_path(p)) for p in shipped]\n"
        "print(json.dumps([places, [str(m) for m in visgen.list_models()]]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(unpacked_wheel)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    places, models = json.loads(done.stdout)
    assert all(Path(p).is_relative_to(unpacked_wheel / "visgen") for p in places), places
    assert models

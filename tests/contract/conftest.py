"""What the contract tests share: the tracked files, the syntax trees of the package, the wheel and timed processes."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def trees() -> dict[Path, ast.Module]:
    """Syntax tree of every Python file of package, recipes and data scripts, by path inside the checkout."""
    folders = ("visgen", "tasks", "data")
    files = [f for folder in folders for f in sorted((ROOT / folder).rglob("*.py"))]
    return {f.relative_to(ROOT): ast.parse(f.read_text(encoding="utf-8"), str(f)) for f in files}


@pytest.fixture(scope="session")
def package_trees(trees: dict[Path, ast.Module]) -> dict[Path, ast.Module]:
    """The trees of `visgen` alone."""
    package = {path: tree for path, tree in trees.items() if path.parts[0] == "visgen"}
    assert len(package) > 20, f"only {len(package)} Python files were found under visgen"
    return package


@pytest.fixture(scope="session")
def tracked(root: Path) -> list[Path]:
    """Every file that git tracks and that is present, relative to the checkout; skips outside a git checkout."""
    if not (root / ".git").exists():
        pytest.skip("this is not a git checkout, so there is no list of tracked files")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, check=True).stdout
    return [Path(n) for n in names.decode().split("\0") if n and (root / n).is_file()]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from an unpacked sdist, as a release is built, without a network."""
    wheels = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is needed: pip install 'visgen[dev]'")
    sdists = pytest.importorskip("hatchling.builders.sdist", reason="hatchling is needed: pip install 'visgen[dev]'")
    folder = tmp_path_factory.mktemp("build")
    (sdist,) = sdists.SdistBuilder(str(ROOT)).build(directory=str(folder))
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "source", filter="data")
    (source,) = (folder / "source").iterdir()
    (built,) = wheels.WheelBuilder(str(source)).build(directory=str(folder), versions=["standard"])
    return Path(built)


@pytest.fixture(scope="session")
def unpacked_wheel(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content in a folder of its own, to be put on PYTHONPATH."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def cpu_seconds() -> Callable[..., float]:
    """A function that runs Python with arguments and gives the processor time (user and system) in seconds.

    Processor time is what the import costs; wall time on a shared machine measures the neighbours.
    """

    def measure(*arguments: str, repeat: int = 5) -> float:
        times = []
        for _ in range(repeat):
            environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
            with tempfile.TemporaryFile() as errors:
                process = subprocess.Popen(
                    [sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=errors
                )
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                errors.seek(0)
                message = errors.read().decode()
            assert process.returncode == 0, f"python {' '.join(arguments)} failed:\n{message}"
            times.append(usage.ru_utime + usage.ru_stime)
        return sorted(times)[len(times) // 2]

    return measure

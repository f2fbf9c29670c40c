"""`import visgen` is quick, loads no torch and has no effects; the command line starts quickly too."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import visgen

HEAVY = ("torch", "torchvision", "timm", "transformers", "diffusers", "datasets", "accelerate", "numpy", "PIL")


def run(code: str, root: Path) -> str:
    """Run code in a fresh interpreter beside the package and give what it prints."""
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_costs_at_most_0_3_seconds(cpu_seconds: Callable[..., float]) -> None:
    assert cpu_seconds("-c", "import visgen") - cpu_seconds("-c", "pass") <= 0.3


def test_help_costs_at_most_1_second(cpu_seconds: Callable[..., float]) -> None:
    assert cpu_seconds("-c", "from visgen.cli import main; main()", "--help", repeat=3) <= 1.0


def test_import_loads_no_heavy_package(root: Path) -> None:
    assert run(f"import sys, visgen; print([m for m in {HEAVY!r} if m in sys.modules])", root) == "[]"


def test_pipeline_loads_no_optional_package(root: Path) -> None:
    heavy = ("transformers", "diffusers", "datasets", "pandas", "supervision", "gradio")
    code = f"import sys\nfrom visgen import pipeline\nprint([m for m in {heavy!r} if m in sys.modules])"
    assert run(code, root) == "[]"


def test_import_seeds_nothing_and_leaves_the_environment_alone(root: Path) -> None:
    code = (
        "import os, random, warnings\n"
        "before = (dict(os.environ), random.getstate(), list(warnings.filters))\n"
        "import visgen\n"
        "print(before == (dict(os.environ), random.getstate(), list(warnings.filters)))"
    )
    assert run(code, root) == "True"


def test_importing_every_part_draws_no_random_number_and_sets_no_default(root: Path) -> None:
    code = (
        "import torch, pkgutil, importlib, visgen\n"
        "state = torch.get_rng_state()\n"
        "settings = lambda: (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled(),\n"
        "    torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark)\n"
        "before = settings()\n"
        "for part in pkgutil.iter_modules(visgen.__path__):\n"
        "    if part.name != '__main__':\n"
        "        importlib.import_module('visgen.' + part.name)\n"
        "print(torch.equal(state, torch.get_rng_state()), before == settings())"
    )
    assert run(code, root) == "True True"


def test_every_public_name_loads() -> None:
    assert len(visgen.__all__) <= 12
    for name in visgen.__all__:
        assert getattr(visgen, name) is not None, name
        assert name in dir(visgen)

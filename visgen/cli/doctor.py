"""`visgen doctor`: what this machine has, what is wrong with it, and what to do."""

from __future__ import annotations

import importlib.metadata as metadata
import importlib.util
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable
from typing import Annotated, NamedTuple

import typer

from ..errors import VisgenError
from .output import JSON_OPTION, only_json, print_json, print_table

__all__ = ["Check", "doctor", "examine"]

TOGETHER = "run: pip install --force-reinstall torch torchvision (in one command, from one index)"
NEEDED = ("torch", "torchvision", "timm", "accelerate", "safetensors", "huggingface_hub", "numpy", "pillow", "scipy")
LATER = ("transformers", "diffusers", "datasets", "pycocotools", "fvcore", "pandas", "supervision", "tensorboard")


class Check(NamedTuple):
    """One finding; `state` is "ok", "note" (something optional is absent) or "fail"."""

    name: str
    state: str
    found: str
    advice: str = ""


def doctor(as_json: Annotated[bool, JSON_OPTION] = False) -> None:
    """Examine the installation and say in plain words what to do about each problem; exit code 1 when one fails."""
    with only_json(as_json):
        checks = examine()
    if as_json:
        print_json({"ok": all(c.state != "fail" for c in checks), "checks": [c._asdict() for c in checks]})
    else:
        print_table(("check", "state", "found", "what to do"), checks)
    if any(c.state == "fail" for c in checks):
        raise typer.Exit(1)


def examine() -> list[Check]:
    """Run all checks; one that breaks is itself a failed check."""
    parts: list[Callable[[], list[Check]]] = [_python, _packages, _torch, _torchvision, _video, _models]
    checks: list[Check] = []
    for part in parts:
        try:
            checks += part()
        except Exception as error:  # whatever is broken here is what the user came to learn about
            name = part.__name__.strip("_")
            found = f"{type(error).__name__}: {error}"
            checks.append(Check(name, "fail", found, "reinstall visgen in a clean environment"))
    return checks


def _version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _python() -> list[Check]:
    from .. import __version__

    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    good = sys.version_info >= (3, 11)
    return [
        Check("visgen", "ok", __version__),
        Check("python", "ok" if good else "fail", found, "" if good else "install Python 3.11 or newer"),
    ]


def _packages() -> list[Check]:
    absent = [name for name in NEEDED if _version_of(name) is None]
    rows = [f"{name} {_version_of(name)}" for name in (*NEEDED, *LATER) if _version_of(name)]
    advice = f"run: pip install {' '.join(absent)}" if absent else ""
    checks = [Check("packages", "fail" if absent else "ok", ", ".join(rows), advice)]
    without = [name for name in LATER if _version_of(name) is None]
    if without:
        found = f"absent: {', '.join(without)}"
        checks.append(Check("optional packages", "note", found, "install them when a command asks"))
    return checks


def _torch() -> list[Check]:
    import torch

    threads, cores = torch.get_num_threads(), os.cpu_count() or 1
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    devices = f"cpu, {torch.accelerator.device_count()} x {accelerator.type}" if accelerator else "cpu"
    few = threads < cores and "OMP_NUM_THREADS" not in os.environ
    advice = "set OMP_NUM_THREADS to the number of cores you want to use" if few else ""
    works = float(torch.ones(8, 8).matmul(torch.ones(8, 8)).sum()) == 512
    return [
        Check("torch computes", "ok" if works else "fail", torch.__version__, "" if works else "reinstall torch"),
        Check("devices", "ok", devices),
        Check("threads", "ok", f"{threads} of {cores} cores", advice),
    ]


def _torchvision() -> list[Check]:
    torch_version, vision_version = _version_of("torch"), _version_of("torchvision")
    name, found = "torchvision matches torch", f"torch {torch_version}, torchvision {vision_version}"
    if torch_version is None or vision_version is None:
        return [Check(name, "fail", found, TOGETHER)]
    requirements = metadata.requires("torchvision") or []
    wanted = next((r for r in requirements if re.match(r"torch\b", r)), "torch")
    try:
        import torch
        import torchvision

        torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)
    except Exception as error:  # a mismatch shows as RuntimeError, ImportError or OSError
        return [Check(name, "fail", f"{found}, which asks for {wanted}: {error}", TOGETHER)]
    return [Check(name, "ok", found)]


def _video() -> list[Check]:
    has_av = importlib.util.find_spec("av") is not None
    ffmpeg = shutil.which("ffmpeg")
    ready = Check("video", "ok", f"PyAV {_version_of('av')}")
    absent = Check("video", "note", "PyAV absent", "to read videos: pip install 'visgen[video]'")
    return [
        ready if has_av else absent,
        Check("ffmpeg", "ok", ffmpeg) if ffmpeg else Check("ffmpeg", "note", "absent", "not needed; PyAV has its own"),
    ]


def _models() -> list[Check]:
    from ..zoo import DEFAULT_MODEL, check_hash, list_models, zoo_folder

    listed, folder = list_models(), zoo_folder()
    if not listed or folder is None:
        advice = "reinstall visgen, or name a model folder or Hub id with --model"
        return [Check(f"model {DEFAULT_MODEL}", "fail", "this installation ships no model", advice)]
    checks = []
    for name, entry in listed.items():
        try:
            check_hash(folder / entry.file, entry.sha256, entry.bytes, "the index")
            checks.append(Check(f"model {name}", "ok", f"{entry.bytes / 2**20:.1f} MiB, sha256 as listed"))
        except VisgenError as error:
            checks.append(Check(f"model {name}", "fail", str(error), "reinstall visgen"))
    return checks

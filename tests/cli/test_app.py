"""Help, versions, exit codes and tracebacks; the shape that every command shares."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import visgen as package
from visgen import pipeline
from visgen.cli.output import to_json
from visgen.structures import Result

COMMANDS = (
    "predict", "evaluate", "train", "models", "doctor", "bench", "bench latency",
    "data", "data list", "data check", "data make",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(visgen: Callable[..., Any], command: str) -> None:
    result = visgen(*command.split(), "--help")
    assert result.exit_code == 0
    assert "Usage: visgen" in result.stdout
    assert len(result.stdout) > 200


def test_the_version_is_that_of_the_package(visgen: Callable[..., Any]) -> None:
    assert visgen("--version").stdout == f"visgen {package.__version__}\n"


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "no-such-photo.jpg", "--model", "{model}"),
        ("predict", "x.jpg", "--model", "no-such-model"),
        ("evaluate", "--task", "depth", "--data", "depht:x", "--model", "{model}"),
        ("evaluate", "--task", "depth", "--data", "depth:/no/such/folder", "--model", "{model}"),
        ("train", "no-such-config.yaml"),
        ("bench", "latenzy"),
        ("models", "no-such-model"),
        ("predict",),
        ("no-such-command",),
    ],
)
def test_a_users_mistake_is_exit_code_2_and_a_message(
    visgen: Callable[..., Any], model_folder: Path, words: tuple[str, ...]
) -> None:
    result = visgen(*(w.format(model=model_folder) for w in words))
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "rror" in result.stderr
    assert "Traceback" not in result.stderr


def run(entry_point: list[str], *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([*entry_point, *words], capture_output=True, text=True, env=environment)


def test_the_entry_point_hides_tracebacks_unless_debugged(entry_point: list[str]) -> None:
    plain = run(entry_point, "bench", "latenzy")
    assert plain.returncode == 2
    assert plain.stderr.startswith("error: bench 'latenzy' is not known; did you mean 'latency'? Known: latency")
    assert plain.stderr.endswith(".\n") and plain.stderr.count("\n") == 1
    debugged = run(entry_point, "bench", "latenzy", "--debug")
    assert debugged.returncode != 0
    assert "Traceback" in debugged.stderr
    assert "UnknownName: bench 'latenzy'" in debugged.stderr


def test_help_is_quick_and_imports_nothing_heavy(entry_point: list[str]) -> None:
    code = (
        "import sys, time; start = time.process_time(); sys.argv = ['visgen', '--help']\n"
        "from visgen.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = [m for m in ('torch', 'timm', 'numpy', 'PIL', 'huggingface_hub', 'yaml') if m in sys.modules]\n"
        "print(time.process_time() - start, heavy, file=sys.stderr)"
    )
    done = run([sys.executable, "-c", code])
    seconds, heavy = done.stderr.strip().split(" ", 1)
    assert heavy == "[]"
    assert float(seconds) < 1.0


def test_another_process_with_the_network_cut_gives_the_same_answer(
    entry_point: list[str], model_folder: Path, photographs: Path, tmp_path: Path
) -> None:
    cut = (
        "import socket\n"
        "def refuse(*a, **k): raise RuntimeError(f'a connection was tried: {a[:2]}')\n"
        "socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse\n"
    )
    photo, out = photographs / "a.png", tmp_path / "out"
    words = ["predict", str(photo), "--model", str(model_folder), "--out", str(out), "--json", "--device", "cpu"]
    done = run([sys.executable, "-c", cut + entry_point[-1]], *words)
    assert done.returncode == 0, done.stderr
    found = Result.from_dict(json.loads(done.stdout)[0])
    here = pipeline(model=model_folder, device="cpu")(photo)
    assert found.error is None
    assert torch.allclose(found.classification.probabilities, here.classification.probabilities, atol=1e-6)
    assert torch.allclose(found.depth.metres, here.depth.metres, atol=6e-4)  # PNG millimetres
    assert list(out.glob("*.png"))


def test_a_closed_pipe_is_no_error() -> None:
    code = (
        "from visgen.cli.output import print_json, user_errors\nimport typer\napp = typer.Typer()\n"
        "@app.command()\n@user_errors\ndef many() -> None:\n    print_json(list(range(100000)))\napp()"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout and process.stderr
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 0, errors
    assert errors == ""


def test_json_is_strict() -> None:
    value = {"a": float("nan"), "b": [1.5, float("inf")], 3: ("x", None, True)}
    assert json.loads(to_json(value)) == {"a": None, "b": [1.5, None], "3": ["x", None, True]}


def test_a_module_outside_the_package_brings_formats_to_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from visgen.data import READERS, build_source\n"
        "@READERS.register('mine')\n"
        "def read_mine(path, split, **options):\n"
        "    return build_source(f'town:street?size=32x32&count={path}', split, **options)\n"
        "if __name__ == '__main__':\n"
        "    from visgen.cli import main\n"
        "    main()\n",
        encoding="utf-8",
    )
    words = [sys.executable, "mine.py", "data", "check", "mine:2", "--json"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["splits"]["train"]["samples"] == 2

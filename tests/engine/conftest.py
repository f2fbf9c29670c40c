"""The small real run that the engine's tests share, and processes to run and kill it in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

TOY = Path(__file__).with_name("_toy_run.py")


@pytest.fixture(scope="session")
def toy() -> ModuleType:
    """The module `_toy_run.py` beside this file, which tests also start as a script."""
    if "visgen_toy_run" not in sys.modules:
        spec = spec_from_file_location("visgen_toy_run", TOY)
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        sys.modules["visgen_toy_run"] = module
        spec.loader.exec_module(module)
    return sys.modules["visgen_toy_run"]


class Runs:
    """Starts runs in processes of their own, which can be killed; one import of torch serves them all."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TOY.parents[2])}
        self.server = subprocess.Popen(
            [sys.executable, str(TOY)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, out: Path, **arguments: object) -> int:
        """Start a run with the arguments of `make_trainer`; gives the id of its process."""
        return self.send({"out": str(out), **arguments})

    def send(self, arguments: dict) -> int:
        """Start a process with arguments as the script takes them."""
        assert self.server.stdin is not None and self.server.stdout is not None
        self.server.stdin.write(json.dumps(arguments) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def is_alive(self, process: int) -> bool:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
        return True

    def kill(self, process: int) -> None:
        os.kill(process, signal.SIGKILL)
        self.wait(process)

    def wait(self, process: int, seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while self.is_alive(process):
            assert time.monotonic() < end, f"the run did not end in {seconds} s"
            time.sleep(0.002)


@pytest.fixture(scope="session")
def runs() -> Iterator[Runs]:
    """Processes to train in; see Runs."""
    runs = Runs()
    yield runs
    assert runs.server.stdin is not None and runs.server.stdout is not None
    runs.server.stdin.close()  # which ends the server
    runs.server.wait(timeout=60)
    runs.server.stdout.close()

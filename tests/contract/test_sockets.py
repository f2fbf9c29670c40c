"""Nothing calls out: import, prediction with the shipped model and evaluation all pass with the network cut."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

# Runs before anything else in the child process: every name lookup and every connection raises.
CUT = """
import socket
class Cut(Exception): ...
def refuse(*args, **kwargs):
    raise Cut(f"a connection was tried: {args[:2]}")
socket.socket.connect = socket.socket.connect_ex = refuse
socket.getaddrinfo = socket.gethostbyname = socket.create_connection = refuse
"""


def run_without_network(code: str, cwd: Path) -> str:
    """Run code in a child process in which no socket connects; give its standard output."""
    done = subprocess.run([sys.executable, "-c", CUT + code], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_cut_works(root: Path) -> None:
    code = (
        "import urllib.request\n"
        "try:\n    urllib.request.urlopen('http://127.0.0.1:9')\n"
        "except Cut as error:\n    print('refused')"
    )
    assert run_without_network(code, root).strip() == "refused"


def test_import_and_listing_models_need_no_network(root: Path) -> None:
    code = "import visgen, json\nprint(json.dumps([str(m) for m in visgen.list_models()]))"
    assert len(json.loads(run_without_network(code, root))) >= 1


def test_the_shipped_model_predicts_without_a_network(root: Path) -> None:
    code = (
        "import visgen, json\n"
        "from visgen.shipped import shipped_path\n"
        "photo = sorted(shipped_path('data/samples').glob('*.jpg'))[0]\n"
        "print(visgen.pipeline()(str(photo)).to_json())"
    )
    result = json.loads(run_without_network(code, root).splitlines()[-1])
    assert result["error"] is None
    assert {"classification", "segmentation", "depth"} <= {k for k, v in result.items() if v}

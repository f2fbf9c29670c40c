"""Nothing calls out: import, prediction, training and evaluation all pass with the network cut."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

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


def test_training_evaluation_and_an_instruction_need_no_network(root: Path, tmp_path: Path) -> None:
    """Two steps on six drawn streets, then the figures of the model, then a sentence."""
    data = tmp_path / "street"
    for sub in ("images", "semantic"):
        (data / sub).mkdir(parents=True)
    (data / "classes.txt").write_text("sky\nroad\n")
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        stems = [f"{split}{i}" for i in range(3)]
        (data / f"{split}.txt").write_text("\n".join(stems) + "\n")
        for stem in stems:
            Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(data / "images" / f"{stem}.png")
            Image.fromarray(np.repeat([[0], [1]], 24, 0).repeat(64, 1).astype(np.uint8)).save(
                data / "semantic" / f"{stem}.png"
            )
    part = {"source": f"semantic:{data}", "batch_size": 2}
    options = {"width": 32, "depth": 2, "heads": 2, "num_experts": 4, "top_k": 2, "attention_experts": 4}
    config = {
        "out": str(tmp_path / "run"),
        "model": {"backbone": "vit_moe", "options": options, "max_side": 64},
        "data": {"train": {"street": part}, "val": {"street": {**part, "batch_size": 1}}},
        "train": {"steps": 2, "eval_every": 0, "workers": 0, "device": "cpu", "progress": "none"},
    }
    (tmp_path / "run.yaml").write_text(json.dumps(config))  # JSON is YAML
    model, photo = tmp_path / "run" / "last", data / "images" / "val0.png"
    commands = [
        ["train", str(tmp_path / "run.yaml"), "--json"],
        ["evaluate", "--task", "segmentation", "--data", f"semantic:{data}", "--model", str(model), "--json"],
        ["predict", str(photo), "--model", str(model), "--do", "segment the road", "--json"],
    ]
    code = (
        f"from visgen.cli import app\nfor words in {commands!r}:\n    app(words, standalone_mode=False)\n    print('#')"
    )
    trained, figures, answers = run_without_network(code, root).split("#\n")[:3]
    assert json.loads(trained)["steps"] == 2
    assert 0 <= json.loads(figures)["metrics"]["mIoU"] <= 1
    assert json.loads(answers)[0]["request"]["heads"] == [["segmentation.street"]]

"""The bench of the instruction model, and `visgen predict` on its path, with a small random model."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from visgen.cli.app import app
from visgen.diffusion import TinyConfig, build_tiny
from visgen.zoo import save_instruct


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    sizes = TinyConfig(size=32, vae_widths=(8, 8), vae_groups=4, unet_widths=(8, 8), unet_groups=4, text_width=8,
                       text_layers=1, text_heads=2, tokens=40, vocabulary=600)  # fmt: skip
    model = build_tiny(["segment the cat", "how far is everything"], sizes).eval()
    model.config = replace(model.config, classes={"segmentation": ("cat",)}, codec={"near": 0.5, "far": 20.0})
    return save_instruct(model, tmp_path_factory.mktemp("zoo") / "instruct")


def test_the_bench_prints_rows_and_writes_a_record(folder, tmp_path):
    record = tmp_path / "bench.json"
    words = ["bench", "instruct", "--model", str(folder), "--threads", "1", "--repeats", "1", "--json"]
    done = CliRunner().invoke(app, [*words, "--record", str(record)])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["bench"] == "instruct" and len(report["rows"]) == 3 and report["rows"][0]["ratio"] == 1.0
    assert json.loads(record.read_text())["metrics"]["a question in one step"]["median_ms"] > 0


def test_predict_draws_and_refuses_steps_elsewhere(folder, tmp_path):
    photo = tmp_path / "photo.png"
    Image.fromarray(np.zeros((40, 50, 3), dtype=np.uint8)).save(photo)
    words = ["predict", str(photo), "--do", "segment the cat", "--model", str(folder), "--json"]
    done = CliRunner().invoke(app, [*words, "--path", "diffusion", "--seed", "3", "--steps", "2"])
    assert done.exit_code == 0, done.output
    (result,) = json.loads(done.stdout)
    assert result["path"] == "diffusion" and result["request"]["drawn"][0]["steps"] == 2
    refused = CliRunner().invoke(app, [*words, "--steps", "2", "--path", "moe"])
    assert refused.exit_code == 2 and "draws nothing" in refused.output


def test_both_paths_show_how_far_they_agree(folder, tmp_path):
    photo = tmp_path / "photo.png"
    Image.fromarray(np.zeros((64, 64, 3), dtype=np.uint8)).save(photo)
    words = ["predict", str(photo), "--do", "how far is everything?", "--path", "both", "--instruct", str(folder)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0 and "agree" in done.output and "%" in done.output, done.output

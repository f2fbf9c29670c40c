"""An instruction model through its three stages, tiny, and every shipped run file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from visgen.diffusion import InstructDiffusion
from visgen.engine.instruct import load_instruct_run, make_cache, new_model, train_denoiser, train_vae
from visgen.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "configs" / "instruct").glob("*.yaml"))
RUN = """
out: {out}
model: {{size: 32, vae_widths: [8, 8], vae_groups: 4, unet_widths: [8, 8], unet_groups: 4, text_width: 8,
  text_layers: 1,  text_heads: 2, tokens: 24, vocabulary: 600}}
codec: {{near: 0.4, far: 65.0}}
parts:
  room: {{source: "town:room?size=32x32&count=4", options: {{tasks: "segmentation,depth"}}, vae: 4,
    queries: {{counts: {{segmentation: 1, depth: 1}}}}, transforms: [{{name: horizontal_flip}}], copies: 2}}
vae: {{batch_size: 2, train: {{steps: 3, workers: 0, progress: none}}}}
denoiser: {{batch_size: 4, train: {{steps: 4, workers: 0, progress: none, ema_decay: 0.9, save_every: 2}}}}
"""


@pytest.fixture
def run(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(RUN.format(out=tmp_path / "out"), encoding="utf-8")
    return load_instruct_run(file)


def test_three_stages_give_a_model_and_a_resumed_run_is_the_same(run, tmp_path):
    with pytest.raises(ConfigError, match="train the VAE of this run first"):
        new_model(run)
    assert train_vae(run).finished
    model = new_model(run, ["segmentation wall", "depth"])
    with torch.no_grad():
        latents = model.encode_target(torch.rand(4, 3, 32, 32) * 2 - 1)
    assert 0.1 < float(latents.std()) < 10
    counts = make_cache(run, model)
    assert counts["room"] >= 10 and make_cache(run, model) == counts
    assert train_denoiser(run).steps == 4
    last = InstructDiffusion.from_pretrained(Path(run.out) / "denoiser" / "last")
    pictures = torch.zeros(1, 3, 32, 32)
    expected = last.answer(pictures, ["depth"])

    assert last.config.classes["segmentation"] and last.config.codec["far"] == 65.0
    with pytest.raises(ConfigError, match="already holds the checkpoints"):
        train_denoiser(replace(run, seed=run.seed + 1))
    assert load_instruct_run(Path(run.out) / "denoiser" / "config.yaml").seed == run.seed  # the refused one left it
    other = replace(run, denoiser=replace(run.denoiser, train=replace(run.denoiser.train, steps=6)))
    assert train_denoiser(other, resume=True).steps == 6
    resumed = InstructDiffusion.from_pretrained(Path(run.out) / "denoiser" / "last")
    assert not torch.equal(resumed.answer(pictures, ["depth"]), expected)
    further = replace(run, name="denoiser-2", weights=str(Path(run.out) / "denoiser" / "last"))
    assert train_denoiser(further).out.endswith("denoiser-2")
    assert expected.shape == (1, 3, 32, 32)


def test_there_are_run_files():
    assert CONFIGS, "no YAML under configs/instruct"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_run_file_is_read_and_opens_with_its_command(path, tmp_path):
    run = load_instruct_run(path, data_root=tmp_path)
    assert run.settings().far > run.settings().near
    for part in run.parts.values():
        part.questions()
    opening = path.read_text(encoding="utf-8").splitlines()[:15]
    assert any("tasks/instruct/train.py" in line for line in opening if line.startswith("#"))

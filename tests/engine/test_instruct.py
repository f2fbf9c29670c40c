"""An instruction model through its three stages, tiny, and every shipped run file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from visgen.diffusion import InstructDiffusion, TinyConfig, build_tiny
from visgen.engine.instruct import UPDATES_FILE, load_instruct_run, make_cache, new_model, train_denoiser, train_vae
from visgen.errors import CheckpointError, ConfigError
from visgen.nn.low_rank import fold_updates
from visgen.options import build_options

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
denoiser: {{batch_size: 4, optim: {{schedule: constant, warmup_steps: 0}},
  train: {{steps: 4, workers: 0, progress: none, ema_decay: 0.9, save_every: 2}}}}
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
    torch.manual_seed(9)  # what was drawn before plays no part
    train_denoiser(replace(other, name="straight"))
    straight = InstructDiffusion.from_pretrained(Path(run.out) / "straight" / "last").state_dict()
    assert all(torch.equal(value, straight[name]) for name, value in resumed.state_dict().items())
    further = replace(run, name="denoiser-2", weights=str(Path(run.out) / "denoiser" / "last"))
    assert train_denoiser(further).out.endswith("denoiser-2")
    assert expected.shape == (1, 3, 32, 32)


def test_latents_that_do_not_go_with_a_run_are_refused(run):
    train_vae(run)
    make_cache(run, new_model(run))
    far, part = replace(run, codec={"near": 0.4, "far": 20.0}), run.parts["room"]
    for other in (far, replace(run, parts={"room": replace(part, copies=3)})):
        with pytest.raises(ConfigError, match="cache/room' were made with other .* then, .* now; delete that folder"):
            make_cache(other, new_model(other))
    with pytest.raises(ConfigError, match="'far': 65.0.* then, .*'far': 20.0.* now"):
        train_denoiser(far)
    assert not (Path(run.out) / "denoiser" / "start").exists()
    make_cache(replace(run, seed=7, parts={"room": replace(part, weight=2.0, vae=2)}), new_model(run))
    optim, train = replace(run.vae.optim, lr=0.02, warmup_steps=0), replace(run.vae.train, steps=6)
    train_vae(replace(run, vae=replace(run.vae, optim=optim, train=train)), resume=True)
    with pytest.raises(ConfigError, match="cache/room' were made with another VAE"):
        train_denoiser(run)
    weights = next((Path(run.out) / "vae" / "autoencoder").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="the VAE in .* cannot be loaded: .* --stage vae --resume"):
        new_model(run)


def test_a_run_that_goes_on_teaches_the_classes_of_its_own_questions_too(run):
    train_vae(run)
    make_cache(run, new_model(run))
    train_denoiser(run)
    street = replace(run.parts["room"], source="town:street?size=32x32&count=4")
    weights = str(Path(run.out) / "denoiser" / "last")
    second = replace(run, parts={**run.parts, "street": street}, name="on", weights=weights)
    make_cache(second, new_model(second))
    train_denoiser(second)
    before, after = (InstructDiffusion.from_pretrained(Path(run.out) / n / "last").config for n in ("denoiser", "on"))
    known, taught = before.classes["segmentation"], after.classes["segmentation"]
    assert "road" not in known and "road" in taught and taught[: len(known)] == known
    (Path(run.out) / "cache" / "room" / "made.json").unlink()  # latents of before do not tell
    with pytest.raises(ConfigError, match="codec is .*'near': 0.3.* but the model .* draws with .*'near': 0.4"):
        train_denoiser(replace(run, codec={"near": 0.3, "far": 65.0}, name="un", weights=weights))


def test_low_rank_updates_follow_the_seed_of_the_run_with_and_without_checkpointing(run):
    train_vae(run)
    make_cache(run, new_model(run))
    weights = []
    for number, changes in enumerate([{}, {}, {"checkpointing": True}, {"seed": 1}]):
        torch.manual_seed(number)
        mine, model = replace(run, lora=2, name=f"lora-{number}", **changes), new_model(run)
        train_denoiser(mine, model)
        assert model.unet.is_gradient_checkpointing == mine.checkpointing
        weights.append(InstructDiffusion.from_pretrained(Path(run.out) / mine.name / "last").unet.state_dict())
    same = [all(torch.equal(value, weights[0][name]) for name, value in other.items()) for other in weights[1:]]
    assert same == [True, True, False]


def test_updates_are_kept_beside_the_model_that_they_are_in(run, tmp_path):
    train_vae(run)
    make_cache(run, new_model(run))
    train_denoiser(run)
    first = Path(run.out) / "denoiser" / "last"
    with pytest.raises(ConfigError, match="updates is 2; it takes weights"):
        replace(run, updates=2)
    further = replace(run, name="further", weights=str(first), updates=2)
    train_denoiser(further)
    longer = replace(further, denoiser=replace(run.denoiser, train=replace(run.denoiser.train, steps=6)))
    assert train_denoiser(longer, resume=True).steps == 6
    train_denoiser(replace(longer, name="straight"))
    last, straight = (Path(run.out) / name / "last" for name in ("further", "straight"))
    before = InstructDiffusion.from_pretrained(first).state_dict()
    after = InstructDiffusion.from_pretrained(last).state_dict()
    again = InstructDiffusion.from_pretrained(straight).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in after.items())
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    updates = load_file(last / UPDATES_FILE)
    assert changed and not any(name.startswith("vae.") for name in changed)
    assert {name.removesuffix(".up").removesuffix(".down") for name in updates} >= changed
    folded = fold_updates({**before, **updates})
    assert all(torch.allclose(folded[name], value, atol=1e-6) for name, value in after.items())


def test_the_run_says_what_side_a_model_to_start_from_gets(run, tmp_path):
    build_tiny(["a"], build_options(TinyConfig, run.model, "model")).save_pretrained(tmp_path / "start")
    start = replace(run, start=str(tmp_path / "start"), model={})
    assert new_model(start).config.size == 32 and new_model(replace(start, size=64)).config.size == 64
    with pytest.raises(ConfigError, match="size is 63; .* multiple of 2"):
        new_model(replace(start, size=63))
    with pytest.raises(ConfigError, match="model is {'size': 64}, but the networks come from start"):
        replace(start, model={"size": 64})
    with pytest.raises(ConfigError, match="size is 64, but a model that starts from nothing is described by model"):
        replace(run, size=64)


def test_there_are_run_files():
    assert CONFIGS, "no YAML under configs/instruct"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_run_file_is_read_and_opens_with_its_command(path, tmp_path):
    run = load_instruct_run(path, data_root=tmp_path)
    assert run.settings().far > run.settings().near
    for part in run.parts.values():
        part.questions()
    if run.start is not None:
        assert f"?size={run.size}x{run.size}&" in run.parts["town"].source
    opening = path.read_text(encoding="utf-8").splitlines()[:15]
    assert any("tasks/instruct/train.py" in line for line in opening if line.startswith("#"))

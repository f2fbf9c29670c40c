"""A fine-tuning run: what it announces, proves, saves and reloads, in every mode."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from visgen.config import ObjectiveConfig, OptimConfig, RunConfig, from_mapping, to_mapping
from visgen.errors import ConfigError
from visgen.experts import FrozenPartMoved, finetune, tensor_hashes
from visgen.experts.finetune import plain_copy
from visgen.experts.objective import FinetuneObjective
from visgen.task import MultiTaskModel
from visgen.zoo import from_pretrained, save_pretrained

MODES = ["head", "router", "top:2", "bottom:2", "new:1", "1,4", "lora:2", "full"]
Make = Callable[..., RunConfig]
HEAD = "classification.shapes"
ANSWER = """
import sys, torch
from visgen.zoo import from_pretrained
from safetensors.torch import save_file
torch.set_num_threads(1)
images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))
out = {}
for folder in sys.argv[2:]:
    model = from_pretrained(folder)
    for head in model.specs:
        with torch.no_grad():
            out[folder.split("/")[-2] + "|" + head] = model(images, head)[0]
save_file(out, sys.argv[1])
"""


def logits(model: MultiTaskModel, head: str) -> torch.Tensor:
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return model.eval()(images, head)[0]


def test_each_mode_saves_a_model_that_answers_alike_in_a_new_process(
    model: MultiTaskModel, make_run: Make, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    wanted, folders = {}, []
    before = tensor_hashes(model)
    for mode in MODES:
        exported: list[MultiTaskModel] = []

        def export(tuned: MultiTaskModel, path: Path, kept: list[MultiTaskModel] = exported) -> None:
            kept.append(tuned)
            save_pretrained(tuned, path)

        report = finetune(model, make_run(mode, mode.replace(":", "_")), export=export)
        assert report.movement.frozen > 0 or mode == "full"
        assert "head" in report.trainable.names and report.summary.metrics.keys() == {"shapes/top1"}
        folder = Path(report.summary.out) / "last"
        folders.append(str(folder))
        assert list(exported[-1].specs) == [HEAD] and len(exported[-1].backbone.tasks) == 1
        wanted[f"{folder.parent.name}|{HEAD}"] = logits(exported[-1], HEAD)
        told = json.loads((folder.parent / "finetune.json").read_text())
        assert told["experts"] == mode and told["trained"] == report.trainable.trained
        assert set(told["movement"]["moved"]) | set(told["movement"]["unmoved"]) >= set(report.trainable.all_names)
    assert tensor_hashes(model) == before, "the model that they start from is not changed"
    subprocess.run([sys.executable, "-c", ANSWER, str(tmp_path / "answers"), *folders], check=True)
    found = load_file(tmp_path / "answers")
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name


def test_a_kept_head_answers_alike_where_the_report_says_so(model: MultiTaskModel, make_run: Make) -> None:
    olds = {head: logits(model, head) for head in model.specs}
    for mode, is_exact in (("head", True), ("router", True), ("new:2", True), ("top:2", False), ("lora:2", False)):
        kept: list[MultiTaskModel] = []
        run = make_run(mode, f"kept-{mode.replace(':', '_')}", keep_heads=True)
        report = finetune(model, run, export=lambda tuned, path, kept=kept: kept.append(tuned))
        assert set(kept[-1].specs) == {*olds, HEAD}
        assert set(report.untouched) == (set(olds) if is_exact else set()), mode
        assert set(report.changed) == (set() if is_exact else set(olds)), mode
        for head, old in olds.items():
            assert torch.equal(logits(kept[-1], head), old) == is_exact, (mode, head)


def test_the_head_learns(model: MultiTaskModel, make_run: Make) -> None:
    report = finetune(model, make_run("router", train_steps=30))
    assert report.summary.metrics["shapes/top1"] == 1.0


def test_two_phases_choose_by_the_usage_that_was_learnt(model: MultiTaskModel, make_run: Make) -> None:
    report = finetune(model, make_run("top:1", router_steps=4, train_steps=7))
    out = Path(report.summary.out)
    assert report.summary.steps == 3 and report.to_dict()["router_steps"] == 4
    assert (out / "router" / "checkpoints" / "step-000000004").is_dir()
    for layer, shares in report.usage.items():
        assert report.trainable.experts[layer] == (max(range(6), key=lambda e: (shares[e], -e)),)
        assert sum(shares) == pytest.approx(2)
    first = json.loads((out / "finetune.json").read_text())
    again = finetune(model, make_run("top:1", router_steps=4, train_steps=7), resume=True)
    assert again.trainable == report.trainable and again.movement == report.movement
    assert first["metrics"] == again.to_dict()["metrics"]
    assert from_mapping(RunConfig, to_mapping(make_run("top:1", router_steps=4, train_steps=7))).finetune is not None


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(model: MultiTaskModel, make_run: Make) -> None:
    whole, parts = [], []
    finetune(model, make_run("top:2", "whole", train_steps=6), export=lambda m, p: whole.append(tensor_hashes(m)))
    options = {"train_steps": 6, "train_save_every": 2}
    stopped = make_run("top:2", "parts", **options, train_time_limit=1e-9)
    first = finetune(model, stopped, export=lambda m, p: parts.append(tensor_hashes(m)))
    assert not first.summary.finished and first.summary.steps < 6
    with pytest.warns(UserWarning, match=r"other settings than before \(train\.time_limit"):
        going = make_run("top:2", "parts", **options)
        finetune(model, going, resume=True, export=lambda m, p: parts.append(tensor_hashes(m)))
    assert parts[-1] == whole[-1]


def test_the_cache_of_the_prefix_changes_nothing_and_is_used(model: MultiTaskModel, make_run: Make) -> None:
    found = {}
    for name, size in (("without", 0), ("with", 64)):
        kept: list[dict[str, str]] = []
        run = make_run("top:2", name, cache_mb=size, train_steps=9)
        report = finetune(model, run, export=lambda m, p, kept=kept: kept.append(tensor_hashes(m)))
        found[name] = (kept[-1], report)
    # sixteen training pictures and eight for the figures, once each; the first batches were read for usage too
    assert found["without"][1].cache == {} and found["with"][1].cache["misses"] == 24
    assert found["with"][1].cache["hits"] >= 2 * 4 + 9 * 4 - 16
    assert found["with"][0] == found["without"][0], "prefixes of one picture are the same in any batch here"


def test_a_frozen_tensor_that_moves_ends_the_run_without_a_model(
    model: MultiTaskModel, make_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(self: FinetuneObjective, step: int) -> None:
        with torch.no_grad():
            self.model.backbone.norm.weight.mul_(1 + 1e-6)

    monkeypatch.setattr(FinetuneObjective, "after_step", spoil)
    exported: list[Path] = []
    with pytest.raises(FrozenPartMoved, match=r"changed 1 tensors that were announced as .*: backbone\.norm\.weight"):
        finetune(model, make_run("top:2"), export=lambda tuned, path: exported.append(path))
    assert exported == []


def test_mistakes_are_named(model: MultiTaskModel, make_run: Make) -> None:
    with pytest.raises(ConfigError, match=r"7 experts are to train but layer blocks\.2\.attn has 6"):
        finetune(model, make_run("top:7"))
    with pytest.raises(ConfigError, match=r"finetune\.router_steps is 3 of train\.steps 3"):
        make_run("top:1", router_steps=3)
    with pytest.raises(ConfigError, match=r"finetune\.cache_mb is set but a part of the prefix trains"):
        finetune(model, make_run("full", cache_mb=1))
    with pytest.raises(ConfigError, match="this run has no part `finetune`"):
        finetune(model, RunConfig())
    named = replace(make_run("head"), objective=ObjectiveConfig(name="gan"))
    with pytest.raises(ConfigError, match=r"objective\.name is 'gan' beside finetune\.model 'tiny'"):
        finetune(model, named)
    only = replace(make_run("full"), optim=OptimConfig(only=("heads",)))
    with pytest.raises(ConfigError, match=r"optim\.only is \['heads'\] beside finetune\.experts 'full'"):
        finetune(model, only)
    both = to_mapping(make_run("head"))
    both["model"]["weights"] = "a.safetensors"
    with pytest.raises(ConfigError, match=r"model\.options or model\.weights stand beside finetune\.model 'tiny'"):
        from_mapping(RunConfig, both)
    with pytest.raises(ConfigError, match=r"finetune\.model is empty"):
        make_run("head", model="")


def test_a_plain_copy_is_whole_and_equal(model: MultiTaskModel) -> None:
    wanted = {head: logits(model, head) for head in model.specs}
    structure = {n: p.shape for n, p in model.named_parameters()}
    model.backbone.banks["blocks.3.mlp"].split([1, 4])
    assert len(dict(model.named_parameters())) > len(structure)
    plain = plain_copy(model)
    assert {n: p.shape for n, p in plain.named_parameters()} == structure
    assert all(torch.equal(logits(plain, head), value) for head, value in wanted.items())
    assert isinstance(plain, nn.Module) and all(p.requires_grad for p in plain.parameters())


def test_the_saved_model_names_its_head_and_answers_in_a_pipeline(
    model: MultiTaskModel, make_run: Make, shapes: Path
) -> None:
    from visgen import pipeline

    report = finetune(model, make_run("top:1", train_steps=20), export=save_pretrained)
    folder = Path(report.summary.out) / "last"
    result = pipeline("classification", folder, device="cpu")(shapes / "val" / "red" / "0.png")
    assert result.classification.classes == ("blue", "red")
    assert from_pretrained(folder).max_side == 32

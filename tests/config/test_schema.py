"""The run file: defaults that hold together, and values that cannot be run."""

from __future__ import annotations

from pathlib import Path

import pytest

from visgen.config import RunConfig, from_mapping, load_run, to_mapping
from visgen.errors import ConfigError

EXAMPLE = """
seed: 3
out: runs/example
model:
  backbone: vit_moe
  options: {width: 48}
  heads: {segmentation.camvid: {options: {width: 32}}}
data:
  train:
    camvid: {source: "semantic:${data_root}/camvid", batch_size: 4, transforms: [{name: horizontal_flip}]}
  val:
    camvid: {source: "semantic:${data_root}/camvid", max_side: 320}
objective:
  class_weights: {segmentation.camvid: auto}
optim: {lr: 1e-3, lr_scales: {backbone.stem: 0.1}}
train: {steps: 10, best_metric: camvid/mIoU, patience: 3}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(EXAMPLE)
    return path


def test_a_run_file_is_read(file: Path) -> None:
    run = load_run(file, ["train.steps=20"], "/data")
    assert run.train.steps == 20 and run.seed == 3 and run.out == "runs/example"
    assert run.data.train["camvid"].source == "semantic:/data/camvid"
    assert run.model.heads["segmentation.camvid"].options == {"width": 32}
    assert run.optim.lr_scales == {"backbone.stem": 0.1} and run.train.best_metric == "camvid/mIoU"
    assert from_mapping(RunConfig, to_mapping(run)) == run


def test_the_defaults_are_a_valid_run() -> None:
    assert from_mapping(RunConfig, {}) == RunConfig()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.lr=0", "optim.lr is 0.0; it must be greater than 0"),
        ("optim.lr=.inf", "optim.lr is inf; it must be greater than 0, and finite"),
        ("optim.lr=.nan", "optim.lr is nan; it must be greater than 0"),
        ("optim.weight_decay=-1", "optim.weight_decay is -1.0; it must be 0 or more"),
        ("optim.min_lr_ratio=2", "optim.min_lr_ratio is 2.0; it is a share of optim.lr, use 0..1"),
        ("optim.betas=[0.9, 1.0]", r"optim.betas is \[0.9, 1.0\]; both must lie in \[0, 1\)"),
        ("optim.clip_norm=0", "optim.clip_norm is 0.0; it must be greater than 0"),
        ("objective.loss_weights={depth: -1}", "objective.loss_weights.depth is -1.0; it must be 0 or more"),
        ("seed=99999999999999999999999", r"seed is 9+; it must be from 0 to 2\^63 - 1"),
        ("optim.lr_scales.backbone.stem=-1", "optim.lr_scales.backbone.stem is -1.0; it must be 0 or more"),
        ("optim.schedule=cosin", r"optim.schedule is 'cosin'; did you mean 'cosine'\?"),
        ("train.steps=0", "train.steps is 0; it must be greater than 0"),
        ("train.keep=0", "train.keep is 0; it must be greater than 0"),
        ("train.workers=-1", "train.workers is -1; it must be 0 or more"),
        ("train.ema_decay=1.0", r"train.ema_decay is 1.0; use \[0, 1\), or null"),
        ("train.time_limit=0", "train.time_limit is 0.0; it must be greater than 0"),
        ("train.precision=fp16", r"train.precision is 'fp16'; did you mean 'bf16'\? .*'fp32', 'bf16'"),
        ("train.best_metric=null", "train.patience is 3 but train.best_metric is not set"),
        ("train.best_metric=camvit/mIoU", r"data.val has no part 'camvit'; did you mean 'camvid'\?"),
        ("data.mode=per_task", "data.mode is 'per_task'.* It must be one of 'round_robin', 'per_rank', 'same_task'"),
        ("data.train.camvid.batch_size=0", "part 'semantic:/data/camvid'.batch_size is 0; it must be greater than 0"),
        ("data.train.camvid.transform=[]", r"unknown key 'data.train.camvid.transform'; did you mean 'transforms'\?"),
        ("model.max_side=0", "model.max_side is 0; it must be greater than 0"),
    ],
)
def test_a_value_that_cannot_be_run_is_told(file: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_run(file, [override], "/data")


def test_the_data_folder_is_asked_for(file: Path) -> None:
    with pytest.raises(ConfigError, match="camvid.source is .* but data_root has no value; give it with --data-root"):
        load_run(file)

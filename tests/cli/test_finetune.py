"""`visgen finetune`: what it prints, what it leaves, and a run file with the same part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from visgen import pipeline
from visgen.zoo import load_model


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of one colour each."""
    root, rng = tmp_path_factory.mktemp("colours"), np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 3)):
        for k, name in enumerate(("red", "blue")):
            folder = root / "colours" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.normal(60 + 120 * np.eye(3)[2 * k], 8, (40, 40, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return root / "colours"


def words(model: Path, data: Path, out: Path, *more: object) -> list[object]:
    quick = ("--steps", "2", "--batch-size", "4", "--size", "32", "--out", out)
    return ["finetune", model, "--data", f"imagefolder:{data}", *quick, *more]


def test_it_prints_what_trains_and_leaves_a_model(
    visgen: Callable[..., Any], model_folder: Path, colours: Path, tmp_path: Path
) -> None:
    done = visgen(*words(model_folder, colours, tmp_path / "a", "--experts", "top:1", "--cache", "32"))
    assert done.exit_code == 0, done.output
    for text in ("experts top:1", "head", "router", "bit for bit as before", "blocks.1.mlp"):
        assert text in done.output
    model = load_model(tmp_path / "a" / "last", "cpu")
    config = yaml.safe_load((tmp_path / "a" / "config.yaml").read_text())
    assert config["data"]["val"]["val"]["max_side"] == 32  # measured at the size at which the model answers
    assert list(model.specs) == ["classification.colours"] and (model.max_side, model.min_side) == (32, 32)
    result = pipeline("classification", tmp_path / "a" / "last", device="cpu")(colours / "val" / "red" / "0.png")
    assert result.classification.classes == ("blue", "red")


def test_experts_by_usage_go_with_a_metric_that_chooses_the_best(
    visgen: Callable[..., Any], model_folder: Path, colours: Path, tmp_path: Path
) -> None:
    more = ("--experts", "top:1", "--set", "train.best_metric=val/top1", "--set", "train.eval_every=1")
    done = visgen(*words(model_folder, colours, tmp_path / "best", *more))
    assert done.exit_code == 0, done.output
    assert (tmp_path / "best" / "best").is_dir()


def test_json_alone_and_kept_heads(
    visgen_json: Callable[..., Any], model_folder: Path, colours: Path, tmp_path: Path
) -> None:
    more = ("--experts", "new:1", "--keep-heads", "--set", "optim.weight_decay=0.2")
    found = visgen_json(*words(model_folder, colours, tmp_path / "b", *more))
    assert found["experts"] == "new:1" and found["trained"] == sum(found["parameters"].values()) < found["total"]
    assert found["movement"]["unmoved"] == [] and found["movement"]["frozen"] > 0
    assert set(found["untouched"]) == {"classification", "segmentation.street", "segmentation.pets", "depth"}
    assert yaml.safe_load((tmp_path / "b" / "config.yaml").read_text())["optim"]["weight_decay"] == 0.2


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--experts", "top:0"), "selects no expert at all"),
        (("--experts", "top:9"), "9 experts are to train but layer blocks.0.attn has 4"),
        (("--experts", "botom:1"), "did you mean 'bottom'?"),
        (("--task", "depth"), "--task is 'depth' but the data have labels for classification"),
        (("--experts", "full", "--cache", "8"), "a part of the prefix trains"),
        (("--set", "optim.lrr=1"), "unknown key 'optim.lrr'"),
    ],
)
def test_mistakes_end_with_code_two(
    visgen: Callable[..., Any], model_folder: Path, colours: Path, tmp_path: Path, more: tuple[str, ...], message: str
) -> None:
    done = visgen(*words(model_folder, colours, tmp_path / "c", *more))
    assert done.exit_code == 2 and message in " ".join(done.output.split())


def test_one_file_is_not_taken_for_training_and_evaluation(
    visgen: Callable[..., Any], model_folder: Path, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "all.npz", images=pixels, labels=np.arange(8) % 2, classes=np.array(["a", "b"]))
    quick = ("--experts", "head", "--steps", "1", "--batch-size", "2", "--size", "32")
    words = ["finetune", model_folder, "--data", f"npz:{tmp_path / 'all.npz'}", *quick, "--out", tmp_path / "e"]
    done = visgen(*words)
    assert done.exit_code == 2 and not (tmp_path / "e").exists()
    assert "for its parts 'train' and 'val', but it is one file, which gives the same" in " ".join(done.output.split())
    for more in (("--val-split", "train"), ("--option", "val_share=0.5"), ("--set", "data.val.val=null")):
        assert visgen(*words, *more, "--set", f"out={tmp_path / more[1]}").exit_code == 0


def test_a_split_that_is_not_there_is_told_before_the_first_phase(
    visgen: Callable[..., Any], model_folder: Path, colours: Path, tmp_path: Path
) -> None:
    done = visgen(*words(model_folder, colours, tmp_path / "f", "--router-steps", "1", "--val-split", "vall"))
    assert done.exit_code == 2 and "vall" in done.output and not (tmp_path / "f").exists()


def test_a_run_file_with_the_part_goes_through_train(
    visgen: Callable[..., Any], visgen_json: Callable[..., Any], model_folder: Path, colours: Path, tmp_path: Path
) -> None:
    run = {
        "finetune": {"model": str(model_folder), "experts": "router"},
        "model": {"max_side": 32, "min_side": 32},
        "data": {
            "train": {"c": {"source": f"imagefolder:{colours}", "shrink": [{"name": "resize", "size": 32}]}},
            "val": {"c": {"source": f"imagefolder:{colours}"}},
        },
        "train": {"steps": 2, "workers": 0, "device": "cpu"},
        "out": str(tmp_path / "d"),
    }
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(run))
    dry = visgen("train", file, "--dry-run")
    assert dry.exit_code == 0 and not (tmp_path / "d").exists(), dry.output
    found = visgen_json("train", file)
    assert found["finished"] and "c/top1" in found["metrics"]
    assert (tmp_path / "d" / "finetune.json").is_file() and (tmp_path / "d" / "last" / "config.json").is_file()

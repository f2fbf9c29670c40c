"""The recipe that adds a linear discriminant to the last layer of a classifier."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from visgen.data import build_source
from visgen.engine.fit import collect_features
from visgen.metrics import read_record
from visgen.nn.discriminant import linear_discriminant
from visgen.task import build_model
from visgen.zoo import load_model, save_pretrained

KINDS = ("blue", "green", "red")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three colours, eight pictures each for training and four for val."""
    random = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 4)):
        for place, kind in enumerate(KINDS):
            (tmp_path / "set" / split / kind).mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 120, (48, 48, 3))
                pixels[..., 2 - place] += 60
                Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "set" / split / kind / f"{split}{i}.png")
    return tmp_path / "set"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    ood = {"task": "ood", "options": {"score_options": {"rank": 4}, "quantiles": 11}}
    heads = {"classification.x": {"task": "classification", "classes": KINDS}, "depth": {"task": "depth"}, "ood": ood}
    model = build_model({"backbone": {"name": "timm", "model": "mobilenetv3_small_050"}, "heads": heads})
    return save_pretrained(model, tmp_path / "base", dtype="float32")


@pytest.fixture
def run(
    load_recipe: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """A function that runs the recipe and gives what it printed; SystemExit where it refuses."""
    recipe = load_recipe("classification/discriminant")

    def call(*words: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", ["discriminant.py", *map(str, words)])
        recipe.main()
        return capsys.readouterr().out

    return call


def test_logits_are_the_blend_and_ood_is_calibrated_on_them(
    data: Path, folder: Path, tmp_path: Path, run: Callable[..., str]
) -> None:
    out = tmp_path / "new"
    options = ("--share", "0.05", "--shrink", "0.3", "--temperature", "2", "--step", str(2**-9), "--dtype", "float32")
    said = json.loads(run(folder, "--data", f"imagefolder:{data}", "--out", out, *options))
    assert said["refitted"] == ["ood"] and said["after"]["nll"] < said["before"]["nll"]
    old, new = load_model(str(folder)), load_model(str(out))
    source = build_source(f"imagefolder:{data}", "train")
    seen = collect_features(old, "classification.x", source)
    labels = torch.tensor([target.label for target in seen.targets])
    head = old.head("classification.x")
    with torch.no_grad():
        weight, bias = linear_discriminant(head.norm(seen.features), labels, 3, 0.3)
        wanted = (seen.logits + 0.05 * (head.norm(seen.features) @ weight.T + bias)) / 2
    given = collect_features(new, "classification.x", source).logits
    error = (given - wanted).abs().max() / wanted.abs().max()
    assert 0 < float(error) < 0.05  # the rounding alone
    matrix = new.head("classification.x").linear.weight.detach() * 2**9
    assert torch.equal(matrix, matrix.round())
    assert bool(new.head("ood").is_calibrated)
    changed = {key for key, value in new.state_dict().items() if not torch.equal(value, old.state_dict()[key])}
    assert {"heads.classification__x.linear.weight", "heads.ood.threshold"} <= changed
    assert all(key.startswith(("heads.classification__x.linear.", "heads.ood.")) for key in changed)


def test_a_second_run_keeps_the_statistics_of_vectors(
    data: Path, folder: Path, tmp_path: Path, run: Callable[..., str]
) -> None:
    for before, after in ((folder, tmp_path / "one"), (tmp_path / "one", tmp_path / "two")):
        run(before, "--data", f"imagefolder:{data}", "--out", after, "--dtype", "float32")
    one, two = (load_model(str(tmp_path / name)).head("ood").state_dict() for name in ("one", "two"))
    assert all(torch.equal(one[key], two[key]) for key in one if key.endswith((".means", ".axes", ".floor")))
    assert not torch.equal(one["threshold"], two["threshold"])


def test_trials_are_a_record_and_no_share_is_the_head_alone(
    data: Path, folder: Path, tmp_path: Path, run: Callable[..., str]
) -> None:
    record = tmp_path / "trials.json"
    said = json.loads(run(folder, "--data", f"imagefolder:{data}", "--trials", record, "--temperature", "1"))
    metrics = read_record(record)["metrics"]
    assert metrics["as it was"] == said["before"]
    assert all(metrics[f"shrink {shrink}"]["share 0"] == said["before"] for shrink in ("0.02", "0.7"))
    assert metrics["shrink 0.1"]["share 0.08"] != metrics["shrink 0.7"]["share 0.08"]


def test_heads_of_other_tasks_and_bad_numbers_are_refused(
    data: Path, folder: Path, tmp_path: Path, run: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    cases = {("--head", "depth"): "head 'depth' is a", ("--temperature", "0"): "temperature is 0.0",
             ("--shrink", "2"): "shrink of the discriminant is 2.0"}  # fmt: skip
    for words, says in cases.items():
        with pytest.raises(SystemExit) as stopped:
            run(folder, "--data", f"imagefolder:{data}", "--out", tmp_path / "new", *words)
        assert stopped.value.code == 2 and says in capsys.readouterr().err
        assert not (tmp_path / "new").exists()

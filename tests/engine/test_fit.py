"""Untrained heads are fitted to training images, calibrated on others, and ready in what a run exports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from visgen.config import load_run
from visgen.data import Concat, Subset, build_source
from visgen.engine import build_run, collect_features, evaluate, fit_head, train_from_config, with_head
from visgen.errors import ConfigError, DataError
from visgen.structures.working_size import resize_for_work
from visgen.task import HeadSpec, MultiTaskModel, build_model
from visgen.zoo import save_pretrained

BACKBONE = {"width": 32, "depth": 2, "heads": 2, "num_experts": 4, "top_k": 2, "attention_experts": 4}
SPEC = HeadSpec("ood", options={"score": "mahalanobis", "score_options": {"rank": 8}, "keep": 0.8})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark and bright pictures in two sizes ("light"), and checkerboards of hard colours ("odd")."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 5)):
        for label, level in (("bright", 200), ("dark", 60)):
            folder = root / "light" / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                size = ((40, 48), (48, 40))[i % 2]
                pixels = np.clip(rng.normal(level, 12, (*size, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    (root / "odd").mkdir()
    for i in range(6):
        coarse = rng.integers(0, 2, (5, 6, 3)).astype(np.uint8) * 255
        Image.fromarray(coarse.repeat(8, 0).repeat(8, 1)).save(root / "odd" / f"{i}.png")
    return root


def source(data: Path, split: str):
    return build_source(f"imagefolder:{data / 'light'}", split)


def plain(min_side: int = 0) -> MultiTaskModel:
    torch.manual_seed(0)
    head = {"classification.light": {"task": "classification", "classes": ("bright", "dark")}}
    return build_model({"backbone": {"name": "vit_moe", **BACKBONE}, "heads": head, "min_side": min_side}).eval()


def test_features_are_those_of_each_image_alone_at_the_size_of_use(data: Path) -> None:
    model, images = plain(min_side=64), source(data, "val")
    found = collect_features(model, "classification.light", images, batch_size=3)
    assert len(found.paths) == len(found.targets) == len(images) == 10
    rows = {tuple(np.round(row.tolist(), 4)): t.label for row, t in zip(found.logits, found.targets, strict=True)}
    for i in range(len(images)):
        with torch.no_grad():
            logits, features = model(resize_for_work(images[i].image, 320, 64)[None], "classification.light")
        distance = (found.logits - logits).abs().amax(1)
        assert float(distance.min()) < 1e-4
        torch.testing.assert_close(found.features[int(distance.argmin())], features.token[0], rtol=1e-3, atol=1e-4)
        assert found.targets[int(distance.argmin())].label == images[i].targets["classification"].label
    assert len(rows) == 10


def test_a_fitted_head_is_the_score_fitted_by_hand(data: Path) -> None:
    model = with_head(plain(), "ood", SPEC)
    report = fit_head(model, "ood", source(data, "train"), source(data, "val"))
    assert (report.head, report.below, report.images, report.val_images) == ("ood", "classification.light", 16, 10)
    train, val = (collect_features(model, "classification.light", source(data, s)) for s in ("train", "val"))
    score = model.head("ood").score
    again = type(score)(2, 32, rank=8).fit(train.logits, train.features, torch.tensor([t.label for t in train.targets]))
    scores = again(val.logits, val.features)
    torch.testing.assert_close(scores, score(val.logits, val.features))
    assert report.settings["threshold"] == pytest.approx(float(scores.sort().values[7]))  # 8 of 10 are kept
    assert report.settings["id_kept"] == pytest.approx(0.8)


def test_evaluation_of_a_fitted_head(data: Path) -> None:
    model = with_head(plain(), "ood", SPEC)
    fit_head(model, "ood", source(data, "train"), source(data, "val"))
    both = build_source(f"ood:{data / 'light'},{data / 'odd'}", "val")
    report = evaluate(model, both, "ood", batch_size=4)
    assert report.task == "ood" and report.protocol["images"] == 16
    assert set(report.metrics) == {"AUROC", "FPR95", "AUPR_in", "AUPR_out", "detection_error", "id_kept", "ood_found"}
    assert report.metrics["id_kept"] == pytest.approx(0.8)  # the images that the threshold was set on
    assert report.metrics["AUROC"] > 0.9
    assert evaluate(model, both, "ood", batch_size=1).metrics == pytest.approx(report.metrics, abs=0.02)


def test_a_head_more_leaves_every_other_answer_as_it_was(data: Path) -> None:
    model = plain()
    grown = with_head(model, "ood", SPEC)
    images = torch.rand(1, 3, 40, 48)
    before, after = (m.predict(images, ["classification"]) for m in (model, grown))
    assert before["classification.light"][0].to_dict() == after["classification.light"][0].to_dict()
    assert "ood" not in model.specs and grown.config()["heads"]["ood"]["options"] == dict(SPEC.options)
    other = with_head(grown, "ood", HeadSpec("ood", options={"score": "msp"}))
    assert other.head("ood").score_name == "msp" and list(other.specs) == list(grown.specs)


def test_a_threshold_is_never_set_on_images_that_the_statistics_know(data: Path) -> None:
    model, train = with_head(plain(), "ood", SPEC), source(data, "train")
    with pytest.raises(ConfigError, match="came for training and validation; a threshold needs other images"):
        fit_head(model, "ood", train, train)
    leaking = Concat([source(data, "val"), Subset(source(data, "train"), [0])])
    with pytest.raises(DataError, match="1 images are in both .*train/bright/0.png.*give a part held out"):
        fit_head(model, "ood", train, leaking)
    with pytest.raises(ConfigError, match="never fitted"):
        model.predict(torch.rand(1, 3, 32, 32), ["ood"])


def test_what_cannot_be_fitted_is_told(data: Path) -> None:
    model = with_head(plain(), "ood", SPEC)
    with pytest.raises(ConfigError, match="head 'classification.light' is trained, not fitted; fit takes heads of ood"):
        fit_head(model, "classification", source(data, "train"), source(data, "val"))
    other = build_source(f"imagefolder:{data / 'light'}", "train", classes=["bright", "dark", "dim"])
    with pytest.raises(ConfigError, match="the model has 2 classes and the data 3"):
        fit_head(model, "ood", other, source(data, "val"))
    one_each = Subset(source(data, "train"), [0, len(source(data, "train")) - 1])
    with pytest.raises(DataError, match="the 2 training images of the score do not differ from their means"):
        fit_head(model, "ood", one_each, source(data, "val"))
    with pytest.raises(ConfigError, match="limit is 0; use 1 or more"):
        fit_head(model, "ood", source(data, "train"), source(data, "val"), limit=0)


RUN = """
out: {out}
model:
  backbone: vit_moe
  options: {{width: 32, depth: 2, heads: 2, num_experts: 4, top_k: 2, attention_experts: 4}}
  heads:
    classification.light: {{}}
    ood: {{options: {{score: mahalanobis, keep: 0.8}}}}
data:
  train: {{light: {{source: "imagefolder:${{data_root}}/light", batch_size: 4}}}}
  val: {{light: {{source: "imagefolder:${{data_root}}/light"}}}}
train: {{steps: 2, eval_every: 1, save_every: 0, ema_decay: 0.9, workers: 0, threads: 1, device: cpu, progress: none,
  best_metric: light/top1}}
"""


def test_a_run_exports_fitted_heads(tmp_path: Path, data: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(RUN.format(out=tmp_path / "run"))
    exported: list[tuple[str, MultiTaskModel]] = []

    def export(model: MultiTaskModel, path: Path) -> None:
        assert model.predict(torch.rand(1, 3, 32, 32), ["ood"])["ood"][0].threshold is not None
        exported.append((path.name, model))
        save_pretrained(model, path)

    summary = train_from_config(file, data_root=data, export=export)
    assert summary.finished and [exported[0][0], exported[-1][0]] == ["best", "last"]
    saved = load_file(tmp_path / "run" / "last" / "model.safetensors")
    assert bool(saved["heads.ood.is_calibrated"]) and bool(saved["heads.ood.score.fitted"])
    # the statistics are those of the exported weights, the average of the steps
    found = collect_features(exported[-1][1], "classification.light", source(data, "train"))
    unit = torch.nn.functional.normalize(found.features, dim=1)
    bright = torch.tensor([t.label == 0 for t in found.targets])
    torch.testing.assert_close(saved["heads.ood.score.means"][0], unit[bright].mean(0), rtol=1e-3, atol=1e-4)
    dry = train_from_config(file, [f"out={tmp_path / 'dry'}"], dry_run=True, data_root=data)
    assert dry.reason == "dry run"  # two samples are no statistics, so a dry run fits nothing


def test_a_run_that_could_not_fit_its_heads_does_not_start(tmp_path: Path, data: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(RUN.format(out=tmp_path / "run"))
    with pytest.raises(ConfigError, match=r"fitted to images of 'classification.light', but no part of data.val feeds"):
        build_run(load_run(file, ["data.val={}", "train.best_metric=null"], data))
    measured = 'data.val.odd={source: "ood:${data_root}/light,${data_root}/odd"}'
    with pytest.raises(ConfigError, match="data.val.odd measures ood, which is fitted when the run ends"):
        build_run(load_run(file, [measured], data))

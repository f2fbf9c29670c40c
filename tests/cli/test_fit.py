"""`visgen fit`: adds, fits and saves an OOD head that predict and evaluate then use."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from visgen import pipeline
from visgen.task import build_model
from visgen.zoo import load_model, save_pretrained

from .conftest import BACKBONE

NAMES = ("cat", "dog", "owl")


@pytest.fixture(scope="module")
def animals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of one colour each, and checkerboards that are none of them."""
    root, rng = tmp_path_factory.mktemp("animals"), np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 4)):
        for k, name in enumerate(NAMES):
            folder = root / "animals" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.normal(60 + 120 * np.eye(3)[k], 8, (48, 64, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    (root / "odd").mkdir()
    for i in range(5):
        coarse = rng.integers(0, 2, (6, 8, 3)).astype(np.uint8) * 255
        Image.fromarray(coarse.repeat(8, 0).repeat(8, 1)).save(root / "odd" / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def fitted(animals: Path, model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with an OOD head."""
    from typer.testing import CliRunner

    from visgen.cli import app

    out = tmp_path_factory.mktemp("fitted") / "model"
    words = ["fit", model_folder, "--data", f"imagefolder:{animals / 'animals'}", "--out", out, "--keep", "0.9"]
    done = CliRunner().invoke(app, [str(w) for w in [*words, "--score", "mahalanobis", "--score-option", "rank=8"]])
    assert done.exit_code == 0, done.output
    assert "id_kept" in done.stdout and "wrote" in done.output
    return out


def test_the_saved_model_holds_the_head_as_asked(fitted: Path) -> None:
    head = load_model(fitted, "cpu").head("ood")
    assert (head.score_name, head.keep, head.score.rank) == ("mahalanobis", 0.9, 8)
    assert bool(head.is_calibrated)


def test_predict_prints_a_verdict_for_each_picture(
    visgen: Callable[..., Any], visgen_json: Callable[..., Any], fitted: Path, animals: Path
) -> None:
    shown = visgen("predict", animals / "odd" / "0.png", "--task", "ood", "--model", fitted)
    assert shown.exit_code == 0 and "unusual" in shown.stdout and "familiar?" in shown.stdout
    shown = visgen("predict", animals / "animals" / "train" / "dog" / "0.png", "--task", "ood", "--model", fitted)
    assert "looks" in shown.stdout
    (result,) = visgen_json("predict", animals / "odd" / "0.png", "--task", "ood", "--model", fitted)
    verdict = pipeline("ood", fitted, device="cpu")(animals / "odd" / "0.png").ood
    assert result["ood"] == verdict.to_dict() and verdict.is_ood and verdict.keeps == 0.9


def test_evaluate_measures_both_sides(visgen_json: Callable[..., Any], fitted: Path, animals: Path) -> None:
    words = ("evaluate", "--task", "ood", "--data", f"ood:{animals / 'animals'},{animals / 'odd'}", "--model", fitted)
    report = visgen_json(*words)
    assert (report["task"], report["protocol"]["images"]) == ("ood", 17)
    assert {"AUROC", "FPR95", "AUPR_in", "AUPR_out", "detection_error", "id_kept", "ood_found"} == set(
        report["metrics"]
    )
    assert report["metrics"]["AUROC"] > 0.9
    halves = [visgen_json(*words, "--option", f"half={h}")["protocol"]["images"] for h in (0, 1)]
    assert sum(halves) == 17 and min(halves) > 0


def test_a_refit_changes_what_is_asked_and_keeps_the_rest(
    visgen_json: Callable[..., Any], fitted: Path, animals: Path, tmp_path: Path
) -> None:
    words = ("fit", fitted, "--data", f"imagefolder:{animals / 'animals'}", "--out", tmp_path / "again")
    report = visgen_json(*words, "--keep", 0.5)
    assert report["settings"]["id_kept"] == pytest.approx(0.5) and report["images"] == 18
    assert load_model(tmp_path / "again", "cpu").head("ood").score.rank == 8
    visgen_json(*words, "--score", "msp")
    assert load_model(tmp_path / "again", "cpu").specs["ood"].options["score_options"] == {}


def test_a_new_head_on_a_dense_one_takes_its_default(
    visgen_json: Callable[..., Any], model_folder: Path, tmp_path: Path
) -> None:
    street = tmp_path / "street"
    rng = np.random.default_rng(0)
    for split, stems in (("train", "abc"), ("val", "de")):
        for stem in stems:
            for folder, pixels in (
                ("images", rng.integers(0, 256, (48, 64, 3))),
                ("semantic", rng.integers(0, 2, (48, 64))),
            ):
                (street / folder).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(street / folder / f"{stem}.png")
        (street / f"{split}.txt").write_text("\n".join(stems) + "\n", encoding="utf-8")
    (street / "classes.txt").write_text("sky\nroad\n", encoding="utf-8")
    words = ("fit", model_folder, "--head", "ood.street", "--on", "segmentation.street", "--data", f"semantic:{street}")
    visgen_json(*words, "--out", tmp_path / "out")
    assert load_model(tmp_path / "out", "cpu").head("ood.street").score_name == "joint_energy"
    visgen_json(*words, "--out", tmp_path / "out", "--score", "energy")
    assert load_model(tmp_path / "out", "cpu").head("ood.street").score_name == "energy"


def test_the_bank_of_a_detection_head_counts_only_pictures_with_objects(
    visgen_json: Callable[..., Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    heads = {"detection": {"task": "detection", "classes": ("cup", "fork"), "options": {"width": 8, "depth": 1}}}
    finder = build_model({"backbone": {"name": "vit_moe", **BACKBONE}, "heads": heads, "max_side": 64})
    rng = np.random.default_rng(0)
    for split, count in (("train", 5), ("val", 2)):
        (tmp_path / "cups" / "images").mkdir(parents=True, exist_ok=True)
        images, boxes = [], []
        for i in range(count):
            pixels = rng.integers(0, 256, (48, 64, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "cups" / "images" / f"{split}{i}.png")
            images.append({"id": i, "file_name": f"{split}{i}.png", "height": 48, "width": 64})
            if i:  # the first picture shows nothing
                boxes.append(
                    {"id": i, "image_id": i, "category_id": 1, "bbox": [4, 4, 20, 20], "area": 400, "iscrowd": 0}
                )
        told = {
            "images": images,
            "annotations": boxes,
            "categories": [{"id": k, "name": n} for k, n in ((1, "cup"), (2, "fork"))],
        }
        (tmp_path / "cups" / f"{split}.json").write_text(json.dumps(told), encoding="utf-8")
    words = (
        "--head",
        "ood.cups",
        "--on",
        "detection",
        "--data",
        f"coco:{tmp_path / 'cups'}",
        "--out",
        tmp_path / "out",
    )
    report = visgen_json("fit", save_pretrained(finder, tmp_path / "m"), *words, "--option", "targets=[detection]")
    head = load_model(tmp_path / "out", "cpu").head("ood.cups")
    bank = head.score.bank  # type: ignore[union-attr]
    assert head.score_name == "knn" and len(bank) == report["images"] - 1  # type: ignore[arg-type]


def test_mistakes_are_told(visgen: Callable[..., Any], model_folder: Path, animals: Path, tmp_path: Path) -> None:
    words = ("fit", model_folder, "--data", f"imagefolder:{animals / 'animals'}", "--out", tmp_path / "out")
    for more, message in (
        (("--val-split", "train"), "--split and --val-split are both 'train'"),
        (("--head", "depth"), "--head is 'depth', which is trained, not fitted"),
        (("--score", "enrgy"), "did you mean 'energy'"),
        (("--keep", 95), "keep of the OOD head is 95"),
        (("--on", "depth"), "`on` is 'depth'"),
    ):
        result = visgen(*words, *more)
        assert result.exit_code == 2 and message in result.stderr, result.stderr
    assert not (tmp_path / "out").exists()

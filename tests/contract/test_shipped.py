"""What ships is complete: every config builds, every model has its weights, hash and card, every data set its card."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

import visgen
from visgen.backbones import BACKBONES
from visgen.config import load_run, to_yaml
from visgen.data.source import FORMATS
from visgen.data.transforms import TRANSFORMS
from visgen.heads import HEADS
from visgen.metrics import read_record
from visgen.task import TASKS

ROOT = Path(__file__).resolve().parents[2]
ALL_CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
# Three stages instead of a model with heads: tests/engine/test_instruct.py reads these.
INSTRUCT = [path for path in ALL_CONFIGS if path.parent.name == "instruct"]
CONFIGS = [path for path in ALL_CONFIGS if path not in INSTRUCT]
MODELS = sorted(visgen.list_models())


def test_there_are_configs_and_models() -> None:
    assert CONFIGS, "no YAML under configs"
    assert MODELS, "model_zoo/index.json lists no model"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: str(p.relative_to(ROOT / "configs")))
def test_every_config_builds(path: Path, tmp_path: Path) -> None:
    run = load_run(path, data_root=tmp_path)
    assert run.model.backbone in BACKBONES
    assert run.data.train, "a run needs training data"
    for name, part in {**run.data.train, **run.data.val}.items():
        assert part.source.partition(":")[0] in FORMATS, name
        for transform in part.transforms:
            given = dict(transform)
            TRANSFORMS.get(given.pop("name"))(**given)
    for name, head in run.model.heads.items():
        task = head.task or name.partition(".")[0]
        assert task in TASKS, name
        assert (head.head or TASKS.get(task).head) in HEADS, name
    again = tmp_path / "again.yaml"
    again.write_text(to_yaml(run), encoding="utf-8")
    assert load_run(again) == run


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: str(p.relative_to(ROOT / "configs")))
def test_every_config_opens_with_its_command(path: Path) -> None:
    opening = [line for line in path.read_text(encoding="utf-8").splitlines()[:15] if line.startswith("#")]
    assert any("visgen train" in line for line in opening), "the header states command, cost and expected number"


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_complete(name: str) -> None:
    entry = visgen.list_models()[name]
    zoo = ROOT / "model_zoo"
    weights = zoo / entry.file
    assert weights.stat().st_size == entry.bytes
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == entry.sha256
    assert isinstance(json.loads((zoo / entry.config).read_text(encoding="utf-8"))["model"], dict)
    assert entry.tasks


@pytest.mark.parametrize("name", MODELS)
def test_every_card_tells_licence_data_and_limits(name: str) -> None:
    card = (ROOT / "model_zoo" / visgen.list_models()[name].card).read_text(encoding="utf-8")
    for heading in ("Licence", "Training data", "Figures", "Limits"):
        match = re.search(rf"^## {heading}\n+(.+?)(?=^## |\Z)", card, flags=re.MULTILINE | re.DOTALL)
        assert match, f"the card has no part '{heading}'"
        assert len(match[1].strip()) > 20, f"the part '{heading}' says nothing"
        assert "Not stated" not in match[1], f"the part '{heading}' is not filled in"
    assert "non-commercial" in card


def test_no_weights_lie_about_without_an_entry() -> None:
    listed = {visgen.list_models()[name].file for name in MODELS}
    present = {str(p.relative_to(ROOT / "model_zoo")) for p in (ROOT / "model_zoo" / "weights").glob("*.safetensors")}
    assert present == listed


def test_every_data_set_has_a_card_and_a_manifest() -> None:
    folders = [p for p in (ROOT / "data").iterdir() if p.is_dir()]
    assert folders
    for folder in folders:
        card = (folder / "card.md").read_text(encoding="utf-8")
        assert re.search(r"licen[cs]e|terms", card, flags=re.IGNORECASE), f"{folder.name}: the card states no terms"
        if folder.name != "samples":
            assert (folder / "manifest.json").is_file(), folder.name
            assert (folder / "prepare.py").is_file(), folder.name


def test_every_sample_photograph_is_credited_and_unchanged() -> None:
    samples = ROOT / "data" / "samples"
    card = (samples / "card.md").read_text(encoding="utf-8")
    photographs = [p for p in sorted(samples.iterdir()) if p.suffix in (".jpg", ".png")]
    assert photographs
    assert not [p.name for p in photographs if p.name not in card], "the card credits every photograph by its file name"
    manifest = json.loads((samples / "manifest.json").read_text(encoding="utf-8"))
    listed = {row["file"]: row["sha256"] for row in manifest["images"]}
    assert listed == {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in photographs}


def test_every_task_folder_has_a_readme() -> None:
    folders = [p for p in (ROOT / "tasks").iterdir() if p.is_dir()]
    assert folders
    assert not [p.name for p in folders if not (p / "README.md").is_file()]


def test_the_figures_of_visgen_tiny_in_the_index_are_those_of_its_records() -> None:
    index = json.loads((ROOT / "model_zoo" / "index.json").read_text(encoding="utf-8"))
    found = index["visgen-tiny"]["metrics"]
    assert found
    for part, figures in found.items():
        record = read_record(ROOT / "model_zoo" / "results" / f"visgen_tiny_{part}.json")["metrics"]
        assert figures == {name: record[name] for name in figures}, part

"""A run file trained on a small folder of pictures with the real data, model and objective."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from visgen.config import load_run
from visgen.engine import Workers, build_run, load_newest, train_from_config, with_head
from visgen.engine.log import read_csv
from visgen.engine.start import start_from
from visgen.errors import CheckpointError, ConfigError
from visgen.zoo import save_pretrained

SIZE = (40, 48)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dark and bright pictures in folders ("light"), and pictures with a dark and a bright half ("halves")."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2)):
        for label, level in (("bright", 200), ("dark", 60)):
            folder = root / "light" / split / label
            folder.mkdir(parents=True)
            for i in range(count if label == "dark" else count // 2):
                pixels = np.clip(rng.normal(level, 20, (*SIZE, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    halves = root / "halves"
    (halves / "images").mkdir(parents=True)
    (halves / "semantic").mkdir()
    (halves / "classes.txt").write_text("dark\nbright\n")
    for split, count in (("train", 5), ("val", 2)):
        for i in range(count):
            ids = np.zeros(SIZE, dtype=np.uint8)
            ids[:, 10 + 5 * i :] = 1
            pixels = np.clip(rng.normal(60 + 140 * ids[..., None], 20, (*SIZE, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(halves / "images" / f"{split}{i}.png")
            Image.fromarray(ids).save(halves / "semantic" / f"{split}{i}.png")
        (halves / f"{split}.txt").write_text("".join(f"{split}{i}\n" for i in range(count)))
    return root


def settings(out: Path) -> dict:
    return {
        "out": str(out),
        "model": {
            "backbone": "vit_moe",
            "options": {
                "width": 32, "depth": 2, "heads": 2, "num_experts": 4, "top_k": 2, "attention_experts": 4,
                "drop_path": 0.2, "noise": "fixed",
            },
        },
        "data": {
            "train": {
                "light": {
                    "source": "imagefolder:${data_root}/light",
                    "batch_size": 3,
                    "transforms": [{"name": "random_crop", "size": 32}, {"name": "color_jitter", "brightness": 0.1}],
                },
                "halves": {
                    "source": "semantic:${data_root}/halves",
                    "batch_size": 2,
                    "shrink": [{"name": "resize", "size": 36}],
                    "cache": True,
                    "transforms": [{"name": "random_crop", "size": 32}, {"name": "horizontal_flip"}],
                },
            },
            "val": {
                "light": {"source": "imagefolder:${data_root}/light", "batch_size": 2},
                "halves": {"source": "semantic:${data_root}/halves", "max_side": 40},
            },
        },
        "objective": {"class_weights": {"segmentation.halves": "auto"}, "routing": {"mi": 0.01}},
        "optim": {"lr": 0.003, "warmup_steps": 2, "lr_scales": {"backbone": 0.5}},
        "train": {
            "steps": 8, "eval_every": 4, "save_every": 3, "ema_decay": 0.9, "workers": 0, "threads": 1, "device": "cpu",
            "progress": "none", "best_metric": "halves/mIoU",
        },
    }  # fmt: skip


def write(folder: Path, out: str = "run", **changes: object) -> Path:
    config = settings(folder / out)
    for path, value in changes.items():
        node, *rest = path.split("__")
        target = config
        for key in [node, *rest][:-1]:
            target = target.setdefault(key, {})
        target[[node, *rest][-1]] = value
    file = folder / f"{out}.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


def curve(out: Path) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k not in ("seconds", "wait")} for row in read_csv(out / "log.csv")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """The folder of a run that was not interrupted."""
    folder = tmp_path_factory.mktemp("finished")
    summary = train_from_config(write(folder), data_root=data)
    assert summary.finished and summary.steps == 8
    return folder / "run"


def test_a_run_leaves_its_config_logs_and_weights(finished: Path, data: Path) -> None:
    names = sorted(p.name for p in finished.iterdir())
    assert names == ["best.safetensors", "checkpoints", "config.yaml", "last.safetensors", "log.csv", "metrics.csv"]
    again = load_run(finished / "config.yaml")
    assert again.data.train["light"].source == f"imagefolder:{data}/light" and again.train.steps == 8
    rows, metrics = curve(finished), read_csv(finished / "metrics.csv")
    assert {"classification.light", "segmentation.halves", "routing/mutual_information"} <= set(rows[0])
    assert [m["step"] for m in metrics] == ["4", "8"] and {"light/top1", "halves/mIoU"} <= set(metrics[0])
    shares = {key: float(value) for key, value in metrics[-1].items() if key.endswith("/share")}
    assert "routing/blocks.1.mlp/share" in shares and all(0 <= share <= 1 for share in shares.values())
    assert {key.replace("/share", "/dead") for key in shares} <= set(metrics[0])
    assert float(metrics[0]["routing/blocks.1.mlp/overlap/classification|segmentation"]) <= 1


def test_a_resumed_run_of_the_real_parts_has_the_same_numbers(tmp_path: Path, data: Path, finished: Path) -> None:
    for resume in (False, True, True):  # two stops after a step each
        file = write(tmp_path)
        assert train_from_config(file, resume=resume, time_limit=1e-9, data_root=data).reason == "time limit"
    with pytest.warns(UserWarning, match="other settings than before .*train.time_limit: 1e-09 -> None; train.workers"):
        summary = train_from_config(file, ["train.workers=1"], resume=True, data_root=data)
    assert summary.steps == 8
    assert curve(tmp_path / "run") == curve(finished)
    assert read_csv(tmp_path / "run" / "metrics.csv") == read_csv(finished / "metrics.csv")
    ours, theirs = (load_newest(out / "checkpoints").tensors for out in (tmp_path / "run", finished))
    assert any("routing" in name for name in ours["model"])  # the running joint of tasks and experts is kept
    for stem, tensors in ours.items():
        assert all(t.equal(theirs[stem][name]) for name, t in tensors.items())


def test_a_dry_run_leaves_nothing_behind(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch, work = tmp_path / "tmp", tmp_path / "work"
    scratch.mkdir()
    work.mkdir()
    file = write(work)
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.chdir(work)
    before = sorted(data.rglob("*"))
    summary = train_from_config(file, dry_run=True, data_root=data)
    assert (summary.reason, summary.steps, summary.out) == ("dry run", 1, str(work / "run"))
    assert {"light/top1", "halves/mIoU"} <= set(summary.metrics)
    assert list(scratch.iterdir()) == [] and list(work.iterdir()) == [file] and sorted(data.rglob("*")) == before


def test_a_dry_run_looks_for_the_checkpoint_where_it_was_written(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Workers, "is_main", property(lambda self: False))  # as on the second of two processes
    file = write(tmp_path, data__val={}, train__best_metric=None)
    assert train_from_config(file, dry_run=True, data_root=data).reason == "dry run"
    with pytest.raises(ConfigError, match="a dry run goes on from no checkpoint"):
        train_from_config(file, resume=True, dry_run=True, data_root=data)


def test_a_dry_run_saves_and_exports_as_the_run_would(tmp_path: Path, data: Path) -> None:
    seen = []
    train_from_config(write(tmp_path), dry_run=True, data_root=data, export=lambda m, p: seen.append((p.name, m)))
    assert [name for name, _ in seen] == ["best", "last"] and hasattr(seen[0][1], "predict")


def test_class_weights_are_counted_over_the_training_data(tmp_path: Path, data: Path) -> None:
    run = build_run(load_run(write(tmp_path, objective__class_weights={"classification.light": "auto"}), [], data))
    weights = run.objective._class_weights["classification__light"]
    # 3 bright and 6 dark pictures: square roots of median frequency 4.5 / n, scaled to an expected weight of 1.
    raw = torch.tensor([(4.5 / 3) ** 0.5, (4.5 / 6) ** 0.5])
    torch.testing.assert_close(weights.detach(), raw / (raw * torch.tensor([3 / 9, 6 / 9])).sum())


def test_the_seed_fixes_the_first_weights(tmp_path: Path, data: Path) -> None:
    file = write(tmp_path)
    nets = [build_run(load_run(file, [f"seed={seed}"], data)).model for seed in (1, 1, 2)]
    name = next(n for n, p in nets[0].named_parameters() if p.ndim > 1 and p.std() > 0)
    one, same, other = (dict(net.named_parameters())[name] for net in nets)
    assert one.equal(same) and not one.equal(other)


def test_a_run_may_start_from_the_weights_of_another(tmp_path: Path, data: Path, finished: Path) -> None:
    trained = load_file(finished / "last.safetensors")
    file = write(tmp_path, model__weights=str(finished / "last.safetensors"))
    model = build_run(load_run(file, [], data)).model
    assert all(t.equal(trained[f"model.{name}"]) for name, t in model.state_dict().items())
    # A head with other classes starts fresh, the rest does not.
    head = {"classes": ["a", "b", "c"]}
    file = write(tmp_path, data__train={"light": settings(tmp_path)["data"]["train"]["light"]}, data__val={},
                 model__heads={"classification.light": head}, train__best_metric=None, objective={})  # fmt: skip
    other = build_run(load_run(file, [], data)).model
    fresh = start_from(other, finished / "last.safetensors")
    assert fresh and all(name.startswith("heads.classification__light.") for name in fresh)


def test_weights_that_do_not_fit_are_told(tmp_path: Path, data: Path, finished: Path) -> None:
    file = write(tmp_path, model__weights=str(finished / "last.safetensors"))
    with pytest.raises(CheckpointError, match="does not fit the backbone: .* tensors differ, such as 'backbone"):
        build_run(load_run(file, ["model.options.width=48"], data))
    with pytest.raises(CheckpointError, match="model.weights is '.*absent', which cannot be read"):
        build_run(load_run(file, [f"model.weights={tmp_path}/absent"], data))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.train={}", "data.train has no parts"),
        (
            "data.train.light.head=segmentation.light",
            "light.head is 'segmentation.light', but source 'light'",
        ),
        ("model.heads={classification.light: {}}", "part 'halves' feeds head 'segmentation.halves', which model.heads"),
        ("objective.class_weights={segmentation.halfs: auto}", r"names head 'segmentation.halfs'.*did you mean"),
        ("objective.loss_weights={depth: 1.0}", "names head 'depth', which the model lacks"),
        ("objective.routing={mu: 1}", "mu"),
        ("objective.routing.warmup=-3", "warmup is -3"),
        ("objective.loss_weights.depth.new=2", "names head 'depth.new', which the model lacks"),
        ("train.best_metric=halves/mIou", r"asks head 'segmentation.halves' for 'mIou'; did you mean 'mIoU'\?"),
        ("model.options.tasks=[classification]", "segmentation.halves' has route 'segmentation' but the"),
        ("objective.routing={mode: pooled}", "needs several tasks in a batch, but halves, light feed one router each"),
        (
            "model.heads={classification.light: {}, segmentation.halves: {options: {widht: 16}}}",
            r"head 'segmentation.halves' has no option 'widht'; did you mean 'width'\?",
        ),
        ("data.train.light.transforms=[{name: random_crop, sise: 3}]", r"has no option 'sise'; did you mean 'size'\?"),
        ("optim.lr_scales={backbon: 1.0}", r"names 'backbon', .*did you mean 'backbone'\?"),
    ],
)
def test_names_that_do_not_fit_are_told_at_once(tmp_path: Path, data: Path, override: str, message: str) -> None:
    with pytest.raises((ConfigError, LookupError), match=message):
        train_from_config(write(tmp_path), [override], data_root=data)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_parts_that_share_a_head_need_equal_classes(tmp_path: Path, data: Path) -> None:
    extra = {"source": "imagefolder:${data_root}/light", "head": "classification.halves"}
    other = {**extra, "options": {"classes": ["bright", "dark", "dim"]}}
    file = write(tmp_path, data__train={"a": extra, "b": other}, data__val={}, train__best_metric=None, objective={})
    with pytest.raises(ConfigError, match="'a' and 'b' both feed head 'classification.halves' but have 2 and 3"):
        build_run(load_run(file, [], data))


def test_two_heads_of_one_source_may_be_named_apart(tmp_path: Path, data: Path) -> None:
    one = {"source": "imagefolder:${data_root}/light", "head": "classification.one", "limit": 4}
    two = {"source": "imagefolder:${data_root}/light", "head": "classification.two"}
    val = {"one": {**one, "limit": 2}}
    file = write(tmp_path, data__train={"one": one, "two": two}, data__val=val, train__best_metric=None, objective={})
    run = build_run(load_run(file, [], data))
    assert list(run.model.specs) == ["classification.one", "classification.two"]
    assert [len(part.source) for part in run.mixture.parts] == [4, 9]
    assert set(run.evaluators["one"](run.objective.module)) >= {"top1"}
    assert run.model.backbone.tasks == ("classification",)
    own = load_run(file, ["model.heads={classification.one: {}, classification.two: {route: two}}"], data)
    model = build_run(own).model
    assert model.backbone.tasks == ("classification", "two")
    assert [model.route(name) for name in model.specs] == ["classification", "two"]


def test_a_val_part_of_other_classes_is_refused_before_the_first_step(tmp_path: Path, data: Path) -> None:
    file = write(tmp_path, data__val__light__options={"classes": ["bright", "dark", "dim"]})
    with pytest.raises(ConfigError, match="the model has 2 classes and the data 3"):
        train_from_config(file, data_root=data)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigError, match="the metric of task 'segmentation' cannot be made with {'foo': 1}"):
        train_from_config(write(tmp_path, data__val__halves__metric={"foo": 1}), data_root=data)


def test_a_resume_that_does_not_fit_leaves_the_folder_as_it_was(tmp_path: Path, data: Path) -> None:
    file = write(tmp_path)
    train_from_config(file, ["train.steps=2"], data_root=data)
    before = (tmp_path / "run" / "config.yaml").read_text()
    with pytest.raises(ConfigError, match="batch_size was 3 and is 2"):
        train_from_config(file, ["train.steps=4", "data.train.light.batch_size=2"], resume=True, data_root=data)
    assert (tmp_path / "run" / "config.yaml").read_text() == before


def test_the_split_of_a_part_is_no_option_of_its_reader(tmp_path: Path, data: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"data\.train\.light\.options has a split; a part says it as data\.train\.light\.split"
    ):
        train_from_config(write(tmp_path, data__train__light__options={"split": "val"}), data_root=data)


def test_classes_of_another_model_are_no_start_for_a_head(tmp_path: Path, data: Path) -> None:
    model = build_run(load_run(write(tmp_path), [], data)).model
    spec = model.specs["classification.light"]
    for classes, starts in ((spec.classes, True), (("cat", "dog"), False)):
        saved = save_pretrained(
            with_head(model, "classification.light", replace(spec, classes=classes)), tmp_path / "m"
        )
        for path in (saved, saved / "model.safetensors"):
            fresh = start_from(model, path)
            assert bool(fresh) is not starts and all(key.startswith("heads.classification__light.") for key in fresh)
    (saved / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"config\.json', which tells the classes"):
        start_from(model, saved)


def test_a_head_that_cannot_be_fitted_costs_no_weights(tmp_path: Path, data: Path) -> None:
    heads = {"classification.light": {}, "segmentation.halves": {}, "ood": {"task": "ood"}}
    heads["ood"]["options"] = {"score": "mahalanobis"}
    file = write(tmp_path, model__heads=heads, train__steps=1, data__train__light__limit=1)
    with pytest.warns(UserWarning, match="head 'ood' stays unfitted: .*an image of every class"):
        train_from_config(file, data_root=data)
    assert (tmp_path / "run" / "last.safetensors").is_file()

"""The strict loader: values first, then every mistake with the message that a user reads."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from visgen.config import apply_overrides, from_mapping, load_config, to_mapping, to_yaml
from visgen.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    size: tuple[int, int] = (1, 2)
    rate: float = 0.5
    mode: Literal["fast", "exact"] = "fast"
    limit: int | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outer:
    title: str
    inner: Inner = field(default_factory=Inner)
    parts: dict[str, Inner] = field(default_factory=dict)
    items: tuple[dict[str, Any], ...] = ()
    flag: bool = False
    either: int | str = 0
    options: dict[str, Any] = field(default_factory=dict)


def load(tmp_path: Path, text: str, *overrides: str, **variables: str | None) -> Outer:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    return load_config(Outer, file, overrides, variables)


def test_values_arrive_with_their_types(tmp_path: Path) -> None:
    got = load(
        tmp_path,
        """
        title: a
        inner: {size: [3, 4], rate: 1e-3, mode: exact, limit: null, names: [x, y]}
        parts: {segmentation.camvid: {rate: 2}}
        items: [{name: resize, size: 8}]
        either: word
        """,
    )
    assert got == Outer(
        "a",
        Inner((3, 4), 0.001, "exact", None, ("x", "y")),
        {"segmentation.camvid": Inner(rate=2.0)},
        ({"name": "resize", "size": 8},),
        either="word",
    )
    assert type(got.parts["segmentation.camvid"].rate) is float


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "1.0e-3", ".1e-2", "0.001", "+1e-3"])
def test_every_way_to_write_a_number_is_a_number(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, f"title: a\ninner: {{rate: {text}}}").inner.rate == 0.001


@pytest.mark.parametrize("text", ["1e", "e3", "v1e3", "1e3x"])
def test_text_with_an_e_stays_text(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, f"title: {text}").title == text


def test_the_written_yaml_reads_back_to_an_equal_config(tmp_path: Path) -> None:
    config = Outer("ä: b", Inner(rate=1e-8, names=("a",)), {"x.y": Inner(limit=3)}, ({"p": 0.5},), True, 7, {"k": [1]})
    assert load(tmp_path, to_yaml(config)) == config
    assert from_mapping(Outer, to_mapping(config)) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "title: a\ninner: {raet: 1}",
            r"unknown key 'inner.raet'; did you mean 'rate'\? Allowed in inner: size,",
        ),
        ("title: a\ntitel: b", r"unknown key 'titel'; did you mean 'title'\? Allowed in the file: title, inner"),
        ("title: a\nparts: {b: {limt: 1}}", r"unknown key 'parts.b.limt'; did you mean 'limit'\?"),
        ("inner: {}", "'title' is missing; it has no default"),
        ("title: 3", r"title is 3 \(a whole number\); it must be text"),
        ("title: a\ninner: {rate: fast}", r"inner.rate is 'fast' \(text\); it must be a number"),
        ("title: a\ninner: {rate: true}", r"inner.rate is True \(true or false\); it must be a number"),
        ("title: a\ninner: {limit: 1.5}", r"inner.limit is 1.5 \(a number\); it must be a whole number"),
        ("title: a\ninner: {size: [1]}", "inner.size has 1 values; it must have 2"),
        ("title: a\ninner: {size: 1}", r"inner.size is 1 \(a whole number\); it must be a list"),
        ("title: a\ninner: {size: [1, b]}", r"inner.size.1 is 'b' \(text\); it must be a whole number"),
        (
            "title: a\ninner: {mode: fsat}",
            r"inner.mode is 'fsat'; did you mean 'fast'\? It must be one of 'fast'",
        ),
        ("title: a\ninner: 7", "inner is 7 .*; it must be a mapping of size, rate, mode, limit, names"),
        ("title: a\nflag: 1", r"flag is 1 \(a whole number\); it must be true or false"),
        ("title: a\neither: [1]", r"either is \[1\] \(list\); it must be a whole number or text"),
        ("title: a\nparts: [1]", r"parts is \[1\] \(list\); it must be a mapping"),
        ("title: a\ntitle: b", "run.yaml': key 'title' is given twice at line 2"),
        ("title: [", "run.yaml' is not valid YAML"),
        ("- a", r"run.yaml' holds \['a'\] \(list\); it must hold a mapping"),
        ("title: !!python/object/apply:os.getcwd []", "is not valid YAML"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_value(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, text)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="absent.yaml' cannot be read: No such file"):
        load_config(Outer, tmp_path / "absent.yaml")


def test_a_file_may_extend_one_other(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("title: base\ninner: {rate: 0.1, limit: 4}\nitems: [{a: 1}, {b: 2}]")
    got = load(tmp_path, "extends: base.yaml\ninner: {limit: 5}\nitems: [{c: 3}]")
    assert got.title == "base" and got.inner == Inner(rate=0.1, limit=5) and got.items == ({"c": 3},)


def test_null_drops_a_mapping_of_the_file_that_is_extended(tmp_path: Path) -> None:
    from visgen.config import load_run

    base = "data: {train: {a: {source: 'x:1'}, b: {source: 'x:2'}}}\noptim: {clip_norm: 2.0}"
    (tmp_path / "base.yaml").write_text(base)
    (tmp_path / "top.yaml").write_text("extends: base.yaml\ndata: {train: {a: null}}\noptim: {clip_norm: null}")
    run = load_run(tmp_path / "top.yaml")
    assert list(run.data.train) == ["b"]
    assert run.optim.clip_norm is None  # a plain value is replaced by null, not dropped
    said = load_run(tmp_path / "base.yaml", ["data.train.a=null", "optim.clip_norm=null"])
    assert said == run  # and so on the command line
    assert apply_overrides({"data": {"val": {"val": {"source": "x:1"}}}}, ["data.val.val=null"]) == {
        "data": {"val": {}}
    }


def test_null_drops_an_entry_of_a_mapping_of_numbers_or_words(tmp_path: Path) -> None:
    from visgen.config import load_run

    base = "objective:\n  loss_weights: {a: 2.0, b: 3.0}\n  class_weights: {a: auto, b: {x: 1}, c: auto}"
    (tmp_path / "base.yaml").write_text(f"{base}\nmodel: {{options: {{a: 1}}}}")
    top = "extends: base.yaml\nobjective: {loss_weights: {a: null}, class_weights: {a: null, b: null}}"
    (tmp_path / "top.yaml").write_text(f"{top}\nmodel: {{options: {{a: null}}}}")
    run = load_run(tmp_path / "top.yaml")
    assert run.objective.loss_weights == {"b": 3.0} and run.objective.class_weights == {"c": "auto"}
    assert run.model.options == {"a": None}  # options of others keep a null, which may mean something to them
    (tmp_path / "bare.yaml").write_text("data: {train: {a: null}}")
    with pytest.raises(ConfigError, match=r"data\.train\.a is None"):
        load_run(tmp_path / "bare.yaml")


def test_two_levels_of_extends_are_refused(tmp_path: Path) -> None:
    (tmp_path / "root.yaml").write_text("title: a")
    (tmp_path / "base.yaml").write_text("extends: root.yaml")
    with pytest.raises(ConfigError, match="base.yaml, which .*run.yaml extends, extends 'root.yaml' itself; at most"):
        load(tmp_path, "extends: base.yaml")
    with pytest.raises(ConfigError, match=r"extends is \['a'\] in .*run.yaml; it names one YAML file"):
        load(tmp_path, "extends: [a]")


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("title=b", ("title",), "b"),
        ("inner.rate=2e-4", ("inner", "rate"), 2e-4),
        ("inner.limit=null", ("inner", "limit"), None),
        ("inner.size=[7, 8]", ("inner", "size"), [7, 8]),
        ("items.1.size=9", ("items", 1, "size"), 9),
        ("parts.segmentation.camvid.rate=3.0", ("parts", "segmentation.camvid", "rate"), 3.0),
        ("options.new.deep=1", ("options", "new", "deep"), 1),
        ("title=", ("title",), None),
        ("options.text=a=b", ("options", "text"), "a=b"),
    ],
)
def test_an_override_sets_its_value(tmp_path: Path, override: str, path: tuple, value: object) -> None:
    text = "title: a\ninner: {limit: 1}\nitems: [{x: 1}, {size: 1}]\nparts: {segmentation.camvid: {rate: 1.0}}"
    if value is None and path == ("title",):
        with pytest.raises(ConfigError, match="title is None .*; it must be text"):
            load(tmp_path, text, override)
        return
    found: Any = to_mapping(load(tmp_path, text, override))
    for key in path:
        found = found[key]
    assert found == value


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("title", "override 'title' is not of the form a.b=value; write --set train.steps=100"),
        ("=1", "override '=1' is not of the form"),
        ("inner..rate=1", "override 'inner..rate=1' is not of the form"),
        ("inner.raet=1", r"unknown key 'inner.raet'; did you mean 'rate'\?"),
        ("items.2.x=1", "'2' is no index of 'items', a list of 2; use 0..1"),
        ("items.first.x=1", "'first' is no index of 'items'"),
        ("title.deep=1", "'title' is 'a' .*, which has no parts; set it as a whole"),
        ("title=[", r"override 'title=\[' has a value that is not YAML"),
    ],
)
def test_an_override_that_does_not_apply_is_an_error(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, "title: a\nitems: [{x: 1}, {y: 1}]", override)


def test_the_last_override_wins(tmp_path: Path) -> None:
    assert load(tmp_path, "title: a", "title=b", "title=c").title == "c"


def test_a_variable_is_filled_in_everywhere(tmp_path: Path) -> None:
    text = "title: ${data_root}/a\noptions: {deep: ['x:${data_root}']}"
    got = load(tmp_path, text, data_root="/d")
    assert got.title == "/d/a" and got.options == {"deep": ["x:/d"]}
    assert load(tmp_path, text, "data_root=/e", data_root="/d").title == "/e/a"


def test_a_variable_without_value_or_unknown_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"title is '\$\{data_root\}/a' but data_root has no value; give it"):
        load(tmp_path, "title: ${data_root}/a", data_root=None)
    with pytest.raises(ConfigError, match=r"options.k is .*'\$\{HOME\}' is no variable. Known: data_root"):
        load(tmp_path, "title: a\noptions: {k: '${HOME}'}", data_root=None)


def test_reading_a_config_imports_no_torch() -> None:
    root = Path(__file__).resolve().parents[2]
    code = "import sys, visgen.config; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, timeout=60)
    assert done.stdout.strip() == "False", done.stderr


def test_the_keys_on_and_off_are_words(tmp_path: Path) -> None:
    found = load(tmp_path, "title: x\noptions: {on: classification.c, off: 1, flag: on}\nflag: yes\n")
    assert found.options == {"on": "classification.c", "off": 1, "flag": True} and found.flag is True

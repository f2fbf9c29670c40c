"""The part `finetune` of a run file: its values, and texts that change a value."""

from __future__ import annotations

from typing import Any

import pytest

from visgen.config import FinetuneConfig, RunConfig, apply_overrides, from_mapping, to_mapping
from visgen.errors import ConfigError

RUN: dict[str, Any] = {"finetune": {"model": "visgen-tiny", "experts": "new:2"}, "train": {"steps": 10}}


def test_a_run_has_none_unless_it_says_so_and_reads_back() -> None:
    assert RunConfig().finetune is None
    run = from_mapping(RunConfig, RUN)
    assert run.finetune == FinetuneConfig("visgen-tiny", "new:2") and run.finetune.match == "top:4"
    assert from_mapping(RunConfig, to_mapping(run)) == run


def test_texts_change_a_copy() -> None:
    changed = apply_overrides(RUN, ["finetune.experts=top:1", "train.steps=20", "optim.lr=1e-4"])
    assert changed["finetune"] == {"model": "visgen-tiny", "experts": "top:1"}
    assert (changed["train"]["steps"], changed["optim"]["lr"]) == (20, 1e-4)
    assert RUN["finetune"]["experts"] == "new:2" and "optim" not in RUN


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("finetune.model=''", r"finetune\.model is empty"),
        ("finetune.router_steps=-1", r"finetune\.router_steps is -1; it must be 0 or more"),
        ("finetune.usage_batches=0", r"finetune\.usage_batches is 0; it must be 1 or more"),
        ("finetune.cache_mb=-5", r"finetune\.cache_mb is -5"),
        ("finetune.router_steps=10", r"finetune\.router_steps is 10 of train\.steps 10; leave steps for the experts"),
        ("model.weights=a.safetensors", r"model\.options or model\.weights stand beside finetune\.model"),
        ("finetune.expert=1", r"unknown key 'finetune\.expert'; did you mean 'experts'"),
    ],
)
def test_values_that_cannot_be_run_are_refused(change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_mapping(RunConfig, apply_overrides(RUN, [change]))

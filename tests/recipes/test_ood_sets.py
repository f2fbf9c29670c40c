"""The pinned lists of the OOD study: those that the data give, those of the records, and no class on both sides."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from visgen.data import build_source
from visgen.data.pinned import pin_of
from visgen.metrics import read_record

ROOT = Path(__file__).resolve().parents[2]
SETS: dict[str, Any] = json.loads((ROOT / "tasks" / "ood" / "sets.json").read_text(encoding="utf-8"))
LISTS: dict[str, Any] = SETS["lists"]
# The ten classes of CIFAR-10, with words under which ImageNet files kinds of them
KINDS = (
    r"airplane|airliner|automobile|car|convertible|wagon|limousine|bird|goose|stork|penguin|albatross|cat|cougar|tabby"
    r"|deer|gazelle|dog|terrier|retriever|shepherd|poodle|chihuahua|frog|bullfrog|horse|ship|boat|lifeboat|gondola"
    r"|truck|van|bus|trolleybus|tractor"
)
NOT_OF_THEM = {"freight car", "bullet train", "sea cucumber"}  # named like one, and none


@pytest.mark.parametrize("name", ["cifar10", "caltech100", pytest.param("town", marks=pytest.mark.slow)])
def test_every_list_of_the_study_is_the_pinned_one(
    name: str, data_root: Path, load_recipe: Callable[[str], ModuleType]
) -> None:
    lists = getattr(load_recipe("ood/features"), name)(data_root, False)
    assert {f"{name}/{part}" for part in lists} == {key for key in LISTS if key.startswith(f"{name}/")}
    for part, (rows, labels) in lists.items():
        assert {"images": len(rows), "sha256": pin_of(rows)} == LISTS[f"{name}/{part}"], part
        assert len(labels) == (len(rows) if part in ("train", "val") else 0)
    assert not set(lists["train"][0]) & set(lists["val"][0])
    assert not {*lists["train"][0], *lists["val"][0]} & {*lists["near"][0], *lists["far"][0]}


def test_no_class_of_cifar10_is_left_in_its_near_outside(data_root: Path) -> None:
    source: Any = build_source(f"parquet:{data_root}/tiny_imagenet", "val")
    names, overlap = [name.split(" (")[0] for name in source.names], set(SETS["tiny_imagenet_overlap"])
    assert len(names) == 200 and overlap <= set(names)
    assert LISTS["cifar10/near"]["images"] == 5 * (len(names) - len(overlap))
    alike = {name for name in names if re.search(rf"\b({KINDS})\b", name.lower())} - NOT_OF_THEM
    assert alike <= overlap, f"kinds of CIFAR-10 classes among the outside: {sorted(alike - overlap)}"


def test_the_records_hold_the_pinned_lists() -> None:
    seen = set()
    for file in sorted((ROOT / "model_zoo" / "results").glob("ood_*.json")):
        lists = read_record(file)["protocol"].get("lists", {})
        for name, value in lists.items():
            rows = {name: value} if "sha256" in value else {f"{name}/{part}": row for part, row in value.items()}
            for key, row in rows.items():
                key = key if key in LISTS else f"eval/{key}"
                assert row == LISTS[key], f"{file.name}: {key}"
                seen.add(key)
    assert seen == set(LISTS)

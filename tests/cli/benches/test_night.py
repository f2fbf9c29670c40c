"""`visgen bench night`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from visgen.gan.architecture.relight import RelightTranslator
from visgen.gan.night import save_night
from visgen.metrics import read_record


def test_bench_counts_pictures_and_writes_a_record(visgen_json: Callable[..., Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    options = {"channels": 2, "blocks": 0}
    folder = save_night(tmp_path / "night", RelightTranslator(**options), {"name": "relight", **options}, 64)
    record = tmp_path / "bench.json"
    report = visgen_json(*("bench", "night", "--generator", folder, "--repeats", 2, "--threads", 1, "--record", record))
    cases = [row["case"] for row in report["rows"]]
    assert cases[0] == "crop, flip, jitter 256x192" and cases[-1] == "from the cache 256x192" and len(cases) == 8
    for row in report["rows"]:
        assert row["images_per_second"] == pytest.approx(1000 / row["median_ms"])
        assert row["ratio"] == pytest.approx(row["median_ms"] / report["rows"][0]["median_ms"])
    assert set(read_record(record)["metrics"]) == set(cases)


def test_bench_refuses_an_unknown_generator(visgen: Callable[..., Any]) -> None:
    result = visgen("bench", "night", "--generator", "no-such-night")
    assert result.exit_code == 2 and "nor a generator that ships" in result.stderr

"""`visgen bench moe`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from visgen.cli.benches import moe
from visgen.metrics import read_record

SMALL = moe.Shape(64, 16, 6)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shape that takes no time, and a yardstick that may vary as it likes."""
    monkeypatch.setattr(moe, "MAIN", SMALL)
    monkeypatch.setattr(moe, "OTHERS", ())
    monkeypatch.setattr(moe, "TOLERANCE", 1e9)


def test_rows_hold_both_sides_and_both_yardsticks(small: None, visgen_json: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "moe.json"
    report = visgen_json("bench", "moe", "--repeats", 3, "--threads", 1, "--profile", "--record", path)
    assert report["valid"] is True and report["environment"]["threads"] == 1
    blocks = [(d, p) for d in ("float32", "bfloat16") for p in ("forward", "forward+backward")]
    for dtype, passes in blocks:
        rows = [r for r in report["rows"] if (r["dtype"], r["pass"]) == (dtype, passes)]
        assert [(r["case"], r["backend"]) for r in rows] == [
            ("dense", ""), ("experts", "loop"), ("masked loop", ""), ("dense, all experts", ""),
        ]  # fmt: skip
        for row in rows:
            assert row["ratio"] == pytest.approx(row["median_ms"] / rows[0]["median_ms"])
            assert 0 < row["lowest_ms"] <= row["median_ms"] and row["spread"] >= 0
    assert len(report["rows"]) == 16
    ((shape, looked_at),) = report["profile"].items()
    assert shape == "S 64 D 16 E 6" and sum(o["share"] for o in looked_at["experts loop"]) <= 1.0001
    assert any("addmm" in o["operator"] for o in looked_at["dense"])
    record = read_record(path)
    assert record["command"] == "visgen bench moe --threads 1 --repeats 3 --profile"
    figures = record["metrics"]["S 64 D 16 E 6"]["float32 forward"]
    assert figures["dense"]["ratio"] == 1 and set(figures) == {
        "dense",
        "experts loop",
        "masked loop",
        "dense, all experts",
    }


def test_further_shapes_are_timed_less_often() -> None:
    assert moe._rounds(moe.MAIN, 15) == (15, 3)
    assert [moe._rounds(SMALL, n) for n in (2, 15, 40)] == [(2, 1), (3, 1), (8, 1)]


def test_a_shape_misses_where_its_best_backend_does() -> None:
    def row(dtype: str, passes: str, backend: str, ratio: float) -> dict[str, Any]:
        return {
            "shape": str(SMALL), "case": moe.BANK, "dtype": dtype, "pass": passes, "backend": backend, "ratio": ratio
        }  # fmt: skip

    rows = [row("float32", "forward", "loop", 1.5), row("float32", "forward", "compiled", 1.3)]
    rows += [row("bfloat16", "forward+backward", "loop", 9.0), row("float32", "forward+backward", "loop", 1.4)]
    assert not moe._misses(rows, SMALL)
    assert moe._misses([*rows, row("bfloat16", "forward", "loop", 2.1)], SMALL)
    assert not moe._misses([{**rows[0], "case": moe.MASKED}], SMALL)
    assert not moe._misses([row("float32", "forward", "loop", 3.0)], moe.MAIN)


def test_all_experts_at_once_are_timed_at_the_first_shape_alone(
    small: None, visgen_json: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moe, "OTHERS", (moe.Shape(32, 16, 8),))
    rows = visgen_json("bench", "moe", "--repeats", 2, "--threads", 1, "--all")["rows"]
    cases = {shape: [r["case"] for r in rows if r["shape"] == str(shape)] for shape in (SMALL, *moe.OTHERS)}
    assert [c.count(moe.ALL) for c in cases.values()] == [4, 0] and [c.count(moe.BANK) for c in cases.values()] == [
        4,
        4,
    ]


def test_the_cases_compute_the_same_experts_with_equal_active_parameters(small: None) -> None:
    given = moe._Given(SMALL, torch.float32, "cpu")
    cases = given.cases()
    torch.testing.assert_close(cases["experts", "loop"](), cases["masked loop", ""](), rtol=1e-5, atol=1e-6)
    experts, hidden = given.bank[0].shape[:2]
    weights = {n: sum(t.numel() for t in layer if t.ndim == 2) for n, layer in given.dense.items()}
    bank = sum(t.numel() for t in given.bank if t.ndim == 3)
    assert weights == {4: bank * 4 // experts, experts: bank}
    moe._timed(given, cases["experts", "loop"], True, "loop")
    assert all(t.grad is not None for t in (given.x, given.gates, *given.bank))


def test_a_restless_yardstick_makes_the_run_invalid(
    small: None, visgen: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moe, "TOLERANCE", -1.0)
    path = tmp_path / "moe.json"
    result = visgen("bench", "moe", "--repeats", 2, "--threads", 1, "--json", "--record", path)
    assert result.exit_code == 1 and json.loads(result.stdout)["valid"] is False
    assert "invalid: a dense yardstick varied" in result.stderr
    assert not path.exists()


def test_the_spread_is_half_the_middle_half_over_the_median() -> None:
    assert moe._spread([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx((4 - 2) / 2 / 3)
    assert moe._spread([7.0]) == 0 and moe._spread([2.0, 2.0, 2.0]) == 0


def test_a_gpu_that_is_not_there_is_said(visgen: Callable[..., Any]) -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    result = visgen("bench", "moe", "--device", "cuda")
    assert result.exit_code == 2 and "device is 'cuda' but no GPU is here" in result.stderr

"""What closing gained: arms whose difference is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from visgen.data import build_source
from visgen.engine.gaps import close_gaps, compare_arms
from visgen.engine.gaps.close import _measure, _options
from visgen.errors import ConfigError, DataError
from visgen.metrics.strata import Part, RatioTable, Stratum
from visgen.task.protocol import HeadSpec


def arm(right: float, images: int = 200, seed: int = 0, higher_is_better: bool = True) -> dict[str, list[Stratum]]:
    """A head that is right in a share of the images of class 0, and in half of class 1."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(images, 2)
    total[: images // 2, 0] = total[images // 2 :, 1] = 1
    share = torch.where(total[:, 0] > 0, right, 0.5)
    hits = total * (torch.rand(images, generator=generator) < share).double()[:, None]
    table = RatioTable(hits, total)
    rows = [("all", "all", (0, 1)), ("class", "a", (0,)), ("class", "b", (1,))]
    strata = [
        Stratum(kind, name, "recall", table, Part(groups), None, images, "images", images, higher_is_better)
        for kind, name, groups in rows
    ]
    return {"head": strata}


REQUESTS = [{"head": "head", "gaps": ["class/a"], "served_by": "town", "part": {}}]


def test_a_gain_is_told_from_none() -> None:
    measured = {
        "before": [arm(0.2)],
        "control": [arm(0.3, seed=s) for s in range(3)],
        "closed": [arm(0.8, seed=s) for s in range(3)],
    }
    rows = {r.key: r for r in compare_arms(measured, REQUESTS, torch.Generator().manual_seed(0), draws=400)}
    assert list(rows) == ["all/all", "class/a", "class/b"]
    asked, other = rows["class/a"], rows["class/b"]
    assert asked.is_asked and asked.served_by == "town" and not other.is_asked
    assert asked.verdict == "gained" and 0.35 < asked.low < asked.difference < asked.high < 0.65
    assert asked.before == pytest.approx(0.2, abs=0.1) and asked.closed["n"] == 3
    assert other.verdict == "no clear difference" and other.difference == 0
    assert rows["all/all"].difference == pytest.approx(asked.difference / 2)


def test_of_an_error_more_is_a_loss() -> None:
    measured = {
        "before": [arm(0.2, higher_is_better=False)],
        "control": [arm(0.3, seed=s, higher_is_better=False) for s in range(2)],
        "closed": [arm(0.8, seed=s, higher_is_better=False) for s in range(2)],
    }
    rows = {r.key: r for r in compare_arms(measured, [], torch.Generator(), draws=200)}
    assert rows["class/a"].verdict == "lost" and not rows["class/a"].is_asked


def test_equal_arms_differ_by_nothing_and_the_spread_of_seeds_counts() -> None:
    same = [arm(0.5, seed=s) for s in range(3)]
    rows = compare_arms({"before": same[:1], "control": same, "closed": same}, [], torch.Generator(), draws=400)
    assert all(r.difference == 0 and r.low < 0 < r.high for r in rows)  # seeds are drawn for each arm on its own
    alone = [arm(0.5)]
    fixed = compare_arms({"before": alone, "control": alone, "closed": alone}, [], torch.Generator(), draws=100)
    assert all(r.low == r.high == 0 for r in fixed)  # images are paired


def test_arms_on_other_images_are_refused(tmp_path: Path) -> None:
    measured = {"before": [arm(0.5)], "control": [arm(0.5)], "closed": [arm(0.5, images=100)]}
    with pytest.raises(DataError, match="other numbers of images than 200"):
        compare_arms(measured, [], torch.Generator(), draws=10)
    for name in ("g.yaml", "g.control.yaml", "g.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(ConfigError, match="no seed"):
        close_gaps(tmp_path / "g.yaml", tmp_path, load=lambda n: n, export=lambda m, p: None, seeds=())


def test_a_composition_stays_in_its_stratum_when_an_arm_was_shown_it() -> None:
    source = build_source("town:toy_vg?size=64x64&relation_share=1", "val", count=12, tasks=("scene_graph",))
    kinds, predicates = source[0].targets["scene_graph"].boxes.classes, source.classes["scene_graph"]
    seen = torch.zeros(len(kinds), len(kinds), len(predicates) + 1, dtype=torch.int32)
    seen[:, :10] = 1

    class Right:
        """Answers with the truth; its training showed `counts`."""

        max_side, min_side = 64, 0

        def __init__(self, counts: torch.Tensor) -> None:
            named = {"detection.town": kinds, "scene_graph.town": predicates}
            self.specs = {name: HeadSpec(name.partition(".")[0], names) for name, names in named.items()}
            self.head = lambda name: SimpleNamespace(counts=counts)
            self.below, self.resolve = lambda name: "detection.town", lambda name: name

        def predict(self, images: Any, heads: Any, *, sizes: Any = None, given: Any = None) -> Any:
            return {k: [replace(g, scores=torch.ones(len(g))) for g in targets] for k, (_, targets) in given.items()}

    row: dict[str, Any] = {"data": "town", "report": {"head": "scene_graph.town", "protocol": {"metric": {}}}}
    row["metric"] = _options(Right(seen), row["report"])
    before, closed = (_measure(Right(n), [row], [source], "cpu") for n in (seen, seen + 1))
    count = {s.key: s.count for s in before["scene_graph.town on town"]}
    assert 0 < count["composition/zero-shot"] < count["all/all"]
    assert count == {s.key: s.count for s in closed["scene_graph.town on town"]}

"""Wrappers of run files: shares that never meet, and samples that hold something."""

from __future__ import annotations

import pytest
import torch

from visgen.data import Cached, Mapped, Sample, Subset, build_source, wrap_source
from visgen.data.wrap import WRAPPERS, area_range, choosing, holding, holds, name_of, share_of, split_share
from visgen.errors import ConfigError, DataError, UnknownName
from visgen.gan.night import Night, NightAugmentation
from visgen.structures import Boxes, ClassLabel, DepthMap, SceneGraph, SemanticMap

NAMES = ("cat", "dog")
HALVES = ((0.0, 0.5), (0.5, 1.0))


class Few:
    """Four samples: labels, maps, boxes and a graph that are easy to tell apart; brighter from one to the next."""

    def __init__(self) -> None:
        named = ("classification", "segmentation", "detection")
        self.name = "few"
        self.heads = {k: f"{k}.few" for k in (*named, "scene_graph", "depth")}
        self.classes = {**dict.fromkeys(named, NAMES), "scene_graph": ("on",), "depth": ()}

    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> Sample:
        ids = torch.zeros(10, 10, dtype=torch.int64)
        ids[0, :i] = 1
        xyxy = torch.tensor([[0.0, 0, 1 + i, 10]])
        boxes = Boxes(xyxy, torch.tensor([i % 2]), (10, 10), NAMES)
        two = Boxes(torch.cat([xyxy, xyxy]), torch.tensor([0, 1]), (10, 10), NAMES)
        rows = torch.tensor([[0, 1, 0]])[: int(i == 3)]
        targets = {
            "classification": ClassLabel(i % 2, NAMES),
            "segmentation": SemanticMap(ids, NAMES),
            "detection": boxes,
            "scene_graph": SceneGraph(two, rows, ("on",)),
            "depth": DepthMap(torch.ones(10, 10)),
        }
        return Sample(torch.full((3, 10, 10), 0.1 + 0.25 * i), targets, {"id": f"s{i}"})


def test_shares_are_a_fixed_function_of_the_name() -> None:
    assert share_of("a") == pytest.approx(0.489442, abs=1e-6)
    values = torch.tensor([share_of(f"img_{i:06d}") for i in range(10_000)])
    assert values.min() >= 0 and values.max() < 1
    assert abs(float((values < 0.3).double().mean()) - 0.3) < 0.02
    assert share_of("a") == share_of("a") != share_of("a", "salt")


def test_two_shares_make_a_whole_and_never_meet() -> None:
    source = build_source("town:street?size=32x32&count=40", "val")
    first, second = split_share(source, 0, 0.5), split_share(source, 0.5, 1)
    assert sorted(first.indices + second.indices) == list(range(40))
    assert 10 < len(first) < 30
    with pytest.raises(ConfigError, match=r"0\.5 to 0\.5"):
        split_share(source, 0.5, 0.5)
    with pytest.raises(DataError, match="no sample of 'few'"):
        split_share(Few(), 0.0, 1e-9)


def test_a_scene_by_day_and_by_night_is_in_one_share() -> None:
    source = build_source("town:street?size=32x32&count=20&time=both", "val")
    assert name_of(source, 4) == name_of(source, 5) != name_of(source, 6)
    assert {i // 2 for i in split_share(source, 0, 0.5).indices}.isdisjoint(
        {i // 2 for i in split_share(source, 0.5, 1).indices}
    )
    assert name_of(Few(), 2) == "s2"


def test_a_scene_keeps_its_name_in_whatever_is_put_around_its_source() -> None:
    source = build_source("town:street?size=32x32&count=20&time=both", "val")
    night = Night(source, NightAugmentation(lambda x: x / 4, 1.0))
    for inside in (Subset(source, range(20)), Mapped(source, lambda s: s), Cached(source), night):
        assert [name_of(inside, i) for i in range(20)] == [name_of(source, i) for i in range(20)]
    turned = Subset(Cached(source), [7, 2])
    assert [name_of(turned, 0), name_of(turned, 1)] == [name_of(source, 7), name_of(source, 2)]
    first, second = ({s.meta["seed"] for s in split_share(Subset(source, range(20)), *h)} for h in HALVES)
    assert len(first | second) == 10 and first.isdisjoint(second)


def test_what_fills_the_whole_picture_and_a_white_picture_are_held() -> None:
    sky = SemanticMap(torch.zeros(10, 10, dtype=torch.int64), NAMES)
    box = Boxes(torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([0]), (10, 10), NAMES)
    white = Sample(torch.full((3, 10, 10), 255, dtype=torch.uint8), {"segmentation": sky, "detection": box})
    for task in white.targets:
        assert holds(white, task, classes=["cat"], light=(0.5, 1.0))
        assert not holds(white, task, classes=["cat"], area=(0.0, 0.999)) and not holds(white, task, light=(0.0, 0.9))


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"task": "classification", "classes": ["dog"]}, [1, 3]),
        ({"task": "segmentation", "classes": ["dog"]}, [1, 2, 3]),
        ({"task": "segmentation", "classes": ["dog"], "area": [0.02, 1]}, [2, 3]),
        ({"task": "detection", "area": [0, 0.25]}, [0, 1]),
        ({"task": "detection", "classes": ["cat"], "area": [0.25, 1.01]}, [2]),
        ({"task": "scene_graph", "predicates": ["on"]}, [3]),
        ({"task": "depth", "light": [0, 0.4]}, [0, 1]),
        ({"task": "scene_graph", "classes": ["dog"], "area": [0.3, 1]}, [2, 3]),
    ],
)
def test_samples_that_hold_something_are_kept(options: dict, kept: list[int]) -> None:
    assert holding(Few(), **options).indices == kept
    (wrapped,) = [wrap_source(Few(), [{"name": "holding", **options}])]
    assert [s.meta["id"] for s in wrapped] == [f"s{i}" for i in kept]


def test_what_is_not_there_is_told() -> None:
    with pytest.raises(ConfigError, match="class 'dgo' is not in 'few'; did you mean 'dog'"):
        holding(Few(), "detection", classes=["dgo"])
    with pytest.raises(ConfigError, match="class 'on' is not in 'few'"):
        holding(Few(), "scene_graph", classes=["on"])
    with pytest.raises(ConfigError, match="not 'ood'"):
        holding(Few(), "ood")
    with pytest.raises(DataError, match=r"1 of 4 samples of 'few' hold.*at least 2"):
        holding(Few(), "scene_graph", predicates=["on"], least=2)
    assert holding(Few(), "scene_graph", predicates="on", classes="dog").indices == [3]  # plain names will do
    with pytest.raises(ConfigError, match="predicate 'onn' is not in 'few'; did you mean 'on'"):
        holding(Few(), "scene_graph", predicates=["onn"])
    assert not holds(Few()[3], "scene_graph", predicates=["on"], area=(0.0, 1e-6))  # both must hold of one thing
    with pytest.raises(UnknownName, match="wrapper 'holdin' is not registered; did you mean 'holding'"):
        wrap_source(Few(), [{"name": "holdin"}])
    with pytest.raises(ConfigError, match="has no name"):
        wrap_source(Few(), [{"task": "depth"}])
    with pytest.raises(ConfigError, match="wrapper 'holding' lacks task"):
        wrap_source(Few(), [{"name": "holding"}])
    with pytest.raises(ConfigError, match=r"holding: area is \[0.1\]; give two rising shares"):
        wrap_source(Few(), [{"name": "holding", "task": "detection", "area": [0.1]}])
    with pytest.raises(ConfigError, match="size is 'tiny'"):
        area_range("tiny", (0.1, 0.2))
    for task in ("classification", "depth"):
        with pytest.raises(ConfigError, match=rf"area is \[0.1, 0.2\], but a target of '{task}' takes no part"):
            holding(Few(), task, area=[0.1, 0.2])
    with pytest.raises(ConfigError, match="predicates are of a scene graph, but the task is 'detection'"):
        holding(Few(), "detection", predicates=["cat"])
    assert area_range("medium", (0.1, 0.2)) == (0.1, 0.2)


def test_wrappers_that_choose_come_first() -> None:
    night, share = {"name": "night", "generator": "x"}, {"name": "share", "low": 0.5}
    assert choosing([night, share]) == ([share], [night])
    assert {"share", "holding"} <= set(WRAPPERS.names())

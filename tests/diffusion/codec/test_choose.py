"""The codec of a request, its passes, and decoders that survive any picture."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from visgen.diffusion.codec import CODECS, Codec, CodecSettings, codec_for, passes
from visgen.errors import DataError
from visgen.language import TaskRequest

SETTINGS = CodecSettings(predicates=("on", "riding"))
REQUESTS = {
    "segmentation": TaskRequest("segmentation", ("dog",)),
    "detection": TaskRequest("detection", ("dog",)),
    "depth": TaskRequest("depth"),
    "classification": TaskRequest("classification", ("dog",)),
    "ood": TaskRequest("ood"),
    "scene_graph": TaskRequest("scene_graph", relation=("man", None, "horse")),
}


def request_of(codec: type[Codec]) -> TaskRequest:
    request = REQUESTS[codec.task]
    return TaskRequest("classification", ("dog", "cat", "car")) if codec.name == "cls.panel" else request


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        (REQUESTS["segmentation"], "seg.binary"),
        (TaskRequest("segmentation", ("dog",), colours=(("dog", "red"),)), "seg.palette"),
        (TaskRequest("segmentation", ("dog", "cat")), "seg.palette"),
        (REQUESTS["detection"], "det.layers"),
        (REQUESTS["depth"], "depth.log"),
        (TaskRequest("depth", ("dog",)), "depth.log"),
        (REQUESTS["classification"], "cls.flag"),
        (TaskRequest("classification", ("dog", "cat")), "cls.panel"),
        (REQUESTS["ood"], "ood.map"),
        (REQUESTS["scene_graph"], "sgg.triplet"),
    ],
)
def test_the_default_codec(request_: TaskRequest, name: str) -> None:
    codec = codec_for(request_, SETTINGS)
    assert codec.name == name and type(codec) is CODECS[name] and codec.settings == SETTINGS


def test_requests_that_no_picture_answers_are_refused() -> None:
    with pytest.raises(DataError, match="draws one class, but the request names 2"):
        codec_for(TaskRequest("detection", ("dog", "cat")))
    with pytest.raises(DataError, match=r"draws 1\.\.7 classes, but the request names 0"):
        codec_for(TaskRequest("segmentation"))


def test_passes_by_hand() -> None:
    two = TaskRequest("detection", ("dog", "cat"), attributes=(("cat", "red"),))
    assert [(r.classes, r.attributes) for r in passes(two)] == [(("dog",), ()), (("cat",), (("cat", "red"),))]
    everything = TaskRequest("segmentation", exclude=("class 3",))
    found = passes(everything, tuple(f"class {k}" for k in range(10)))
    assert [len(r.classes) for r in found] == [4, 5] and all("class 3" not in r.classes for r in found)
    pairs = passes(TaskRequest("scene_graph", ("man", "horse")))
    assert [r.relation for r in pairs] == [("man", None, "horse"), ("horse", None, "man")]
    for request in (REQUESTS["depth"], REQUESTS["ood"], REQUESTS["scene_graph"]):
        assert passes(request) == [request]
    for request in [*found, *pairs, *passes(two)]:
        codec_for(request, SETTINGS)
    with pytest.raises(DataError, match="segmentation of everything needs the names of everything"):
        passes(TaskRequest("segmentation"))


@pytest.mark.parametrize("count", [2, 3, 16, 17, 33, 49, 203])
def test_panels_are_split_evenly_and_none_has_one_class(count: int) -> None:
    names = tuple(f"class {k}" for k in range(count))
    sizes = [len(r.classes) for r in passes(TaskRequest("classification"), names)]
    assert sum(sizes) == count and 2 <= min(sizes) <= max(sizes) <= 16 and max(sizes) - min(sizes) <= 1
    assert tuple(n for r in passes(TaskRequest("classification", names)) for n in r.classes) == names


def test_parts_get_smaller_until_they_fit() -> None:
    request = TaskRequest("segmentation", tuple(f"class {k}" for k in range(10)))
    fits = lambda part: len(part.classes) <= 3  # noqa: E731
    assert [len(part.classes) for part in passes(request, (), fits)] == [2, 3, 2, 3]
    assert len(passes(request, (), lambda part: False)) == 10
    never = passes(TaskRequest("classification", request.classes[:5]), (), lambda part: False)
    assert [len(part.classes) for part in never] == [2, 3]


def test_what_a_picture_would_leave_out_of_a_request_is_refused() -> None:
    with pytest.raises(DataError, match="the request names 'man' alone; name two classes"):
        passes(TaskRequest("scene_graph", ("man",)))
    with pytest.raises(DataError, match="the request leaves out car; ask for everything"):
        codec_for(TaskRequest("depth", exclude=("car",)))
    with pytest.raises(DataError, match="one of 2 panels, but the request names the colour 'blue'"):
        codec_for(TaskRequest("classification", ("dog", "cat"), colours=(("yes", "blue"), ("no", "red"))))


@pytest.mark.parametrize("name", sorted(CODECS))
@pytest.mark.parametrize(
    "kind", ["noise", "uniform", "black", "white", "nan", "infinite", "huge", "half", "tiny", "wide"]
)
def test_no_picture_breaks_a_decoder(name: str, kind: str) -> None:
    noise = torch.randn(3, 32, 40, generator=torch.Generator().manual_seed(3))
    picture = {
        "noise": noise,
        "uniform": torch.rand(3, 32, 40, generator=torch.Generator().manual_seed(3)) * 2 - 1,
        "black": torch.full((3, 32, 40), -1.0),
        "white": torch.ones(3, 32, 40),
        "nan": noise * float("nan"),
        "infinite": noise / 0,
        "huge": noise * 1e30,
        "half": noise.half(),
        "tiny": noise[:, :1, :1],
        "wide": noise[:, :1],
    }[kind]
    codec = CODECS[name](SETTINGS)
    request = request_of(CODECS[name])
    value: Any = codec.decode(picture, request, (50, 70))
    restored = type(value).from_dict(value.to_dict())  # every decoded value passes the checks of its type
    assert type(restored) is type(value) and getattr(value, "size", (50, 70)) == (50, 70)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 80), st.integers(1, 80), st.integers(0, 10**6))
def test_no_size_breaks_a_decoder(rows: int, columns: int, height: int, width: int, seed: int) -> None:
    picture = torch.randn(3, rows, columns, generator=torch.Generator().manual_seed(seed))
    for kind in CODECS.values():
        value = kind(SETTINGS).decode(picture, request_of(kind), (height, width))
        assert getattr(value, "size", (height, width)) == (height, width)


@pytest.mark.parametrize("picture", [torch.zeros(1, 8, 8), torch.zeros(3, 8), torch.zeros(3, 0, 8), "picture"])
def test_what_is_no_picture_is_refused(picture: Any) -> None:
    with pytest.raises(DataError, match=r"it must be a tensor \(3, h, w\) in \[-1, 1\]"):
        codec_for(REQUESTS["depth"]).decode(picture, REQUESTS["depth"], (8, 8))

"""The paths of the instruction model: drawn answers, both paths beside each other, and what goes where under auto."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

import visgen
from visgen.diffusion import InstructDiffusion, TinyConfig, build_tiny
from visgen.diffusion.answers import answer_requests, merge_answers
from visgen.diffusion.reading import read_for
from visgen.errors import ConfigError, UnknownName
from visgen.language import TaskRequest
from visgen.pipelines.both import agreement
from visgen.structures import Boxes, Classification, DepthMap, Result, SemanticMap

from .conftest import photograph

TAUGHT = {
    "segmentation": ("cat", "road", "zebra"),
    "detection": ("cat", "zebra"),
    "classification": ("cat", "dog"),
    "scene_graph": ("cat", "zebra"),
}


@pytest.fixture(scope="module")
def drawing() -> InstructDiffusion:
    """A random instruction model that was taught a zebra, which the experts of `model` do not know."""
    sizes = TinyConfig(
        size=32, vae_widths=(8, 8), vae_groups=4, unet_widths=(8, 8), unet_groups=4, text_width=8, text_layers=1,
        text_heads=2, tokens=48, vocabulary=600,
    )  # fmt: skip
    model = build_tiny(["segment the zebra", "find the cat", "how far is everything"], sizes).eval()
    codec = {"near": 0.5, "far": 40.0, "predicates": ["on", "left of"]}
    model.config = replace(model.config, classes=TAUGHT, codec=codec)
    return model


def test_a_sentence_becomes_a_typed_answer_at_the_size_of_the_photograph(drawing):
    pipe = visgen.pipeline(path="diffusion", model=drawing)
    result = pipe(photograph(60, 80), "segment the zebra and tell me how far everything is")
    assert result.path == "diffusion" and result.size == (60, 80)
    assert isinstance(result.segmentation, SemanticMap) and result.segmentation.classes == ("zebra",)
    assert result.segmentation.size == (60, 80) and isinstance(result.depth, DepthMap)
    assert result.request["drawn"][0] == {
        "texts": ["segment zebra"], "codecs": ["seg.binary"], "steps": 1, "text_scale": 1.0, "image_scale": 1.0,
    }  # fmt: skip
    assert json.loads(result.to_json())["request"]["requests"][0]["classes"] == ["zebra"]


def test_an_instruction_model_alone_is_its_own_path(drawing):
    assert visgen.pipeline(model=drawing).path == "diffusion"
    with pytest.raises(ConfigError, match="is an instruction model; use path='diffusion'"):
        visgen.pipeline(model=drawing, path="moe")


def test_seeds_settle_answers_whatever_else_is_asked(drawing):
    pipe = visgen.pipeline(path="diffusion", model=drawing)
    photos = [photograph(40, 40, seed=k) for k in range(2)]
    both = pipe(photos, "how far is everything?", seed=3, steps=3)
    alone = pipe(photos[1], "segment the cat. how far is everything?", seed=3, steps=3)
    assert torch.allclose(both[1].depth.metres, alone.depth.metres, rtol=1e-3)
    other = pipe(photos[1], "how far is everything?", seed=4, steps=3)
    assert not torch.allclose(both[1].depth.metres, other.depth.metres, rtol=1e-3)
    fast = [pipe(photos[0], "how far is everything?", seed=seed).depth.metres for seed in (1, 2)]
    assert torch.equal(*fast)


def test_what_it_cannot_be_asked_is_said(drawing):
    pipe = visgen.pipeline(path="diffusion", model=drawing)
    with pytest.raises(ConfigError, match="asked for classes by name"):
        visgen.pipeline("segmentation", drawing, path="diffusion")(photograph(40, 40))
    with pytest.raises(UnknownName):
        pipe(photograph(40, 40), "segment the zeppelin")
    with pytest.raises(ConfigError, match="made for depth"):
        visgen.pipeline("depth", drawing, path="diffusion")(photograph(40, 40), "segment the cat")
    assert pipe(photograph(40, 40)).depth is not None


def test_several_passes_come_back_as_one_value(drawing):
    image = torch.rand(3, 40, 50)
    rows = [
        TaskRequest("detection", ("cat", "zebra")),
        TaskRequest("segmentation", ("cat",), colours=(("cat", "blue"),)),
    ]
    found = answer_requests(drawing, image, rows)
    assert found[0].value.classes == ("cat", "zebra") and len(found[0].pictures) == 2
    assert found[1].codecs == ("seg.palette",) and found[1].value.size == (40, 50)


def test_merged_boxes_keep_their_classes():
    one = Boxes(torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([0]), (9, 9), ("cat",), torch.tensor([0.4]))
    two = Boxes(torch.tensor([[1.0, 0, 4, 4]]), torch.tensor([0]), (9, 9), ("dog",), torch.tensor([0.6]))
    merged = merge_answers([one, two])
    assert merged.names == ("cat", "dog") and torch.allclose(merged.scores, torch.tensor([0.4, 0.6]))


def test_both_paths_answer_and_agreement_is_measured(model, drawing):
    pipe = visgen.pipeline(model=model, path="both", instruct=drawing)
    result = pipe(photograph(64, 64), "how far is everything?")
    assert result.path == "both" and 0 <= result.request["agreement"]["depth"] <= 1
    assert result.request["other"]["path"] == "diffusion" and isinstance(result.depth, DepthMap)
    alone = pipe(photograph(64, 64), "segment the zebra")
    assert alone.path == "diffusion" and alone.segmentation.classes == ("zebra",)


def test_auto_sends_what_the_experts_do_not_know_to_the_instruction_model(model, drawing):
    pipe = visgen.pipeline(model=model, instruct=drawing)
    assert pipe(photograph(64, 64), "segment the dog").path == "moe"
    assert pipe(photograph(64, 64), "segment the zebra").path == "diffusion"
    with pytest.raises(UnknownName, match="zebra"):
        visgen.pipeline(model=model)(photograph(64, 64), "segment the zebra")
    assert "drawn by the instruction model" in pipe.plan("segment the zebra").explain()


def test_agreement_by_hand():
    ids = torch.zeros(4, 4, dtype=torch.int64)
    other = ids.clone()
    other[:, 2:] = 255
    maps = [Result(segmentation=SemanticMap(i, ("cat",))) for i in (ids, other)]
    assert agreement(*maps) == {"segmentation": 0.5}
    depths = [Result(depth=DepthMap(torch.tensor([[1.0, 2.0, 0.0, 4.0]]))),
              Result(depth=DepthMap(torch.tensor([[1.2, 3.0, 1.0, 4.0]])))]  # fmt: skip
    assert agreement(*depths)["depth"] == pytest.approx(2 / 3)
    boxes = torch.tensor([[0.0, 0, 4, 4], [6, 6, 9, 9]])
    one = Boxes(boxes, torch.tensor([0, 0]), (9, 9), ("cat",))
    two = Boxes(boxes[:1], torch.tensor([0]), (9, 9), ("cat",))
    assert agreement(Result(detection=one), Result(detection=two))["detection"] == pytest.approx(2 / 3)
    odds = [Classification(torch.tensor(p), ("cat", "dog")) for p in ([0.6, 0.4], [0.3, 0.7])]
    assert agreement(Result(classification=odds[0]), Result(classification=odds[1])) == {"classification": 0.0}
    assert agreement(Result(depth=depths[0].depth), Result(segmentation=maps[0].segmentation)) == {}


def test_reading_for_a_model_that_lists_no_words_takes_any_noun(drawing):
    open_model = build_tiny(["a"], TinyConfig(size=32, vae_widths=(8, 8), vae_groups=4, unet_widths=(8, 8),
                                              unet_groups=4, text_width=8, text_layers=1, vocabulary=600))  # fmt: skip
    (request,) = read_for(open_model, "segment the zeppelin")
    assert request.classes == ("zeppelin",) and request.open_vocabulary


@pytest.mark.parametrize("path", ["diffusion", "both"])
@pytest.mark.parametrize(
    ("option", "says"), [({"on_error": "rasie"}, "on_error is 'rasie'"), ({"color": "rbg"}, "color is 'rbg'")]
)
def test_how_pictures_are_read_is_checked_before_the_first(model, drawing, path, option, says):
    pipe = visgen.pipeline(model=model, instruct=drawing, path=path) if path == "both" else visgen.pipeline(
        model=drawing, path=path)  # fmt: skip
    with pytest.raises(ConfigError, match=says):
        pipe("no such picture.jpg", "segment the cat", **option)

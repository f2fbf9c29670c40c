"""The paths of the instruction model: drawn answers, both paths beside each other, and what goes where under auto."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

import visgen
from visgen.diffusion import InstructDiffusion, TinyConfig, build_tiny
from visgen.diffusion.answers import answer_requests, merge_answers, plan_passes
from visgen.diffusion.reading import read_for
from visgen.errors import ConfigError, DataError, ImageError, UnknownName
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
    alone = pipe(photos[1], "segment the cat. how far is everything?", seed=4, steps=3)  # picture 1 of seed 3
    assert torch.allclose(both[1].depth.metres, alone.depth.metres, rtol=1e-3)
    other = pipe(photos[1], "how far is everything?", seed=3, steps=3)
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


@pytest.mark.parametrize(("odds", "same"), [((0.01, 0.99), True), ((0.99, 0.01), False)])
def test_agreement_on_yes_or_no_is_about_what_the_other_shows(odds, same):
    no_dog = Result(classification=Classification(torch.tensor(odds), ("dog", "not dog")))
    ids = torch.zeros(4, 4, dtype=torch.int64)
    box = Boxes(torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([0]), (9, 9), ("cat", "dog"))
    for without in (
        Result(classification=Classification(torch.tensor([0.9, 0.1]), ("cat", "dog"))),
        Result(detection=box),
        Result(segmentation={"pets": SemanticMap(ids, ("cat", "dog"))}),
    ):
        assert agreement(without, no_dog) == agreement(no_dog, without) == {"classification": float(same)}
    assert (
        agreement(Result(detection=box.select(torch.tensor([], dtype=torch.int64))), no_dog)["classification"] == same
    )
    assert agreement(Result(segmentation=SemanticMap(ids, ("cat",))), no_dog) == {}
    one = [Classification(torch.tensor(p), ("cat", k)) for p, k in (([0.9, 0.1], "dog"), ([0.1, 0.9], "owl"))]
    assert agreement(*(Result(classification=value) for value in one)) == {}  # one class in common says nothing


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


@pytest.mark.parametrize("path", ["diffusion", "both"])
def test_what_cannot_be_read_is_named_once(model, drawing, path, tmp_path):
    pipe = visgen.pipeline(model=model, instruct=drawing, path=path) if path == "both" else visgen.pipeline(
        model=drawing, path=path)  # fmt: skip
    missing = str(tmp_path / "missing.png")
    inputs = [photograph(40, 50), photograph(40, 50).astype("int32"), missing]
    _, odd, gone = pipe(inputs, "segment the cat", on_error="record")
    assert odd.error.startswith("item 1: array of shape") and gone.error == f"'{missing}' does not exist."
    with pytest.raises(ImageError, match="^item 1: array of shape"):
        pipe(inputs, "segment the cat")


def test_depth_stays_where_the_class_is_drawn(drawing):
    pipe, photo = visgen.pipeline(path="diffusion", model=drawing), photograph(40, 50, seed=1)
    image = visgen.load_image(photo)
    asked = [TaskRequest("depth", ("cat",)), TaskRequest("segmentation", ("cat",)), TaskRequest("depth")]
    far, mask, whole = (answer.value for answer in answer_requests(drawing, image, asked))
    there = mask.ids == 0
    assert 0 < int(there.sum()) < there.numel()
    result = pipe(photo, "how far is the cat?")
    assert torch.allclose(result.depth.metres, far.metres.where(there, 0.0), rtol=1e-4)
    assert result.request["answers"] == [{"median": {"cat": pytest.approx(result.depth.summary()["median"])}}]
    assert result.request["helpers"] == [["segment cat"]]
    rest = pipe(photo, "how far is everything except the cat. how far is everything")
    first, second = rest.depth.values()
    assert list(rest.depth) == ["how far is everything", "how far is everything (2)"]
    assert torch.equal(first.metres, second.metres.where(~there, 0.0)) and bool((second.metres > 0).all())
    assert "where segmentation sees cat" in pipe.plan("how far is the cat?").explain()


def test_one_is_one_and_a_count_is_answered(drawing):
    pipe, asked = visgen.pipeline(path="diffusion", model=drawing), TaskRequest("detection", ("cat",), quantifier="one")
    photos = (photograph(40, 50, seed=k) for k in range(300))
    drawn = ((photo, answer_requests(drawing, visgen.load_image(photo), [asked])[0].value) for photo in photos)
    photo, boxes = next((photo, boxes) for photo, boxes in drawn if len(boxes) > 1)
    every = pipe(photo, "count the cats", threshold=0)
    assert every.request["answers"] == [{"count": {"cat": len(every.detection)}}]
    one = pipe(photo, "find one cat", threshold=0)
    assert one.detection.scores.tolist() == pytest.approx([float(boxes.scores.max())], rel=1e-4)
    assert one.request["answers"] == [{"count": {"cat": 1}}]
    inside = pipe(photo, "segment one cat", threshold=0)
    assert inside.request["helpers"] == [["find one cat"]]
    rows, columns = (inside.segmentation.ids == 0).nonzero().T
    x1, y1, x2, y2 = one.detection.xyxy[0].tolist()
    assert not len(rows) or (columns.min() >= int(x1) and columns.max() < x2 and rows.min() >= int(y1))


def test_every_request_has_its_answer_under_a_key_of_its_own(drawing):
    pipe = visgen.pipeline(path="diffusion", model=drawing)
    result = pipe(photograph(40, 40), "is the cat unusual and is the zebra unusual")
    assert list(result.ood) == ["is anything unusual", "is anything unusual (2)"]
    assert pipe.plan("is the cat unusual").explain().endswith("drawn by the instruction model, about the whole picture")


def test_a_list_of_names_means_the_sentence(drawing):
    pipe = visgen.pipeline(path="diffusion", model=drawing)
    assert [r.classes for r in pipe.plan(["cats", "The zebra"]).requests] == [("cat", "zebra")]
    assert pipe.plan(["cats"]).requests[0].task == "detection"
    maps = visgen.pipeline("segmentation", drawing, path="diffusion")
    assert [(r.task, r.classes) for r in maps.plan(["road"]).requests] == [("segmentation", ("road",))]


@pytest.fixture(scope="module")
def learned(drawing) -> InstructDiffusion:
    """The same model, taught the names of so many things that not every list of them fits."""
    things = tuple(f"{a} {b}" for a in ("water", "snow", "fire", "ice") for b in ("dog", "cat", "horse", "bear", "cow"))
    model = build_tiny(["a"], TinyConfig(size=32, vae_widths=(8, 8), vae_groups=4, unet_widths=(8, 8), unet_groups=4,
                                         text_width=8, text_layers=1, tokens=40, vocabulary=600)).eval()  # fmt: skip
    model.config = replace(drawing.config, classes=dict.fromkeys(TAUGHT, things))
    return model


def test_lists_too_long_for_the_text_encoder_are_split(learned):
    for task, most in (("classification", 16), ("segmentation", 7)):
        parts = plan_passes(learned, TaskRequest(task))
        assert sum((part.classes for part in parts), ()) == learned.config.classes[task]
        assert len(parts) > -(-20 // most) and all(len(part.classes) > 1 for part in parts)
    result = visgen.pipeline(path="diffusion", model=learned)(photograph(40, 40), "what is this?")
    assert result.classification.classes == learned.config.classes["classification"]


def test_what_would_never_end_or_has_no_picture_is_refused_at_once(learned, drawing):
    pipe = visgen.pipeline(path="diffusion", model=learned)
    with pytest.raises(
        DataError, match="everything' takes 380 pictures, and one request may take 200; name the classes"
    ):
        pipe.plan("scene graph")
    with pytest.raises(DataError, match="names 'snow dog' alone; name two classes"):
        pipe.plan("relations of the snow dog")
    with pytest.raises(DataError, match="one of 2 panels, but the request names the colour 'green'"):
        visgen.pipeline(path="diffusion", model=drawing).plan("show green if there is a dog or a cat, else red")
    with pytest.raises(DataError, match="tokens but the text encoder takes 40"):
        plan_passes(learned, TaskRequest("detection", ("a very long name " * 10,)))


def test_many_passes_are_drawn_in_portions(learned):
    request, steps = TaskRequest("detection", learned.config.classes["detection"]), []
    report = lambda done, total: steps.append((done, total))  # noqa: E731
    (answer,) = answer_requests(learned, torch.rand(3, 40, 40), [request], steps=2, progress=report)
    assert len(answer.pictures) == 20 and steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    (alone,) = answer_requests(
        learned, torch.rand(3, 40, 40), [replace(request, classes=request.classes[-1:])], steps=2
    )
    assert alone.texts == answer.texts[-1:]


def test_where_nothing_can_be_drawn_the_experts_answer_and_say_so(finder, drawing):
    pipe = visgen.pipeline(model=finder, path="both", instruct=drawing)
    words = "relations of the dog"
    result = pipe(photograph(64, 64), words)
    assert result.scene_graph is not None and result.path == "moe"
    plan = pipe.plan(words)
    assert "'dog' alone; name two classes" in plan.left_out
    assert result.request["left_out"] == plan.left_out == plan.to_dict()["left_out"]
    assert plan.explain().splitlines()[-1] == f"nothing is drawn: {plan.left_out}"
    with pytest.raises(DataError, match="names the colour 'green'"):  # it alone understands colours
        pipe.plan("show green if there is a dog or a cat, else red")
    assert pipe(photograph(64, 64), ["dogs"]).path == "both"
    assert "item 0 of the instruction: 'cars'" in pipe(photograph(64, 64), ["cars"]).request["left_out"]


def test_both_without_an_instruction_says_that_nothing_is_drawn(model, drawing):
    pipe = visgen.pipeline("depth", model, path="both", instruct=drawing)
    says = "no instruction is given; add one, such as 'how far is everything?'."
    assert pipe(photograph(40, 50)).request == {"left_out": says}
    assert f"nothing is drawn: {says}" in pipe.plan().explain()
    assert visgen.pipeline("depth", model, path="auto", instruct=drawing)(photograph(40, 50)).request is None


def test_the_seed_of_both_goes_up_with_the_pictures(model, drawing):
    pipe = visgen.pipeline(model=model, path="both", instruct=drawing)
    photos = [photograph(40, 40, seed=k) for k in range(2)]
    second = pipe(photos, "how far is everything?", seed=3, steps=2)[1].request["other"]
    alone = visgen.pipeline(path="diffusion", model=drawing)(photos[1], "how far is everything?", seed=4, steps=2)
    assert torch.allclose(Result.from_dict(second).depth.metres, alone.depth.metres, rtol=1e-3)


@pytest.mark.parametrize("path", ["diffusion", "both", "moe"])
@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"threshold": 7}, "threshold is 7; it is a probability"),
        ({"threshold": "x"}, "threshold is 'x'; it is a probability"),
        ({"top_k": 0}, "top_k is 0; it must be a whole number from 1 on"),
        ({"seed": -3}, "seed is -3; it must be a whole number from 0 on"),
        ({"seed": 1.5}, "seed is 1.5; it must be a whole number"),
        ({"batch_size": 0}, "batch_size is 0; it must be a whole number from 1 on"),
        ({"max_side": 1}, "max_side is 1; it must be at least 32"),
        ({"top_k": 3}, r"top_k is 3 but it limits .* asked are depth"),
    ],
)
def test_options_are_checked_alike_on_every_path(model, drawing, path, option, says):
    chosen = {"moe": {"model": model}, "both": {"model": model, "instruct": drawing}, "diffusion": {"model": drawing}}
    with pytest.raises(ConfigError, match=says):
        visgen.pipeline(path=path, **chosen[path])("no such picture.jpg", "how far is everything?", **option)


def test_what_an_instruction_model_has_not_is_refused(drawing):
    for name in ("segmentation.nonsense", "depth.x"):
        with pytest.raises(UnknownName, match=f"task '{name}' names a label set, but instruction model .* has none"):
            visgen.pipeline(["depth", name], model=drawing)
    for dtype in ("bfloat16", torch.bfloat16):
        with pytest.raises(ConfigError, match="bfloat16' but instruction model .* draws in float32; leave it out"):
            visgen.pipeline(model=drawing, dtype=dtype)
    assert visgen.pipeline("depth", model=drawing, dtype="float32").tasks == ("depth",)
    with pytest.raises(TypeError, match="settle.* unexpected keyword argument 'foo'"):
        visgen.pipeline(model=drawing)("no such picture.jpg", "how far is everything?", foo=1)


def test_only_the_experts_answers_are_averaged(model, finder, drawing):
    with pytest.raises(ConfigError, match="tta is on but drawn answers are not averaged"):
        visgen.pipeline(model=drawing)("no such picture.jpg", "how far is everything?", tta=True)
    pipe = visgen.pipeline(model=model, path="both", instruct=drawing)
    finding = visgen.pipeline(model=finder, path="both", instruct=drawing)
    with pytest.raises(ConfigError, match="tta is on but the answers of detection are not averaged"):
        finding("no such picture.jpg", "find the cars", tta=True, stream=True)
    photo = torch.rand(3, 40, 48)
    metres = [pipe(photo, "how far is everything?", steps=1, tta=tta).depth.metres for tta in (False, True)]
    alone = visgen.pipeline("depth", model)(photo, tta=True).depth.metres
    assert torch.equal(metres[1], alone) and not torch.equal(*metres)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"steps": 1001}, r"steps is 1001 but the noise schedule of the model has 1000; use 1\.\.1000"),
        ({"steps": 1.5}, "steps is 1.5; a picture takes a whole number"),
        ({"text_scale": float("nan")}, "text_scale is nan; it must be a finite number"),
        ({"image_scale": "x"}, "image_scale is x; it must be a finite number"),
    ],
)
@pytest.mark.parametrize("path", ["diffusion", "both"])
def test_how_answers_are_drawn_is_checked_too(model, drawing, path, option, says):
    chosen = {"both": {"model": model, "instruct": drawing}, "diffusion": {"model": drawing}}
    with pytest.raises(ConfigError, match=says):
        visgen.pipeline(path=path, **chosen[path])("no such picture.jpg", "how far is everything?", **option)

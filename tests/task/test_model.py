from dataclasses import replace

import pytest
import torch

from visgen.backbones.protocol import Backbone
from visgen.errors import ConfigError, UnknownName
from visgen.task import build_model

STEM = {"name": "test_efficientnet"}
CONFIG = {
    "backbone": {
        "name": "vit_moe",
        "width": 16,
        "depth": 3,
        "heads": 2,
        "prefix_depth": 1,
        "num_experts": 4,
        "top_k": 2,
        "attention_experts": 4,
        "stem": STEM,
        "stem_token": True,
    },
    "heads": {
        "classification": {"task": "classification", "classes": ["cat", "dog"]},
        "segmentation.a": {
            "task": "segmentation",
            "classes": ["sky", "road", "car"],
            "options": {"width": 8, "fine_width": 8},
        },
        "segmentation.b": {
            "task": "segmentation",
            "classes": ["x", "y"],
            "options": {"width": 8, "fine_width": 8, "stride": 2},
        },
        "depth": {"task": "depth", "options": {"width": 8, "fine_width": 8}},
    },
    "default_heads": {"segmentation": "segmentation.b"},
}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model(CONFIG).eval()


def test_all_heads_at_once_equal_each_alone(model):
    images = torch.rand(2, 3, 48, 70)
    together = model.predict(images)
    assert list(together) == list(CONFIG["heads"])
    for name in CONFIG["heads"]:
        alone = model.predict(images, [name])[name]
        for a, b in zip(together[name], alone, strict=True):
            assert a.to_dict() == b.to_dict()


def test_the_prefix_runs_once_and_each_task_once(model, monkeypatch):
    calls = []
    kind = type(model.backbone)
    monkeypatch.setattr(kind, "prefix", lambda s, x, f=kind.prefix: calls.append("prefix") or f(s, x))
    monkeypatch.setattr(kind, "suffixes", lambda s, x, t, f=kind.suffixes: calls.append(list(t)) or f(s, x, t))
    model.predict(torch.rand(1, 3, 32, 32))
    assert calls == ["prefix", ["classification", "segmentation", "depth"]]
    assert issubclass(kind, Backbone)


def test_answers_have_the_size_asked_and_ignore_padding(model):
    images = torch.rand(1, 3, 64, 64)
    inside = model.predict(images, ["depth"], valid=[(40, 50)], sizes=[(80, 100)])["depth"][0]
    assert inside.metres.shape == (80, 100)
    plain = model.predict(images, ["depth"])["depth"][0].metres
    cut = model.predict(images, ["depth"], valid=[(40, 48)])["depth"][0].metres
    # bilinear enlargement looks one cell of 4 px ahead, so only what lies inside that border can be equal
    torch.testing.assert_close(cut[:36, :44], plain[:36, :44])


def test_averaged_answers_of_a_mirrored_picture_are_the_mirrored_answers(model):
    images = torch.rand(2, 3, 45, 64)
    there, back = model.predict(images, tta=True), model.predict(images.flip(-1), tta=True)
    plain = model.predict(images)
    for i in range(2):
        torch.testing.assert_close(back["depth"][i].metres.flip(-1), there["depth"][i].metres)
        assert not torch.allclose(there["depth"][i].metres, plain["depth"][i].metres)
        for name in ("segmentation.a", "segmentation.b"):
            agree = back[name][i].ids.flip(-1) == there[name][i].ids
            assert agree.float().mean() > 0.999  # two classes may be equally likely but for rounding
        mirrored = model.predict(images.flip(-1))["classification"][i].probabilities.log()
        mean = (plain["classification"][i].probabilities.log() + mirrored) / 2
        torch.testing.assert_close(there["classification"][i].probabilities, mean.softmax(0))
    odd = model.predict(images[..., :63], ["depth"], tta=True)["depth"]
    assert odd[0].size == (45, 63)


def test_averaged_answers_exchange_sides_in_the_names_of_classes():
    heads = {k: CONFIG["heads"][k] | {"classes": ["left", "right"]} for k in ("classification", "segmentation.b")}
    torch.manual_seed(0)
    model, images = build_model(CONFIG | {"heads": heads}).eval(), torch.rand(1, 3, 48, 64)
    there, back = (model.predict(x, tta=True) for x in (images, images.flip(-1)))
    found, turned = (x["classification"][0].probabilities for x in (there, back))
    torch.testing.assert_close(turned.flip(0), found)
    found, turned = (x["segmentation.b"][0].ids for x in (there, back))
    assert (1 - turned.flip(-1) == found).float().mean() > 0.999


def test_stride_two_scores_lie_where_stride_four_scores_lie(model):
    answer = model.predict(torch.rand(1, 3, 45, 67), ["segmentation.a", "segmentation.b"])
    assert all(values[0].ids.shape == (45, 67) for values in answer.values())


def test_names(model):
    assert model.tasks == ("classification", "segmentation", "depth")
    assert model.resolve("segmentation") == "segmentation.b" and model.resolve("depth") == "depth"
    with pytest.raises(UnknownName, match="task 'detection' is not in this model; it has classification, segmentation"):
        model.resolve("detection")
    with pytest.raises(UnknownName, match="'segmentation.c' is neither .* did you mean 'segmentation"):
        model.resolve("segmentation.c")
    with pytest.raises(UnknownName, match=r"give several as a list\. It has classification, segmentation, depth, segm"):
        model.resolve("depth,classification")


def test_a_model_is_its_config(model):
    again = build_model(model.config())
    again.load_state_dict(model.state_dict())
    images = torch.rand(1, 3, 32, 48)
    assert torch.equal(
        again.predict(images, ["depth"])["depth"][0].metres, model.predict(images, ["depth"])["depth"][0].metres
    )
    assert again.config() == model.config()


def test_stem_weights_do_not_travel_with_the_config(tmp_path):
    import timm
    from safetensors.torch import save_file

    path = tmp_path / "stem.safetensors"
    save_file(timm.create_model(STEM["name"]).state_dict(), path)
    backbone = {**CONFIG["backbone"], "stem": {**STEM, "weights": str(path)}}
    assert build_model({**CONFIG, "backbone": backbone}).config()["backbone"]["stem"]["weights"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": {}}, "the model has no heads"),
        (
            {"heads": {"depth": {"task": "segmentation", "classes": ["a"]}}, "default_heads": {}},
            "head 'depth' has task 'segmentation'",
        ),
        ({"heads": {"segmentation": {"task": "segmentation"}}, "default_heads": {}}, "'segmentation' has no classes"),
        (
            {"heads": {"classification": {"task": "classification", "classes": ["a", "b", "a"]}}, "default_heads": {}},
            "head 'classification' has the classes a twice",
        ),
        ({"heads": {"depth": {"task": "depht"}}}, "did you mean 'depth'"),
        ({"default_heads": {"depth": "segmentation.a"}}, "default head of 'depth' is 'segmentation.a'"),
        ({"backbone": {"width": 8}}, "the backbone has no name"),
        ({"backbone": {"name": "vit_meo"}}, "did you mean 'vit_moe'"),
        ({"hedas": {}}, "did you mean 'heads'"),
    ],
)
def test_refusals(change, message):
    with pytest.raises((ConfigError, UnknownName), match=message):
        build_model({**CONFIG, **change})


DETECTORS = {
    "detection.a": {"task": "detection", "classes": ["cat", "mat"], "options": {"width": 8}},
    "detection.b": {"task": "detection", "classes": ["car", "road", "sign"], "options": {"width": 8}},
}
GRAPH = {"task": "scene_graph", "classes": ["on"], "options": {"width": 16, "state": 8}}


def stacked(**change):
    heads = {"scene_graph": {**GRAPH, **change}, "depth": CONFIG["heads"]["depth"], **DETECTORS}
    return build_model({"backbone": CONFIG["backbone"], "heads": heads})


def test_a_head_stands_on_the_default_head_of_its_task_or_on_the_one_it_names():
    first, second = stacked(), stacked(on="detection.b")
    assert (first.below("scene_graph"), second.below("scene_graph")) == ("detection.a", "detection.b")
    assert first.below("depth") is None and first.below("detection.a") is None
    assert (first.head("scene_graph").objects, second.head("scene_graph").objects) == (2, 3)
    # A graph head has experts of its own; it only takes the boxes over.
    assert second.route("scene_graph") == "scene_graph" and second.route("detection.b") == "detection"
    assert build_model(second.config()).below("scene_graph") == "detection.b"


def test_a_head_is_answered_after_the_one_it_stands_on():
    torch.manual_seed(0)
    model = stacked(on="detection.b").eval()
    images = torch.rand(2, 3, 48, 70)
    answers = model.predict(images, ["scene_graph"])
    assert list(answers) == ["scene_graph"]
    boxes = model.predict(images, ["detection.b"])["detection.b"]
    for graph, found in zip(answers["scene_graph"], boxes, strict=True):
        assert graph.size == (48, 70) and graph.boxes.classes == ("car", "road", "sign")
        have = {tuple(row) for row in found.xyxy.round(decimals=2).tolist()}
        assert {tuple(row) for row in graph.boxes.xyxy.round(decimals=2).tolist()} <= have


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        (
            {"scene_graph": GRAPH},
            "'scene_graph' stands on a head of task 'detection', but `on` is 'None' and .* none of",
        ),
        (
            {**DETECTORS, "scene_graph": {**GRAPH, "on": "detection.c"}},
            "`on` is 'detection.c' and the model has detection.a, detection.b; add one, or name it under `on`",
        ),
        (
            {**DETECTORS, "depth": CONFIG["heads"]["depth"], "scene_graph": {**GRAPH, "on": "depth"}},
            "`on` is 'depth' and the model has detection.a",
        ),
        (
            {**DETECTORS, "depth": {**CONFIG["heads"]["depth"], "on": "detection.a"}},
            "head 'depth' stands on 'detection.a', but task 'depth' reads no other head",
        ),
    ],
)
def test_refusals_of_heads_without_ground(heads, message):
    with pytest.raises(ConfigError, match=message):
        build_model({"backbone": CONFIG["backbone"], "heads": heads})


def test_heads_that_would_share_a_name_when_saved_are_refused():
    heads = CONFIG["heads"] | {f"depth.{name}": {"task": "depth"} for name in ("a.b", "a__b")}
    with pytest.raises(ConfigError, match=r"would both be saved as 'depth__a__b'"):
        build_model(CONFIG | {"heads": heads})
    model = build_model(CONFIG | {"heads": {"depth.a.b": {"task": "depth"}}, "default_heads": {}})
    with pytest.raises(ConfigError, match="rename one of them"):
        model.add_head("depth.a__b", replace(model.specs["depth.a.b"]))
    assert list(model.specs) == ["depth.a.b"] and list(model.heads) == ["depth__a__b"]


def test_a_head_without_a_router_is_refused_when_it_is_built() -> None:
    backbone = {**CONFIG["backbone"], "tasks": ["classification", "depth"]}
    heads = {"depth": {"task": "depth"}, "detection": {"task": "detection", "classes": ["cat"]}}
    with pytest.raises(ConfigError, match="'detection' has route 'detection' but the backbone routes class.*depth"):
        build_model({"backbone": backbone, "heads": heads})
    heads["detection"]["route"] = "depth"
    assert build_model({"backbone": backbone, "heads": heads}).route("detection") == "depth"


def test_a_head_may_take_the_router_of_another_task() -> None:
    heads = {
        "detection": {"task": "detection", "classes": ["cat"], "options": {"width": 8}},
        "segmentation": {"task": "segmentation", "classes": ["cat"], "options": {"width": 8}, "route": "detection"},
    }
    model = build_model({"backbone": CONFIG["backbone"], "heads": heads})
    assert tuple(model.backbone.tasks) == ("detection",)  # type: ignore[arg-type]
    assert model.route("segmentation") == "detection"

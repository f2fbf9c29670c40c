"""Instruction models in the zoo: saved, listed and loaded as any model, with equal answers."""

from __future__ import annotations

import json

import pytest
import torch

from visgen.backbones import BACKBONES
from visgen.diffusion import InstructDiffusion, TinyConfig, build_tiny
from visgen.errors import CheckpointError, ConfigError
from visgen.task import build_model
from visgen.zoo import add_to_index, from_pretrained, save_instruct, save_pretrained

TEXTS = ["segment the dog", "how far"]


@pytest.fixture(scope="module")
def drawing() -> InstructDiffusion:
    sizes = TinyConfig(
        size=32, vae_widths=(8, 8), vae_groups=4, unet_widths=(8, 8), unet_groups=4, text_width=8, text_layers=1,
        text_heads=2, tokens=24, vocabulary=600,
    )  # fmt: skip
    return build_tiny(TEXTS, sizes).eval()


def test_saved_listed_and_loaded_it_answers_the_same(drawing, tmp_path):
    folder = save_instruct(drawing, tmp_path / "model")
    entry = add_to_index(folder, "my-instruct", zoo=tmp_path / "zoo")
    assert entry.tasks[:2] == ("classification", "detection") and len(entry.tasks) == 6
    pictures = torch.rand(2, 3, 32, 32) * 2 - 1
    expected = drawing.answer(pictures, TEXTS)
    for loaded in (from_pretrained(folder), from_pretrained("my-instruct", zoo=tmp_path / "zoo")):
        assert isinstance(loaded, InstructDiffusion) and not loaded.training and loaded.config == drawing.config
        assert torch.equal(loaded.answer(pictures, TEXTS), expected)
        assert loaded.tokenizer(TEXTS)["input_ids"] == drawing.tokenizer(TEXTS)["input_ids"]
    half = from_pretrained(save_instruct(drawing, tmp_path / "half", dtype="float16"))
    assert (half.answer(pictures, TEXTS) - expected).abs().max() < 0.02


def test_a_description_that_does_not_fit_is_refused(drawing, tmp_path):
    folder = save_instruct(drawing, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["model"]["vae"]["_class_name"] = "AutoencoderXL"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="'AutoencoderXL', which diffusers does not have"):
        from_pretrained(folder)
    del config["model"]["unet"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError):
        from_pretrained(folder)


def test_a_folder_of_diffusers_loads_by_its_path(drawing, tmp_path):
    drawing.save_pretrained(tmp_path / "pipe")
    loaded = from_pretrained(tmp_path / "pipe")
    picture = torch.rand(1, 3, 32, 32) * 2 - 1
    assert type(loaded) is type(drawing)
    assert torch.allclose(loaded.answer(picture, ["segment"]), drawing.answer(picture, ["segment"]), atol=1e-5)


def test_heads_on_its_features_are_a_model_of_the_zoo_too(drawing, tmp_path):
    backbone = {"name": "diffusion_features", "model": drawing, "width": 8, "side": 32}
    model = build_model({"backbone": backbone, "heads": {"depth": {"task": "depth"}}, "max_side": 64}).eval()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained and not any(name.startswith("backbone.diffusion.") for name in trained)
    json.dumps(model.config())
    loaded = from_pretrained(save_pretrained(model, tmp_path / "heads"))
    images = torch.rand(1, 3, 40, 56)
    first, again = (m.predict(images, ["depth"])["depth"][0].metres for m in (model, loaded))
    assert first.shape == (40, 56) and torch.allclose(first, again, atol=1e-5)
    from visgen.pipelines import pipeline

    assert pipeline("depth", loaded, path="diffusion-head").path == "diffusion-head"
    with pytest.raises(ConfigError, match="the model of backbone diffusion_features is a str"):
        build_model({"backbone": {**backbone, "model": "x"}, "heads": {"depth": {"task": "depth"}}})
    with pytest.raises(ConfigError, match="got model NoneType"):
        BACKBONES.get("diffusion_features")()

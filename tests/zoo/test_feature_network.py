"""Feature networks from files: what they see is what the model itself gives, and their hash is the file's."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from visgen.errors import CheckpointError
from visgen.task import build_model
from visgen.zoo import save_pretrained
from visgen.zoo.feature_network import classifier_feature_network, timm_feature_network

IMAGES = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_a_timm_model_gives_what_its_classifier_reads(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = timm.create_model("mobilenetv3_small_050", num_classes=7).eval()
    file = tmp_path / "weights.safetensors"
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, file)
    network = timm_feature_network(file, "mobilenetv3_small_050", size=64, num_classes=7)
    assert network.sha256 == hashlib.sha256(file.read_bytes()).hexdigest() and network.name == "mobilenetv3_small_050"
    seen = network.see(IMAGES, 2)
    with torch.no_grad():
        expected = model(2 * network.resize(IMAGES) - 1)
    torch.testing.assert_close(model.classifier(seen.features), expected, atol=1e-4, rtol=1e-4)
    assert seen.probabilities is None
    with pytest.raises(CheckpointError, match="do not exist"):
        timm_feature_network(tmp_path / "none.safetensors")


def test_a_classifier_gives_its_image_vector_and_its_classes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    heads = {"classification.pets": {"task": "classification", "classes": ("cat", "dog")}}
    backbone = {"name": "timm", "model": "mobilenetv3_small_050"}
    model = build_model({"backbone": backbone, "heads": heads, "min_side": 64, "max_side": 64}).eval()
    save_pretrained(model, tmp_path / "model")
    network = classifier_feature_network(tmp_path / "model")
    assert (network.name, network.size, network.filter) == ("pets", 64, "bilinear")
    seen = network.see(IMAGES)
    with torch.no_grad():
        logits, features = model(network.resize(IMAGES), "classification.pets")
    torch.testing.assert_close(seen.features, features.token)
    assert seen.probabilities is not None
    torch.testing.assert_close(seen.probabilities, logits.softmax(1))

    twins = [classifier_feature_network(tmp_path / "model", random_seed=seed) for seed in (1, 1, 2)]
    assert (
        twins[0].name == "pets-random" and twins[0].sha256 == f"random weights of seed 1 in place of {network.sha256}"
    )
    looks = [twin.see(IMAGES).features for twin in twins]
    assert torch.equal(looks[0], looks[1]) and not torch.equal(looks[0], looks[2])
    assert not torch.allclose(looks[0], seen.features)

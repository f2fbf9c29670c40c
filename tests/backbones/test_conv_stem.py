import pytest
import timm
import torch
from safetensors.torch import save_file

from visgen.backbones import ConvStem, ConvStemConfig
from visgen.errors import CheckpointError, ConfigError

MOBILE = {"name": "mobilenetv2_035", "options": {"pad_type": "same"}}


@pytest.fixture
def trained(tmp_path):
    """A MobileNetV2 whose batch norms hold real statistics, saved as timm saves it."""
    torch.manual_seed(0)
    model = timm.create_model(MOBILE["name"], pretrained=False, **MOBILE["options"])
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(4, 3, 64, 64) * 2 + 1)
    path = tmp_path / "mobile.safetensors"
    save_file(model.state_dict(), path)
    return model.eval(), path


def test_maps_are_those_of_the_timm_model(trained):
    model, path = trained
    stem = ConvStem(ConvStemConfig(**MOBILE, weights=str(path), mean=(0.1, 0.2, 0.3), std=(0.5, 0.4, 0.3))).eval()
    images = torch.rand(2, 3, 64, 96)
    mean, std = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)
    with torch.no_grad():
        levels = stem(images)
        expected = model.forward_intermediates((images - mean) / std, intermediates_only=True)
    for stride, index in ((4, 1), (8, 2), (16, 3), (32, 4)):
        assert levels[stride].shape[1] == stem.channels[stride]
        torch.testing.assert_close(levels[stride], expected[index])


def test_folding_batch_norm_keeps_the_output(trained):
    _, path = trained
    plain = ConvStem(ConvStemConfig(**MOBILE, weights=str(path), final_conv=True)).eval()
    folded = ConvStem(ConvStemConfig(**MOBILE, weights=str(path), final_conv=True, fold_norm=True)).eval()
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        for stride, level in plain(images).items():
            torch.testing.assert_close(folded(images)[stride], level, rtol=1e-3, atol=1e-4)


def test_final_conv_is_the_last_feature_of_the_classifier(trained):
    model, path = trained
    config = ConvStemConfig(**MOBILE, weights=str(path), final_conv=True, mean=(0, 0, 0), std=(1, 1, 1))
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ConvStem(config).eval()(images)[32], model.forward_features(images))


def test_layer_norm_gives_unit_maps_and_leaves_the_last(trained):
    _, path = trained
    images = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        plain = ConvStem(ConvStemConfig(**MOBILE, weights=str(path))).eval()(images)
        normed = ConvStem(ConvStemConfig(**MOBILE, weights=str(path), layer_norm=True)).eval()(images)
    assert torch.equal(normed[32], plain[32])
    for stride in (4, 8, 16):
        centred = plain[stride] - plain[stride].mean(1, keepdim=True)
        unit = centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()
        torch.testing.assert_close(normed[stride], unit, rtol=1e-4, atol=1e-4)


def test_batch_norm_stays_as_it_came(trained):
    _, path = trained
    stem = ConvStem(ConvStemConfig(**MOBILE, weights=str(path))).train()
    before = {k: v.clone() for k, v in stem.state_dict().items() if "running" in k}
    stem(torch.rand(2, 3, 64, 64))
    assert before and all(torch.equal(stem.state_dict()[k], v) for k, v in before.items())


def test_frozen_modules_get_no_gradient():
    stem = ConvStem(ConvStemConfig(**MOBILE, freeze=("conv_stem", "blocks.0")))
    stem(torch.rand(1, 3, 64, 64))[32].sum().backward()
    frozen = [n for n, p in stem.net.named_parameters() if p.grad is None]
    assert frozen and all(n.startswith(("conv_stem", "blocks.0")) for n in frozen)


def test_refusals_name_the_file_or_the_model(tmp_path):
    with pytest.raises(CheckpointError, match=r"absent\.safetensors' do not exist"):
        ConvStem(ConvStemConfig(**MOBILE, weights=str(tmp_path / "absent.safetensors")))
    save_file({"conv_stem.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="other.safetensors"):
        ConvStem(ConvStemConfig(**MOBILE, weights=str(tmp_path / "other.safetensors")))
    with pytest.raises(ConfigError, match="'test_resnet' has no conv_head"):
        ConvStem(ConvStemConfig(name="test_resnet", final_conv=True))

import pytest
import timm
import torch

from visgen.backbones import TimmBackbone
from visgen.errors import ConfigError, UnknownName


@pytest.mark.parametrize("model", ["test_resnet", "test_vit", "test_convnext"])
def test_any_timm_model_gives_all_strides(model):
    backbone = TimmBackbone(model=model).eval()
    with torch.no_grad():
        features = backbone(torch.rand(2, 3, 70, 101))
    for stride, level in features.pyramid.items():
        assert level.shape == (2, backbone.channels[stride], -(-70 // stride), -(-101 // stride))
    assert features.token.shape == (2, backbone.token_dim)


def test_maps_are_those_of_the_model_on_its_own_statistics():
    torch.manual_seed(0)
    backbone = TimmBackbone(model="test_resnet").eval()
    twin = timm.create_model("test_resnet", features_only=True).eval()
    twin.load_state_dict(backbone.net.state_dict())
    cfg = timm.create_model("test_resnet").pretrained_cfg
    mean, std = (torch.tensor(cfg[k]).view(3, 1, 1) for k in ("mean", "std"))
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        maps = dict(zip(twin.feature_info.reduction(), twin((images - mean) / std), strict=True))
        for stride, level in backbone(images).pyramid.items():
            torch.testing.assert_close(level, maps[stride])


def test_a_model_without_maps_and_an_unknown_option_are_refused():
    with pytest.raises(ConfigError, match="backbone timm has no option 'modle'; did you mean 'model'"):
        TimmBackbone(modle="test_resnet")
    with pytest.raises(UnknownName, match="timm has no model 'resnet188'; did you mean 'resnet18'"):
        TimmBackbone(model="resnet188")
    with pytest.raises(ConfigError, match="does not take the options .*pad_type.*leave out what belongs to another"):
        TimmBackbone(model="test_resnet", options={"pad_type": "same"})


def test_a_fixed_network_stays_as_it_came_in_training_too():
    fixed = TimmBackbone(model="test_resnet", fixed=True).train()
    before = {key: value.clone() for key, value in fixed.state_dict().items()}
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    first = fixed(images)
    assert all(torch.equal(value, before[key]) for key, value in fixed.state_dict().items())
    assert fixed.training and not any(p.requires_grad for p in fixed.parameters())
    torch.testing.assert_close(fixed(images[:1]).pyramid[32], first.pyramid[32][:1], rtol=1e-4, atol=1e-5)
    loose = TimmBackbone(model="test_resnet").train()
    norms = [key for key in before if key.endswith("running_mean")]
    start = loose.state_dict()[norms[0]].clone()
    loose(images)
    assert not torch.equal(loose.state_dict()[norms[0]], start)

import pytest
import torch

from visgen.data import TRANSFORMS, Compose, build_transform
from visgen.data.transforms.base import chance, integer, uniform
from visgen.errors import ConfigError, UnknownName


def test_builds_what_a_yaml_lists(ramp):
    chain = build_transform([{"name": "resize", "size": [32, 64]}, "horizontal_flip"])
    assert repr(chain) == "Compose(Resize(size=[32, 64], max_size=None), HorizontalFlip(p=0.5))"
    assert chain(ramp, torch.Generator().manual_seed(0)).size == (32, 64)
    assert Compose([])(ramp, torch.Generator()) is ramp


def test_mistakes_are_named():
    with pytest.raises(UnknownName, match="'random_crp' is not registered; did you mean 'random_crop'"):
        build_transform([{"name": "random_crp", "size": 3}])
    with pytest.raises(ConfigError, match="'resize' has no option 'sise'; did you mean 'size'"):
        build_transform([{"name": "resize", "sise": 3}])
    with pytest.raises(ConfigError, match=r"'resize' lacks size"):
        build_transform(["resize"])
    with pytest.raises(ConfigError, match=r"\{'size': 3\} has no name"):
        build_transform([{"size": 3}])


OPTIONS = {"resize": {"size": 48}, "random_resized_crop": {"size": [40, 56]}, "random_crop": {"size": 64}}
OPTIONS |= {"center_crop": {"size": 50}, "pad": {"multiple": 32}}
OF_LABELS = [name for name in TRANSFORMS.names() if name != "shared_crop"]  # that one is for pictures without labels


@pytest.mark.parametrize("name", OF_LABELS)
def test_every_transform_is_seeded_pure_and_keeps_types(name, ramp):
    transform = build_transform([{"name": name, **OPTIONS.get(name, {})}])
    before = ramp.pixels.clone()
    for seed in range(4):
        one = transform(ramp, torch.Generator().manual_seed(seed))
        torch.manual_seed(99)  # the global generator must not matter
        two = transform(ramp, torch.Generator().manual_seed(seed))
        assert torch.equal(one.pixels, two.pixels) and one.pixels.dtype == torch.uint8
        assert torch.equal(one.targets["detection"].xyxy, two.targets["detection"].xyxy)
        assert list(one.targets) == list(ramp.targets) and one.meta == ramp.meta
        height, width = one.size
        assert one.targets["detection"].size == one.targets["segmentation"].size == (height, width)
        assert one.targets["masks"].masks.shape[1:] == one.targets["depth"].metres.shape == (height, width)
        assert len(one.targets["masks"]) == len(one.targets["detection"])
        assert torch.equal(one.targets["masks"].labels, one.targets["detection"].labels)
        floats = transform(ramp.replace(image=ramp.image), torch.Generator().manual_seed(seed))
        assert floats.pixels.dtype == torch.float32
        assert float(floats.image.min()) >= 0 and float(floats.image.max()) <= 1
    assert torch.equal(ramp.pixels, before)


def test_draws_stay_in_their_range():
    generator = torch.Generator().manual_seed(1)
    assert {integer(generator, 2, 4) for _ in range(100)} == {2, 3, 4}
    values = [uniform(generator, -2.0, 3.0) for _ in range(500)]
    assert -2 <= min(values) < -1.5 and 2.5 < max(values) < 3
    assert 380 < sum(chance(generator, 0.8) for _ in range(500)) < 430

import pytest
import torch
from torchvision.transforms.v2 import functional as F

from visgen.data import Sample, build_transform
from visgen.data.transforms import ColorJitter, GaussianBlur, GaussianNoise, Grayscale, RandomErasing
from visgen.errors import ConfigError


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def picture():
    """Mid tones, so that nothing is clamped."""
    return Sample(0.35 + 0.3 * torch.rand(3, 24, 32, generator=gen(5)), {"depth": "kept"})


def drawn(option, half, seed):
    """The factor that the jitter draws for this option: p first, then brightness, contrast, saturation, hue."""
    names = ("brightness", "contrast", "saturation", "hue")
    values = torch.stack([torch.rand((), generator=g, dtype=torch.float64) for g in [gen(seed)] for _ in range(5)])
    u = float(values[1 + names.index(option)])
    return (1 - half + 2 * half * u) if option != "hue" else (-half + 2 * half * u)


@pytest.mark.parametrize("option", ["brightness", "contrast", "saturation"])
def test_each_jitter_is_torchvisions(option, picture):
    off = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    for seed in range(5):
        ours = ColorJitter(**{**off, option: 0.4})(picture, gen(seed)).image
        theirs = getattr(F, f"adjust_{option}")(picture.image, drawn(option, 0.4, seed))
        # torchvision rounds the luma weights to 4 digits.
        assert torch.allclose(ours, theirs, atol=1e-3)
        assert not torch.allclose(ours, picture.image, atol=1e-3)


def test_hue_keeps_luma_and_turns_back(picture):
    out = ColorJitter(0, 0, 0, hue=0.1)(picture, gen(2)).image
    luma = torch.tensor([0.299, 0.587, 0.114])
    assert torch.allclose(
        torch.einsum("c,chw->hw", luma, out), torch.einsum("c,chw->hw", luma, picture.image), atol=2e-3
    )
    assert float((out - picture.image).abs().max()) > 0.01
    grey = Sample(torch.full((3, 8, 8), 0.4))
    assert torch.allclose(ColorJitter(0, 0, 0, hue=0.5)(grey, gen()).image, grey.image, atol=2e-3)


def test_bytes_and_floats_jitter_alike(picture):
    held = Sample((picture.image * 255).round().to(torch.uint8))
    for seed in range(4):
        a = ColorJitter()(held, gen(seed)).image
        b = ColorJitter()(Sample(held.image), gen(seed)).image
        assert float((a - b).abs().max()) <= 0.51 / 255


def test_grayscale_is_luma_in_three_channels(picture):
    out = Grayscale(p=1.0)(picture, gen()).image
    assert torch.equal(out[0], out[1]) and torch.equal(out[0], out[2])
    assert torch.allclose(out[0, 0, 0], (picture.image[:, 0, 0] * torch.tensor([0.299, 0.587, 0.114])).sum())


def test_blur_agrees_with_torchvision_and_keeps_constants(picture):
    out = GaussianBlur(sigma=(1.5, 1.5), p=1.0)(picture, gen()).image
    assert torch.allclose(out, F.gaussian_blur(picture.image, [11, 11], [1.5, 1.5]), atol=1e-5)
    flat = Sample(torch.full((3, 8, 8), 99, dtype=torch.uint8))
    assert torch.equal(GaussianBlur(p=1.0)(flat, gen()).pixels, flat.pixels)


def test_noise_has_the_asked_spread(picture):
    noise = GaussianNoise(sigma=(0.05, 0.05), p=1.0)(picture, gen()).image - picture.image
    assert float(noise.std()) == pytest.approx(0.05, rel=0.05) and abs(float(noise.mean())) < 0.005


def test_erasing_covers_one_rectangle_of_the_asked_share():
    sample = Sample(torch.full((3, 100, 100), 0.5))
    for seed in range(20):
        out = RandomErasing(p=1.0, scale=(0.1, 0.2))(sample, gen(seed)).image
        changed = (out != 0.5).any(0)
        rows, columns = changed.any(1).sum(), changed.any(0).sum()
        assert 0.08 <= int(rows * columns) / 1e4 <= 0.22
        assert int(changed.sum()) == int(rows * columns)


def test_targets_stay_the_same_objects(picture):
    chain = build_transform([{"name": n, "p": 1.0} for n in ("color_jitter", "gaussian_blur", "random_erasing")])
    assert chain(picture, gen()).targets["depth"] is picture.targets["depth"]


def test_the_probability_does_not_shift_later_draws(picture):
    later = [
        build_transform([{"name": "color_jitter", "p": p}, {"name": "random_erasing", "p": 1.0}]) for p in (0.0, 1.0)
    ]
    changed = [t(Sample(torch.full((3, 40, 40), 0.5)), gen(7)).image for t in later]
    background = [
        image[:, 0, 0] if bool((image[:, 0, 0] == image[:, 0, 1]).all()) else image[:, -1, -1] for image in changed
    ]
    erased = [(i - b[:, None, None]).abs().sum(0) > 1e-6 for i, b in zip(changed, background, strict=True)]
    assert torch.equal(erased[0], erased[1])


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"name": "color_jitter", "brightness": 1.2}, "brightness is 1.2"),
        ({"name": "color_jitter", "hue": 0.6}, "hue is 0.6"),
        ({"name": "grayscale", "p": -1}, "p is -1"),
        ({"name": "gaussian_blur", "sigma": [2, 1]}, r"sigma is \[2, 1\]"),
        ({"name": "gaussian_noise", "sigma": 0.1}, "sigma is 0.1"),
        ({"name": "random_erasing", "scale": [0.1, 2]}, r"scale is \[0.1, 2\]"),
    ],
)
def test_values_out_of_range_are_named(item, message):
    with pytest.raises(ConfigError, match=message):
        build_transform([item])

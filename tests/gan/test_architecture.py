"""Every generator and discriminator keeps its contract, at both sizes, with and without labels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.utils import parametrize

from visgen.errors import ConfigError, DataError
from visgen.gan import CONDITIONS, DISCRIMINATORS, GENERATORS, GanConfig, build_adversaries
from visgen.gan.conditioning import ConditionalBatchNorm, Projection

K = 3


def images(number: int, side: int, seed: int = 0) -> Tensor:
    return torch.rand(number, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("classes", [0, K])
@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize("name", ("dcgan", "resnet"))
def test_a_generator_gives_images_in_range_with_a_gradient_everywhere(name: str, side: int, classes: int) -> None:
    torch.manual_seed(0)
    network = GENERATORS.build(name, resolution=side, channels=4, z_dim=8, n_classes=classes)
    y = torch.tensor([0, 1, 2, 0]) if classes else None
    z = network.draw_latent(4, torch.Generator().manual_seed(0))
    made = network(z, y)
    assert made.shape == (4, 3, side, side) and float(made.detach().abs().max()) <= 1
    (made * images(4, side)).sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters())
    network.eval()
    torch.testing.assert_close(network(z, y)[:2], network(z[:2], None if y is None else y[:2]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize("name", ("sn_dcgan", "sn_resnet"))
def test_a_discriminator_treats_every_image_on_its_own_and_judges_linearly(name: str, side: int) -> None:
    torch.manual_seed(0)
    network = DISCRIMINATORS.build(name, resolution=side, channels=4)
    x = images(4, side)
    network(x).sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    network.eval()  # no more power iterations: the same weights at every call
    f = network.features(x)
    assert f.h.shape == (4, network.width) and network.width == type(network).width_of(side, 4)
    assert [m.shape[-1] for m in f.maps] == sorted({m.shape[-1] for m in f.maps}, reverse=True)
    assert network.logits(f).shape == (4,)
    alone = network.features(x[:1])
    torch.testing.assert_close(alone.h, f.h[:1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(network(x), network.logits(f))
    # the mean of two vectors h belongs to the mean of the last maps
    kind = f.maps[-1].flatten(1) if f.h.shape[1] > f.maps[-1].shape[1] else f.maps[-1].sum((2, 3))
    torch.testing.assert_close(kind, f.h)


@pytest.mark.parametrize("name", ("sn_dcgan", "sn_resnet"))
def test_spectral_norm_bounds_every_layer(name: str) -> None:
    torch.manual_seed(0)
    network = DISCRIMINATORS.build(name, resolution=32, channels=4)
    layers = [m for m in network.modules() if parametrize.is_parametrized(m)]
    assert len(layers) >= 8
    for layer in layers:
        for _ in range(150):
            _ = layer.weight  # in training mode each look is one power iteration
        top = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
        assert top.item() == pytest.approx(1, abs=0.02)


def test_the_widths_are_those_of_the_paper() -> None:
    network = DISCRIMINATORS.build("sn_dcgan", resolution=32, channels=64)
    shapes = [tuple(layer.weight.shape[:2]) for layer in network.layers]
    assert shapes == [(64, 3), (128, 64), (128, 128), (256, 128), (256, 256), (512, 256), (512, 512)]
    assert [m.shape[1:] for m in network.features(images(1, 32)).maps] == [(128, 16, 16), (256, 8, 8), (512, 4, 4)]


def test_conditional_batch_norm_starts_as_plain_and_then_follows_the_label() -> None:
    layer, plain = ConditionalBatchNorm(2, K), torch.nn.BatchNorm2d(2)
    x, y = torch.randn(6, 2, 3, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    torch.testing.assert_close(layer(x, y), plain(x))
    layer.gain.weight.data[1] = 1.0
    layer.shift.weight.data[1] = 0.5
    torch.testing.assert_close(layer(x, y)[1], 2 * plain(x)[1] + 0.5)
    with pytest.raises(DataError, match="3 classes"):
        layer(x)


def test_projection_adds_the_inner_product_with_the_class() -> None:
    condition = Projection(4, K).eval()
    h, y = torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    expected = 0.25 + (condition.embedding.weight[y] * h).sum(1)
    torch.testing.assert_close(condition.logit(torch.full((5,), 0.25), h, y), expected)
    torch.testing.assert_close(condition.logit(torch.full((5, 2), 0.25), h, y), expected[:, None].expand(5, 2))


@pytest.mark.parametrize("name", CONDITIONS.names())
def test_every_condition_trains_with_every_side(name: str) -> None:
    torch.manual_seed(0)
    config = GanConfig(
        generator={"name": "dcgan", "channels": 4, "z_dim": 8},
        discriminator={"name": "sn_dcgan", "channels": 4},
        condition={"name": name},
    )
    both, rng = build_adversaries(config, K), torch.Generator().manual_seed(0)
    y = torch.tensor([0, 1, 2, 1]) if config.is_conditional else None
    for side, loss in (("d", both.d_loss), ("g", both.g_loss)):
        values = loss(both.batch(side, images(4, 32), y, torch.randn(4, 8), y, rng))  # type: ignore[operator, arg-type]
        values["loss"].backward()
        assert bool(values["loss"].isfinite()) and ("condition" in values) == config.is_conditional
    assert all(p.grad is not None for p in both.parameters())


def test_bad_requests_are_refused() -> None:
    with pytest.raises(ConfigError, match="resolution is 48; .* powers of two"):
        GENERATORS.build("dcgan", resolution=48)
    with pytest.raises(DataError, match=r"latents are \(2, 5\); this generator takes \(B, 8\)"):
        GENERATORS.build("dcgan", channels=4, z_dim=8)(torch.zeros(2, 5))
    with pytest.raises(DataError, match="draws 3 classes"):
        GENERATORS.build("dcgan", channels=4, z_dim=8, n_classes=K)(torch.zeros(2, 8))
    with pytest.raises(ConfigError, match="got 0 classes; train on data with labels"):
        build_adversaries(GanConfig(condition={"name": "projection"}))
    with pytest.raises(ConfigError, match="generator 'dcgan' has no option 'width'.*Options: channels"):
        build_adversaries(GanConfig(generator={"name": "dcgan", "width": 3}))
    with pytest.raises(ConfigError, match="it needs a `name`"):
        build_adversaries(GanConfig(generator={"channels": 3}))
    with pytest.raises(ConfigError, match="which the run settles itself"):
        build_adversaries(GanConfig(generator={"name": "dcgan", "resolution": 64}))
    with pytest.raises(ConfigError, match="d_steps is 0"):
        GanConfig(d_steps=0)

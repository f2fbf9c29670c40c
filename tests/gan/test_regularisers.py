"""Regularisers: values worked by hand on linear networks, and what no gradient may reach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from visgen.errors import ConfigError, DataError
from visgen.gan import REGULARISERS, Adversaries, DFeatures, GanBatch, measure_shrinkage
from visgen.gan.adversarial import ADVERSARIAL
from visgen.gan.architecture import SNDCDiscriminator, mix_features
from visgen.gan.regulariser import R1, AdaptiveMix, Consistency, GradientPenalty, lazy_factor, mix_similarity
from visgen.gan.regulariser.adaptive_mix import draw_mixing

Make = Callable[..., GanBatch]


def test_r1_of_a_linear_judge_is_half_its_squared_weight(make_batch: Make) -> None:
    batch = make_batch()
    weight = batch.discriminator.weight  # type: ignore[attr-defined]
    term = R1()(batch)
    torch.testing.assert_close(term, 0.5 * weight.square().sum())
    (gradient,) = torch.autograd.grad(term, weight)
    torch.testing.assert_close(gradient, weight.detach())


def test_r1_differentiates_to_the_image_before_the_pipe(make_batch: Make) -> None:
    class Doubling(torch.nn.Module):
        is_identity = False

        def forward(self, x: Tensor, rng: torch.Generator) -> Tensor:
            return 2 * x

    plain, doubled = make_batch(), make_batch(pipe=Doubling())
    torch.testing.assert_close(R1()(doubled), 4 * R1()(plain))


@pytest.mark.parametrize("points", ["interpolates", "around_reals"])
def test_the_gradient_penalty_is_the_squared_distance_of_the_norm_from_one(make_batch: Make, points: str) -> None:
    batch = make_batch()
    weight = batch.discriminator.weight  # type: ignore[attr-defined]
    torch.testing.assert_close(GradientPenalty(points=points)(batch), (weight.norm() - 1).square())


def test_a_judge_that_ignores_its_input_is_consistent_and_a_linear_one_is_not(make_batch: Make) -> None:
    batch = make_batch()
    batch.discriminator.weight.data.zero_()  # type: ignore[attr-defined]
    assert Consistency(parts=("real", "fake"))(batch).item() == 0
    assert Consistency()(make_batch()).item() > 0


def test_consistency_of_an_image_that_nothing_changes_is_zero(make_batch: Make) -> None:
    flat = torch.zeros(6, 3, 4, 4)  # a shift brings in 0, a flip changes nothing
    assert float(Consistency()(make_batch(x=flat))) == 0


def test_adaptive_mix_of_linear_features_without_noise_is_minus_one(make_batch: Make) -> None:
    term = AdaptiveMix(noise=0.0)
    assert float(term(make_batch("g"))) == pytest.approx(-1, abs=1e-6)
    assert float(term(make_batch("d"))) == pytest.approx(-2, abs=1e-6)  # reals and fakes
    assert float(AdaptiveMix(noise=0.5)(make_batch("g"))) > -0.99


class Bent(SNDCDiscriminator):
    def __init__(self) -> None:
        super().__init__(8, 4)


def test_the_target_of_adaptive_mix_carries_no_gradient(make_batch: Make) -> None:
    mixed = torch.randn(4, 2, 2, 2, requires_grad=True)
    target = torch.randn(4, 2, 2, 2, requires_grad=True)
    value = mix_similarity(mixed, target, 0.05, torch.Generator().manual_seed(0))
    found = torch.autograd.grad(value, (mixed, target), allow_unused=True)
    assert found[0] is not None and found[1] is None


def test_cosine_is_taken_over_whole_maps() -> None:
    mixed, target = torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 1, 2)
    mixed[..., 0], target[..., :] = 3.0, 1.0
    rng = torch.Generator().manual_seed(0)
    assert float(mix_similarity(mixed, target, 0.0, rng)) == pytest.approx(2**-0.5)


def test_fakes_and_reals_are_mixed_apart_and_the_generator_can_be_left_out(make_batch: Make) -> None:
    images = torch.randn(6, 3, 8, 8).clamp(-1, 1)
    batch = make_batch("g", discriminator=Bent(), x=images, z=torch.randn(6, 192), generator=Wide())
    term = AdaptiveMix()(batch)
    (gradient,) = torch.autograd.grad(term, batch.generator.gain)  # type: ignore[arg-type]
    assert gradient is not None
    assert float(AdaptiveMix(on_generator=False)(batch)) == 0


class Wide(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(0.7))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return (self.gain * z).view(-1, 3, 8, 8).tanh()


def test_mixed_logits_of_a_linear_judge_are_twice_those_of_the_mixture(make_batch: Make) -> None:
    term = AdaptiveMix(noise=0.0, logits="mixed")
    batch = make_batch("d", judge=term.judge)
    weight, order, _, _ = term._mixtures(batch, ("real", "fake"))["real"]
    clean = batch.discriminator(batch.x)
    torch.testing.assert_close(batch.s_real, 2 * torch.lerp(clean[order], clean, weight), atol=1e-5, rtol=1e-5)
    assert term._mixtures(batch, ("real", "fake"))["real"][0] == weight  # drawn once a batch


def test_pixel_mixing_judges_mixtures_of_images_and_without_weight_adds_no_term(make_batch: Make) -> None:
    control = AdaptiveMix(weight=0.0, logits="pixels")
    x, labels = torch.rand(6, 3, 8, 8) * 2 - 1, torch.arange(6) % 2
    batch = make_batch("d", discriminator=Bent(), x=x, y=labels, z=torch.randn(6, 192), generator=Wide())
    batch = replace(batch, judge=control.judge)
    weight, order, _, _ = control._mixtures(batch, ("real", "fake"))["real"]
    assert 0 < weight < 1 and not torch.equal(order, torch.arange(6))
    batch.discriminator.eval()  # no further power iteration, so that both passes meet the same weights
    batch = replace(batch, memo={}, rng=torch.Generator().manual_seed(3))
    weight, order, _, _ = control._mixtures(batch, ("real", "fake"))["real"]
    torch.testing.assert_close(batch.s_real, batch.discriminator(torch.lerp(x[order], x, weight)))
    assert float(control.contribution(batch)) == 0 and control.changes_logits


def test_mixing_features_keeps_their_mean_and_weight_one_changes_nothing() -> None:
    f = DFeatures([torch.randn(5, 2, 3, 3)], torch.randn(5, 7))
    order = torch.randperm(5)
    torch.testing.assert_close(mix_features(f, 0.3, order).h.mean(0), f.h.mean(0))
    torch.testing.assert_close(mix_features(f, 1.0, order).maps[0], f.maps[0])


@pytest.mark.parametrize("alpha", [1.0, 0.4])
def test_mixing_weights_follow_the_beta_distribution(alpha: float) -> None:
    rng = torch.Generator().manual_seed(0)
    drawn = torch.tensor([draw_mixing(3, alpha, rng)[0] for _ in range(3000)])
    assert float(drawn.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(drawn.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), abs=0.01)


def test_lazy_terms_count_for_the_steps_they_miss_and_slow_the_optimiser(make_batch: Make) -> None:
    torch.testing.assert_close(R1(weight=2.0, every=16).contribution(make_batch()), 32 * R1()(make_batch()))
    assert 0.99 ** lazy_factor([16]) == pytest.approx(0.990585, abs=1e-6)
    assert lazy_factor([]) == 1


def adversaries(*terms: object) -> Adversaries:
    return Adversaries(Wide(), Bent(), ADVERSARIAL.get("hinge"), list(terms))  # type: ignore[arg-type]


def test_terms_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(
        ConfigError, match="R1 and GradientPenalty exclude each other: a run takes one gradient penalty"
    ):
        adversaries(R1(), GradientPenalty())
    with pytest.raises(ConfigError, match="give each once"):
        adversaries(AdaptiveMix(), AdaptiveMix())


def test_the_generators_side_leaves_no_gradient_in_the_discriminator() -> None:
    both = adversaries(AdaptiveMix(), Consistency(parts=("real", "fake")))
    rng = torch.Generator().manual_seed(0)
    x, z = torch.rand(4, 3, 8, 8) * 2 - 1, torch.randn(4, 192)
    both.g_loss(both.batch("g", x, None, z, None, rng))["loss"].backward()
    assert both.generator.gain.grad is not None  # type: ignore[union-attr]
    assert all(p.grad is None and p.requires_grad for p in both.discriminator.parameters())
    both.zero_grad()
    both.d_loss(both.batch("d", x, None, z, None, rng))["loss"].backward()
    assert both.generator.gain.grad is None  # type: ignore[union-attr]
    assert all(p.grad is not None for p in both.discriminator.parameters())


@pytest.mark.parametrize("name", REGULARISERS.names())
def test_every_regulariser_gives_a_finite_scalar_with_a_gradient(name: str, make_batch: Make) -> None:
    x = torch.rand(6, 3, 8, 8) * 2 - 1
    batch = make_batch("d", discriminator=Bent(), x=x, z=torch.randn(6, 192), generator=Wide())
    term = REGULARISERS.build(name)(batch)
    assert term.ndim == 0 and bool(term.isfinite())
    term.backward()
    assert any(p.grad is not None for p in batch.discriminator.parameters())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: R1(weight=-1.0), "R1 got weight -1.0"),
        (lambda: GradientPenalty(points="fakes"), "'fakes'; use interpolates"),
        (lambda: Consistency(parts=("both",)), "use real, or real and fake"),
        (lambda: AdaptiveMix(logits="all"), "'all'; use clean, mixed or pixels"),
        (lambda: AdaptiveMix(alpha=0.0), "alpha 0.0"),
    ],
)
def test_bad_settings_are_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build()


def test_shrinkage_of_linear_features_is_perfect_and_noise_in_a_class_widens_it() -> None:
    class Flat(Bent):
        def features(self, x: Tensor) -> DFeatures:
            return DFeatures([x], x.flatten(1))

    rng = torch.Generator().manual_seed(0)
    tight = torch.randint(100, 110, (20, 3, 8, 8), generator=rng, dtype=torch.uint8)
    wide = torch.randint(0, 256, (20, 3, 8, 8), generator=rng, dtype=torch.uint8)
    found = [measure_shrinkage(Flat(), images, batch_size=10) for images in (tight, wide)]
    assert [f["mix"] for f in found] == pytest.approx([1, 1], abs=1e-5)
    assert found[0]["angle"] < 15 < found[1]["angle"] and "between" not in found[0]


def test_shrinkage_of_less_than_a_batch_is_refused() -> None:
    with pytest.raises(DataError, match="3 images are fewer than one batch of 10"):
        measure_shrinkage(Bent(), torch.zeros(3, 3, 8, 8, dtype=torch.uint8), batch_size=10)

"""Generators measured against the same real images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from visgen.gan import GanConfig, GanJudge, build_adversaries, load_gan, save_gan
from visgen.gan.measure import flatten_figures
from visgen.metrics.generative import FeatureNetwork


def test_figures_get_one_name_each() -> None:
    metrics = {"FD-net": {"value": 2.0, "low": 1.0, "high": 3.0, "se": 0.5}, "recall": 0.25, "copies": {"ratio": 1.5}}
    expected = {"FD-net": 2.0, "FD-net/se": 0.5, "recall-net": 0.25, "copies-net/ratio": 1.5}
    assert flatten_figures(metrics, "net") == expected


def test_a_judge_sees_that_real_images_are_nearer_than_those_of_an_untrained_generator(tmp_path: Path) -> None:
    torch.manual_seed(0)
    parts = {"generator": {"name": "dcgan", "channels": 2, "z_dim": 4}, "resolution": 8}
    config = GanConfig(**parts, discriminator={"name": "sn_dcgan", "channels": 2})
    both = build_adversaries(config)
    gan = load_gan(save_gan(tmp_path, config, (), both.generator, both.discriminator))
    rng = torch.Generator().manual_seed(0)
    real, other, train = torch.randint(0, 256, (3, 60, 3, 8, 8), generator=rng, dtype=torch.uint8)
    network = FeatureNetwork("pixels", lambda x: torch.nn.functional.avg_pool2d(x, 4).flatten(1), "none", 8)
    judge = GanJudge([network], real, torch.arange(60) % 2, train, blocks=3)
    honest, untrained = judge.measure(other), judge.measure_gan(gan)
    for name in ("FD-pixels", "KD-pixels"):
        assert untrained[name] > honest[name] + 2 * honest[f"{name}/se"]
    assert untrained["recall-pixels"] < honest["recall-pixels"]
    assert {"D/mix/real", "D/angle/real", "D/between/real", "D/norm/fake", "copies-pixels/ratio"} <= set(untrained)
    assert judge.protocol["pixels"]["images"] == 60
    assert judge.measure_gan(gan) == pytest.approx(untrained)
    assert judge.measure_saved(tmp_path) == pytest.approx(untrained) == judge.measure_saved(tmp_path)
    file = tmp_path / "figures.json"
    file.write_text(file.read_text().replace('"FD-pixels": ', '"FD-pixels": 1'))  # read again, not computed again
    assert judge.measure_saved(tmp_path)["FD-pixels"] > untrained["FD-pixels"]
    file.write_text('{"key": [')  # cut off while it was written
    assert judge.measure_saved(tmp_path) == pytest.approx(untrained)
    judge = GanJudge([network], other, torch.arange(60) % 2, train, blocks=3)  # as many real pictures, but others
    assert judge.measure_saved(tmp_path) == pytest.approx(judge.measure_gan(gan))
    assert judge.measure_saved(tmp_path)["FD-pixels"] != pytest.approx(untrained["FD-pixels"])
    assert GanJudge([network], real, blocks=0).measure_saved(tmp_path)["FD-pixels"] == pytest.approx(
        untrained["FD-pixels"]
    )


def test_a_gan_with_labels_is_also_measured_class_by_class(tmp_path: Path) -> None:
    torch.manual_seed(0)
    parts = {"generator": {"name": "dcgan", "channels": 2, "z_dim": 4}, "resolution": 8}
    config = GanConfig(**parts, discriminator={"name": "sn_dcgan", "channels": 2}, condition={"name": "projection"})
    both = build_adversaries(config, 2)
    gan = load_gan(save_gan(tmp_path, config, ("dark", "light"), both.generator, both.discriminator))
    real = torch.randint(0, 256, (120, 3, 8, 8), dtype=torch.uint8)
    network = FeatureNetwork("pixels", lambda x: torch.nn.functional.avg_pool2d(x, 4).flatten(1), "none", 8)
    found = GanJudge([network], real, torch.arange(120) % 2, blocks=0).measure_gan(gan)
    each = [found[f"class-FD-pixels/{label}"] for label in (0, 1)]
    assert found["class-FD-pixels/mean"] == pytest.approx(sum(each) / 2) and min(each) > 0

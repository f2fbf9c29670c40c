"""Night as augmentation: who is chosen, and that nothing but the picture changes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from visgen.data import Mixture, MixturePart, Sample, collate
from visgen.engine.prefetch import prefetch
from visgen.errors import ConfigError
from visgen.gan.architecture.translator import ResNetTranslator
from visgen.gan.night import Night, NightAugmentation, load_night, name_share, save_night
from visgen.structures import Boxes, DepthMap, SceneGraph


def dim(images: Tensor) -> Tensor:
    return images / 4


def sample(name: str = "a", **targets: object) -> Sample:
    generator = torch.Generator().manual_seed(0)
    pixels = (torch.rand(3, 24, 32, generator=generator) * 255).to(torch.uint8)
    depth = DepthMap(torch.ones(24, 32))
    return Sample(pixels, {"depth": depth, **targets}, {"id": name, "path": f"some/folder/{name}.jpg"})


class Pictures:
    def __init__(self, names: list[str]) -> None:
        self.name, self.heads = "pictures", {"depth": "depth"}
        self.classes: dict[str, tuple[str, ...]] = {}
        self.samples = [sample(name) for name in names]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]


def test_the_share_of_a_name_is_that_of_the_source() -> None:
    assert name_share("a") == pytest.approx(0.149918, abs=1e-6)
    assert name_share("b") == pytest.approx(0.342026, abs=1e-6)
    assert sum(name_share(f"img_{i:06d}") < 0.25 for i in range(10_000)) == 2538


def test_the_picture_changes_and_every_label_stays_the_same_object() -> None:
    night = NightAugmentation(dim)
    day = sample("a")
    found = night(day)
    assert found.targets["depth"] is day.targets["depth"]
    assert found.meta["night"] is True and found.meta["night_model"] == "unsaved" and found.meta["id"] == "a"
    assert torch.equal(found.pixels, (day.image / 4 * 255).round().to(torch.uint8))
    other = sample("b")
    assert night(other) is other  # 0.342 is above the share


def test_a_share_of_nothing_is_the_source_itself() -> None:
    source = Pictures(["a", "b", "c"])
    nothing = Night(source, NightAugmentation(dim, 0.0))
    assert all(one is other for one, other in zip(nothing, source.samples, strict=True))
    everything = Night(source, NightAugmentation(dim, 1.0))
    assert len(everything) == 3 and all(s.meta["night"] for s in everything)
    assert everything.heads == source.heads and everything.name == "pictures"


def test_hash_and_random_draws_keep_their_share() -> None:
    samples = [sample(f"img_{i:06d}") for i in range(400)]
    for select in ("hash", "random"):
        night = NightAugmentation(dim, 0.25, select=select)  # type: ignore[arg-type]
        first = [night.selects(s) for s in samples]
        assert first == [night.selects(s) for s in samples]
        assert 0.19 < sum(first) / len(first) < 0.31
    random = NightAugmentation(dim, 0.25, select="random")
    assert [random.selects(s, 0) for s in samples] != [random.selects(s, 1) for s in samples]
    fixed, salted = NightAugmentation(dim), NightAugmentation(dim, epoch_salt=True)
    assert [fixed.selects(s, 0) for s in samples] == [fixed.selects(s, 5) for s in samples]
    seen = [{salted.selects(s, epoch) for epoch in range(30)} for s in samples[:50]]
    assert all(one == {True, False} for one in seen)


def test_roles_and_exceptions_are_respected() -> None:
    anchor = Sample(sample().pixels, {}, {"path": "a.jpg", "role": "anchor"})
    positive = Sample(sample().pixels, {}, {"path": "a.jpg", "role": "positive"})
    night = NightAugmentation(dim, roles={"anchor"})
    assert night.selects(anchor) and not night.selects(positive) and not night.selects(sample("a"))
    awake = NightAugmentation(dim, skip_if=lambda s: float(s.image.mean()) > 0.1)
    assert not awake.selects(sample("a"))


@pytest.mark.parametrize("target", ["denoising", "caption", "time_of_day"])
def test_labels_that_night_makes_wrong_are_refused(target: str) -> None:
    for name in ("a", "b"):  # also where this picture would stay by day
        with pytest.raises(ConfigError, match=f"a sample carries {target}, which night makes wrong"):
            NightAugmentation(dim)(sample(name, **{target: "x"}))


def test_boxes_that_sink_into_the_dark_are_no_longer_asked_for() -> None:
    pixels = torch.zeros(3, 24, 32, dtype=torch.uint8)
    pixels[:, 4:8, 4:8] = 255
    corners = torch.tensor([[2.0, 2.0, 10.0, 10.0], [16.0, 12.0, 30.0, 22.0]])
    boxes = Boxes(corners, torch.tensor([0, 1]), (24, 32), ("a", "b"))
    day = Sample(pixels, {"detection": boxes}, {"path": "a.jpg"})
    found = NightAugmentation(dim, min_contrast=0.05)(day).targets["detection"]
    assert found.is_crowd.tolist() == [False, True] and torch.equal(found.xyxy, boxes.xyxy)
    assert NightAugmentation(dim)(day).targets["detection"] is boxes


def test_a_graph_goes_on_sharing_boxes_that_sink_into_the_dark() -> None:
    boxes = Boxes(torch.tensor([[2.0, 2, 10, 10], [16, 12, 30, 22]]), torch.tensor([0, 1]), (24, 32), ("a", "b"))
    graph = SceneGraph(boxes, torch.tensor([[0, 1, 0]]), ("on",))
    other = SceneGraph(boxes.select(torch.tensor([0, 1])), graph.triplets, ("on",))
    targets = {"detection": boxes, "scene_graph": graph, "other": other}
    day = Sample(torch.zeros(3, 24, 32, dtype=torch.uint8), targets, {"path": "a.jpg"})
    night = NightAugmentation(dim, min_contrast=0.05)(day)
    assert night.targets["scene_graph"].boxes is night.targets["detection"] is not boxes
    assert night.targets["other"] is other and torch.equal(night.targets["scene_graph"].triplets, graph.triplets)


def test_a_mixture_shows_the_draw_of_each_epoch_and_any_worker_the_same() -> None:
    names = [f"img_{i:06d}" for i in range(12)]
    for options in ({"select": "random"}, {"epoch_salt": True}):
        source = Night(Pictures(names), NightAugmentation(dim, 0.5, **options))  # type: ignore[arg-type]
        mixture = Mixture([MixturePart(source, batch_size=12)])
        shown = [mixture.batches(step)[0] for step in range(3)]
        nights = [{m["id"] for m in batch.meta if m.get("night")} for batch in shown]
        drawn = [{n for n in names if source.augmentation.selects(sample(n), e)} for e in range(3)]
        assert nights == drawn and len({frozenset(n) for n in nights}) == 3
        assert {s.meta["id"] for s in source if s.meta.get("night")} == drawn[0]
        for step, batch in enumerate(prefetch(mixture, 0, 3, 0, workers=1)):
            assert torch.equal(batch[0].images, shown[step].images)


def test_a_batch_of_several_sizes_gets_the_nights_of_its_pictures_alone() -> None:
    def day(name: str, width: int) -> Sample:
        pixels = torch.full((3, 24, width), 110, dtype=torch.uint8)
        pixels[:, :12] = 10
        corners = torch.tensor([[1.0, 1, 9, 9], [1, 6, 9, 18]])
        boxes = Boxes(corners, torch.tensor([0, 1]), (24, width), ("a", "b"))
        return Sample(pixels, {"detection": boxes}, {"path": f"{name}.jpg"})

    def lifted(images: Tensor) -> Tensor:  # turns black to grey, and depends on the whole picture
        return images / 4 + images.mean((1, 2, 3), keepdim=True) / 8

    def is_dark(one: Sample) -> bool:
        return float(one.image.mean()) < 0.2

    days = [day("a", 16), day("b", 32), day("c", 16)]
    night = NightAugmentation(lifted, p=1.0, skip_if=is_dark, min_contrast=0.05)
    found, alone = night.on_batch(collate(days, {"detection": "detection"}, "x")), [night(one) for one in days]
    for i, one in enumerate(alone):
        width = one.size[1]
        assert found.meta[i]["night"] and one.meta["night"]
        assert torch.allclose(found.images[i, :, :, :width], one.image, atol=1 / 255)
        assert not found.images[i, :, :, width:].any()
        assert found.targets["detection"][i].is_crowd.tolist() == one.targets["detection"].is_crowd.tolist()
    assert found.targets["detection"][0].is_crowd.tolist() == [True, False]


def test_a_cached_night_equals_a_fresh_one(tmp_path: Path) -> None:
    torch.manual_seed(0)
    options = {"name": "resnet", "channels": 4, "blocks": 1}
    generator = load_night(save_night(tmp_path / "night", ResNetTranslator(channels=4, blocks=1), options, 32))
    fresh = NightAugmentation(generator)(sample("a"))
    cached = NightAugmentation(generator, cache=tmp_path / "cache")
    assert torch.equal(cached(sample("a")).pixels, fresh.pixels)
    (file,) = (tmp_path / "cache").rglob("*.png")
    written = file.stat().st_mtime_ns
    assert torch.equal(cached(sample("a")).pixels, fresh.pixels) and file.stat().st_mtime_ns == written
    assert fresh.meta["night_model"] == generator.sha256
    with pytest.raises(ConfigError, match="a cache must know its generator"):
        NightAugmentation(dim, cache=tmp_path)


def test_a_batch_on_a_device_gets_the_same_nights() -> None:
    samples = [sample(name) for name in ("a", "b", "a")]
    night = NightAugmentation(dim)
    batch = collate(samples, {"depth": "depth"}, "pictures")
    found = night.on_batch(batch)
    assert [bool(m.get("night")) for m in found.meta] == [True, False, True]
    assert torch.equal(found.images[1], batch.images[1]) and torch.allclose(found.images[0], batch.images[0] / 4)
    assert found.targets["depth"] is batch.targets["depth"]


def test_noise_of_a_camera_belongs_to_the_name_and_comes_after_the_cache(tmp_path: Path) -> None:
    torch.manual_seed(0)
    generator = load_night(
        save_night(
            tmp_path / "n", ResNetTranslator(channels=4, blocks=1), {"name": "resnet", "channels": 4, "blocks": 1}, 32
        )
    )
    clean = NightAugmentation(generator, 1.0)(sample("a")).pixels.float()
    noisy = NightAugmentation(generator, 1.0, grain=(0.05, 0.05), cache=tmp_path / "cache")
    first, again, other = (noisy(sample(name)).pixels.float() for name in ("a", "a", "b"))
    assert torch.equal(first, again) and not torch.equal(first, other)
    inside = (clean > 40) & (clean < 215)
    assert float((first - clean)[inside].std()) == pytest.approx(0.05 * 255, rel=0.1)
    batch = noisy.on_batch(collate([sample("a"), sample("b")], {"depth": "depth"}, "pictures"))
    assert torch.allclose(batch.images[0] * 255, first, atol=1.01)  # what is cached is rounded
    kept = NightAugmentation(generator, 1.0, cache=tmp_path / "cache")(sample("a")).pixels
    assert torch.equal(kept.float(), clean)
    with pytest.raises(ConfigError, match="grain is"):
        NightAugmentation(dim, grain=(0.2, 0.1))


def test_shares_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="p is 1.5"):
        NightAugmentation(dim, 1.5)


def test_rows_of_one_file_and_names_with_dots_are_drawn_one_by_one() -> None:
    night = NightAugmentation(dim, p=0.5)
    day = sample("a")
    for pattern in ("some/train.npz#{}", "some/train-0.parquet row {}", "some/2008.{:06d}.jpg"):
        rows = [day.replace(day.pixels, day.targets, {"id": i, "path": pattern.format(i)}) for i in range(200)]
        assert 70 < sum(night.selects(row) for row in rows) < 130, pattern
    named = [day.replace(day.pixels, day.targets, {"id": f"2008.{i:06d}"}) for i in range(200)]
    assert 70 < sum(night.selects(row) for row in named) < 130

"""A generator as a source: deterministic, labelled, with provenance; and GANs on disk."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor

from visgen.data import Mixture, MixturePart, Sample, Source, wrap_source
from visgen.errors import CheckpointError, ConfigError, DataError
from visgen.gan import (
    GanConfig,
    GanSource,
    SavedGan,
    build_adversaries,
    load_gan,
    measure_norm_statistics,
    save_gan,
    to_bytes,
)
from visgen.gan import source as source_module
from visgen.structures import ClassLabel

CLASSES = ("cat", "dog", "owl")


def write(folder: Path, condition: str = "projection", generator: str = "dcgan") -> SavedGan:
    torch.manual_seed(0)
    config = GanConfig(
        generator={"name": generator, "channels": 4, "z_dim": 8},
        discriminator={"name": "sn_dcgan", "channels": 4},
        condition={"name": condition},
    )
    both = build_adversaries(config, len(CLASSES))
    if condition != "none":
        for module in both.generator.modules():  # labels matter
            if isinstance(module, torch.nn.Embedding):
                torch.nn.init.normal_(module.weight)
    rng = torch.Generator().manual_seed(0)
    both.generator.last.weight.data *= 30  # contrast, which an untrained generator lacks
    measure_norm_statistics(
        both.generator, lambda: both.generator(both.generator.draw_latent(16, rng), torch.arange(16) % 3), passes=4
    )
    classes = CLASSES if config.is_conditional else ()
    save_gan(folder, config, classes, both.generator, both.discriminator, {"images": 5})
    return load_gan(folder)


def test_the_bytes_are_rounded_and_cut() -> None:
    values = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0])
    assert to_bytes(values).tolist() == [0, 0, 128, 255, 255]
    every = torch.arange(256)
    assert torch.equal(to_bytes(every / 127.5 - 1).long(), every)


def test_it_keeps_the_source_contract_and_tells_where_samples_come_from(tmp_path: Path) -> None:
    gan = write(tmp_path / "gan")
    source = GanSource(gan, 10, seed=3, name="pets", batch_size=4)
    assert isinstance(source, Source) and len(source) == 10
    assert source.heads == {"classification": "classification.pets"}
    sample = source[7]
    assert sample.pixels.dtype == torch.uint8 and sample.size == (32, 32)
    assert sample.targets["classification"].name == "dog"  # 7 % 3
    assert sample.meta["generator"] == gan.sha256 and sample.meta["seed"] == 3 and sample.meta["id"] == 7
    z = torch.tensor(sample.meta["latent"])
    with torch.no_grad():
        again = to_bytes(gan.generator(z[None], torch.tensor([1])))[0]
    assert int((again.int() - sample.pixels.int()).abs().max()) <= 1  # another batch size, another rounding
    order = [source[i].pixels for i in (9, 0, 5, 9)]
    assert torch.equal(order[0], order[3]) and not torch.equal(order[0], order[1])
    copy = pickle.loads(pickle.dumps(source))
    assert torch.equal(copy[5].pixels, order[2])
    assert not torch.equal(GanSource(gan, 10, seed=4)[7].pixels, sample.pixels)
    batch = Mixture([MixturePart(source, batch_size=4)], 0).batches(0)[0]
    assert batch.images.shape == (4, 3, 32, 32) and len(batch.targets["classification"]) == 4


def test_a_generator_without_labels_has_no_heads(tmp_path: Path) -> None:
    source = GanSource(write(tmp_path, "none"), 3)
    assert source.heads == {} and source.classes == {} and source[2].targets == {}


def test_refused_images_are_drawn_again(tmp_path: Path) -> None:
    gan = write(tmp_path)
    seen: list[int] = []

    def accept(images: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None and len(labels) == len(images)
        seen.append(len(images))
        return torch.tensor([len(seen) > 1 or row % 2 == 0 for row in range(len(images))])

    source = GanSource(gan, 6, accept=accept)
    assert [source[i].meta["attempt"] for i in range(6)] == [0, 1, 0, 1, 0, 1] and seen == [6, 3]
    assert torch.equal(torch.tensor(source[1].meta["latent"]), source.latent(1, 1))
    never = GanSource(gan, 2, accept=lambda images, labels: torch.zeros(len(images)) > 0, attempts=3)
    with pytest.raises(DataError, match="all 3 draws of item 0 were refused"):
        never[0]
    with pytest.raises(ConfigError, match="count is 0"):
        GanSource(gan, 0)
    with pytest.raises(IndexError):
        source[6]


def test_what_was_saved_is_what_is_loaded_and_changes_are_noticed(tmp_path: Path) -> None:
    gan = write(tmp_path)
    assert gan.classes == CLASSES and gan.config.condition == {"name": "projection"}
    x, y = torch.rand(2, 3, 32, 32), torch.tensor([0, 1])
    judge = gan.discriminator()
    assert not judge.training and torch.equal(judge(x, y), gan.discriminator()(x, y))
    stored = json.loads((tmp_path / "config.json").read_text())
    stored["generator_sha256"] = "0" * 64
    (tmp_path / "config.json").write_text(json.dumps(stored))
    with pytest.raises(CheckpointError, match="do not belong together"):
        load_gan(tmp_path)
    with pytest.raises(CheckpointError, match="holds no GAN that can be read"):
        load_gan(tmp_path / "none")


def test_a_run_file_takes_classes_of_a_gan_into_its_own_label_set(tmp_path: Path) -> None:
    write(tmp_path / "gan")
    pets = _Pets()
    wrapper = {"name": "gan", "gan": str(tmp_path / "gan"), "classes": ["owl", "cat"], "count": 5, "seed": 3}
    source = wrap_source(pets, [wrapper])
    assert (len(source), source.heads, source.classes) == (5, pets.heads, pets.classes)
    assert [s.targets["classification"].name for s in (source[i] for i in range(5))] == [
        "owl",
        "cat",
        "owl",
        "cat",
        "owl",
    ]
    assert source[0].targets["classification"].label == 0  # its place in the label set of the source
    direct = GanSource(str(tmp_path / "gan"), 9, seed=3)
    assert torch.equal(source[2].pixels, direct[5].pixels)  # the second owl
    assert direct[5].targets["classification"].name == "owl"
    for changes, message in (
        ({"classes": ["dog"]}, r"class 'dog' is not drawn by or named in source 'pets'"),
        ({"classes": ["newt"]}, r"class 'newt' is not drawn by or named in the GAN"),
        ({"classes": []}, "0 classes and a count of 5"),
    ):
        with pytest.raises(ConfigError, match=message):
            wrap_source(pets, [{**wrapper, **changes}])


class _Pets:
    """A label set of another order."""

    def __init__(self) -> None:
        self.name, self.heads = "pets", {"classification": "classification.pets"}
        self.classes = {"classification": ("owl", "newt", "cat")}

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        return Sample(torch.zeros(3, 8, 8), {"classification": ClassLabel(0, self.classes["classification"])})


def test_a_shuffled_order_makes_each_block_once_while_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, made = GanSource(write(tmp_path), 40, batch_size=8), []
    inner = source._make
    monkeypatch.setattr(source, "_make", lambda block: made.append(block) or inner(block))
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0)).tolist()
    shown = {i: source[i].pixels for i in order}
    assert sorted(made) == [0, 1, 2, 3, 4] == sorted(source._made) and source.__getstate__()["_made"] == {}
    monkeypatch.setattr(source_module, "_KEPT", 2 * 8 * 3 * 32 * 32)  # two blocks
    for i in range(40):
        assert torch.equal(source[i].pixels, shown[i])
    again = GanSource(load_gan(tmp_path), 40, batch_size=8)
    for i in order:
        assert torch.equal(again[i].pixels, shown[i]) and len(again._made) <= 2


def test_a_save_that_is_cut_short_leaves_no_mixed_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = write(tmp_path)
    weights = (tmp_path / "generator.safetensors").read_bytes()
    torch.manual_seed(1)
    other = build_adversaries(old.config, 3)

    def killed(*given: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("visgen.gan.folder.json.dumps", killed)
        save_gan(tmp_path, old.config, CLASSES, other.generator, other.discriminator)
    assert load_gan(tmp_path).sha256 == old.sha256 and (tmp_path / "generator.safetensors").read_bytes() == weights
    save_gan(tmp_path, old.config, CLASSES, other.generator)
    assert not (tmp_path / "discriminator.safetensors").exists() and load_gan(tmp_path).sha256 != old.sha256
    save_gan(tmp_path, old.config, CLASSES, other.generator, other.discriminator)
    new = load_gan(tmp_path)
    save_gan(tmp_path, old.config, CLASSES, other.generator, build_adversaries(old.config, 3).discriminator)
    with pytest.raises(CheckpointError, match="is not the discriminator"):
        new.discriminator()

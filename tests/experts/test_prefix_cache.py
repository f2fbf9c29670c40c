"""What a frozen prefix gave for a picture is remembered, bit for bit, and never when the prefix could change."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from visgen.backbones import Backbone
from visgen.errors import ConfigError
from visgen.experts import set_trainable
from visgen.experts.prefix_cache import PrefixCache, is_prefix_frozen
from visgen.task import MultiTaskModel

HEAD = "classification.pets"


def features(model: MultiTaskModel, images: Tensor) -> Tensor:
    return model.backbone.suffix(model.prefix(images), "classification").token


def test_pictures_come_back_as_they_were_computed(model: MultiTaskModel) -> None:
    model.eval()
    set_trainable(model, HEAD, "router")
    images = torch.rand(6, 3, 48, 64, generator=torch.Generator().manual_seed(0))
    wanted = features(model, images)
    cache = PrefixCache(2**30)
    cache.attach(model)
    first = features(model, images)
    assert torch.equal(first, wanted) and (cache.hits, cache.misses) == (0, 6)
    shuffled = torch.tensor([3, 1, 5, 0, 4, 2])
    assert torch.equal(features(model, images[shuffled]), wanted[shuffled])
    assert (cache.hits, cache.misses) == (6, 6)
    # one known and one new picture, in one batch
    mixed = torch.stack([images[2], images[2].flip(-1)])
    assert torch.equal(model.prefix(mixed).tokens, model.backbone.prefix(mixed).tokens)
    assert (cache.hits, cache.misses) == (7, 7)
    assert features(model, images).requires_grad, "the routers behind the prefix still learn"


def test_another_size_with_the_same_bytes_is_another_picture(model: MultiTaskModel) -> None:
    set_trainable(model, HEAD, "head")
    PrefixCache(2**30).attach(model.eval())
    a, b = torch.full((1, 3, 32, 64), 0.5), torch.full((1, 3, 64, 32), 0.5)
    assert model.prefix(a).grid == (2, 4) and model.prefix(b).grid == (4, 2)


def test_what_does_not_fit_is_computed_every_time(model: MultiTaskModel) -> None:
    set_trainable(model, HEAD, "head")
    model.eval()
    images = torch.rand(4, 3, 32, 32)
    one = model.backbone.prefix(images[:1])
    cache = PrefixCache(2 * one.tokens.nbytes)
    cache.attach(model)
    for _ in range(2):
        model.prefix(images)
    assert cache.nbytes == 2 * one.tokens.nbytes and (cache.hits, cache.misses) == (2, 6)


def test_copies_share_it_and_another_prefix_empties_it(model: MultiTaskModel) -> None:
    set_trainable(model, HEAD, "head")
    cache, images = PrefixCache(2**30), torch.rand(2, 3, 32, 32)
    cache.attach(model.eval())
    model.prefix(images)
    average = copy.deepcopy(model)
    assert average.prefix_cache is cache
    cache.attach(average)
    assert cache.nbytes > 0, "the copy has the same prefix"
    with torch.no_grad():
        average.backbone.patch_embed.bias.add_(1)
    cache.attach(average)
    assert cache.nbytes == 0
    assert not torch.equal(average.prefix(images).tokens, model.backbone.prefix(images).tokens)


@pytest.mark.parametrize(("selection", "frozen"), [("head", True), ("1", True), ("lora:1", False), ("full", False)])
def test_a_prefix_that_trains_is_never_remembered(model: MultiTaskModel, selection: str, frozen: bool) -> None:
    set_trainable(model, HEAD, selection)
    assert is_prefix_frozen(model.backbone) == frozen
    if not frozen:
        with pytest.raises(ConfigError, match=r"finetune\.cache_mb is set but a part of the prefix trains"):
            PrefixCache(2**20).attach(model)
        assert model.prefix_cache is None


def test_limits_and_other_backbones_are_told() -> None:
    with pytest.raises(ConfigError, match="may keep 0 bytes"):
        PrefixCache(0)

    class Whole(Backbone):
        """A backbone whose prefix keeps a batch as it came."""

        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()), requires_grad=False)

        def prefix(self, images: Tensor) -> Tensor:
            return self.scale * images

    holder = torch.nn.Module()
    holder.backbone = Whole()
    with pytest.raises(ConfigError, match=r"the prefix of Whole gives Tensor, which cannot be cut into pictures"):
        PrefixCache(2**20).attach(holder)

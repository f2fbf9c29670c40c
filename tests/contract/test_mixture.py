"""A Mixture over several kinds of Source is a pure function of (seed, step, rank) in every mode."""

from __future__ import annotations

import pickle
from collections import Counter

import pytest
import torch
from torch import Tensor

from visgen.data import MODES, Batch, Mixture, MixturePart, Sample, Source
from visgen.structures import ClassLabel, DepthMap


class Coloured:
    """Images of one grey level each: sample i is everywhere i / 255."""

    def __init__(self, name: str, task: str, length: int) -> None:
        self.name = name
        self.task = task
        self.length = length
        self.heads = {task: task}
        self.classes = {task: ("a", "b") if task == "classification" else ()}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        image = torch.full((3, 32, 32), index / 255)
        target = ClassLabel(index % 2, ("a", "b")) if self.task == "classification" else DepthMap(torch.ones(32, 32))
        return Sample(image, {self.task: target}, {"id": index})


def add_noise(sample: Sample, generator: torch.Generator) -> Sample:
    noise = torch.rand(sample.image.shape, generator=generator) * 0.001
    return sample.replace(image=(sample.image + noise).clamp(0, 1))


def mixture(mode: str = "per_rank", seed: int = 0, world: int = 1, weights: tuple[float, float] = (3, 1)) -> Mixture:
    parts = [
        MixturePart(Coloured("labels", "classification", 10), add_noise, weights[0], batch_size=4),
        MixturePart(Coloured("metres", "depth", 7), add_noise, weights[1], batch_size=2),
    ]
    return Mixture(parts, seed=seed, mode=mode, world=world)


def images(batches: list[Batch]) -> list[tuple[str, Tensor]]:
    return [(b.source, b.images) for b in batches]


def equal(a: list[Batch], b: list[Batch]) -> bool:
    return len(a) == len(b) and all(
        x[0] == y[0] and torch.equal(x[1], y[1]) for x, y in zip(images(a), images(b), strict=True)
    )


def test_the_parts_are_sources() -> None:
    assert all(isinstance(p.source, Source) for p in mixture().parts)


@pytest.mark.parametrize("mode", MODES)
def test_a_step_does_not_depend_on_what_was_asked_before(mode: str) -> None:
    first, second = mixture(mode), mixture(mode)
    in_order = [first.batches(step) for step in range(12)]
    jumped = [second.batches(step) for step in (11, 3, 3, 0)]
    assert all(equal(a, b) for a, b in zip([in_order[11], in_order[3], in_order[3], in_order[0]], jumped, strict=True))
    assert not equal(in_order[0], in_order[1])


@pytest.mark.parametrize("mode", MODES)
def test_the_global_generator_is_neither_read_nor_moved(mode: str) -> None:
    torch.manual_seed(1)
    a = mixture(mode).batches(5)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    b = mixture(mode).batches(5)
    assert equal(a, b)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("mode", MODES)
def test_another_seed_gives_another_plan(mode: str) -> None:
    plans = [[mixture(mode, seed=s).plan(step) for step in range(20)] for s in (0, 1)]
    assert plans[0] != plans[1]


@pytest.mark.parametrize("world", [1, 3])
@pytest.mark.parametrize("mode", MODES)
def test_each_epoch_holds_each_sample_once_over_all_ranks(mode: str, world: int) -> None:
    mixed = mixture(mode, world=world)
    seen: Counter[tuple[str, int, int]] = Counter()
    for step in range(60):
        for rank in range(world):
            for planned in mixed.plan(step, rank):
                seen.update((planned.part, epoch, index) for epoch, index in planned.items)
    assert set(seen.values()) == {1}
    assert {i for part, epoch, i in seen if part == "labels" and epoch == 0} == set(range(10))


def test_modes_draw_as_they_say() -> None:
    for step in range(30):
        same_task = mixture("same_task", world=3)
        assert len({same_task.plan(step, rank)[0].part for rank in range(3)}) == 1
        assert [p.part for p in mixture("round_robin").plan(step)] == ["labels", "metres"]
    per_rank = mixture("per_rank", world=3)
    assert any(len({per_rank.plan(step, rank)[0].part for rank in range(3)}) == 2 for step in range(30))


def test_weights_are_the_shares_of_the_draws() -> None:
    drawn = Counter(mixture(weights=(3, 1)).plan(step)[0].part for step in range(2000))
    # Three standard deviations of 2000 fair draws at 3/4 are 58.
    assert abs(drawn["labels"] - 1500) < 58
    assert mixture(weights=(3, 1)).effective_weights() == {"labels": 0.75, "metres": 0.25}
    assert mixture("round_robin").effective_weights({"metres": 0.5}) == {"labels": 1.0, "metres": 0.5}


def test_augmentation_differs_between_epochs_and_repeats_within_a_step() -> None:
    mixed = mixture("round_robin")
    by_epoch: dict[int, Tensor] = {}
    for step in range(10):
        for image, meta in zip(mixed.batches(step)[1].images, mixed.batches(step)[1].meta, strict=True):
            if meta["index"] == 0:
                by_epoch[meta["epoch"]] = image
    assert len(by_epoch) >= 2
    assert not torch.equal(by_epoch[0], by_epoch[1])


def test_a_pickled_copy_continues_the_plan() -> None:
    mixed = mixture()
    copy = pickle.loads(pickle.dumps(mixed))
    assert equal(mixed.batches(7), copy.batches(7))


def test_a_resumed_mixture_is_checked_against_the_checkpoint() -> None:
    mixed = mixture()
    mixed.load_state_dict(mixture().state_dict())
    with pytest.raises(ValueError, match="seed was 1 and is 0"):
        mixed.load_state_dict(mixture(seed=1).state_dict())

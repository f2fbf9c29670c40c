import itertools
import json
from collections import Counter

import pytest
import torch

from visgen.data import Mixture, MixturePart, build_transform
from visgen.engine.prefetch import prefetch
from visgen.errors import ConfigError


@pytest.fixture
def parts(numbers):
    def make(**changes):
        a = MixturePart(numbers(20, "a"), weight=3.0, batch_size=4)
        b = MixturePart(numbers(7, "b"), weight=1.0, batch_size=3, transform=changes.get("transform"))
        return [a, b]

    return make


def ids(batch):
    return [(m["part"], m["epoch"], m["index"]) for m in batch.meta]


def items(mixture, steps, rank=0):
    return [[(p.part, p.items) for p in mixture.plan(step, rank)] for step in range(steps)]


def test_each_epoch_is_a_permutation_of_the_part(parts):
    drawn = list(itertools.chain.from_iterable(items(Mixture(parts(), seed=5), 60)))
    for name, total in (("a", 20), ("b", 7)):
        sequence = [i for part, chunk in drawn if part == name for i in chunk]
        epochs = sequence[-1][0]
        assert epochs >= 2
        for epoch in range(epochs):
            assert sorted(i for e, i in sequence if e == epoch) == list(range(total))
    orders = [[i for e, i in sequence if e == epoch] for epoch in range(2)]
    assert orders[0] != orders[1]


@pytest.mark.parametrize("mode", ["per_rank", "same_task", "round_robin"])
def test_ranks_together_walk_through_the_epochs_without_overlap(parts, mode):
    mixture = Mixture(parts(), seed=2, mode=mode, world=3)
    seen = Counter()
    for step in range(40):
        for rank in range(3):
            for planned in mixture.plan(step, rank):
                seen.update((planned.part, e, i) for e, i in planned.items)
    assert max(seen.values()) == 1
    for name, total in (("a", 20), ("b", 7)):
        epochs = max(e for n, e, _ in seen if n == name)
        assert epochs >= 1
        assert all(sum(n == name and e == epoch for n, e, _ in seen) == total for epoch in range(epochs))


@pytest.mark.parametrize("mode", ["per_rank", "same_task", "round_robin"])
def test_the_plan_does_not_depend_on_what_was_asked_before(parts, mode):
    whole = items(Mixture(parts(), seed=9, mode=mode, world=2), 1100, rank=1)
    for step in (1099, 1024, 1023, 500, 0):  # across a block border, backwards, each in a new object
        fresh = Mixture(parts(), seed=9, mode=mode, world=2)
        assert [(p.part, p.items) for p in fresh.plan(step, 1)] == whole[step]
    used = Mixture(parts(), seed=9, mode=mode, world=2)
    used.plan(3000, 0)
    assert [(p.part, p.items) for p in used.plan(17, 1)] == whole[17]
    assert items(Mixture(parts(), seed=10, mode=mode, world=2), 20, 1) != whole[:20]


def test_draws_follow_the_weights(parts):
    mixture = Mixture(parts(), seed=0, world=2)
    drawn = Counter(mixture.plan(step, rank)[0].part for step in range(2000) for rank in range(2))
    # 4000 draws of probability 3/4: standard deviation 27.
    assert abs(drawn["a"] - 3000) < 110
    together = Mixture(parts(), seed=0, world=2, mode="same_task")
    assert all(together.plan(s, 0)[0].part == together.plan(s, 1)[0].part for s in range(100))
    assert any(mixture.plan(s, 0)[0].part != mixture.plan(s, 1)[0].part for s in range(100))


def test_round_robin_gives_every_part_at_every_step(parts):
    mixture = Mixture(parts(), mode="round_robin")
    for step in range(10):
        assert [(b.source, len(b)) for b in mixture.batches(step)] == [("a", 4), ("b", 3)]


def test_effective_weights(parts):
    mixture = Mixture(parts())
    assert mixture.effective_weights() == {"a": 0.75, "b": 0.25}
    assert mixture.effective_weights({"b": 0.2}) == pytest.approx({"a": 0.75, "b": 0.05})
    assert Mixture(parts(), mode="round_robin").effective_weights({"a": 0.5}) == {"a": 0.5, "b": 1.0}
    with pytest.raises(ConfigError, match="loss weight for 'c'"):
        mixture.effective_weights({"c": 1.0})


def test_augmentation_depends_on_seed_part_epoch_and_index_only(parts):
    noise = build_transform([{"name": "gaussian_noise", "sigma": [0.1, 0.2], "p": 1.0}])
    found = {}
    for world in (1, 2):
        mixture = Mixture(parts(transform=noise), seed=4, world=world, mode="round_robin")
        for step in range(6):
            for rank in range(world):
                batch = mixture.batches(step, rank)[1]
                for key, image in zip(ids(batch), batch.images, strict=True):
                    assert torch.equal(found.setdefault(key, image), image)
    assert len(found) > 20
    first, second = (next(v for k, v in found.items() if k[1:] == (e, 3)) for e in (0, 1))
    assert not torch.equal(first, second)


def test_a_loader_with_workers_gives_the_same_batches_and_resumes(parts):
    noise = build_transform([{"name": "gaussian_noise", "p": 1.0}])
    mixture = Mixture(parts(transform=noise), seed=3)
    direct = [mixture.batches(step)[0] for step in range(8)]
    loader = prefetch(Mixture(parts(transform=noise), seed=3), 0, 8, 0, workers=2)
    resumed = prefetch(Mixture(parts(transform=noise), seed=3), 5, 8, 0, workers=0)
    for want, got in zip(direct, loader, strict=True):
        assert ids(want) == ids(got[0]) and torch.equal(want.images, got[0].images)
    for want, got in zip(direct[5:], resumed, strict=True):
        assert ids(want) == ids(got[0]) and torch.equal(want.images, got[0].images)


def test_labels_stay_with_their_images(parts):
    batch = Mixture(parts(), seed=1).batches(0)[0]
    values = (batch.images[:, 0, 0, 0] * 255).round().long().tolist()
    assert values == [m["id"] for m in batch.meta]
    assert [t.label for t in batch.targets["classification"]] == [v % 2 for v in values]


def test_a_resume_with_another_mixture_is_refused(parts, numbers):
    state = json.loads(json.dumps(Mixture(parts(), seed=1, world=2).state_dict()))
    Mixture(parts(), seed=1, world=2).load_state_dict(state)
    with pytest.raises(ConfigError, match="seed was 1 and is 2"):
        Mixture(parts(), seed=2, world=2).load_state_dict(state)
    other = [*parts()[:1], MixturePart(numbers(8, "b"), batch_size=3)]
    with pytest.raises(ConfigError, match=r"parts\[1\]\.samples was 7 and is 8"):
        Mixture(other, seed=1, world=2).load_state_dict(state)
    renamed = parts()
    renamed[1].source.classes = {**renamed[1].source.classes, "classification": ("odd", "even")}
    with pytest.raises(ConfigError, match=r"parts\[1\]\.classes.* was "):
        Mixture(renamed, seed=1, world=2).load_state_dict(state)
    for other in ({"seed": 1}, {**state, "parts": {"a": [20, 3.0]}}):  # of no mixture
        with pytest.raises(ConfigError, match="the checkpoint's mixture differs"):
            Mixture(parts(), seed=1, world=2).load_state_dict(other)
    before = {**state, "parts": [{k: v for k, v in part.items() if k != "classes"} for part in state["parts"]]}
    Mixture(parts(), seed=1, world=2).load_state_dict(before)  # of a version that did not write them
    with pytest.raises(ConfigError, match=r"parts\[1\]\.transform was None and is Compose\(HorizontalFlip\(p=0\.5\)\)"):
        Mixture(parts(transform=build_transform(["horizontal_flip"])), seed=1, world=2).load_state_dict(state)
    with pytest.raises(ConfigError, match="world was 2 and is 4"):
        Mixture(parts(), seed=1, world=4).load_state_dict(state)
    Mixture(parts(), seed=1, world=4).load_state_dict(state, elastic=True)


def test_what_cannot_be_mixed_is_refused(parts, numbers):
    with pytest.raises(ConfigError, match="0 parts"):
        Mixture([])
    with pytest.raises(ConfigError, match="'a' is there 2 times"):
        Mixture([parts()[0], parts()[0]])
    with pytest.raises(ConfigError, match="'per_rnak' is not known; did you mean 'per_rank'"):
        Mixture(parts(), mode="per_rnak")
    with pytest.raises(ConfigError, match="world is 0"):
        Mixture(parts(), world=0)
    with pytest.raises(ConfigError, match=r"rank 2: .*ranks are 0\.\.1"):
        Mixture(parts(), world=2).plan(0, 2)
    with pytest.raises(ConfigError, match="weight 0"):
        MixturePart(numbers(2), weight=0)
    with pytest.raises(ConfigError, match="batch_size 0"):
        MixturePart(numbers(2), batch_size=0)
    with pytest.raises(ConfigError, match="'numbers' has 0 samples"):
        MixturePart(numbers(0))

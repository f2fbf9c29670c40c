import pickle

import torch

from visgen.data import Cached, Sample
from visgen.data.transforms import CenterCrop


class One:
    """The given sample, counted."""

    def __init__(self, sample: Sample) -> None:
        self.sample, self.reads = sample, 0
        self.name, self.heads, self.classes = "one", {"depth": "depth"}, {"depth": ()}

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        self.reads += 1
        return self.sample


def test_hands_out_what_the_source_gives_and_reads_it_once(ramp):
    source = One(ramp)
    cached = Cached(source)
    for _ in range(3):
        sample = cached[0]
    assert source.reads == 1
    assert torch.equal(sample.pixels, ramp.pixels) and sample.meta == ramp.meta
    assert torch.equal(sample.targets["segmentation"].ids, ramp.targets["segmentation"].ids)
    assert sample.targets["segmentation"].name == "ramp"
    assert torch.equal(sample.targets["masks"].masks, ramp.targets["masks"].masks)
    assert torch.equal(sample.targets["masks"].labels, ramp.targets["masks"].labels)
    assert torch.equal(sample.targets["depth"].metres, ramp.targets["depth"].metres)
    assert sample.targets["detection"] is ramp.targets["detection"]


def test_stores_ids_in_bytes_and_masks_in_bits(ramp):
    cached = Cached(One(ramp)).preload()
    pixels = 96 * 128
    assert cached.nbytes == 3 * pixels + pixels + 2 * pixels // 8 + 4 * pixels + 2 * 4 * 4


def test_shrinks_before_storing_and_pickles(ramp):
    generator = torch.Generator()
    cached = Cached(One(ramp), shrink=lambda s: CenterCrop(32)(s, generator)).preload()
    assert cached[0].size == (32, 32) and cached[0].targets["depth"].size == (32, 32)
    again = pickle.loads(pickle.dumps(Cached(One(ramp)).preload()))
    assert torch.equal(again[0].targets["masks"].masks, ramp.targets["masks"].masks)


def test_a_crop_of_what_was_handed_out_does_not_reach_the_store(numbers):
    cached = Cached(numbers(3))
    first = cached[2]
    first.meta["id"] = "changed"
    first.targets.clear()
    assert cached[2].meta["id"] == 2 and "classification" in cached[2].targets

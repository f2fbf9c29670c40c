import pytest
import torch

from visgen.data import Sample, collate
from visgen.data.transforms import CenterCrop
from visgen.errors import DataError


def test_stacks_as_float_and_keeps_targets(ramp):
    batch = collate([ramp, ramp], {"depth": "depth"}, "ramps")
    assert batch.images.dtype == torch.float32 and batch.images.shape == (2, 3, 96, 128)
    assert torch.equal(batch.images[1], ramp.image)
    assert batch.targets["depth"][0] is ramp.targets["depth"]
    assert batch.heads == {"depth": "depth"} and batch.source == "ramps" and len(batch) == 2


def test_pads_smaller_samples_right_and_bottom(ramp):
    small = CenterCrop((64, 100))(ramp, torch.Generator())
    batch = collate([small, ramp], {}, "ramps")
    assert batch.images.shape == (2, 3, 96, 128)
    assert [m["size"] for m in batch.meta] == [(64, 100), (96, 128)]
    assert torch.equal(batch.images[0, :, :64, :100], small.image)
    assert float(batch.images[0, :, 64:].abs().sum() + batch.images[0, :, :, 100:].abs().sum()) == 0
    ids, metres = batch.targets["segmentation"][0].ids, batch.targets["depth"][0].metres
    assert torch.equal(ids[:64, :100], small.targets["segmentation"].ids)
    assert bool((ids[64:] == 255).all()) and bool((ids[:, 100:] == 255).all())
    assert bool((metres[64:] == 0).all()) and bool((metres[:, 100:] == 0).all())
    boxes = batch.targets["detection"][0]
    assert torch.equal(boxes.xyxy, small.targets["detection"].xyxy) and boxes.size == (96, 128)


def test_mixed_types_and_missing_targets():
    samples = [Sample(torch.ones(3, 4, 4)), Sample(torch.full((3, 4, 4), 255, dtype=torch.uint8), {"note": "x"})]
    batch = collate(samples, {}, "mixed")
    assert bool((batch.images == 1).all()) and batch.targets["note"] == [None, "x"]


def test_to_moves_images_and_targets(ramp):
    batch = collate([ramp], {"depth": "depth"}, "ramps")
    assert batch.to("cpu") is batch
    plain = collate([ramp.replace(targets={"classification": ramp.targets["classification"]})], {}, "ramps")
    moved = plain.to("meta")  # the one other device that every machine has
    assert moved.images.device.type == "meta" and plain.images.device.type == "cpu"
    assert moved.targets["classification"][0] is ramp.targets["classification"]


def test_an_empty_batch_is_refused():
    with pytest.raises(DataError, match="source 'none' has 0 samples"):
        collate([], {}, "none")

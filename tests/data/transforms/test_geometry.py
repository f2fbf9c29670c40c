from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from visgen.data import Sample
from visgen.data.transforms import Window, apply_window, resample_nearest, scale_depth, tight_boxes, window_value
from visgen.errors import DataError
from visgen.structures import Boxes, ClassLabel, DepthMap, Masks

FLIP = Window(0, 0, 96, 128, 96, 128, flip=True)


def same(a, b):
    assert torch.equal(a.pixels, b.pixels)
    assert torch.allclose(a.targets["detection"].xyxy, b.targets["detection"].xyxy)
    assert torch.equal(a.targets["detection"].labels, b.targets["detection"].labels)
    assert torch.equal(a.targets["masks"].masks, b.targets["masks"].masks)
    assert torch.equal(a.targets["segmentation"].ids, b.targets["segmentation"].ids)
    assert torch.equal(a.targets["depth"].metres, b.targets["depth"].metres)


def test_a_flip_by_hand(ramp):
    flipped = apply_window(ramp, FLIP)
    assert flipped.targets["detection"].xyxy.tolist() == [[58, 10, 108, 40], [0, 50, 68, 90]]
    assert flipped.pixels[0, 0, :3].tolist() == [127, 126, 125]
    assert flipped.targets["segmentation"].ids[0, :2].tolist() == [2, 2]  # columns 127, 126: 7 % 5
    assert float(flipped.targets["depth"].metres[0, 0]) == pytest.approx(2.27)


def test_flip_twice_is_the_identity(ramp):
    same(apply_window(apply_window(ramp, FLIP), FLIP), ramp)


def test_a_mirror_exchanges_sides_in_the_names_of_classes(ramp):
    names = ("left eye", "left whale", "right eye", "nose", "nose left")
    parts = {k: replace(v, classes=names) for k, v in ramp.targets.items() if k != "depth"}
    parts["detection"] = replace(parts["detection"], complete=("left eye", "nose"))
    given = ramp.replace(targets={**parts, "classification": ClassLabel(0, names)})
    there = apply_window(given, FLIP).targets
    assert there["classification"].name == "right eye"
    assert there["detection"].names == ("left eye", "nose left") == there["masks"].names
    assert there["detection"].complete == ("right eye", "nose")
    table = torch.tensor([2, 1, 0, 3, 4])
    assert torch.equal(there["segmentation"].ids, table[given.targets["segmentation"].ids].flip(-1))


def test_a_crop_by_hand(ramp):
    out = apply_window(ramp, Window.crop(5, 30, 40, 50))
    # First box cut at the left; of the second nothing is in rows 5..45.
    assert out.targets["detection"].xyxy.tolist() == [[0, 5, 40, 35]]
    assert out.targets["detection"].labels.tolist() == [2] and out.targets["detection"].is_crowd.tolist() == [False]
    assert out.targets["masks"].masks.shape == (1, 40, 50) and int(out.targets["masks"].area[0]) == 30 * 40
    assert out.pixels[:2, 0, 0].tolist() == [30, 5]


def test_a_resize_scales_boxes_and_keeps_metres(ramp):
    out = apply_window(ramp, Window.resize(ramp.size, 48, 32))
    assert out.targets["detection"].xyxy.tolist() == [[5, 5, 17.5, 20], [15, 25, 32, 45]]
    assert set(out.targets["depth"].metres.unique().tolist()) <= set(ramp.targets["depth"].metres.unique().tolist())
    assert out.targets["masks"].masks.shape == (2, 48, 32)


def test_outside_is_black_ignored_and_without_depth(ramp):
    out = apply_window(ramp, Window.crop(-10, -20, 116, 168))
    assert out.size == (116, 168)
    assert int(out.pixels[:, :10].sum()) == 0 and int(out.pixels[:, :, :20].sum()) == 0
    assert bool((out.targets["segmentation"].ids[:10] == 255).all())
    assert bool((out.targets["depth"].metres[:, 148:] == 0).all())
    assert not bool(out.targets["masks"].masks[:, :10].any())
    assert out.targets["detection"].xyxy.tolist() == [[40, 20, 90, 50], [80, 60, 148, 100]]


windows = st.tuples(
    st.integers(-20, 60),
    st.integers(-20, 90),
    st.integers(8, 110),
    st.integers(8, 140),
    st.booleans(),
    st.integers(0, 9),
)


@settings(deadline=None, max_examples=40)
@given(windows)
def test_image_and_maps_stay_aligned(window):
    """Depth and image both tell the source column of each pixel: they must agree under any window."""
    top, left, h, w, flip, grow = window
    columns = torch.arange(128).expand(96, 128)
    image = torch.stack([columns, columns, columns]).float() / 255
    sample = Sample(image, {"depth": DepthMap((1 + columns / 10).float().contiguous())})
    out_h, out_w = h + 3 * grow, w + 5 * grow
    out = apply_window(sample, Window(top, left, h, w, out_h, out_w, flip))
    metres = out.targets["depth"].metres
    inner = torch.zeros_like(metres, dtype=torch.bool)
    edge = 2  # next to the border of the image the bilinear filter mixes in black
    inner[edge:-edge, edge:-edge] = True
    known = metres > 0
    for shift in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        for times in range(1, 3 + grow):
            known &= torch.roll(metres > 0, (shift[0] * times, shift[1] * times), (0, 1))
    seen = known & inner
    from_image, from_depth = out.image[0] * 255, (metres - 1) * 10
    assert bool(((from_image - from_depth).abs()[seen] <= 1.01).all())


@settings(deadline=None, max_examples=60)
@given(windows, st.integers(0, 2**31))
def test_a_crop_commutes_with_taking_boxes_from_masks(window, seed):
    generator = torch.Generator().manual_seed(seed)
    masks = torch.nn.functional.interpolate(torch.rand(1, 3, 6, 8, generator=generator), (96, 128))[0] > 0.8
    labels = torch.tensor([0, 1, 2])
    kept = masks.flatten(1).any(1)
    full = Masks(masks[kept], labels[kept], ("a", "b", "c"))
    top, left, h, w, _, _ = window
    sample = Sample(torch.zeros(3, 96, 128), {"detection": full.to_boxes(), "masks": full})
    out = apply_window(sample, Window.crop(top, left, h, w))
    from_masks = out.targets["masks"].to_boxes()
    assert torch.equal(out.targets["detection"].xyxy, from_masks.xyxy)
    assert torch.equal(out.targets["detection"].labels, from_masks.labels)
    visible = apply_window(Sample(torch.zeros(3, 96, 128), {"masks": full}), Window.crop(top, left, h, w)).targets[
        "masks"
    ]
    assert len(out.targets["masks"]) == int(visible.masks.flatten(1).any(1).sum())


def test_boxes_alone_are_clipped_and_the_hardly_visible_dropped():
    boxes = Boxes(
        torch.tensor([[0.0, 0, 10, 10], [8.5, 0, 20, 10], [30, 30, 40, 40]]),
        torch.tensor([0, 1, 2]),
        (40, 40),
        ("a", "b", "c"),
    )
    sample = Sample(torch.zeros(3, 40, 40), {"detection": boxes})
    out = apply_window(sample, Window.crop(0, 0, 20, 9)).targets["detection"]
    assert out.xyxy.tolist() == [[0, 0, 9, 10]] and out.labels.tolist() == [0]  # half a pixel of the second is left
    assert apply_window(sample, Window.crop(0, 0, 20, 9), min_visible=0.95).targets["detection"].xyxy.shape == (0, 4)


def test_a_thin_box_that_is_not_cut_stays():
    boxes = Boxes(torch.tensor([[3.0, 4, 3.4, 20]]), torch.tensor([0]), (40, 40), ("a",))
    sample = Sample(torch.zeros(3, 40, 40), {"detection": boxes})
    assert len(apply_window(sample, Window.resize((40, 40), 20, 20)).targets["detection"]) == 1


def test_depth_is_never_mixed_with_missing():
    metres = torch.where((torch.arange(64) % 2 == 0).expand(64, 64), 5.0, 0.0)
    out = apply_window(Sample(torch.zeros(3, 64, 64), {"depth": DepthMap(metres)}), Window.resize((64, 64), 37, 45))
    assert set(out.targets["depth"].metres.unique().tolist()) == {0.0, 5.0}


def test_zoom_divides_metric_depth_only(ramp):
    near = scale_depth(ramp, 2.0)
    assert torch.allclose(near.targets["depth"].metres, ramp.targets["depth"].metres / 2)
    relative = ramp.replace(targets={"depth": DepthMap(torch.ones(96, 128), "relative")})
    assert float(scale_depth(relative, 2.0).targets["depth"].metres[0, 0]) == 1.0


def test_nearest_takes_the_pixel_under_the_centre():
    grid = torch.arange(6).view(1, 6)
    assert resample_nearest(grid, 1, 3).tolist() == [[1, 3, 5]]
    assert resample_nearest(grid, 2, 12)[1].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_tight_boxes_agree_with_the_masks_own():
    generator = torch.Generator().manual_seed(3)
    masks = torch.rand(20, 9, 11, generator=generator) > 0.97
    masks[0] = False
    own = Masks(masks, torch.zeros(20, dtype=torch.int64), ("a",)).to_boxes().xyxy
    assert torch.equal(tight_boxes(masks), own)
    assert tight_boxes(torch.zeros(0, 4, 4, dtype=torch.bool)).shape == (0, 4)


def test_mistakes_are_named(ramp):
    wrong = ramp.replace(image=ramp.pixels[:, :50])
    with pytest.raises(DataError, match=r"'segmentation' is made for 96 x 128 pixels but its image has 50 x 128"):
        apply_window(wrong, FLIP)
    masks = ramp.targets["masks"]
    uneven = ramp.replace(targets={**ramp.targets, "masks": masks.select(torch.tensor([0]))})
    with pytest.raises(DataError, match="2 boxes but 1 masks"):
        apply_window(uneven, FLIP)
    with pytest.raises(DataError, match="type set has no rule"):
        window_value({1}, FLIP)


def test_a_tensor_has_no_rule_of_its_own():
    sample = Sample(torch.zeros(3, 8, 8, dtype=torch.uint8), {"map": torch.zeros(2, 2, 2)})
    with pytest.raises(DataError, match="a target of type Tensor has no rule for crops"):
        apply_window(sample, Window.crop(0, 0, 4, 4))

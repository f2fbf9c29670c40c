import pytest
import torch

from visgen.data import Sample
from visgen.data.transforms import Rotate
from visgen.data.transforms.rotate import rotate_sample, rotate_value
from visgen.errors import ConfigError, DataError
from visgen.structures import Boxes, DepthMap, Masks


def test_a_quarter_turn_by_hand():
    masks = torch.zeros(1, 64, 64, dtype=torch.bool)
    masks[0, 10:20, 40:60] = True
    box = Boxes(torch.tensor([[40.0, 10, 60, 20]]), torch.tensor([0]), (64, 64), ("a",))
    image = masks.expand(3, 64, 64).float()
    metres = torch.where(masks[0], 3.0, 1.0)
    targets = {"masks": Masks(masks, torch.tensor([0]), ("a",)), "detection": box, "depth": DepthMap(metres)}
    out = rotate_sample(Sample(image, targets), 90.0)
    # Anticlockwise: (x, y) goes to (y, 64 - x).
    assert out.targets["detection"].xyxy.tolist() == [[10, 4, 20, 24]]
    assert torch.equal(out.image[0] > 0.5, out.targets["masks"].masks[0])
    assert torch.equal(out.targets["depth"].metres == 3.0, out.targets["masks"].masks[0])
    alone = rotate_sample(Sample(image, {"detection": box}), 90.0).targets["detection"]
    assert torch.allclose(alone.xyxy, torch.tensor([[10.0, 4, 20, 24]]), atol=1e-4)


def test_image_and_maps_stay_aligned(ramp):
    smooth = ramp.replace(targets={"depth": ramp.targets["depth"], "segmentation": ramp.targets["segmentation"]})
    for angle in (-12.0, 7.0):
        out = rotate_sample(smooth, angle)
        metres = out.targets["depth"].metres
        known = metres > 0
        columns = (metres - 1) * 100
        assert 0.6 < float(known.float().mean()) < 1
        inner = torch.zeros_like(known)
        inner[30:66, 40:88] = True
        assert bool(((out.pixels[0].float() - columns).abs()[inner] <= 1.01).all())
        ids = out.targets["segmentation"].ids
        assert bool((ids[~known] == 255).all())
        assert torch.equal(ids[inner], (columns[inner].round().long() // 16 % 5))


def test_boxes_follow_their_masks(ramp):
    out = Rotate(15.0)(ramp, torch.Generator().manual_seed(1))
    assert torch.equal(out.targets["detection"].xyxy, out.targets["masks"].to_boxes().xyxy)
    loose = rotate_sample(ramp.replace(targets={"detection": ramp.targets["detection"]}), 15.0).targets["detection"]
    tight = rotate_sample(ramp, 15.0).targets["detection"]
    assert bool(
        (loose.xyxy[:, :2] <= tight.xyxy[:, :2] + 1).all() and (loose.xyxy[:, 2:] >= tight.xyxy[:, 2:] - 1).all()
    )


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="degrees is 50"):
        Rotate(50)
    with pytest.raises(ConfigError, match="p is 2"):
        Rotate(5, p=2)
    boxes = Boxes(torch.tensor([[1.0, 1, 9, 9]]), torch.tensor([0]), (16, 16), ("a",))
    masks = Masks(torch.ones(2, 16, 16, dtype=torch.bool), torch.tensor([0, 0]), ("a",))
    with pytest.raises(DataError, match="1 boxes but 2 masks"):
        rotate_sample(Sample(torch.zeros(3, 16, 16), {"detection": boxes, "masks": masks}), 5.0)
    with pytest.raises(DataError, match="type set has no rule for rotation"):
        rotate_value({1}, 3.0)

"""Edge detectors on pictures whose edges are known, and the laws that a dimmed picture keeps."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from visgen.errors import CheckpointError, ConfigError, DataError
from visgen.gan.night import EdgeTeacher, HEDNet, SobelEdge, canny, log_luminance


def step(height: int = 64, width: int = 80, column: int = 40, dark: float = 0.0, bright: float = 1.0) -> Tensor:
    image = torch.full((1, 3, height, width), dark)
    image[..., column:] = bright
    return image


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_sobel_sees_a_step_and_nothing_beside_it(scale: float) -> None:
    teacher = SobelEdge()
    assert isinstance(teacher, EdgeTeacher)
    p = teacher(step(bright=scale)).sigmoid()[0, 0]
    assert float(p[:, 39:41].min()) > 0.5
    assert float(p[:, :30].max()) < 0.1 and float(p[:, 51:].max()) < 0.1


def test_sobel_is_blind_to_dimming_where_the_picture_is_bright() -> None:
    picture = 0.4 + 0.5 * torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    assert (SobelEdge()(picture) - SobelEdge()(0.7 * picture)).abs().mean() < 0.2
    assert torch.allclose(SobelEdge()(picture.flip(3)), SobelEdge()(picture).flip(3), atol=1e-4)


def test_even_ground_has_no_edges() -> None:
    assert float(SobelEdge()(torch.full((1, 3, 40, 40), 0.3)).sigmoid().max()) < 0.1
    assert not canny(torch.full((3, 40, 40), 0.3)).any()


def test_canny_draws_one_thin_line() -> None:
    found = canny(step()[0])
    assert bool(found[:, 38:42].any(1).all())
    assert int(found.sum()) == 64 and not found[:, :36].any() and not found[:, 44:].any()


def test_canny_keeps_a_faint_end_of_a_strong_line_and_drops_a_faint_line() -> None:
    image = torch.full((3, 60, 100), 0.5)
    image[:, :30, 30:60] = 0.8  # strong edges at the columns 30 and 60
    image[:, 30:, 30:60] = 0.62  # fainter below, connected to them
    image[:, 30:, 85:] = 0.6  # as faint, on its own
    luminance = log_luminance(image[None])
    assert float(luminance[0, 0, 40, 40] - luminance[0, 0, 40, 10]) == pytest.approx(0.204, abs=0.01)
    found = canny(image, low=0.03, high=0.1)
    assert bool(found[35:55, 28:33].any(1).all()) and not found[:, 80:].any()
    assert canny(image, low=0.03, high=0.03)[35:55, 80:90].any(1).all()


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(DataError, match="window is 4"):
        SobelEdge(window=4)
    with pytest.raises(DataError, match="low is 0.3 and high 0.2"):
        canny(step()[0], low=0.3, high=0.2)
    with pytest.raises(DataError, match=r"an image is \(1, 3, 64, 80\)"):
        canny(step())


def test_hed_gives_a_map_for_each_stage_and_their_weighted_sum() -> None:
    torch.manual_seed(0)
    net = HEDNet("test_efficientnet", width=4).eval()
    images = torch.rand(2, 3, 45, 70)
    with torch.no_grad():
        *sides, fused = net.all_logits(images)
        assert torch.equal(net(images), fused)
        alone = torch.cat([net(images[i : i + 1]) for i in range(2)])
    assert len(sides) == len(net.sides) and {s.shape for s in sides} == {(2, 1, 45, 70)}
    assert torch.allclose(fused, torch.stack(sides).mean(0), atol=1e-5)  # the fusion starts as the mean
    assert torch.allclose(alone, fused, atol=1e-5)


def test_hed_learns_a_step_and_leaves_norm_statistics_alone() -> None:
    from visgen.losses.boundary import boundary_loss

    torch.manual_seed(0)
    net = HEDNet("test_efficientnet", width=8).train()
    before = {k: v.clone() for k, v in net.state_dict().items() if "running" in k}
    image = step()
    share = torch.zeros(1, 1, 64, 80)
    share[..., 39:41] = 1.0
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(60):
        loss = torch.stack([boundary_loss(logits, share) for logits in net.all_logits(image)]).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    p = net.eval()(image).detach().sigmoid()[0, 0]
    assert float(p[:, 39:41].mean()) > 0.7 and float(p[:, :20].mean()) < 0.3
    after = net.state_dict()
    assert before and all(torch.equal(after[k], v) for k, v in before.items())


def test_hed_reads_weights_of_the_whole_network_and_refuses_others(tmp_path: Path) -> None:
    torch.manual_seed(1)
    whole = timm.create_model("test_efficientnet")
    save_file(whole.state_dict(), tmp_path / "whole.safetensors")
    net = HEDNet("test_efficientnet", weights=tmp_path / "whole.safetensors")
    assert torch.equal(net.net.state_dict()["conv_stem.weight"], whole.state_dict()["conv_stem.weight"])
    save_file({"conv_stem.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"lack 'conv_stem.weight' of the shape needed"):
        HEDNet("test_efficientnet", weights=tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="cannot be read"):
        HEDNet("test_efficientnet", weights=tmp_path / "none.safetensors")
    with pytest.raises(ConfigError, match=r"images are \(1, 3, 16, 80\)"):
        net(torch.zeros(1, 3, 16, 80))

"""Depth maps: millimetres in PNG, every bit in npz, and the rules between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from visgen.errors import DataError
from visgen.structures import DepthMap, value_from_dict

maps = arrays(np.uint16, array_shapes(min_dims=2, max_dims=2, max_side=8))


@given(maps)
def test_whole_millimetres_come_back_exactly(counts: np.ndarray) -> None:
    value = DepthMap(torch.from_numpy((counts / 1000.0).astype(np.float32)))
    assert value.fits_png()
    back = DepthMap.from_png(value.to_png())
    assert torch.equal(back.metres, value.metres)
    assert torch.equal(value_from_dict(json.loads(json.dumps(value.to_dict("png_mm")))).metres, value.metres)


@given(arrays(np.float32, (3, 4), elements=st.floats(0, 1000, width=32)), st.sampled_from(["metric_m", "inverse"]))
def test_float_form_restores_every_bit(values: np.ndarray, kind: str) -> None:
    value = DepthMap(torch.from_numpy(values), kind)
    back = value_from_dict(json.loads(json.dumps(value.to_dict("float32"), allow_nan=False)))
    assert torch.equal(back.metres, value.metres) and back.kind == kind


def test_auto_form_never_clips() -> None:
    near, far = DepthMap(torch.tensor([[1.2344]])), DepthMap(torch.tensor([[1.2344, 80.0]]))
    assert near.to_dict()["form"] == "png_mm" and far.to_dict()["form"] == "float32"
    assert DepthMap(torch.tensor([[1.0]]), "relative").to_dict()["form"] == "float32"
    assert value_from_dict(near.to_dict()).metres.item() == pytest.approx(1.234)
    assert torch.equal(value_from_dict(far.to_dict()).metres, far.metres)


def test_png_is_16_bit_millimetres(tmp_path: Path) -> None:
    value = DepthMap(torch.tensor([[0.0, 0.0001, 1.5, 65.535]]))
    path = value.save_png(tmp_path / "depth.png")
    with Image.open(path) as picture:
        assert picture.mode.startswith("I;16")
        assert np.array(picture).tolist() == [[0, 1, 1500, 65535]]  # a known depth never turns into "missing"
    assert torch.equal(DepthMap.load_png(path).valid, value.valid)


def test_depth_beyond_the_png_is_an_error_or_clipped(tmp_path: Path) -> None:
    far = DepthMap(torch.tensor([[70.0, 2.0]]))
    assert not far.fits_png()
    with pytest.raises(DataError, match=r"depth reaches 70.000 m; 16-bit millimetres end at 65.535 m; use save_npz"):
        far.save_png(tmp_path / "far.png")
    assert list(tmp_path.iterdir()) == []
    far.save_png(tmp_path / "far.png", beyond="clip")
    assert DepthMap.load_png(tmp_path / "far.png").metres.tolist() == [pytest.approx([65.535, 2.0])]
    with pytest.raises(DataError, match="beyond is 'wrap'; it must be 'error' or 'clip'"):
        far.to_png("wrap")
    with pytest.raises(DataError, match="depth of kind 'inverse' has no metres"):
        DepthMap(torch.ones(2, 2), "inverse").to_png()


def test_npz_restores_every_bit(tmp_path: Path) -> None:
    value = DepthMap(torch.tensor([[0.0, 123.456789]]), "relative")
    back = DepthMap.load_npz(value.save_npz(tmp_path / "depth.npz"))
    assert torch.equal(back.metres, value.metres) and back.kind == "relative"
    (tmp_path / "torn.npz").write_bytes((tmp_path / "depth.npz").read_bytes()[:60])
    with pytest.raises(DataError, match=r"torn\.npz is no depth file"):
        DepthMap.load_npz(tmp_path / "torn.npz")


def test_pictures_are_no_depth_maps(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "grey.png")
    with pytest.raises(DataError, match=r"grey\.png is an 8-bit PNG; depth is 16-bit millimetres"):
        DepthMap.load_png(tmp_path / "grey.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "colour.png")
    with pytest.raises(DataError, match=r"colour\.png holds a PNG of mode RGB; it must have one channel"):
        DepthMap.load_png(tmp_path / "colour.png")
    (tmp_path / "text.png").write_text("depth")
    with pytest.raises(DataError, match=r"text\.png holds no readable PNG"):
        DepthMap.load_png(tmp_path / "text.png")
    with pytest.raises(FileNotFoundError):
        DepthMap.load_png(tmp_path / "absent.png")


def test_what_is_written_again_is_the_same_text() -> None:
    value = DepthMap(torch.rand(7, 9, generator=torch.Generator().manual_seed(0)) * 9 + 0.5)
    for form in ("png_mm", "float32"):
        once = value.to_dict(form)
        again = value_from_dict(json.loads(json.dumps(once)))
        assert isinstance(again, DepthMap)
        assert again.to_dict(form) == once


def test_summary_by_hand() -> None:
    value = DepthMap(torch.tensor([[0.0, 1.0], [2.0, 6.0]]))
    assert value.summary() == {"min": 1.0, "median": 2.0, "max": 6.0, "valid_share": 0.75}
    assert value.valid.tolist() == [[False, True], [True, True]]
    empty = DepthMap(torch.zeros(2, 2)).summary()
    assert empty == {"min": None, "median": None, "max": None, "valid_share": 0.0}
    assert value.units == "metres" and value.size == (2, 2)


@pytest.mark.parametrize(
    ("metres", "kind", "message"),
    [
        (torch.tensor([[1.0, float("nan")]]), "metric_m", "NaN or infinity at 1 pixels; mark missing depth with 0"),
        (torch.tensor([[1.0, float("inf")]]), "metric_m", "NaN or infinity at 1 pixels"),
        (torch.tensor([[1.0, -2.5]]), "metric_m", "goes down to -2.5; depth must be >= 0"),
        (torch.ones(1, 2, 2), "metric_m", r"has shape \(1, 2, 2\); it must be \(H, W\)"),
        (torch.ones(2, 2).double(), "metric_m", "dtype torch.float64; it must be torch.float32"),
        (torch.ones(2, 0), "metric_m", "both sides must be at least 1"),
        (torch.ones(2, 2), "metres", "kind of DepthMap is 'metres'; it must be one of metric_m, relative, inverse"),
    ],
)
def test_the_door(metres: torch.Tensor, kind: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        DepthMap(metres, kind)


def test_real_lidar_depth_survives_png_and_json(data_root: Path) -> None:
    path = data_root / "depth_kitti_lidar" / "depth" / "kt_0000l.png"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    value = DepthMap.load_png(path)
    stored: Any = json.loads(json.dumps(value.to_dict()))
    assert value.summary()["median"] == pytest.approx(8.67, abs=0.01)
    assert torch.equal(value_from_dict(stored).metres, value.metres)
    assert np.array_equal(np.array(Image.open(path)), np.array(Image.open(_written(value, path))))


def _written(value: DepthMap, path: Path) -> Any:
    import io

    return io.BytesIO(value.to_png())

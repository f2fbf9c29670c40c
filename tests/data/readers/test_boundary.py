"""Shares of people become boundary, background and what nobody is asked about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visgen.data import build_source
from visgen.errors import ConfigError, DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("images", "boundaries"):
        (tmp_path / name).mkdir()
    Image.fromarray(np.zeros((2, 4, 3), dtype=np.uint8)).save(tmp_path / "images" / "a.jpg")
    shares = np.array([[0, 51, 102, 255], [0, 0, 76, 77]], dtype=np.uint8)  # 0.2, 0.4, 1; just below and above 0.3
    Image.fromarray(shares).save(tmp_path / "boundaries" / "a.png")
    (tmp_path / "train.txt").write_text("a\n")
    return tmp_path


def test_ids_follow_the_share(folder: Path) -> None:
    source = build_source(f"boundary:{folder}", "train")
    assert source[0].targets["segmentation"].ids.tolist() == [[0, 255, 1, 1], [0, 0, 255, 1]]
    assert source.share(0)[0, 1] == pytest.approx(0.2)  # type: ignore[attr-defined]
    assert source.classes == {"segmentation": ("background", "boundary")}
    strict = build_source(f"boundary:{folder}", "train", agreed=1.0)
    assert strict[0].targets["segmentation"].ids.tolist() == [[0, 255, 255, 1], [0, 0, 255, 255]]


def test_errors_name_what_is_wrong(folder: Path) -> None:
    with pytest.raises(ConfigError, match="agreed is 0"):
        build_source(f"boundary:{folder}", "train", agreed=0.0)
    (folder / "train.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match="'b' of split 'train' lacks its image or its map"):
        build_source(f"boundary:{folder}", "train")
    (folder / "train.txt").write_text("# none yet\n")
    with pytest.raises(DataError, match="has 0 images in split 'train'"):
        build_source(f"boundary:{folder}", "train")


def test_black_and_white_maps_are_levels(folder: Path) -> None:
    drawn = np.array([[False, True, False, True]] * 2)
    Image.fromarray(drawn).save(folder / "boundaries" / "a.png")  # 1 bit a pixel
    assert build_source(f"boundary:{folder}")[0].targets["segmentation"].ids.tolist() == [[0, 1, 0, 1]] * 2
    Image.fromarray(np.full((2, 4), 65535, np.uint16)).save(folder / "boundaries" / "a.png")
    with pytest.raises(DataError, match=r"a\.png has 16 bits a pixel; its levels must go from 0 to 255"):
        build_source(f"boundary:{folder}")[0]

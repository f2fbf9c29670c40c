import numpy as np
import pytest

from visgen.data import build_source
from visgen.errors import ConfigError, DataError


@pytest.fixture
def room(tmp_path, write_picture):
    root = tmp_path / "room"
    write_picture(root / "rgb" / "a.jpg")
    counts = np.zeros((40, 48), np.uint16)
    counts[0, :3] = (1, 2500, 65535)
    write_picture(root / "depth" / "a.png", counts)
    (root / "train.txt").write_text("rgb/a.jpg depth/a.png\n")
    return root


def test_counts_become_metres_and_zero_stays_missing(room):
    source = build_source(f"depth:{room}")
    assert source.heads == {"depth": "depth"} and source.classes == {"depth": ()} and source.name == "room"
    target = source[0].targets["depth"]
    assert target.metres[0, :4].tolist() == pytest.approx([0.001, 2.5, 65.535, 0.0])
    assert int(target.valid.sum()) == 3 and source[0].meta["id"] == "a"


def test_scale_and_limit(room):
    target = build_source(f"depth:{room}", scale=256, max_depth=100.0)[0].targets["depth"]
    assert target.metres[0, :3].tolist() == pytest.approx([1 / 256, 2500 / 256, 0.0])


def test_a_picture_of_depth_is_not_taken_for_millimetres(room, write_picture):
    write_picture(room / "depth" / "a.png", np.full((40, 48), 128, np.uint8))
    with pytest.raises(DataError, match=r"a\.png has 8 bits a pixel; a depth PNG holds 16"):
        build_source(f"depth:{room}")[0]
    assert float(build_source(f"depth:{room}", scale=64)[0].targets["depth"].metres.max()) == 2.0
    with pytest.raises(ConfigError, match="scale is 'far'"):
        build_source(f"depth:{room}", scale="far")


def test_mistakes_are_named(room):
    (room / "val.txt").write_text("rgb/a.jpg\n")
    with pytest.raises(DataError, match=r"val\.txt has the line 'rgb/a\.jpg'; write 'IMAGE DEPTH'"):
        build_source(f"depth:{room}", "val")
    (room / "val.txt").write_text("rgb/a.jpg depth/b.png\n")
    with pytest.raises(DataError, match=r"split 'val' names depth/b\.png, which is missing"):
        build_source(f"depth:{room}", "val")
    with pytest.raises(DataError, match="has no split 'test'"):
        build_source(f"depth:{room}", "test")
    with pytest.raises(ConfigError, match="scale is 0"):
        build_source(f"depth:{room}", scale=0)


def test_a_tab_parts_names_with_spaces(room, write_picture):
    write_picture(room / "rgb dir" / "a b.jpg")
    (room / "val.txt").write_text("rgb dir/a b.jpg\tdepth/a.png\nrgb/a.jpg\t depth/a.png\t721.5\n")
    source = build_source(f"depth:{room}", "val")
    assert source.pairs == [("rgb dir/a b.jpg", "depth/a.png"), ("rgb/a.jpg", "depth/a.png")]
    assert source[0].meta["id"] == "a b"
    (room / "val.txt").write_text("rgb dir/a b.jpg depth/a.png\n")
    with pytest.raises(DataError, match="per line, with a tab between them where names hold spaces"):
        build_source(f"depth:{room}", "val")
    (room / "val.txt").write_text("rgb dir/b.jpg depth/a.png\n")
    with pytest.raises(DataError, match="names rgb, which is missing; .* a tab between IMAGE and DEPTH"):
        build_source(f"depth:{room}", "val")

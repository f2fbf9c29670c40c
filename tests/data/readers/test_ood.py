import hashlib

import pytest

from visgen.data import build_source
from visgen.errors import ConfigError, DataError


@pytest.fixture
def folders(tmp_path, write_picture):
    """`pets` with splits and classes, `odd` without either."""
    for split, values in (("train", (1, 2)), ("val", (3, 4, 5))):
        for value in values:
            write_picture(tmp_path / "pets" / split / "cat" / f"{value}.png", (value, 0, 0))
    for value in range(11, 19):
        write_picture(tmp_path / "odd" / "deep" / f"{value}.png", (value, 0, 0))
    (tmp_path / "odd" / "README.md").write_text("no image")
    return f"ood:{tmp_path / 'pets'},{tmp_path / 'odd'}"


def contents(source):
    return [(int(s.pixels[0, 0, 0]), s.targets["ood"].is_ood) for s in map(source.__getitem__, range(len(source)))]


def test_both_sides_carry_their_flag_and_splits_are_read_where_there_are_any(folders):
    source = build_source(folders, "val")
    assert contents(source) == [(v, False) for v in (3, 4, 5)] + [(v, True) for v in range(11, 19)]
    assert source.heads == {"ood": "ood"} and source.classes == {"ood": ()} and source.name == "pets-odd"
    assert (source[0].meta["id"], source[3].meta["id"]) == ("in/val/cat/3.png", "out/deep/11.png")
    assert [v for v, is_ood in contents(build_source(folders, "train")) if not is_ood] == [1, 2]
    assert len(build_source(folders, "all")) == 13


def test_halves_part_both_sides_by_the_hash_of_the_file_name(folders):
    halves = [contents(build_source(folders, "all", half=h)) for h in (0, 1)]
    assert sorted(halves[0] + halves[1]) == sorted(contents(build_source(folders, "all")))
    for half, found in enumerate(halves):
        assert all(hashlib.sha256(f"{v}.png".encode()).digest()[0] % 2 == half for v, _ in found)


def test_one_side_alone(folders):
    whole = contents(build_source(folders, "val"))
    assert contents(build_source(folders, "val", side="in")) == whole[:3]
    assert contents(build_source(folders, "val", side="out")) == whole[3:]
    with pytest.raises(ConfigError, match="side of ood data is 'our'; did you mean 'out'"):
        build_source(folders, "val", side="our")


def test_what_does_not_fit_is_told(folders, tmp_path, write_picture):
    with pytest.raises(ConfigError, match=r"write two folders, ood:IN_PATH,OUT_PATH"):
        build_source(f"ood:{tmp_path / 'pets'}")
    with pytest.raises(ConfigError, match="half of ood data is 2; use 0 or 1"):
        build_source(folders, "val", half=2)
    with pytest.raises(DataError, match="has no split 'test'; splits there: train, val"):
        build_source(folders, "test")
    with pytest.raises(DataError, match="the out side of ood needs the folder .*nowhere"):
        build_source(f"ood:{tmp_path / 'pets'},{tmp_path / 'nowhere'}")
    with pytest.raises(DataError, match="2 images are on both sides"):
        build_source(f"ood:{tmp_path / 'pets'},{tmp_path / 'pets' / 'train'}", "train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty \[train\] holds no image; images end in"):
        build_source(f"ood:{tmp_path / 'pets'},{tmp_path / 'empty'}")

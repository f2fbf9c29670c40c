import numpy as np
import pytest

from visgen.data import build_source
from visgen.errors import ConfigError, DataError


@pytest.fixture
def street(tmp_path, write_picture):
    root = tmp_path / "street"
    for stem, value in (("a", 0), ("b", 2), ("c", 255)):
        write_picture(root / "images" / f"{stem}.jpg", (100, 50, 20))
        write_picture(root / "semantic" / f"{stem}.png", np.full((40, 48), value, np.uint8))
    (root / "classes.txt").write_text("sky\nroad\ncar\n")
    (root / "train.txt").write_text("b\na\n")
    (root / "val.txt").write_text("c\n")
    return root


def test_maps_follow_the_list(street):
    source = build_source(f"semantic:{street}")
    assert source.heads == {"segmentation": "segmentation.street"}
    assert source.classes == {"segmentation": ("sky", "road", "car")}
    assert [s.meta["id"] for s in (source[0], source[1])] == ["b", "a"]
    target = source[0].targets["segmentation"]
    assert target.ids.shape == (40, 48) and target.ids.unique().tolist() == [2] and target.name == "street"
    assert build_source(f"semantic:{street}", "val", name="town")[0].targets["segmentation"].ids.unique().tolist() == [
        255
    ]
    assert len(build_source(f"semantic:{street}", "all")) == 3


def test_ids_that_start_at_one(street, write_picture):
    values = np.zeros((40, 48), np.uint8)
    values[:, 10:20], values[:, 20:] = 1, 3
    write_picture(street / "semantic" / "a.png", values)
    ids = build_source(f"semantic:{street}", zero_is_ignored=True)[1].targets["segmentation"].ids
    assert ids[0, [0, 10, 20]].tolist() == [255, 0, 2]
    write_picture(street / "semantic" / "a.png", values + 1)
    with pytest.raises(DataError, match=r"holds id 4, but its 3 classes are 1\.\.3 and 0 and 255 are ignored"):
        build_source(f"semantic:{street}", zero_is_ignored=True)[1]
    write_picture(street / "semantic" / "a.png", np.full((40, 48), 256, np.uint16))
    (street / "classes.txt").write_text("\n".join(map(str, range(256))))
    with pytest.raises(DataError, match="holds id 256"):
        build_source(f"semantic:{street}", zero_is_ignored=True)[1]


def test_held_out_classes_are_ignored_and_the_others_numbered_anew(street, write_picture):
    values = np.zeros((40, 48), np.uint8)
    values[:, 10:20], values[:, 20:30], values[:, 30:] = 1, 2, 255
    write_picture(street / "semantic" / "a.png", values)
    source = build_source(f"semantic:{street}", held_out=["road"])
    assert source.classes == {"segmentation": ("sky", "car")}
    target = source[1].targets["segmentation"]
    assert target.ids[0, [0, 10, 20, 30]].tolist() == [0, 255, 1, 255] and target.classes == ("sky", "car")
    with pytest.raises(ConfigError, match="class 'roda' to hold out is not known; did you mean 'road'"):
        build_source(f"semantic:{street}", held_out=["roda"])
    with pytest.raises(ConfigError, match="2 of 3 classes are held out"):
        build_source(f"semantic:{street}", held_out=["road", "car"])


def test_an_id_outside_the_classes_names_file_and_id(street, write_picture):
    write_picture(street / "semantic" / "a.png", np.full((40, 48), 3, np.uint8))
    with pytest.raises(DataError, match=r"a\.png holds id 3, but its 3 classes are 0\.\.2"):
        build_source(f"semantic:{street}")[1]


def test_missing_files_are_named(street):
    (street / "train.txt").write_text("b\nd\n")
    with pytest.raises(DataError, match=r"'d' of split 'train' has no image in images/"):
        build_source(f"semantic:{street}")
    (street / "semantic" / "b.png").unlink()
    (street / "train.txt").write_text("b\n")
    with pytest.raises(DataError, match=r"'b' of split 'train' has no map in semantic/"):
        build_source(f"semantic:{street}")
    (street / "classes.txt").unlink()
    with pytest.raises(DataError, match=r"classes\.txt is missing"):
        build_source(f"semantic:{street}")
    with pytest.raises(DataError, match=r"needs the folder .*semantic_stuff"):
        (street / "classes.txt").write_text("sky\n")
        build_source(f"semantic:{street}", maps="semantic_stuff")


def test_patterns_keep_and_leave_out_stems(street):
    (street / "train.txt").write_text("a\nb\nc\n")
    assert build_source(f"semantic:{street}", only="[ab]").stems == ["a", "b"]
    assert build_source(f"semantic:{street}", without="[ab]").stems == ["c"]
    with pytest.raises(DataError, match=r"has 0 images in split 'train'; its list names none that fits"):
        build_source(f"semantic:{street}", only="seq7_*")

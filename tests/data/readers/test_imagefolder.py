import pytest

from visgen.data import build_source
from visgen.errors import DataError


@pytest.fixture
def folder(tmp_path, write_picture):
    for name, values in (("zebra", (1, 2)), ("ant", (3,))):
        for value in values:
            write_picture(tmp_path / "pets" / "train" / name / f"{value}.png", (value, 0, 0))
    write_picture(tmp_path / "pets" / "val" / "zebra" / "deep" / "9.PNG", (9, 0, 0))
    (tmp_path / "pets" / "train" / "ant" / "notes.txt").write_text("no image")
    return tmp_path / "pets"


def test_folders_are_classes_in_sorted_order(folder):
    source = build_source(f"imagefolder:{folder}")
    assert source.name == "pets" and source.heads == {"classification": "classification.pets"}
    assert source.classes == {"classification": ("ant", "zebra")}
    found = [
        (s.meta["id"], s.targets["classification"].name, int(s.pixels[0, 0, 0]))
        for s in map(source.__getitem__, range(3))
    ]
    assert found == [("ant/3.png", "ant", 3), ("zebra/1.png", "zebra", 1), ("zebra/2.png", "zebra", 2)]


def test_fixed_classes_keep_labels_equal_between_splits(folder):
    source = build_source(f"imagefolder:{folder}", "val", classes=["ant", "zebra"], name="zoo")
    assert len(source) == 1 and source[0].targets["classification"].label == 1
    assert source.heads == {"classification": "classification.zoo"}
    with pytest.raises(DataError, match=r"zebra is not one of the 2 fixed classes; did you mean 'zebras'"):
        build_source(f"imagefolder:{folder}", "val", classes=["ant", "zebras"])


def test_a_part_that_lacks_a_class_keeps_the_labels_of_training(folder, write_picture):
    assert build_source(f"imagefolder:{folder}", "val").classes == {"classification": ("ant", "zebra")}
    assert build_source(f"imagefolder:{folder}", "val")[0].targets["classification"].label == 1
    write_picture(folder / "val" / "yak" / "1.png", (1, 0, 0))  # training does not know it: then it stays its own
    assert build_source(f"imagefolder:{folder}", "val").classes == {"classification": ("yak", "zebra")}


def test_other_kinds_of_pictures_are_read_and_hidden_files_are_not(folder, write_picture):
    for name in ("4.gif", "5.pgm"):
        write_picture(folder / "train" / "ant" / name, (9, 9, 9))
    (folder / "train" / "ant" / "._3.png").write_bytes(b"what some systems leave beside a file")
    source = build_source(f"imagefolder:{folder}")
    assert [source[i].meta["id"] for i in range(3)] == ["ant/3.png", "ant/4.gif", "ant/5.pgm"]


def test_a_set_without_splits(folder):
    source = build_source(f"imagefolder:{folder / 'train'}", split="")
    assert len(source) == 3 and source.classes["classification"] == ("ant", "zebra")


def test_what_is_missing_is_named(folder, tmp_path):
    with pytest.raises(DataError, match="has no split 'test'; folders there: train, val"):
        build_source(f"imagefolder:{folder}", "test")
    with pytest.raises(DataError, match=r"needs the folder .*nowhere, which does not exist"):
        build_source(f"imagefolder:{tmp_path / 'nowhere'}")
    (tmp_path / "empty" / "train" / "a").mkdir(parents=True)
    with pytest.raises(DataError, match="holds no image in its class folders"):
        build_source(f"imagefolder:{tmp_path / 'empty'}")
    with pytest.raises(DataError, match="holds no folders; put the pictures of each class into a folder of its name"):
        build_source(f"imagefolder:{folder / 'train' / 'ant'}", split="all")


def test_classes_are_a_list_of_names(folder):
    for classes, shown in (("zebra", "are 'zebra'; give a list"), (["ant", None, "zebra"], "hold None; each must be")):
        with pytest.raises(DataError, match=shown):
            build_source(f"imagefolder:{folder}", classes=classes)

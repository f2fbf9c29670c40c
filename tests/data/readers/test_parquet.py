import io
import json
import pickle

import pytest
from PIL import Image

from visgen.data import build_source
from visgen.errors import ConfigError, DataError


def encode(value):
    stream = io.BytesIO()
    Image.new("RGB", (40, 32), (value, 0, 0)).save(stream, "png")
    return stream.getvalue()


@pytest.fixture
def table(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    root = tmp_path / "birds"
    root.mkdir()
    for shard in range(2):
        rows = [
            {"image": {"bytes": encode(10 * shard + i), "path": "x.png"}, "label": i, "box": [4, 5, 13, 24]}
            for i in range(2)
        ]
        parquet.write_table(pyarrow.Table.from_pylist(rows), root / f"train-{shard:05d}-of-00002.parquet")
    names = [{"id": 1, "name": "crane", "wnid": "n2"}, {"id": 0, "name": "crane", "wnid": "n1"}]
    (root / "classes.json").write_text(json.dumps(names))
    return root


def read(table, tmp_path, **options):
    return build_source(f"parquet:{table}", cache=str(tmp_path / "cache"), **options)


def test_shards_images_and_labels(table, tmp_path):
    source = read(table, tmp_path)
    assert source.heads == {"classification": "classification.birds"}
    assert source.classes == {"classification": ("crane (n1)", "crane (n2)")}
    assert [int(source[i].pixels[0, 0, 0]) for i in range(len(source))] == [0, 1, 10, 11]
    assert [source[i].targets["classification"].label for i in range(4)] == [0, 1, 0, 1]
    assert source[0].size == (32, 40)


def test_a_folder_is_no_pattern(table, tmp_path):
    other = table.rename(table.with_name("birds [v1]"))
    assert len(read(other, tmp_path)) == 4


@pytest.mark.parametrize(
    ("form", "want"), [("xyxy", [4, 5, 13, 24]), ("xyxy_inclusive", [4, 5, 14, 25]), ("xywh", [4, 5, 17, 29])]
)
def test_box_forms(table, tmp_path, form, want):
    source = read(table, tmp_path, targets=["classification", "detection"], boxes="box", box_format=form)
    boxes = source[1].targets["detection"]
    assert boxes.xyxy.tolist() == [want] and boxes.labels.tolist() == [1] and boxes.size == (32, 40)
    assert source.heads["detection"] == "detection.birds"


def test_pickles_for_workers(table, tmp_path):
    source = pickle.loads(pickle.dumps(read(table, tmp_path)))
    assert int(source[3].pixels[0, 0, 0]) == 11


def test_mistakes_are_named(table, tmp_path):
    with pytest.raises(DataError, match=r"no split 'val'.*train-00000-of-00002\.parquet"):
        read(table, tmp_path, split="val")
    with pytest.raises(DataError, match="has no column 'bbox_xyxy'; it has image, label, box"):
        read(table, tmp_path, targets=["detection"])
    with pytest.raises(ConfigError, match="box_format 'cxcywh'"):
        read(table, tmp_path, box_format="cxcywh")
    (table / "classes.json").write_text('[{"id": 3, "name": "a"}]')
    with pytest.raises(DataError, match=r"ids are not 0\.\.0"):
        read(table, tmp_path)
    (table / "classes.json").unlink()
    with pytest.raises(DataError, match=r"classes\.txt is missing"):
        read(table, tmp_path)


def test_rows_of_two_parts_are_told_apart(table, tmp_path):
    for shard in table.glob("train-*.parquet"):
        (table / shard.name.replace("train", "val")).write_bytes(shard.read_bytes())
    parts = [build_source(f"parquet:{table}", part, cache=str(tmp_path / "cache")) for part in ("train", "val")]
    train, val = ({part[i].meta["path"] for i in range(4)} for part in parts)
    assert len(train) == len(val) == 4 and not train & val


def rows_of(tmp_path, *rows):
    """A set of the given rows, each with a picture and a label."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    root = tmp_path / "rows"
    root.mkdir(exist_ok=True)
    table = pyarrow.Table.from_pylist([{"image": encode(i), "label": 0, **row} for i, row in enumerate(rows)])
    parquet.write_table(table, root / "train.parquet")
    (root / "classes.txt").write_text("a\nb\n")
    return root


@pytest.mark.parametrize("label", [None, 0.7, float("nan"), "cat", [1]])
def test_a_label_of_another_kind_is_named(tmp_path, label):
    source = read(rows_of(tmp_path, {"label": label}), tmp_path)
    with pytest.raises(DataError, match=r"train\.parquet row 0 has the label .*; it must be a whole number"):
        source[0]


@pytest.mark.parametrize("box", [None, [1.0, 2, 3], [1.0, None, 3, 4], ["a", "b", "c", "d"], [[1.0, 2, 3]]])
def test_boxes_of_another_kind_are_named(tmp_path, box):
    source = read(rows_of(tmp_path, {"box": box}), tmp_path, targets=["detection"], boxes="box")
    with pytest.raises(DataError, match=r"train\.parquet row 0 has boxes .*; give 4 numbers"):
        source[0]


def test_a_row_without_boxes_and_one_with_two(tmp_path):
    rows = ({"label": [], "box": []}, {"label": [1, 0], "box": [[1.0, 2, 3, 4], [1.0, 2, 3, 5]]})
    source = read(rows_of(tmp_path, *rows), tmp_path, targets=["detection"], boxes="box")
    assert len(source[0].targets["detection"]) == 0
    boxes = source[1].targets["detection"]
    assert boxes.labels.tolist() == [1, 0] and boxes.xyxy.tolist() == [[1, 2, 3, 4], [1, 2, 3, 5]]


def test_a_torn_file_is_named(tmp_path):
    root = rows_of(tmp_path, {})
    (root / "train.parquet").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"train\.parquet cannot be read: .*; write it again"):
        read(root, tmp_path)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ('{"0": "cat", "1": "dog"}', r"are \{'0': 'cat', '1': 'dog'\}; give a list of names"),
        ('["a", null]', "hold None; each must be text"),
        ('[{"id": 0, "name": null}, {"id": 1, "name": null}]', "hold None; each must be text"),
        ('[{"id": 0.5, "name": "a"}, {"id": 1.5, "name": "b"}]', r"ids are not 0\.\.1"),
    ],
)
def test_classes_of_another_kind_are_named(table, tmp_path, classes, message):
    (table / "classes.json").write_text(classes)
    with pytest.raises(DataError, match=message):
        read(table, tmp_path)

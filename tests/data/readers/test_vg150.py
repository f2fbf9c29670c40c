"""VG-SGG.h5 on a small file of the published layout: splits, offsets, centres, 1-based ids, and broken images."""

import builtins
import json

import numpy as np
import pytest

from visgen.data import build_source, triplet_counts
from visgen.errors import ConfigError, DataError, MissingDependency

h5py = pytest.importorskip("h5py")

# image id, split, boxes (label, xc, yc, w, h), relations (subject, object, predicate) by index within the image
IMAGES = [
    (5, 0, [(1, 256, 128, 101, 51), (2, 512, 400, 100, 200)], [(0, 1, 1), (0, 1, 2), (1, 0, 2)]),
    (9, 0, [(2, 100, 100, 50, 50)], []),
    (7, 2, [(1, 512, 256, 1024, 512), (2, 20, 20, 10, 10), (2, 40, 40, 10, 10)], [(2, 0, 1), (1, 1, 1)]),
    (6, 0, [(2, 300, 300, 60, 60), (1, 500, 300, 60, 60)], [(1, 0, 1)]),
    (8, 0, [(1, 300, 300, 60, 60), (1, 500, 300, 60, 60)], [(0, 1, 2)]),
]


@pytest.fixture
def vg_set(tmp_path, write_picture):
    boxes, labels, relations, predicates = [], [], [], []
    ends = {name: [] for name in ("first_box", "last_box", "first_rel", "last_rel")}
    for image, _, rows, triplets in IMAGES:
        write_picture(tmp_path / ("VG_100K" if image < 8 else "VG_100K_2") / f"{image}.jpg", size=(32, 64))
        offset = len(boxes)
        ends["first_box"].append(offset if rows else -1)
        ends["first_rel"].append(len(relations) if triplets else -1)
        labels += [[label] for label, *_ in rows]
        boxes += [row[1:] for row in rows]
        relations += [[offset + s, offset + o] for s, o, _ in triplets]
        predicates += [[p] for *_, p in triplets]
        ends["last_box"].append(len(boxes) - 1 if rows else -1)
        ends["last_rel"].append(len(relations) - 1 if triplets else -1)
    with h5py.File(tmp_path / "VG-SGG.h5", "w") as file:
        file["split"] = np.array([split for _, split, _, _ in IMAGES])
        for name, values in (("labels", labels), ("boxes_1024", boxes), ("boxes_512", boxes)):
            file[name] = np.array(values, dtype=np.int32)
        file["relationships"], file["predicates"] = np.array(relations), np.array(predicates)
        for name, values in ends.items():
            file[f"img_to_{name}"] = np.array(values)
    # JSON does not promise an order; the numbers do
    dicts = {"label_to_idx": {"wave": 2, "person": 1}, "predicate_to_idx": {"riding": 2, "on": 1}}
    (tmp_path / "VG-SGG-dicts.json").write_text(json.dumps({**dicts, "object_count": {"person": 3}}))
    listed = [{"image_id": i, "width": 64, "height": 32} for i, *_ in IMAGES]
    broken = {"image_id": 1722, "width": 10, "height": 10}
    (tmp_path / "image_data.json").write_text(json.dumps([*listed[:2], broken, *listed[2:]]))
    return tmp_path


def test_splits_keep_the_images_with_relations(vg_set):
    ids = {
        split: [r.id for r in build_source(f"vg150:{vg_set}", split, val_images=1).records]
        for split in ("train", "val", "test")
    }
    assert ids == {"val": [5], "train": [6, 8], "test": [7]}
    with pytest.raises(DataError, match="has 0 images with relations in split 'train'; check val_images"):
        build_source(f"vg150:{vg_set}")


def test_centres_become_corners_in_image_pixels(vg_set):
    sample = build_source(f"vg150:{vg_set}", "val", val_images=1)[0]
    graph = sample.targets["scene_graph"]
    assert graph.boxes is sample.targets["detection"] and graph.size == (32, 64)
    # a scale of 64 / 1024; odd sizes keep their halves
    corners = [[256 - 50.5, 128 - 25.5, 256 + 50.5, 128 + 25.5], [462, 300, 562, 500]]
    assert graph.boxes.xyxy.tolist() == [[v / 16 for v in row] for row in corners]
    assert graph.names == (("person", "on", "wave"), ("person", "riding", "wave"), ("wave", "riding", "person"))
    assert sample.meta["id"] == 5


def test_global_box_numbers_are_shifted_and_self_relations_left_out(vg_set):
    source = build_source(f"vg150:{vg_set}", "test")
    assert source.heads == {"detection": "detection.vg150", "scene_graph": "scene_graph.vg150"}
    assert source.classes == {"detection": ("person", "wave"), "scene_graph": ("on", "riding")}
    assert source.graph_of(0).triplets.tolist() == [[2, 0, 0]]
    assert source.left_out == {"boxes without area": 0, "relations of a box with itself": 1}


def test_counts_add_over_train_and_val(vg_set):
    train, val = (build_source(f"vg150:{vg_set}", split, val_images=1) for split in ("train", "val"))
    assert triplet_counts(train) == {("person", "on", "wave"): 1, ("person", "riding", "person"): 1}
    assert (triplet_counts(train) + triplet_counts(val))["person", "on", "wave"] == 2


def test_without_h5py_the_extra_is_named(vg_set, monkeypatch):
    real = builtins.__import__

    def no_h5py(name, *rest):
        if name == "h5py":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", no_h5py)
    with pytest.raises(MissingDependency, match=r"needs the package 'h5py'.*pip install 'visgen\[vg\]'"):
        build_source(f"vg150:{vg_set}", "test")


def test_mistakes(vg_set):
    with pytest.raises(DataError, match="vg150 has no split 'dev'; it has train, val and test"):
        build_source(f"vg150:{vg_set}", "dev")
    with pytest.raises(ConfigError, match="val_images is -1"):
        build_source(f"vg150:{vg_set}", val_images=-1)
    with pytest.raises(DataError, match=r"no image folder \(photos\); name it: images=FOLDER"):
        build_source(f"vg150:{vg_set}", "test", images="photos")
    (vg_set / "VG_100K" / "7.jpg").unlink()
    with pytest.raises(DataError, match=r"image 7 has no file 7\.jpg in VG_100K, VG_100K_2, images; unpack both parts"):
        build_source(f"vg150:{vg_set}", "test")
    with h5py.File(vg_set / "VG-SGG.h5", "a") as file:
        file["labels"][0] = 3
    with pytest.raises(DataError, match=r"image 5 has the label 3; it must be 1\.\.2"):
        build_source(f"vg150:{vg_set}", "val", val_images=1)
    with h5py.File(vg_set / "VG-SGG.h5", "a") as file:
        del file["predicates"]
    with pytest.raises(DataError, match=r"VG-SGG\.h5 lacks the array 'predicates'"):
        build_source(f"vg150:{vg_set}", "test")


def test_files_of_different_releases_are_refused(vg_set):
    (vg_set / "image_data.json").write_text(json.dumps([{"image_id": 5, "width": 64, "height": 32}]))
    with pytest.raises(DataError, match=r"VG-SGG\.h5 has 5 images but image_data\.json 1 without the 4 broken ones"):
        build_source(f"vg150:{vg_set}", "test")
    (vg_set / "VG-SGG-dicts.json").write_text(json.dumps({"label_to_idx": {"a": 0}}))
    with pytest.raises(DataError, match="has no 'label_to_idx' that numbers names from 1 on"):
        build_source(f"vg150:{vg_set}", "test")
    (vg_set / "VG-SGG-dicts.json").unlink()
    with pytest.raises(DataError, match=r"VG-SGG-dicts\.json cannot be read as json"):
        build_source(f"vg150:{vg_set}", "test")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (5, r"image_data\.json holds a int"),
        ([5], r"image_data\.json has the image 5; each must be an object with a whole number as image_id"),
        ([{"width": 64, "height": 32}], r"has the image \{'width': 64"),
    ],
)
def test_records_of_other_kinds_are_named(vg_set, images, message):
    (vg_set / "image_data.json").write_text(json.dumps(images))
    with pytest.raises(DataError, match=message):
        build_source(f"vg150:{vg_set}", "test")


@pytest.mark.parametrize("height", ["x", None, 32.5])
def test_a_height_of_another_kind_is_named(vg_set, height):
    rows = json.loads((vg_set / "image_data.json").read_text())
    (vg_set / "image_data.json").write_text(json.dumps([{**row, "height": height} for row in rows]))
    with pytest.raises(DataError, match=rf"image 7 has height {height!r}; it must be a whole number of pixels"):
        build_source(f"vg150:{vg_set}", "test")


def test_numbers_of_names_and_arrays_that_do_not_go_together_are_refused(vg_set):
    dicts = json.loads((vg_set / "VG-SGG-dicts.json").read_text())
    for numbers in (["person", "wave"], {"person": 1, "wave": "2"}):
        (vg_set / "VG-SGG-dicts.json").write_text(json.dumps({**dicts, "label_to_idx": numbers}))
        with pytest.raises(DataError, match="has no 'label_to_idx' that numbers names from 1 on"):
            build_source(f"vg150:{vg_set}", "test")
    (vg_set / "VG-SGG-dicts.json").write_text(json.dumps(dicts))
    with h5py.File(vg_set / "VG-SGG.h5", "a") as file:
        boxes = file["boxes_1024"][...]
        del file["boxes_1024"]
        file["boxes_1024"] = boxes[:-1]
    with pytest.raises(DataError, match=rf"the array 'boxes_1024' of shape \({len(boxes) - 1}, 4\); beside the others"):
        build_source(f"vg150:{vg_set}", "test")


def test_a_torn_h5_is_named(vg_set):
    (vg_set / "VG-SGG.h5").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"VG-SGG\.h5 cannot be read: .*fetch it as data/vg150/card\.md says"):
        build_source(f"vg150:{vg_set}", "test")

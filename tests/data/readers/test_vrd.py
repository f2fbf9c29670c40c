"""VRD's json on a small file of the published layout: merged boxes, the order of a bbox, and messages."""

import json

import pytest
from PIL import Image

from visgen.data import build_source, triplet_counts
from visgen.errors import DataError

PERSON = {"category": 0, "bbox": [5, 25, 12, 22]}  # ymin, ymax, xmin, xmax
HORSE = {"category": 1, "bbox": [20, 35, 10, 40]}
HAT = {"category": 2, "bbox": [5, 9, 14, 19]}
AS_DOG = {"category": 3, "bbox": [20, 35, 10, 40]}  # the horse's box under another class stays another object


def relation(subject, predicate, target):
    return {"subject": subject, "predicate": predicate, "object": target}


@pytest.fixture
def vrd_set(tmp_path, write_picture):
    for name in ("a", "b"):
        write_picture(tmp_path / "sg_dataset" / "sg_train_images" / f"{name}.png")
    rows = [
        relation(PERSON, 1, HORSE),
        relation(PERSON, 0, HORSE),
        relation(PERSON, 2, HAT),
        relation(AS_DOG, 0, HAT),
        relation(HAT, 0, HAT),
    ]
    (tmp_path / "annotations_train.json").write_text(json.dumps({"a.png": rows, "b.png": []}))
    (tmp_path / "objects.json").write_text(json.dumps(["person", "horse", "hat", "dog"]))
    (tmp_path / "predicates.json").write_text(json.dumps(["on", "ride", "wear"]))
    return tmp_path


def test_equal_boxes_of_one_class_are_one_object(vrd_set):
    source = build_source(f"vrd:{vrd_set}")
    assert source.heads == {"detection": "detection.vrd", "scene_graph": "scene_graph.vrd"} and len(source) == 2
    sample = source[0]
    graph = sample.targets["scene_graph"]
    assert graph.boxes is sample.targets["detection"] and graph.size == (40, 48) and sample.meta["id"] == "a"
    assert graph.boxes.names == ("person", "horse", "hat", "dog")
    assert graph.boxes.xyxy.tolist() == [[12, 5, 22, 25], [10, 20, 40, 35], [14, 5, 19, 9], [10, 20, 40, 35]]
    assert graph.triplets.tolist() == [[0, 1, 1], [0, 1, 0], [0, 2, 2], [3, 2, 0]]
    assert source.left_out == {"boxes without area": 0, "relations of a box with itself": 1}
    assert len(source[1].targets["scene_graph"]) == 0
    assert triplet_counts(source)["person", "ride", "horse"] == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (relation(PERSON, 3, HORSE), r"image a\.png: predicate is 3; it must be a whole number in 0\.\.2"),
        (relation({**PERSON, "category": 4}, 0, HORSE), r"category is 4; it must be a whole number in 0\.\.3"),
        (
            relation({**PERSON, "bbox": [9, 5, 1, 2]}, 0, HORSE),
            r"bbox of a subject is \[9, 5, 1, 2\]; it must be \[ymin",
        ),
        ({"subject": PERSON, "predicate": 0}, "a relation without 'object'"),
        (5, r"image a\.png has the relations \[5\]; they must be a list"),
        (relation({**PERSON, "bbox": ["15", "25", "12", "22"]}, 0, HORSE), "bbox of a subject is \\['15', '25'"),
        (relation({**PERSON, "bbox": [None] * 4}, 0, HORSE), "bbox of a subject is \\[None"),
        (relation({**PERSON, "bbox": [float("nan"), 25, 12, 22]}, 0, HORSE), r"bbox of a subject is \[nan"),
    ],
)
def test_mistakes_name_file_and_image(vrd_set, row, message):
    (vrd_set / "annotations_train.json").write_text(json.dumps({"a.png": [row]}))
    with pytest.raises(DataError, match=message):
        build_source(f"vrd:{vrd_set}")


def test_missing_files(vrd_set):
    with pytest.raises(
        DataError, match=r"no split 'val' \(annotations_val\.json\); files there: annotations_train\.json"
    ):
        build_source(f"vrd:{vrd_set}", "val")
    with pytest.raises(DataError, match=r"has no image folder \(photos\); give it with images=FOLDER"):
        build_source(f"vrd:{vrd_set}", images="photos")
    (vrd_set / "annotations_train.json").write_text("{}")
    with pytest.raises(DataError, match="lists 0 images"):
        build_source(f"vrd:{vrd_set}")
    (vrd_set / "objects.json").write_text("{}")
    with pytest.raises(DataError, match=r"objects\.json holds a dict; vrd needs a list there"):
        build_source(f"vrd:{vrd_set}")
    (vrd_set / "objects.json").unlink()
    with pytest.raises(DataError, match=r"objects\.json cannot be read as json"):
        build_source(f"vrd:{vrd_set}")


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_size_of_a_header_is_that_of_the_picture_as_it_is_read(vrd_set, orientation):
    exif = Image.Exif()
    exif[0x112] = orientation
    file = vrd_set / "sg_dataset" / "sg_train_images" / "a.png"
    Image.new("RGB", (48, 40)).save(file, exif=exif)
    source = build_source(f"vrd:{vrd_set}")
    assert source.graph_of(0).size == source[0].size == ((48, 40) if orientation >= 5 else (40, 48))

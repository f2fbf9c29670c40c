"""The scene-graph json by hand, its agreement with the procedural world, and messages that name file and image."""

import json

import pytest
import torch

from visgen.data import build_source, triplet_counts
from visgen.data.town import TownConfig, TownSource, write_dataset
from visgen.errors import ConfigError, DataError


@pytest.fixture
def graph_set(tmp_path, write_picture):
    """Two images: three objects with several relations of one pair, and one without any relation."""
    for name in ("a", "b"):
        write_picture(tmp_path / "photos" / f"{name}.png")
    objects = [
        {"id": 7, "category": "horse", "bbox": [10, 20, 30, 15.5]},
        {"id": 3, "category": "person", "bbox": [12, 5, 10, 20]},
        {"id": 4, "category": "hat", "bbox": [14, 5, 0, 4]},
        {"id": 5, "category": "hat", "bbox": [14, 5, 5, 4]},
    ]
    relations = [(3, "on", 7), (3, "riding", 7), (7, "under", 3), (4, "on", 3), (5, "on", 5), (3, "riding", 7)]
    rows = [{"subject_id": s, "predicate": p, "object_id": o} for s, p, o in relations]
    shape = {"width": 48, "height": 40}
    data = {
        "objects": ["person", "horse", "hat"],
        "predicates": ["on", "under", "riding"],
        "zero_shot_triplets": [["hat", "on", "person"]],
        "images": [
            {"id": 11, "file": "../photos/a.png", **shape, "objects": objects, "relations": rows},
            {"id": "b", "file": "../photos/b.png", **shape, "objects": [], "relations": []},
        ],
    }
    folder = tmp_path / "rides"
    folder.mkdir()
    (folder / "train.json").write_text(json.dumps(data))
    return folder


def edit(folder, change):
    data = json.loads((folder / "train.json").read_text())
    change(data)
    (folder / "train.json").write_text(json.dumps(data))
    return f"scene-graph:{folder}"


def test_boxes_and_triplets_by_hand(graph_set):
    source = build_source(f"scene-graph:{graph_set}")
    assert source.heads == {"detection": "detection.rides", "scene_graph": "scene_graph.rides"}
    assert source.classes == {"detection": ("person", "horse", "hat"), "scene_graph": ("on", "under", "riding")}
    assert source.zero_shot == (("hat", "on", "person"),)
    sample = source[0]
    graph = sample.targets["scene_graph"]
    assert graph.boxes is sample.targets["detection"]
    assert graph.boxes.xyxy.tolist() == [[10, 20, 40, 35.5], [12, 5, 22, 25], [14, 5, 19, 9]]
    assert graph.boxes.names == ("horse", "person", "hat") and graph.size == (40, 48)
    # the flat hat goes with its relation, and so does the relation of a hat with itself; a repeated one stays twice
    assert graph.triplets.tolist() == [[1, 0, 0], [1, 0, 2], [0, 1, 1], [1, 0, 2]]
    assert source.left_out == {"boxes without area": 1, "relations of a box with itself": 1}
    assert sample.meta["id"] == 11 and sample.meta["image_id"] == 11


def test_an_image_without_objects_has_an_empty_graph(graph_set):
    empty = build_source(f"scene-graph:{graph_set}")[1].targets["scene_graph"]
    assert len(empty) == 0 and len(empty.boxes) == 0


def test_graphs_and_counts_need_no_decoding(graph_set):
    source = build_source(f"scene-graph:{graph_set}")
    for picture in (graph_set.parent / "photos").iterdir():
        picture.unlink()
    assert source.graph_of(0).names[0] == ("person", "on", "horse")
    assert triplet_counts(source) == {
        ("person", "on", "horse"): 1,
        ("person", "riding", "horse"): 2,
        ("horse", "under", "person"): 1,
    }


def test_either_target_alone(graph_set):
    only = build_source(f"scene-graph:{graph_set}", targets=["scene_graph"], name="r")
    assert only.heads == {"scene_graph": "scene_graph.r"} and list(only[0].targets) == ["scene_graph"]
    boxes = build_source(f"scene-graph:{graph_set / 'train.json'}", targets=["detection"])
    assert list(boxes[0].targets) == ["detection"] and len(boxes) == 2
    with pytest.raises(ConfigError, match="target 'scene-graph' is not one of .*; did you mean 'scene_graph'"):
        build_source(f"scene-graph:{graph_set}", targets=["scene-graph"])
    with pytest.raises(ConfigError, match="targets is empty"):
        build_source(f"scene-graph:{graph_set}", targets=[])


def test_written_town_scenes_read_back_as_the_source(tmp_path):
    config = TownConfig(size=(64, 96))
    out = write_dataset(config, 3, tmp_path / "town", seed=2, split="val")
    made = TownSource(3, config, 2, split="val", tasks=("detection", "scene_graph"))
    read = build_source(f"scene-graph:{out / 'scene_graph'}", "val", name="town")
    assert read.classes == made.classes and read.heads == made.heads
    for i in range(3):
        ours, theirs = made[i].targets["scene_graph"], read[i].targets["scene_graph"]
        assert ours.to_dict() == theirs.to_dict() and ours.boxes is not theirs.boxes
    assert triplet_counts(read) == triplet_counts(made) and sum(triplet_counts(read).values()) > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["images"][0].pop("objects"), "image 11 lacks 'objects'; it has id, file"),
        (lambda d: d["images"][0]["objects"][1].update(bbox=[1, 2, -3, 4]), r"object 3: bbox is \[1, 2, -3, 4\]"),
        (lambda d: d["images"][0]["objects"][1].update(id=7), "image 11 has two objects with the id 7"),
        (lambda d: d["images"][0]["objects"][1].update(category="persn"), "category 'persn'.*did you mean 'person'"),
        (lambda d: d["images"][0]["relations"][1].update(object_id=9), "a relation with object 9, which is not one of"),
        (lambda d: d["images"][0]["relations"][1].update(predicate="ridin"), "'ridin'.*did you mean 'riding'"),
        (lambda d: d["images"].clear(), "lists 0 images"),
        (lambda d: d["images"].insert(0, 5), r"train\.json has the image 5; each must be an object with id, file"),
        (lambda d: d["images"][1].update(id=11), r"lists several images with the ids \[11\]"),
        (lambda d: d["images"][0].update(id=[11]), r"image \[11\] has id \[11\]; it must be a number or text"),
        (lambda d: d["images"][0].update(file=None), "image 11 has file None; it must be text"),
        (lambda d: d["images"][0].update(objects={"a": 1}), r"image 11 has objects \{'a': 1\}; it must be a list"),
        (lambda d: d["images"][0].update(relations=None), "image 11 has relations None; it must be a list"),
        (lambda d: d["images"][0]["objects"].append(5), "image 11 has 5 among its objects and relations"),
        (lambda d: d["images"][0].update(height="x"), "image 11 has height 'x'; it must be a whole number of pixels"),
        (lambda d: d["images"][0].update(height=40.5), r"image 11 has height 40\.5"),
        (lambda d: d["images"][0]["objects"][1].update(bbox=["a", 1, 2, 3]), r"object 3: bbox is \['a', 1, 2, 3\]"),
        (lambda d: d["images"][0]["objects"][1].update(bbox=[float("nan"), 1, 2, 3]), r"bbox is \[nan, 1, 2, 3\]"),
        (lambda d: d["images"][0]["objects"][1].update(id=[1]), r"image 11 has an object with the id \[1\]"),
        (lambda d: d["images"][0]["objects"][1].update(category=[1]), r"image 11 has the category '\[1\]'"),
        (lambda d: d["images"][0]["relations"][1].update(object_id=[1]), r"a relation with object \[1\]"),
        (lambda d: d["images"][0]["relations"][1].update(predicate={}), r"image 11 has the predicate '\{\}'"),
        (lambda d: d.update(zero_shot_triplets=5), r"train\.json has 5 in zero_shot_triplets"),
        (lambda d: d.update(zero_shot_triplets=[["hat", "on"]]), r"has \['hat', 'on'\] in zero_shot_triplets"),
        (lambda d: d["predicates"].append(None), "hold None; each must be text"),
        (lambda d: d.pop("predicates"), "has no list 'predicates'"),
        (lambda d: d["objects"].append("hat"), "'hat' comes twice"),
    ],
)
def test_mistakes_name_file_and_image(graph_set, change, message):
    with pytest.raises(DataError, match=message):
        build_source(edit(graph_set, change))


def test_missing_files_and_other_sizes(graph_set, tmp_path):
    with pytest.raises(DataError, match=r"no split 'val' \(val\.json\); json files there: train\.json"):
        build_source(f"scene-graph:{graph_set}", "val")
    with pytest.raises(DataError, match="nowhere, which does not exist"):
        build_source(f"scene-graph:{tmp_path / 'nowhere'}")
    spec = edit(graph_set, lambda d: d["images"][0].update(width=47))
    with pytest.raises(DataError, match=r"image 11 is listed as 47 x 40 pixels but .*a\.png has 48 x 40"):
        build_source(spec)[0]
    (graph_set / "train.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read as json"):
        build_source(f"scene-graph:{graph_set}")


def test_triplet_counts_of_a_source_without_graphs(numbers):
    with pytest.raises(DataError, match="sample 0 of source 'numbers' has no target 'scene_graph'"):
        triplet_counts(numbers(2))


def test_the_size_may_be_left_to_the_picture(graph_set):
    def without_size(data):
        for image in data["images"]:
            del image["width"], image["height"]

    source = build_source(edit(graph_set, without_size))
    assert source.graph_of(0).size == (40, 48) and torch.equal(
        source.graph_of(0).triplets, source[0].targets["scene_graph"].triplets
    )


@pytest.fixture
def coco_masks(tmp_path):
    """A COCO json with a mask for each box of the first image, in another order and rounded, and one box more."""
    boxes = {"hat": [14, 5, 5, 4], "zebra": [0, 0, 9, 9], "horse": [10, 20, 30, 15.4], "person": [12, 5, 10, 20]}
    names = ["person", "zebra", "horse", "hat"]
    rows = []
    for i, (name, (x, y, w, h)) in enumerate(boxes.items()):
        polygon = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        row = {"id": i, "image_id": 11, "category_id": names.index(name) + 1, "bbox": [x, y, w, h], "iscrowd": 0}
        rows.append({**row, "segmentation": polygon})
    data = {
        "images": [{"id": 11, "file_name": "a.png", "height": 40, "width": 48}],
        "annotations": rows,
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(names)],
    }
    file = tmp_path / "instances.json"
    file.write_text(json.dumps(data))
    return file


def test_masks_of_a_coco_json_are_in_step_with_the_boxes(graph_set, coco_masks):
    source = build_source(f"scene-graph:{graph_set}", masks=str(coco_masks), targets=["scene_graph"])
    assert source.heads == {"scene_graph": "scene_graph.rides"}
    assert source.left_out["images without masks"] == 1
    sample = source[0]
    graph, masks = sample.targets["scene_graph"], sample.targets["masks"]
    assert graph.boxes is sample.targets["detection"]
    assert masks.names == graph.boxes.names == ("horse", "person", "hat")
    for mask, (x1, y1, x2, y2) in zip(masks.masks, graph.boxes.xyxy.round().int().tolist(), strict=True):
        wanted = torch.zeros(40, 48, dtype=torch.bool)
        wanted[y1:y2, x1:x2] = True
        assert (mask ^ wanted).sum() <= wanted.sum() * 0.2
    assert set(source[1].targets) == {"scene_graph"}


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["annotations"][3]["bbox"].__setitem__(2, 20),
        lambda data: data["annotations"].pop(0),
        lambda data: data["annotations"][0].update(segmentation=[]),
        lambda data: data["images"][0].update(has_masks=False),
        lambda data: data["images"][0].update(width=50),
        lambda data: data["images"][0].update(id=12) or [a.update(image_id=12) for a in data["annotations"]],
    ],
)
def test_an_image_of_which_a_box_has_no_mask_has_none(graph_set, coco_masks, change):
    data = json.loads(coco_masks.read_text())
    change(data)
    coco_masks.write_text(json.dumps(data))
    source = build_source(f"scene-graph:{graph_set}", masks=str(coco_masks), targets=["scene_graph"])
    assert set(source[0].targets) == {"scene_graph"}
    assert source.left_out["images without masks"] == 2


def test_an_image_without_boxes_has_no_mask_either(graph_set, coco_masks):
    data = json.loads(coco_masks.read_text())
    data["images"].append({"id": 12, "file_name": "b.png", "height": 40, "width": 48})
    coco_masks.write_text(json.dumps(data))
    spec = edit(graph_set, lambda graphs: graphs["images"][1].update(id=12))
    source = build_source(spec, masks=str(coco_masks), targets=["detection"])
    targets = source[1].targets
    assert len(targets["detection"]) == 0 and targets["masks"].masks.shape == (0, 40, 48)


def test_into_takes_over_a_wider_label_set(graph_set, coco_masks):
    source = build_source(f"scene-graph:{graph_set}", into=str(coco_masks))
    assert source.classes["detection"] == ("person", "zebra", "horse", "hat")
    boxes = source[0].targets["scene_graph"].boxes
    assert boxes.names == ("horse", "person", "hat") and boxes.labels.tolist() == [2, 0, 3]
    assert source.graph_of(0).boxes.classes == source.classes["detection"]


def test_into_has_the_labels_of_the_detector_where_ids_are_text(graph_set, tmp_path):
    categories = [{"id": "10", "name": "person"}, {"id": "9", "name": "horse"}, {"id": 2, "name": "hat"}]
    file = tmp_path / "wider.json"
    file.write_text(json.dumps({"images": [], "annotations": [], "categories": categories}))
    source = build_source(f"scene-graph:{graph_set}", into=str(file))
    assert source.classes["detection"] == ("hat", "horse", "person")


def test_into_refusals(graph_set, coco_masks, tmp_path):
    data = json.loads(coco_masks.read_text())
    data["categories"] = [c for c in data["categories"] if c["name"] != "horse"]
    data["categories"][0]["name"] = "hors"
    coco_masks.write_text(json.dumps(data))
    with pytest.raises(DataError, match="has the class 'person', which is not one of the 3 categories of .*instances"):
        build_source(f"scene-graph:{graph_set}", into=str(coco_masks))
    with pytest.raises(DataError, match=r"into is '.*none.json', which gives no categories \(.*\); name a COCO json"):
        build_source(f"scene-graph:{graph_set}", into=str(tmp_path / "none.json"))

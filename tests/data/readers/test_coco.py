import json

import numpy as np
import pytest
import torch

from visgen.data import build_source, collate
from visgen.errors import ConfigError, DataError


def edit(root, change):
    data = json.loads((root / "train.json").read_text())
    change(data)
    (root / "train.json").write_text(json.dumps(data))
    return f"coco:{root}"


def test_ids_are_mapped_to_labels_in_their_order_and_kept(coco_set):
    source = build_source(f"coco:{coco_set}")
    assert source.heads == {"detection": "detection.mini"}
    assert source.classes == {"detection": ("zebra", "apple", "bus")} and source.category_ids == (3, 7, 90)
    sample = source[0]
    boxes = sample.targets["detection"]
    assert boxes.xyxy.tolist() == [[4, 6, 14, 14], [0, 0, 4, 40]] and boxes.labels.tolist() == [2, 0]
    assert boxes.is_crowd.tolist() == [False, True] and boxes.size == (40, 48)
    assert sample.meta["image_id"] == 11 and sample.meta["annotation_ids"] == [1, 2]
    assert sample.meta["category_ids"] == (3, 7, 90)


def test_polygons_and_run_lengths_become_masks(coco_set):
    masks = build_source(f"coco:{coco_set}")[0].targets["masks"]
    assert masks.labels.tolist() == [2, 0]
    want = torch.zeros(2, 40, 48, dtype=torch.bool)
    want[0, 6:14, 4:14] = True
    want[1, :, :4] = True
    assert torch.equal(masks.masks, want)


def test_boxes_go_back_to_the_json_they_came_from(coco_set):
    source = build_source(f"coco:{coco_set}")
    ids = dict(zip(source.classes["detection"], source.category_ids, strict=True))
    rows = [
        row
        for s in map(source.__getitem__, range(4))
        for row in s.targets["detection"].to_coco(s.meta["image_id"], ids)
    ]
    want = [a for a in json.loads((coco_set / "train.json").read_text())["annotations"] if a["id"] != 5]
    for row, annotation in zip(rows, want, strict=True):
        assert all(row[k] == annotation[k] for k in ("image_id", "category_id", "bbox", "iscrowd"))


def test_images_with_boxes_only_have_no_masks_and_empty_ones_empty_values(coco_set):
    source = build_source(f"coco:{coco_set}")
    boxes_only, empty = source[1], source[2]
    assert "masks" not in boxes_only.targets and boxes_only.meta["annotation_kind"] == "boxes"
    assert boxes_only.targets["detection"].xyxy.tolist() == [[1.5, 2.5, 11.5, 22.5]]
    assert empty.targets["detection"].xyxy.shape == (0, 4) and empty.targets["masks"].masks.shape == (0, 40, 48)
    batch = collate([source[0], boxes_only], source.heads, source.name)
    assert batch.targets["masks"][1] is None and len(batch.targets["masks"][0]) == 2


def test_boxes_without_area_are_left_out_and_counted(coco_set):
    source = build_source(f"coco:{coco_set}")
    assert source.left_out["boxes without area"] == 1
    assert source[3].meta["annotation_ids"] == [4] and len(source[3].targets["masks"]) == 1


def test_semantic_maps_as_targets(coco_set):
    source = build_source(f"coco:{coco_set}", targets=["segmentation"], name="coco")
    assert source.heads == {"segmentation": "segmentation.coco"} and len(source) == 1
    assert source.classes == {"segmentation": ("background", "zebra", "apple", "bus")}
    assert source.left_out["images without semantic map"] == 3
    target = source[0].targets["segmentation"]
    assert target.ids.unique().tolist() == [1] and target.name == "coco" and list(source[0].targets) == ["segmentation"]


def test_the_public_layout_with_an_annotations_folder(coco_set):
    (coco_set / "annotations").mkdir()
    (coco_set / "train.json").rename(coco_set / "annotations" / "instances_val2017.json")
    (coco_set / "images").rename(coco_set / "val2017")
    assert len(build_source(f"coco:{coco_set}", "val")) == 4


def test_mistakes_name_file_and_id(coco_set):
    with pytest.raises(DataError, match=r"no split 'val' .*json files there: train\.json"):
        build_source(f"coco:{coco_set}", "val")
    with pytest.raises(ConfigError, match="target 'mask' is not one of.*did you mean 'masks'"):
        build_source(f"coco:{coco_set}", targets=["mask"])
    with pytest.raises(ConfigError, match="'masks' only with 'detection'"):
        build_source(f"coco:{coco_set}", targets=["masks"])
    sizes = edit(coco_set, lambda d: d["images"][1].update(width=47))
    with pytest.raises(DataError, match=r"image 12 is listed as 47 x 40 pixels but .*00012\.png has 48 x 40"):
        build_source(sizes)[1]
    with pytest.raises(DataError, match="annotation 3 has bbox"):
        build_source(edit(coco_set, lambda d: d["annotations"][2].update(bbox=[1, 2, -3, 4])))
    with pytest.raises(DataError, match="annotation 3 has category 8, which is not one of the 3"):
        build_source(edit(coco_set, lambda d: d["annotations"][2].update(bbox=[1, 2, 3, 4], category_id=8)))
    with pytest.raises(DataError, match="annotation 3 belongs to image 99"):
        build_source(edit(coco_set, lambda d: d["annotations"][2].update(category_id=7, image_id=99)))


def test_a_broken_mask_names_its_annotation(coco_set):
    small = {"size": [4, 4], "counts": [0, 16]}
    spec = edit(coco_set, lambda d: d["annotations"][3].update(segmentation=small))
    with pytest.raises(DataError, match="annotation 4 has a mask of 4 x 4 pixels on an image of 48 x 40"):
        build_source(spec)[3]
    huge = {"size": [10**6, 10**6], "counts": [10**12]}  # refused before anything so large is made
    spec = edit(coco_set, lambda d: d["annotations"][3].update(segmentation=huge))
    with pytest.raises(DataError, match="annotation 4 has a mask of 1000000 x 1000000 pixels"):
        build_source(spec)[3]
    spec = edit(coco_set, lambda d: d["annotations"][3].update(segmentation={"size": [40, 48], "counts": [100, 5]}))
    with pytest.raises(DataError, match=r"annotation 4 has .*RLE runs sum to 105; they must fill 40 x 48"):
        build_source(spec)[3]
    spec = edit(coco_set, lambda d: d["annotations"][3].update(segmentation={"size": [40, 48]}))
    with pytest.raises(
        DataError, match=r"annotation 4 has a segmentation that cannot be decoded: KeyError\('counts'\)"
    ):
        build_source(spec)[3]


def test_a_picture_of_another_height_is_named_where_no_width_is_listed(coco_set):
    def change(data):
        data["images"][0]["height"] += 1
        del data["images"][0]["width"]

    with pytest.raises(DataError, match=r"image 11 is listed as \? x 41 pixels but .* has 48 x 40"):
        build_source(edit(coco_set, change))[0]


@pytest.mark.parametrize("part", ["images", "categories"])
def test_an_id_of_two_is_named(coco_set, part):
    spec = edit(coco_set, lambda data: data[part][1].update(id=data[part][0]["id"]))
    with pytest.raises(DataError, match=rf"lists several {part} with the ids \[\d+\]; each needs an id of its own"):
        build_source(spec)


def test_text_in_a_box_and_polygons_of_one_point_are_named(coco_set):
    spec = edit(coco_set, lambda data: data["annotations"][0].update(segmentation=[[1, 1]]))
    with pytest.raises(DataError, match="annotation 1 has a segmentation that cannot be decoded"):
        build_source(spec)[0]
    with pytest.raises(DataError, match=r"annotation 1 has bbox \['1', '1', '5', '5'\]"):
        build_source(edit(coco_set, lambda data: data["annotations"][0].update(bbox=["1", "1", "5", "5"])))


def test_lists_of_run_lengths_and_polygons_without_area(coco_set):
    def mask(*parts):
        spec = edit(coco_set, lambda data: data["annotations"][0].update(segmentation=list(parts)))
        return build_source(spec)[0].targets["masks"].masks[0]

    first, second = ({"size": [40, 48], "counts": [n, 5, 1915 - n]} for n in (10, 30))
    assert mask(first, second).T.flatten().nonzero()[:, 0].tolist() == [*range(10, 15), *range(30, 35)]
    with pytest.raises(DataError, match="annotation 1 has a segmentation that cannot be decoded.*sum to 15"):
        mask({"size": [40, 48], "counts": [10, 5]})
    with pytest.raises(DataError, match="annotation 1 has a mask of 5 x 4 pixels on an image of 48 x 40"):
        mask({"size": [4, 5], "counts": [10, 5, 5]})
    line, square = [2, 2, 9, 9], [4, 6, 14, 6, 14, 14, 4, 14]
    assert int(mask(line, square).sum()) == int(mask(square, line).sum()) == 80
    with pytest.raises(DataError, match="of three points or more"):
        mask([*square, 1])


def test_one_target_may_be_a_plain_name(coco_set):
    assert set(build_source(f"coco:{coco_set}", targets="detection").heads) == {"detection"}


def test_an_image_needs_a_number_as_id(coco_set):
    with pytest.raises(DataError, match="has the image .*'first'.*; each must be an object with a whole number as id"):
        build_source(edit(coco_set, lambda data: data["images"][0].update(id="first")))


def test_json_of_another_kind_is_refused(tmp_path, coco_set):
    (coco_set / "train.json").write_text('{"images": []}')
    with pytest.raises(DataError, match="has no list 'annotations'"):
        build_source(f"coco:{coco_set}")
    (coco_set / "train.json").write_text('{"images": ')
    with pytest.raises(DataError, match="cannot be read as json"):
        build_source(f"coco:{coco_set}")


def test_another_label_set_takes_the_classes_it_shares(coco_set, tmp_path):
    wider = tmp_path / "wider.json"
    categories = [{"id": 5, "name": "dog"}, {"id": 2, "name": "coach"}, {"id": 9, "name": "zebra"}]
    wider.write_text(json.dumps({"images": [], "annotations": [], "categories": categories}))
    source = build_source(f"coco:{coco_set}", into=str(wider), rename={"bus": "coach"})
    assert source.classes == {"detection": ("coach", "dog", "zebra")} and source.category_ids == (2, 5, 9)
    boxes = source[0].targets["detection"]
    assert boxes.names == ("coach", "zebra") and boxes.complete == ("coach", "zebra")
    everything = build_source(f"coco:{coco_set}")
    kept = sum(map(len, source.rows)) + source.left_out["boxes of other classes"]
    assert kept == sum(map(len, everything.rows)) and everything[0].targets["detection"].complete is None
    with pytest.raises(ConfigError, match="rename maps 'buss' to 'coach'.*did you mean 'bus'"):
        build_source(f"coco:{coco_set}", into=str(wider), rename={"buss": "coach"})
    with pytest.raises(ConfigError, match="rename is 'dog' .text.; it must be a mapping"):
        build_source(f"coco:{coco_set}", rename="dog")


def test_partly_boxed_classes_are_named_by_the_complete_ones(coco_set):
    source = build_source(f"coco:{coco_set}", complete=["bus"])
    boxes = source[0].targets["detection"]
    assert boxes.complete == ("bus",) and boxes.select(boxes.labels == 2).clip().to("cpu").complete == ("bus",)
    assert type(boxes).from_dict(json.loads(json.dumps(boxes.to_dict()))).complete == ("bus",)
    with pytest.raises(ConfigError, match="complete names 'lorry', which is no class"):
        build_source(f"coco:{coco_set}", complete=["lorry"])


def test_pictures_of_one_name_in_two_folders_have_maps_of_their_own(coco_set, write_picture):
    def move(data):
        for image, folder in zip(data["images"], "ab", strict=False):
            image["file_name"] = f"{folder}/1.png"

    for i, folder in enumerate("ab"):
        write_picture(coco_set / "images" / folder / "1.png", (i, 0, 0))
    write_picture(coco_set / "semantic" / "1.png", np.full((40, 48), 2, np.uint8))
    spec = edit(coco_set, move)
    with pytest.raises(DataError, match=r"images a/1\.png and b/1\.png would share the map .*semantic/1\.png"):
        build_source(spec, targets=["segmentation"])
    write_picture(coco_set / "semantic" / "b" / "1.png", np.full((40, 48), 3, np.uint8))
    source = build_source(spec, targets=["segmentation"])
    assert [s.targets["segmentation"].ids.unique().item() for s in (source[0], source[1])] == [2, 3]


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("categories", {"id": None}, r"has the category \{'id': None, 'name': 'bus'\}; each needs a whole number"),
        ("categories", {"id": "x"}, "has the category .*'x'"),
        ("images", {"file_name": None}, "image 11 has file_name None"),
        ("annotations", {"image_id": [11]}, r"annotation 1 belongs to image \[11\], which is not listed"),
        ("annotations", {"category_id": {}}, r"annotation 1 has category \{\}, which is not one of the 3"),
        ("annotations", {"category_id": 90.7}, r"annotation 1 has category 90\.7, which is not one of the 3"),
        ("annotations", {"image_id": 11.5}, r"annotation 1 belongs to image 11\.5, which is not listed"),
        ("annotations", {"iscrowd": "no"}, "annotation 1 has iscrowd 'no'; it must be 0 or 1"),
        ("annotations", {"iscrowd": 2}, "annotation 1 has iscrowd 2; it must be 0 or 1"),
        ("annotations", {"bbox": [float("nan"), 1, 2, 3]}, r"annotation 1 has bbox \[nan, 1, 2, 3\]"),
        ("categories", {"id": 90.5}, r"has the category .*90\.5"),
        ("categories", {"name": None}, "hold None; each must be text"),
        ("categories", {"name": " "}, "hold ' '; each must be text"),
        ("images", {"id": 11.5}, r"has the image .*11\.5.*; each must be an object with a whole number as id"),
        ("images", {"height": "tall"}, "image 11 has height 'tall'; it must be a whole number of pixels"),
        ("images", {"width": 48.5}, r"image 11 has width 48\.5; it must be a whole number of pixels"),
    ],
)
def test_fields_of_other_kinds_are_named(coco_set, part, change, message):
    with pytest.raises(DataError, match=rf"train\.json.*{message}"):
        build_source(edit(coco_set, lambda data: data[part][0].update(change)))


def test_entries_that_are_no_objects_or_lack_a_name_are_named(coco_set):
    with pytest.raises(DataError, match=r"train\.json has the category \{'id': 90\}"):
        build_source(edit(coco_set, lambda data: data["categories"][0].pop("name")))
    with pytest.raises(DataError, match=r"train\.json has the category 4"):
        build_source(edit(coco_set, lambda data: data["categories"].insert(0, 4)))
    with pytest.raises(DataError, match=r"train\.json has the annotation 5"):
        build_source(
            edit(
                coco_set,
                lambda d: (
                    d["categories"].pop(0),
                    d["categories"][0].update(name="bus"),
                    d["annotations"].insert(0, 5),
                ),
            )
        )


def test_an_image_that_is_no_object_is_named(coco_set):
    with pytest.raises(DataError, match=r"train\.json has the image 6; each must be an object"):
        build_source(edit(coco_set, lambda data: data["images"].insert(0, 6)))


@pytest.mark.parametrize(("given", "crowd"), [("0", False), ("1", True), (1.0, True), (False, False)])
def test_a_crowd_may_be_marked_by_text(coco_set, given, crowd):
    source = build_source(edit(coco_set, lambda data: data["annotations"][0].update(iscrowd=given)))
    assert source[0].targets["detection"].is_crowd.tolist() == [crowd, True]


def test_sizes_may_be_written_as_text(coco_set):
    source = build_source(edit(coco_set, lambda data: data["images"][0].update(height="40", width="48")))
    assert source[0].targets["detection"].size == source.boxes_of(0).size == (40, 48)


@pytest.mark.parametrize("far", [float("nan"), float("inf"), 1e9])
def test_a_polygon_far_from_any_picture_is_refused_before_it_is_decoded(coco_set, far):
    spec = edit(coco_set, lambda data: data["annotations"][0].update(segmentation=[[1, 2, 3, 4, far, 9]]))
    with pytest.raises(DataError, match="annotation 1 has a segmentation that cannot be decoded: a polygon must be"):
        build_source(spec)[0]


def test_ids_may_be_written_as_text(coco_set):
    plain = build_source(f"coco:{coco_set}")[0].targets["detection"]
    as_text = build_source(edit(coco_set, lambda data: data["annotations"][0].update(image_id="11", category_id="90")))
    assert torch.equal(as_text[0].targets["detection"].labels, plain.labels) and len(plain) == 2

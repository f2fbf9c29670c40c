"""The counts that the cards of the real sets state, and what one known image of each holds."""

import pytest
import torch

from visgen.data import build_source, triplet_counts

SETS = [
    ("imagefolder", "caltech100", {"train": 3949, "val": 789}, {}, 100),
    ("semantic", "camvid", {"train": 367, "val": 101}, {}, 11),
    ("coco", "coco_mini", {"train": 405, "val": 120}, {}, 80),
    ("coco", "clothing_ccp", {"train": 804, "val": 99}, {}, 1),
    ("coco", "indoor85", {"train": 65, "val": 20}, {}, 30),
    ("coco", "openimages5", {"val": 14}, {}, 5),
    ("scene-graph", "scene_graph_coco_derived", {"train": 297, "val": 103}, {"targets": ["detection"]}, 80),
    ("scene-graph", "scene_graph_coco_derived", {"train": 297, "val": 103}, {"targets": ["scene_graph"]}, 9),
    ("depth", "depth_7scenes_redkitchen", {"train": 234, "val": 37}, {}, 0),
    ("depth", "depth_hololens_indoor", {"train": 125, "val": 24}, {}, 0),
    ("depth", "depth_kitti_lidar", {"train": 100, "val": 20}, {}, 0),
    ("npz", "cifar10", {"train": 15000}, {}, 10),
    ("npz", "batik64", {"train": 397}, {}, 6),
    ("parquet", "tiny_imagenet", {"val": 2000}, {"targets": ["classification", "detection"]}, 200),
]


@pytest.mark.parametrize(("form", "name", "counts", "options", "classes"), SETS, ids=[f"{s[1]}-{s[4]}" for s in SETS])
def test_counts_classes_and_first_sample(data_root, tmp_path, form, name, counts, options, classes):
    if form == "parquet":
        options = {**options, "cache": str(tmp_path)}
    for split, count in counts.items():
        source = build_source(f"{form}:{data_root / name}", split, **options)
        assert len(source) == count
        assert all(len(names) == classes for names in source.classes.values())
        sample = source[count // 2]
        assert sample.pixels.dtype == torch.uint8 and min(sample.size) >= 32
        assert set(source.heads) <= set(sample.targets)


def test_coco_mini_annotations_and_kinds(data_root):
    source = build_source(f"coco:{data_root / 'coco_mini'}", "val")
    assert sum(map(len, source.rows)) == 1106 and source.left_out["boxes without area"] == 0
    sample = source[0]
    assert sample.meta["image_id"] == 285 and sample.size == (320, 293)
    assert sample.targets["detection"].names == ("bear",)
    assert sample.targets["detection"].xyxy.tolist() == [[0.5, 34.5, 293, 316.5]]
    box = sample.targets["masks"].to_boxes().xyxy[0]
    assert bool((box - sample.targets["detection"].xyxy[0]).abs().max() <= 2)
    train = build_source(f"coco:{data_root / 'coco_mini'}", "train")
    assert sum(map(len, train.rows)) == 3303
    boxes_only = [i for i, r in enumerate(train.records) if r["annotation_kind"] == "boxes"]
    assert len(boxes_only) == 54 and "masks" not in train[boxes_only[0]].targets
    semantic = {
        s: build_source(f"coco:{data_root / 'coco_mini'}", s, targets=["segmentation"]) for s in ("train", "val")
    }
    assert len(semantic["train"]) + len(semantic["val"]) == 471
    bear = semantic["val"][0].targets["segmentation"]
    shared = (bear.ids == bear.classes.index("bear")) & sample.targets["masks"].masks[0]
    assert int(shared.sum()) > 0.95 * int(sample.targets["masks"].area[0])


def test_the_derived_scene_graphs_agree_with_their_card(data_root):
    train, val = (build_source(f"scene-graph:{data_root / 'scene_graph_coco_derived'}", s) for s in ("train", "val"))
    counts, found = triplet_counts(train), triplet_counts(val)
    assert (sum(counts.values()), len(counts), sum(found.values()), len(found)) == (5372, 1713, 2292, 829)
    unseen = {triplet: n for triplet, n in found.items() if triplet not in counts}
    assert (len(unseen), sum(unseen.values())) == (351, 580) and set(unseen) == set(val.zero_shot)
    assert sum(len(r.labels) for r in train.records) == 2066 and sum(len(r.labels) for r in val.records) == 779
    assert sum(train.left_out.values()) == 0 and sum(val.left_out.values()) == 0


def test_camvid_first_frame_is_mostly_road_and_buildings(data_root):
    sample = build_source(f"semantic:{data_root / 'camvid'}")[0]
    assert sample.meta["id"] == "0001TP_006690" and sample.size == (240, 320)
    names = [name for _, name, _ in sample.targets["segmentation"].shares()]
    assert set(names[:4]) & {"road", "building", "sky", "tree"} and "road" in names


@pytest.mark.parametrize(
    ("name", "valid", "median"),
    [("depth_7scenes_redkitchen", 0.92, 1.9), ("depth_hololens_indoor", 0.73, 2.3), ("depth_kitti_lidar", 0.125, 6.0)],
)
def test_depth_is_in_metres_with_the_stated_holes(data_root, name, valid, median):
    source = build_source(f"depth:{data_root / name}")
    maps = [source[i].targets["depth"] for i in range(0, len(source), 10)]
    known = torch.cat([m.metres[m.valid] for m in maps])
    share = len(known) / sum(m.metres.numel() for m in maps)
    assert share == pytest.approx(valid, abs=0.06) and float(known.median()) == pytest.approx(median, rel=0.3)


def test_tiny_imagenet_boxes_are_edges(data_root, tmp_path):
    source = build_source(f"parquet:{data_root / 'tiny_imagenet'}", "val", targets=["detection"],
                          box_format="xyxy_inclusive", cache=str(tmp_path))  # fmt: skip
    boxes = torch.cat([source[i].targets["detection"].xyxy for i in range(0, 2000, 20)])
    assert float(boxes.min()) == 0.0 and float(boxes.max()) == 64.0
    assert bool((boxes[:, 2:] > boxes[:, :2]).all())

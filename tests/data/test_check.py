import json

import numpy as np
import pytest
import torch

from visgen.data import Sample
from visgen.data.check import check_source, check_sources
from visgen.errors import ConfigError, UnknownName
from visgen.structures import Boxes, DepthMap, Masks, SceneGraph, SemanticMap


class Given:
    """A source of the given samples."""

    def __init__(self, samples, classes, name="given"):
        self.samples, self.name, self.classes = samples, name, classes
        self.heads = {task: task for task in classes}

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


def picture(seed, size=(40, 48)):
    coarse = torch.rand(1, 3, 5, 6, generator=torch.Generator().manual_seed(seed))
    return (torch.nn.functional.interpolate(coarse, size, mode="bilinear")[0] * 255).byte()


def found(report):
    return {(f.level, f.kind, f.split): f.count for f in report.findings}


CLASSES = ("a", "b")


def test_boxes_and_masks():
    corners = [[2, 2, 10, 10], [2, 2, 10, 10], [5, 5, 5, 9], [40, 30, 60, 39], [1, 1, 1.5, 9], [20, 20, 30, 30]]
    boxes = Boxes(torch.tensor(corners, dtype=torch.float32), torch.zeros(6, dtype=torch.int64), (40, 48), CLASSES)
    masks = torch.zeros(6, 40, 48, dtype=torch.bool)
    masks[[0, 1], 2:10, 2:10] = True
    masks[2, 5:9, 5] = True
    masks[3, 30:39, 40:48] = True
    masks[5, 0:4, 0:4] = True
    sample = Sample(picture(0), {"detection": boxes, "masks": Masks(masks, boxes.labels, CLASSES)}, {"id": "x"})
    report = check_sources({"train": Given([sample], {"detection": CLASSES})})
    assert found(report) == {
        ("error", "box without area", "train"): 1,
        ("error", "box outside the image", "train"): 1,
        ("warning", "box twice", "train"): 1,
        ("warning", "box under 1 px", "train"): 1,
        ("warning", "empty mask", "train"): 1,
        ("warning", "mask and box disagree (IoU < 0.5)", "train"): 3,
        ("warning", "detection class never seen", "train"): 1,
    }
    assert report.findings[0].level == "error" and not report.ok and report.exit_status == 1
    assert "x: a [40, 30, 60, 39] on 48 x 40" in report.table()
    assert report.splits["train"]["histogram"] == {"detection": {"a": 6, "b": 0}}


def test_masks_without_boxes_of_their_own_are_an_error():
    boxes = Boxes(torch.tensor([[2.0, 2, 10, 10]]), torch.tensor([0]), (40, 48), CLASSES)
    masks = Masks(torch.ones(2, 40, 48, dtype=torch.bool), torch.tensor([0, 0]), CLASSES)
    report = check_sources(
        {"train": Given([Sample(picture(0), {"detection": boxes, "masks": masks})], {"detection": CLASSES})}
    )
    wrong = [f.examples for f in report.findings if f.kind == "masks and boxes differ in number"]
    assert wrong == [("0: 2 masks, 1 boxes",)] and not report.ok


def test_relations_are_counted_by_predicate():
    boxes = Boxes(
        torch.tensor([[2.0, 2, 10, 10], [5, 5, 20, 20]]), torch.zeros(2, dtype=torch.int64), (40, 48), CLASSES
    )
    graph = SceneGraph(boxes, torch.tensor([[0, 1, 0], [1, 0, 0]]), ("near", "on"))
    source = Given([Sample(picture(0), {"scene_graph": graph}, {"id": "x"})], {"scene_graph": ("near", "on")})
    report = check_sources({"train": source})
    assert report.splits["train"]["histogram"] == {"scene_graph": {"near": 2, "on": 0}}
    assert found(report) == {("warning", "scene_graph class never seen", "train"): 1}


def test_maps_and_depth():
    ids = torch.zeros(40, 48, dtype=torch.int64)
    ids[:10], ids[10:20] = 255, 1
    metres = torch.zeros(40, 48)
    metres[:20, :24] = 2.0
    metres[0, 0], metres[0, 1] = 0.5, 9.0
    empty = SemanticMap(torch.full((40, 48), 255), CLASSES)
    samples = [
        Sample(picture(1), {"segmentation": SemanticMap(ids, CLASSES), "depth": DepthMap(metres)}),
        Sample(picture(2), {"segmentation": empty, "depth": DepthMap(torch.zeros(40, 48))}),
    ]
    report = check_sources({"val": Given(samples, {"segmentation": CLASSES, "depth": ()})})
    assert found(report) == {
        ("warning", "map without a labelled pixel", "val"): 1,
        ("warning", "depth without a known pixel", "val"): 1,
    }
    assert report.ok and report.exit_status == 0
    numbers = report.splits["val"]
    assert numbers["histogram"]["segmentation"] == {
        "a": pytest.approx(2 / 3, abs=1e-6),
        "b": pytest.approx(1 / 3, abs=1e-6),
    }
    assert numbers["depth"] == {"min": 0.5, "median": 2.0, "max": 9.0, "valid_share": 0.25}
    assert "depth: 0.50 to 9.00 m, median 2.00 m, 25.0 % of pixels known" in report.table()
    assert json.loads(json.dumps(report.to_dict()))["ok"] is True


def test_sizes_and_classes_that_differ():
    wrong = SemanticMap(torch.zeros(40, 40, dtype=torch.int64), CLASSES)
    other = SemanticMap(torch.zeros(40, 48, dtype=torch.int64), ("a", "c"))
    samples = [Sample(picture(1), {"segmentation": wrong}), Sample(picture(2), {"segmentation": other})]
    report = check_sources({"train": Given(samples, {"segmentation": CLASSES})})
    assert (
        found(report)["error", "sizes differ", "train"] == 1 and found(report)["error", "classes differ", "train"] == 1
    )


def test_label_sets_that_differ_between_splits_are_an_error():
    parts = {"train": Given([Sample(picture(0))], {"detection": ("a", "b", "c")}),
             "val": Given([Sample(picture(1))], {"detection": ("a", "d")}),
             "test": Given([Sample(picture(2))], {"detection": ("a", "d")})}  # fmt: skip
    report = check_sources(parts)
    wrong = {(f.split): f.examples for f in report.findings if f.kind == "classes differ between splits"}
    lacks = "detection: {0} lacks b, c; train lacks d"
    assert wrong == {f"train, {part}": (lacks.format(part),) for part in ("val", "test")} and not report.ok
    report = check_sources({"train": parts["val"], "val": Given([Sample(picture(3))], {"detection": ("d", "a")})})
    assert [f.examples for f in report.findings if f.level == "error"] == [("detection: the order differs",)]


def test_leaks_between_splits_and_twins_within_one():
    noise = 3 * torch.randn(3, 40, 48, generator=torch.Generator().manual_seed(0))
    nearly = (picture(3).float() + noise).clamp(0, 255).byte()
    train = Given([Sample(picture(s), {}, {"id": f"t{s}"}) for s in (1, 2, 3, 1)], {})
    val = Given([Sample(p, {}, {"id": f"v{i}"}) for i, p in enumerate((picture(2), nearly, picture(9)))], {})
    report = check_sources({"train": train, "val": val})
    assert found(report) == {
        ("error", "same image in both splits", "train, val"): 1,
        ("warning", "same image twice", "train"): 1,
        ("warning", "near duplicates between splits", "train, val"): 1,
    }
    examples = {f.kind: f.examples[0] for f in report.findings}
    assert examples["same image in both splits"] == "t2 = v0"
    assert examples["near duplicates between splits"].startswith("t3 ~ v1 (")


def test_a_leak_names_the_files_beside_the_ids():
    parts = {
        split: Given([Sample(picture(1), {}, {"id": -12, "path": f"{split}/a.png"})], {}) for split in ("train", "val")
    }
    leaks = [f.examples for f in check_sources(parts).findings if f.kind == "same image in both splits"]
    assert leaks == [("-12 (train/a.png) = -12 (val/a.png)",)]


def test_many_pixels_of_the_largest_depth_are_a_warning(tmp_path, write_picture):
    counts = np.full((40, 48), 2000, np.uint16)
    counts[:10] = 65535
    write_picture(tmp_path / "a.png")
    write_picture(tmp_path / "d.png", counts)
    (tmp_path / "train.txt").write_text("a.png d.png\n")
    report = check_source(f"depth:{tmp_path}")
    (warning,) = report.findings
    assert (warning.level, warning.kind) == ("warning", "largest 16-bit value as depth")
    assert "a: 25.0 % of the known pixels are 65.535 m" in warning.examples[0]
    assert "the option max_depth, such as max_depth=64.9" in warning.examples[0]
    report = check_source(f"depth:{tmp_path}", max_depth=64.9)
    assert not report.findings and report.splits["train"]["depth"]["max"] == 2.0
    counts[0, 1:], counts[1:10] = 2000, 2000  # one pixel may lie so far
    write_picture(tmp_path / "d.png", counts)
    assert not check_source(f"depth:{tmp_path}").findings


def test_a_set_without_splits_is_told_what_to_ask_for(tmp_path, write_picture):
    for i, name in enumerate(("cat", "dog")):
        write_picture(tmp_path / name / "1.png", picture(i).permute(1, 2, 0).numpy())
    report = check_source(f"imagefolder:{tmp_path}")
    assert found(report) == {("error", "missing split", "train, val, test"): 1}
    assert "folders there: cat, dog (split 'all' reads them as classes)" in report.findings[0].examples[0]
    assert check_source(f"imagefolder:{tmp_path}", splits=["all"]).ok


def test_a_set_on_disk_with_broken_files(tmp_path, write_picture):
    root = tmp_path / "street"
    for i in range(4):
        write_picture(root / "images" / f"{i}.png", picture(i).permute(1, 2, 0).numpy())
        write_picture(root / "semantic" / f"{i}.png", np.full((40, 48), min(i, 2), np.uint8))
    (root / "classes.txt").write_text("sky\nroad\n")
    (root / "train.txt").write_text("0\n1\n2\n")
    (root / "val.txt").write_text("3\n")
    (root / "images" / "0.png").write_bytes(b"torn")
    report = check_source(f"semantic:{root}")
    assert list(report.splits) == ["train", "val"] and report.splits["train"]["samples"] == 1
    assert found(report)["error", "unreadable", "train"] == 2
    examples = "\n".join(report.findings[0].examples)
    assert "0.png cannot be read" in examples and "2.png holds id 2" in examples
    (root / "train.txt").write_text("0\n7\n")
    report = check_source(f"semantic:{root}")
    assert (
        found(report)["error", "cannot be opened", "train"] == 1
        and "'7' of split 'train' has no image" in report.table()
    )


def test_what_a_reader_leaves_out_is_told(coco_set):
    report = check_source(f"coco:{coco_set}")
    assert found(report)["warning", "left out: boxes without area", "train"] == 1
    assert report.splits["train"]["histogram"]["detection"] == {"zebra": 1, "apple": 2, "bus": 1}


def test_missing_splits_and_mistakes(coco_set, tmp_path):
    report = check_source(f"coco:{coco_set}", splits=["train", "test"])
    assert found(report)["error", "missing split", "test"] == 1
    report = check_source(f"coco:{tmp_path / 'nowhere'}")
    assert not report.ok and "does not exist" in report.table()
    with pytest.raises(UnknownName, match="'cocco' is not known"):
        check_source("cocco:x")
    with pytest.raises(ConfigError, match="has no option 'nonsense'"):
        check_source(f"coco:{coco_set}", nonsense=1)


def test_a_limit_spreads_evenly():
    reads = []

    class Counting(Given):
        def __getitem__(self, index):
            reads.append(index)
            return super().__getitem__(index)

    samples = [Sample(picture(i % 5)) for i in range(11)]
    check_sources({"train": Counting(samples, {})}, limit=3)
    assert reads == [0, 5, 10]
    for limit in (0, -5):
        with pytest.raises(ConfigError, match=f"limit is {limit}; read at least 1"):
            check_sources({"train": Counting(samples, {})}, limit=limit)


def test_one_file_is_read_once(coco_set, tmp_path, write_picture):
    (coco_set / "train.json").rename(coco_set / "val.json")
    report = check_source(f"coco:{coco_set / 'val.json'}")
    assert list(report.splits) == ["val"] and report.ok
    (coco_set / "val.json").rename(coco_set / "all_of_it.json")
    assert list(check_source(f"coco:{coco_set / 'all_of_it.json'}").splits) == ["train"]
    for i, side in enumerate(("in", "out")):
        write_picture(tmp_path / side / "a.png", picture(i).permute(1, 2, 0).numpy())
    report = check_source(f"ood:{tmp_path / 'in'},{tmp_path / 'out'}")
    assert list(report.splits) == ["all"] and report.ok
    for side in ("day", "night"):
        write_picture(tmp_path / "two" / side / "a.png", picture(2).permute(1, 2, 0).numpy())
    assert list(check_source(f"unpaired:{tmp_path / 'two'}").splits) == ["all"]
    labels, images = np.array([0, 1] * 8), np.random.default_rng(0).integers(0, 256, (16, 40, 48, 3), np.uint8)
    np.savez(tmp_path / "train.npz", labels=labels, images=images, classes=np.array(CLASSES))
    assert list(check_source(f"npz:{tmp_path / 'train.npz'}").splits) == ["train"]
    assert list(check_source(f"npz:{tmp_path / 'train.npz'}", val_share=0.5).splits) == ["train", "val"]


def test_tensors_and_tasks_that_the_source_does_not_state_are_no_trouble():
    boxes = Boxes(torch.tensor([[2.0, 2, 9, 9]]), torch.tensor([0]), (40, 48), CLASSES)
    targets = {"detection": boxes, "map": torch.zeros(4, 5, 6)}
    report = check_sources({"train": Given([Sample(picture(0), targets)], {"map": ()})})
    assert report.ok and not report.findings and report.splits["train"]["samples"] == 1


def test_the_real_sets_have_no_errors(data_root):
    for spec in ("coco:openimages5", "npz:batik64", "depth:depth_kitti_lidar"):
        form, name = spec.split(":")
        report = check_source(f"{form}:{data_root / name}")
        assert report.ok, report.table()

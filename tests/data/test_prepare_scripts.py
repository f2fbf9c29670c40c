"""Each data/<set>/prepare.py on a tiny copy of the public layout, read back with its reader."""

import importlib.util
import json

import numpy as np
import pytest
from PIL import Image

from visgen.data import FORMATS, build_source
from visgen.data.catalogue import dataset_card, list_datasets, read_manifest
from visgen.data.prepare import place, stable_order, verify_archives
from visgen.errors import DataError, UnknownName
from visgen.shipped import shipped_path

NAMES = ["caltech101", "camvid", "cifar10", "clothing_ccp", "coco", "hololens", "kitti", "ood_clutter", "ood_textures"]
NAMES += ["scene_graph_coco_derived", "sevenscenes", "tiny_imagenet", "vg150", "vrd"]


def script(name):
    file = shipped_path(f"data/{name}/prepare.py")
    spec = importlib.util.spec_from_file_location(f"prepare_{name}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(name, source, out, *more):
    return script(name).main([str(source), str(out), "--partial", *more])


def test_every_set_has_card_manifest_and_script():
    cards = {card.name: card for card in list_datasets()}
    assert list(cards) == NAMES
    for name, card in cards.items():
        assert card.format in FORMATS and card.counts and card.files and card.terms
        assert card.text.startswith(f"# {name}: ") and "Known flaws" in card.text
        for count in card.counts.values():
            assert f"{count:,}" in card.text or str(count) in card.text
        assert json.loads(json.dumps(card.to_dict()))["counts"] == dict(card.counts)
        assert (card.folder / "prepare.py").is_file()
    with pytest.raises(UnknownName, match="'camvit' has no card; did you mean 'camvid'"):
        dataset_card("camvit")


def test_a_manifest_that_lacks_a_key_is_named(tmp_path):
    (tmp_path / "manifest.json").write_text('{"title": "x"}')
    with pytest.raises(DataError, match=r"manifest .*manifest\.json cannot be read: KeyError\('tasks'\)"):
        read_manifest(tmp_path)


def test_counts_must_be_those_of_the_full_set_unless_partial(tmp_path, write_picture, capsys):
    for i in range(20):
        write_picture(tmp_path / "in" / "ant" / f"image_{i:04d}.jpg", (i, i, i))
    module = script("caltech101")
    assert module.main([str(tmp_path / "in"), str(tmp_path / "out")]) == 2
    assert "split 'train' has 5 samples, but the full public set has 7162" in capsys.readouterr().err
    assert module.main([str(tmp_path / "in"), str(tmp_path / "out"), "--partial"]) == 0
    assert "caltech101 val: 8 samples of 808" in capsys.readouterr().out
    assert module.main([str(tmp_path / "nowhere"), str(tmp_path / "out")]) == 2
    assert "nowhere does not exist" in capsys.readouterr().err


def test_caltech101(tmp_path, write_picture):
    for name in ("ant", "BACKGROUND_Google", "zebra"):
        for i in range(20):
            write_picture(tmp_path / "in" / name / f"image_{i:04d}.jpg", (i * 10, 0, 0))
    assert run("caltech101", tmp_path / "in", tmp_path / "out") == 0
    found = {split: build_source(f"imagefolder:{tmp_path / 'out'}", split) for split in ("train", "val", "test")}
    assert {split: len(source) for split, source in found.items()} == {"train": 10, "val": 16, "test": 14}
    assert all(source.classes["classification"] == ("ant", "zebra") for source in found.values())
    names = [file for source in found.values() for file, _ in source.items]
    assert len(set(names)) == 40


def test_camvid(tmp_path, write_picture):
    for split, value in (("train", 3), ("val", 11), ("test", 0)):
        write_picture(tmp_path / "in" / split / f"{split}_1.png", (9, 9, 9))
        write_picture(tmp_path / "in" / f"{split}annot" / f"{split}_1.png", np.full((40, 48), value, np.uint8))
    assert run("camvid", tmp_path / "in", tmp_path / "out") == 0
    read = {
        s: build_source(f"semantic:{tmp_path / 'out'}", s)[0].targets["segmentation"] for s in ("train", "val", "test")
    }
    assert [read[s].ids.unique().tolist() for s in read] == [[3], [255], [0]]
    assert read["train"].classes[3] == "road" and len(read["train"].classes) == 11
    write_picture(tmp_path / "in" / "valannot" / "val_1.png", np.full((40, 48), 12, np.uint8))
    assert run("camvid", tmp_path / "in", tmp_path / "out") == 2


def test_cifar10(tmp_path):
    source = tmp_path / "cifar-10-batches-bin"
    source.mkdir()
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    (source / "batches.meta.txt").write_text("\n".join(names) + "\n\n")
    record = np.zeros((2, 3073), np.uint8)
    record[:, 0] = (3, 9)
    record[0, 1 : 1 + 1024] = 200  # the red plane
    record[1, 1 + 2048 + 32] = 77  # blue, row 1, column 0
    for file in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        record.tofile(source / file)
    assert run("cifar10", source, tmp_path / "out") == 0
    train = build_source(f"npz:{tmp_path / 'out'}")
    assert len(train) == 10 and train[0].targets["classification"].name == "cat"
    assert train[0].pixels[:, 5, 5].tolist() == [200, 0, 0] and train[1].pixels[:, 1, 0].tolist() == [0, 0, 77]
    (source / "test_batch.bin").write_bytes(b"torn")
    assert run("cifar10", source, tmp_path / "out") == 2


def test_tiny_imagenet(tmp_path, write_picture, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    source = tmp_path / "in"
    (source / "val").mkdir(parents=True)
    (source / "wnids.txt").write_text("n02\nn01\n")
    (source / "words.txt").write_text("n01\tcrane, bird\nn02\tcrane, machine\nn03\tother\n")
    for wnid in ("n01", "n02"):
        folder = source / "train" / wnid
        for i in range(3):
            write_picture(folder / "images" / f"{wnid}_{i}.JPEG", (i * 50, 0, 0), (64, 64))
        (folder / f"{wnid}_boxes.txt").write_text("".join(f"{wnid}_{i}.JPEG\t{i}\t1\t40\t63\n" for i in range(3)))
    write_picture(source / "val" / "images" / "val_0.JPEG", (5, 5, 5), (64, 64))
    (source / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn02\t0\t0\t63\t62\n")
    assert run("tiny_imagenet", source, tmp_path / "out") == 0
    options = {
        "targets": ["classification", "detection"],
        "box_format": "xyxy_inclusive",
        "cache": str(tmp_path / "cache"),
    }
    val = build_source(f"parquet:{tmp_path / 'out'}", "val", **options)
    assert val.classes["classification"] == ("crane (n01)", "crane (n02)")
    assert val[0].targets["classification"].label == 1 and val[0].targets["detection"].xyxy.tolist() == [[0, 0, 64, 63]]
    train = build_source(f"parquet:{tmp_path / 'out'}", "train", **options)
    rows = sorted(
        (train[i].targets["classification"].label, float(train[i].targets["detection"].xyxy[0, 0])) for i in range(6)
    )
    assert rows == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]


def test_coco(tmp_path, coco_set):
    source = tmp_path / "public"
    (source / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        data = json.loads((coco_set / "train.json").read_text())
        (source / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(data))
        (source / f"{split}2017").mkdir()
        for file in (coco_set / "images").iterdir():
            place(file, source / f"{split}2017" / file.name)
    assert run("coco", source, tmp_path / "out", "--semantic") == 0
    assert len(build_source(f"coco:{tmp_path / 'out'}", "val")) == 4
    target = build_source(f"coco:{tmp_path / 'out'}", "val", targets=["segmentation"])[0].targets["segmentation"]
    assert target.classes == ("background", "zebra", "apple", "bus")
    ids = target.ids
    assert int(ids[8, 8]) == 3 and int(ids[30, 30]) == 0 and bool((ids[:, :4] == 255).all())  # bus, background, crowd
    assert run("coco", tmp_path / "out", tmp_path / "out") == 0


def test_clothing_ccp(tmp_path, write_picture):
    scipy_io = pytest.importorskip("scipy.io")
    source = tmp_path / "in"
    (source / "annotations" / "pixel-level").mkdir(parents=True)
    names = np.array(["null", "bag", "hair", "shoes"], dtype=object)
    scipy_io.savemat(source / "label_list.mat", {"label_list": names[None]})
    for i in range(1, 4):
        write_picture(source / "photos" / f"{i:04d}.jpg", size=(640, 480))
        labels = np.zeros((640, 480), np.uint8)
        if i < 3:  # the third map is empty
            labels[100:200, 60:160], labels[200:300, 80:140], labels[0:40, 0:40] = 2, 3, 1
        scipy_io.savemat(source / "annotations" / "pixel-level" / f"{i:04d}.mat", {"groundtruth": labels})
    module = script("clothing_ccp")
    module.VAL, module.TEST = 1, 0
    assert module.main([str(source), str(tmp_path / "out"), "--partial"]) == 0
    val, train = (build_source(f"coco:{tmp_path / 'out'}", split) for split in ("val", "train"))
    assert len(val) == len(train) == 1 and {val[0].meta["id"], train[0].meta["id"]} == {1, 2}
    sample = val[0]
    assert sample.pixels.shape == (3, 320, 240)
    assert sample.targets["detection"].xyxy.tolist() == [[30, 50, 80, 150]]  # halved; the bag is no part of a person
    assert int(sample.targets["masks"].masks.sum()) == 50 * 50 + 30 * 50
    maps = build_source(f"coco:{tmp_path / 'out'}", "val", targets=["segmentation"])[0].targets["segmentation"]
    assert maps.classes == ("null", "bag", "hair", "shoes") and maps.ids.unique().tolist() == [0, 1, 2, 3]
    (source / "photos" / "0002.jpg").unlink()
    assert run("clothing_ccp", source, tmp_path / "out2") == 2


def test_the_two_outsides_of_ood(tmp_path, write_picture):
    textures = script("ood_textures")
    for category in (*textures.CATEGORIES, "dotted"):
        write_picture(tmp_path / "dtd" / "images" / category / f"{category}_1.jpg", size=(300, 400))
    for name in ("image_1.jpg", "image_2.jpg"):
        write_picture(tmp_path / "caltech" / "BACKGROUND_Google" / name, size=(100, 150))
    assert run("ood_textures", tmp_path / "dtd", tmp_path / "far") == 0
    assert run("ood_clutter", tmp_path / "caltech", tmp_path / "near") == 0
    both = build_source(f"ood:{tmp_path / 'near'},{tmp_path / 'far'}", "val")
    assert [both[i].targets["ood"].is_ood for i in (0, 1, 2, 11)] == [False, False, True, True]
    assert len(both) == 12 and both[2].pixels.shape == (3, 144, 192) and both[0].pixels.shape == (3, 100, 150)
    assert run("ood_textures", tmp_path / "caltech", tmp_path / "far2") == 2
    assert run("ood_clutter", tmp_path / "dtd", tmp_path / "near2") == 2


def test_sevenscenes(tmp_path, write_picture):
    source = tmp_path / "in"
    for split, sequence in (("Train", 1), ("Test", 2)):
        for frame in range(2):
            stem = source / "chess" / f"seq-{sequence:02d}" / f"frame-{frame:06d}"
            write_picture(stem.with_name(stem.name + ".color.png"), (frame, 0, 0), (480, 640))
            depth = np.full((480, 640), 2000, np.uint16)
            depth[:, 600:] = 65535
            write_picture(stem.with_name(stem.name + ".depth.png"), depth)
        (source / "chess" / f"{split}Split.txt").write_text(f"sequence{sequence}\n")
    assert run("sevenscenes", source, tmp_path / "out", "--every", "2") == 0
    train = build_source(f"depth:{tmp_path / 'out'}")
    assert len(train) == 1 and len(build_source(f"depth:{tmp_path / 'out'}", "test")) == 1
    metres = train[0].targets["depth"].metres
    assert metres.unique().tolist() == [0.0, 2.0]
    # The colour camera sees more: depth fills the middle 525 / 585 of it, and ends where 600 px of depth end.
    columns = metres.any(0).nonzero()[:, 0]
    assert abs(int(columns[0]) - (320 - 320 * 525 / 585)) <= 1
    assert abs(int(columns[-1]) + 1 - (320 + 280 * 525 / 585)) <= 1
    assert run("sevenscenes", source, tmp_path / "out", "--every", "0") == 2


def test_registration_keeps_the_nearest_and_follows_the_shift():
    register = script("sevenscenes").register
    depth = np.zeros((480, 640), np.uint16)
    depth[240, 320] = 1000
    assert register(depth)[240, 320] == 1000 and register(depth).sum() == 1000
    moved = register(depth, (100.0, 0.0, 0.0))
    assert moved[240, 320 + 52] == 1000 or moved[240, 320 + 53] == 1000  # 100 mm at 1 m is 52.5 px
    crowded = np.zeros((480, 640), np.uint16)
    crowded[240, 324], crowded[240, 325] = 1000, 700  # 4.5 and 5.5 px from the centre: both go to pixel 4 by 525 / 585
    assert register(crowded)[240, 324] == 700 and np.count_nonzero(register(crowded)) == 1


def test_hololens(tmp_path, write_picture):
    source = tmp_path / "000"
    for i in range(373):
        Image.new("RGB", (36, 36), (i % 256, 0, 0)).save(_made(source / "images" / f"{i + 3:05d}.png"))
        Image.fromarray(np.full((36, 36), i + 1, np.uint16)).save(_made(source / "depth" / f"{i + 3:05d}.png"))
    assert script("hololens").main([str(source), str(tmp_path / "out")]) == 0  # the full counts, so without --partial
    val = build_source(f"depth:{tmp_path / 'out'}", "val")
    assert len(val) == 24 and float(val[0].targets["depth"].metres[0, 0]) == pytest.approx(0.263)


def test_kitti(tmp_path, write_picture):
    source, drive = tmp_path / "in", "2011_09_26_drive_0001_sync"
    for split in ("train", "val"):
        for camera in ("image_02", "image_03"):
            depth = np.full((40, 48), 2560, np.uint16)
            write_picture(source / split / drive / "proj_depth" / "groundtruth" / camera / "0000000005.png", depth)
            write_picture(source / "2011_09_26" / drive / camera / "data" / "0000000005.png")
    assert run("kitti", source, tmp_path / "out") == 0
    train = build_source(f"depth:{tmp_path / 'out'}", scale=256)
    assert len(train) == 2 and float(train[0].targets["depth"].metres[0, 0]) == 10.0
    assert train[1].meta["id"] == f"{drive}_image_03_0000000005"
    (source / "2011_09_26" / drive / "image_03" / "data" / "0000000005.png").unlink()
    assert run("kitti", source, tmp_path / "out2") == 2


def test_scene_graph_coco_derived(tmp_path, write_picture):
    source = tmp_path / "in" / "graphs"
    source.mkdir(parents=True)
    objects = [{"id": i, "category": "cat", "bbox": [i, 0, 9, 9]} for i in range(2)]
    image = {"id": 3, "width": 48, "height": 40, "objects": objects}
    image["relations"] = [{"subject_id": 1, "predicate": "on", "object_id": 0}]
    for split in ("train", "val"):
        write_picture(tmp_path / "in" / "photos" / f"{split}.png")
        data = {"objects": ["cat"], "predicates": ["on"], "images": [{**image, "file": f"../photos/{split}.png"}]}
        (source / f"{split}.json").write_text(json.dumps(data))
    assert run("scene_graph_coco_derived", source, tmp_path / "out") == 0
    sample = build_source(f"scene-graph:{tmp_path / 'out'}", "val")[0]
    assert sample.targets["scene_graph"].names == (("cat", "on", "cat"),)
    assert sample.meta["path"] == str(tmp_path / "out" / "images" / "val.png")
    (tmp_path / "in" / "photos" / "val.png").unlink()
    assert run("scene_graph_coco_derived", source, tmp_path / "out2") == 2


def test_vg150(tmp_path, write_picture):
    h5py = pytest.importorskip("h5py")
    source = tmp_path / "in"
    for image in (1, 2, 3):
        write_picture(source / "VG_100K" / f"{image}.jpg", size=(32, 64))
    with h5py.File(source / "VG-SGG.h5", "w") as file:
        file["split"] = np.array([0, 0, 2])
        file["labels"], file["predicates"] = np.ones((6, 1), int), np.ones((3, 1), int)
        file["boxes_1024"] = np.tile([100, 100, 50, 50], (6, 1))
        file["relationships"] = np.arange(6).reshape(3, 2)
        for kind, each in (("box", 2), ("rel", 1)):
            file[f"img_to_first_{kind}"] = np.arange(3) * each
            file[f"img_to_last_{kind}"] = np.arange(3) * each + each - 1
    (source / "VG-SGG-dicts.json").write_text(json.dumps({"label_to_idx": {"a": 1}, "predicate_to_idx": {"on": 1}}))
    listed = [{"image_id": i, "width": 64, "height": 32} for i in (1, 2, 3)]
    (source / "image_data.json").write_text(json.dumps(listed))
    assert run("vg150", source, tmp_path / "out") == 0
    assert [r.id for r in build_source(f"vg150:{tmp_path / 'out'}", "val").records] == [1, 2]
    assert run("vg150", source, source) == 0
    (source / "image_data.json").unlink()
    assert run("vg150", source, tmp_path / "out2") == 2


def test_vrd(tmp_path, write_picture):
    source = tmp_path / "in"
    ends = [{"category": i, "bbox": [0, 9, i, 9 + i]} for i in range(2)]
    for split in ("train", "test"):
        write_picture(source / "sg_dataset" / f"sg_{split}_images" / f"{split}.jpg")
        rows = {f"{split}.jpg": [{"predicate": 0, "subject": ends[0], "object": ends[1]}]}
        (source / f"annotations_{split}.json").write_text(json.dumps(rows))
    (source / "objects.json").write_text(json.dumps(["a", "b"]))
    (source / "predicates.json").write_text(json.dumps(["on"]))
    assert run("vrd", source, tmp_path / "out") == 0
    assert build_source(f"vrd:{tmp_path / 'out'}", "test")[0].targets["scene_graph"].names == (("a", "on", "b"),)
    (source / "objects.json").unlink()
    assert run("vrd", source, tmp_path / "out2") == 2


def test_archives_are_compared_with_the_manifest(tmp_path):
    card = dataset_card("cifar10")
    (tmp_path / "cifar-10-batches-bin").mkdir()
    assert verify_archives(card, tmp_path / "cifar-10-batches-bin") == []
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"torn")
    with pytest.raises(DataError, match="has md5 .*, but c32a1d4ab5d03f1284b67883e8d87530 is expected"):
        verify_archives(card, tmp_path / "cifar-10-batches-bin")
    (tmp_path / "data_depth_annotated.zip").write_bytes(b"x")
    assert verify_archives(dataset_card("kitti"), tmp_path) == ["data_depth_annotated.zip: no hash is known for it"]


def test_the_order_is_fixed_and_stable():
    names = [f"image_{i:04d}.jpg" for i in range(10)]
    order = stable_order(names, "caltech101/ant")
    assert order == stable_order(reversed(names), "caltech101/ant") and sorted(order) == names and order != names
    assert [n for n in order if n != names[4]] == stable_order([n for n in names if n != names[4]], "caltech101/ant")


def _made(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path

"""Every registered reader gives a Source that keeps the contract: deterministic, picklable, typed, and trainable."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from visgen.data import FORMATS, READERS, Mixture, MixturePart, Sample, Source, build_source, collate
from visgen.data.town.source import TASKS
from visgen.structures import Boxes, ClassLabel, DepthMap, Masks, OODLabel, PlaceLabel, SceneGraph, SemanticMap

NAMES = ("cat", "dog")
COUNT = 4
SIZES = [(48, 64), (40, 56), (64, 48), (48, 64)]
TYPES = {
    "classification": ClassLabel,
    "detection": Boxes,
    "masks": Masks,
    "segmentation": SemanticMap,
    "depth": DepthMap,
    "ood": OODLabel,
    "scene_graph": SceneGraph,
    "retrieval": PlaceLabel,
}


def photograph(index: int) -> Image.Image:
    height, width = SIZES[index]
    pixels = np.random.default_rng(index).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height))


def jpeg(index: int, folder: Path) -> bytes:
    path = folder / f"{index}.jpg"
    photograph(index).save(path, quality=90)
    return path.read_bytes()


def write_imagefolder(folder: Path) -> str:
    for index in range(COUNT):
        place = folder / "train" / NAMES[index % 2]
        place.mkdir(parents=True, exist_ok=True)
        photograph(index).save(place / f"{index}.jpg")
    return f"imagefolder:{folder}"


def write_semantic(folder: Path) -> str:
    (folder / "images").mkdir()
    (folder / "semantic").mkdir()
    for index in range(COUNT):
        photograph(index).save(folder / "images" / f"{index}.jpg")
        ids = np.full(SIZES[index], index % 2, dtype=np.uint8)
        ids[:4] = 255
        Image.fromarray(ids).save(folder / "semantic" / f"{index}.png")
    (folder / "classes.txt").write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    (folder / "train.txt").write_text("\n".join(str(i) for i in range(COUNT)) + "\n", encoding="utf-8")
    return f"semantic:{folder}"


def write_depth(folder: Path) -> str:
    lines = []
    for index in range(COUNT):
        photograph(index).save(folder / f"{index}.jpg")
        millimetres = np.full(SIZES[index], 1000 * (index + 1), dtype=np.uint16)
        millimetres[:4] = 0
        Image.fromarray(millimetres).save(folder / f"{index}.png")
        lines.append(f"{index}.jpg {index}.png")
    (folder / "train.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"depth:{folder}"


def write_coco(folder: Path) -> str:
    (folder / "images").mkdir()
    images, annotations = [], []
    for index in range(COUNT):
        height, width = SIZES[index]
        photograph(index).save(folder / "images" / f"{index}.jpg")
        images.append({"id": index + 10, "file_name": f"{index}.jpg", "height": height, "width": width})
        polygon = [4, 4, 20, 4, 20, 30, 4, 30]
        row = {"id": index + 1, "image_id": index + 10, "category_id": (3, 7)[index % 2], "iscrowd": 0}
        annotations.append({**row, "bbox": [4, 4, 16, 26], "area": 416, "segmentation": [polygon]})
    categories = [{"id": 3, "name": NAMES[0]}, {"id": 7, "name": NAMES[1]}]
    data = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "train.json").write_text(json.dumps(data), encoding="utf-8")
    return f"coco:{folder}"


def write_npz(folder: Path) -> str:
    encoded = [jpeg(i, folder) for i in range(COUNT)]
    offsets = np.cumsum([0, *(len(e) for e in encoded)])
    blob = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    labels = np.arange(COUNT) % 2
    np.savez(folder / "train.npz", blob=blob, offsets=offsets, labels=labels, classes=np.array(NAMES))
    return f"npz:{folder}"


def write_ood(folder: Path) -> str:
    for index in range(COUNT):
        place = folder / ("pets" if index < COUNT // 2 else "textures") / "train" / NAMES[index % 2]
        place.mkdir(parents=True, exist_ok=True)
        photograph(index).save(place / f"{index}.jpg")
    return f"ood:{folder / 'pets'},{folder / 'textures'}"


def write_parquet(folder: Path) -> str:
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    rows = [{"image": {"bytes": jpeg(i, folder), "path": f"{i}.jpg"}, "label": i % 2} for i in range(COUNT)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "train.parquet")
    (folder / "classes.txt").write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    return f"parquet:{folder}"


def write_scene_graph(folder: Path) -> str:
    images = []
    for index in range(COUNT):
        height, width = SIZES[index]
        photograph(index).save(folder / f"{index}.jpg")
        objects = [{"id": i, "category": NAMES[i], "bbox": [4 * i, 4, 16, 26 - index]} for i in range(2)]
        relations = [{"subject_id": 0, "predicate": "near", "object_id": 1}]
        images.append({"id": index, "file": f"{index}.jpg", "width": width, "height": height, "objects": objects})
        images[-1]["relations"] = relations
    data = {"objects": list(NAMES), "predicates": ["near", "on"], "images": images}
    (folder / "train.json").write_text(json.dumps(data), encoding="utf-8")
    return f"scene-graph:{folder}"


def write_vg150(folder: Path) -> str:
    h5py = pytest.importorskip("h5py")
    (folder / "VG_100K").mkdir()
    listed = []
    for index in range(COUNT):
        height, width = SIZES[index]
        photograph(index).save(folder / "VG_100K" / f"{index}.jpg")
        listed.append({"image_id": index, "width": width, "height": height})
    (folder / "image_data.json").write_text(json.dumps(listed), encoding="utf-8")
    dicts = {"label_to_idx": {"cat": 1, "dog": 2}, "predicate_to_idx": {"near": 1}}
    (folder / "VG-SGG-dicts.json").write_text(json.dumps(dicts), encoding="utf-8")
    first = np.arange(COUNT)
    with h5py.File(folder / "VG-SGG.h5", "w") as file:
        file["split"] = np.zeros(COUNT, int)
        file["labels"] = np.tile([[1], [2]], (COUNT, 1))
        file["boxes_1024"] = np.tile([[200, 300, 301, 401], [500, 400, 300, 200]], (COUNT, 1))
        file["relationships"] = np.stack((2 * first, 2 * first + 1), 1)
        file["predicates"] = np.ones((COUNT, 1), int)
        for name, values in (("box", (2 * first, 2 * first + 1)), ("rel", (first, first))):
            file[f"img_to_first_{name}"], file[f"img_to_last_{name}"] = values
    return f"vg150:{folder}"


def write_vrd(folder: Path) -> str:
    (folder / "images").mkdir()
    annotations = {}
    for index in range(COUNT):
        photograph(index).save(folder / "images" / f"{index}.jpg")
        ends = [{"category": i, "bbox": [4, 30, 4 * i, 20 + 4 * i]} for i in range(2)]
        annotations[f"{index}.jpg"] = [{"predicate": 0, "subject": ends[0], "object": ends[1]}]
    for name, content in (("annotations_train", annotations), ("objects", NAMES), ("predicates", ["near"])):
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return f"vrd:{folder}"


def write_boundary(folder: Path) -> str:
    for name in ("images", "boundaries"):
        (folder / name).mkdir()
    for index in range(COUNT):
        photograph(index).save(folder / "images" / f"{index}.jpg")
        share = np.zeros(SIZES[index], dtype=np.uint8)
        share[10 + index] = 255
        Image.fromarray(share).save(folder / "boundaries" / f"{index}.png")
    (folder / "train.txt").write_text("\n".join(str(i) for i in range(COUNT)) + "\n", encoding="utf-8")
    return f"boundary:{folder}"


def write_places(folder: Path) -> str:
    places: dict[str, dict[str, list[str]]] = {}
    for index in range(COUNT):
        file, time = f"{index % 2}/{index}.jpg", str(index % 2)
        (folder / time).mkdir(exist_ok=True)
        photograph(index).save(folder / file)
        places.setdefault(("square", "bridge")[index // 2], {})[time] = [file]
    (folder / "pairs.json").write_text(json.dumps({"places": places}), encoding="utf-8")
    for time in range(2):
        (folder / f"train_{time}.txt").write_text(f"{time}/{time}.jpg\n{time + 2}.jpg\n", encoding="utf-8")
    return f"places:{folder}"


def write_unpaired(folder: Path) -> str:
    for domain in ("day", "night"):  # of one size: only `shared_crop` makes two pictures fit
        (folder / domain).mkdir()
        for index in range(2):
            photograph(3 * index).save(folder / domain / f"{index}.jpg")
        (folder / f"train_{domain}.txt").write_text("0.jpg\n1.jpg\n", encoding="utf-8")
    return f"unpaired:{folder}"


def write_maps(folder: Path) -> str:
    """The stride-16 means of scene graphs, padded to one grid."""
    from visgen.engine import write_maps as write
    from visgen.structures.features import Features

    class Means(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> Features:
            return Features({16: torch.nn.functional.avg_pool2d(images, 16, ceil_mode=True)}, images.mean((2, 3)))

    (folder / "graphs").mkdir()
    made = build_source(write_scene_graph(folder / "graphs"))
    write(Means(), made, folder, "train", long_side=64, channels=2, cell=8, grid=(4, 4))
    return f"maps:{folder}"


def write_unpaired_sources(folder: Path) -> str:
    return "unpaired-sources:" + " | ".join(f"town:street?count=2&size=48x64&seed={n}&night={n}" for n in range(2))


def write_town(folder: Path) -> str:
    return "town:street"


WRITERS: dict[str, Callable[[Path], str]] = {
    "imagefolder": write_imagefolder,
    "semantic": write_semantic,
    "depth": write_depth,
    "coco": write_coco,
    "npz": write_npz,
    "ood": write_ood,
    "parquet": write_parquet,
    "scene-graph": write_scene_graph,
    "vg150": write_vg150,
    "vrd": write_vrd,
    "boundary": write_boundary,
    "unpaired": write_unpaired,
    "maps": write_maps,
    "unpaired-sources": write_unpaired_sources,
    "places": write_places,
    "town": write_town,
}
OPTIONS: dict[str, dict[str, object]] = {
    "town": {"count": COUNT, "size": (48, 64), "tasks": (*TASKS, "scene_graph")},
    "vg150": {"val_images": 0},
}


@pytest.fixture(scope="module", params=FORMATS)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Source:
    folder = tmp_path_factory.mktemp(request.param)
    options = dict(OPTIONS.get(request.param, {}))
    if request.param == "parquet":
        options["cache"] = str(tmp_path_factory.mktemp("cache"))
    return build_source(WRITERS[request.param](folder), "train", **options)


def same(a: Sample, b: Sample) -> bool:
    """True when the images are equal bit for bit and the targets have equal contents."""

    def contents(sample: Sample) -> dict[str, object]:
        return {k: v.tolist() if isinstance(v, torch.Tensor) else v.to_dict() for k, v in sample.targets.items()}

    return torch.equal(a.image, b.image) and contents(a) == contents(b)


def test_every_format_has_a_case() -> None:
    assert set(WRITERS) == set(FORMATS)
    assert set(READERS.names()) <= set(FORMATS)


def test_it_is_a_source(source: Source) -> None:
    assert isinstance(source, Source)
    assert len(source) == COUNT
    assert set(source.heads) == set(source.classes)
    assert source.heads or type(source).__name__.startswith("Unpaired")  # two domains of pictures, and no label
    for task, head in source.heads.items():
        assert head == task or head.startswith(f"{task}.")
        assert isinstance(source.classes[task], tuple)


def test_samples_are_typed_and_fit_their_image(source: Source) -> None:
    for index in range(len(source)):
        sample = source[index]
        assert sample.image.dtype == torch.float32 and sample.image.shape[0] == 3
        assert 0 <= float(sample.image.min()) <= float(sample.image.max()) <= 1
        assert set(source.heads) <= set(sample.targets)
        for task in source.heads:
            target = sample.targets[task]
            assert type(target) is TYPES[task]
            if hasattr(target, "size"):
                assert tuple(target.size) == sample.size
            if hasattr(target, "classes"):
                assert target.classes == source.classes[task]
        assert "id" in sample.meta


def test_the_same_index_gives_the_same_sample(source: Source) -> None:
    assert all(same(source[i], source[i]) for i in range(len(source)))
    assert not same(source[0], source[1])


def test_a_pickled_copy_gives_the_same_samples(source: Source) -> None:
    copy = pickle.loads(pickle.dumps(source))
    assert len(copy) == len(source)
    assert same(copy[1], source[1])


def test_samples_collate_and_unequal_sizes_are_padded(source: Source) -> None:
    samples = [source[i] for i in range(len(source))]
    batch = collate(samples, source.heads, source.name)
    height, width = max(s.size[0] for s in samples), max(s.size[1] for s in samples)
    assert tuple(batch.images.shape) == (COUNT, 3, height, width)
    assert [meta["size"] for meta in batch.meta] == [s.size for s in samples]
    for i, sample in enumerate(samples):
        h, w = sample.size
        assert torch.equal(batch.images[i, :, :h, :w], sample.image)
        assert not batch.images[i, :, h:].any() and not batch.images[i, :, :, w:].any()


def test_a_mixture_draws_from_it(source: Source) -> None:
    mixture = Mixture([MixturePart(source, batch_size=2)], seed=3)
    (batch,) = mixture.batches(0)
    assert len(batch) == 2 and batch.heads == source.heads


@pytest.mark.parametrize("form", FORMATS)
def test_an_unknown_option_is_refused(form: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no_such_option"):
        build_source(WRITERS[form](tmp_path), "train", no_such_option=1)

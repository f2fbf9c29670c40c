import io

import numpy as np
import pytest
from PIL import Image

from visgen.data import build_source
from visgen.errors import ConfigError, DataError


def encode(value):
    stream = io.BytesIO()
    Image.new("RGB", (32, 32), (value, 0, 0)).save(stream, "png")
    return np.frombuffer(stream.getvalue(), np.uint8)


def write(path, **arrays):
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **arrays)
    return path


@pytest.fixture
def packed(tmp_path):
    files = [encode(v) for v in (5, 6, 7)]
    offsets = np.cumsum([0, *map(len, files)])
    return write(tmp_path / "tens" / "train.npz", blob=np.concatenate(files), offsets=offsets,
                 labels=np.array([1, 0, 1], np.uint8), classes=np.array(["a", "b"]))  # fmt: skip


def test_encoded_images(packed):
    source = build_source(f"npz:{packed.parent}")
    assert source.heads == {"classification": "classification.tens"} and source.classes == {
        "classification": ("a", "b")
    }
    assert [int(source[i].pixels[0, 0, 0]) for i in range(len(source))] == [5, 6, 7]
    assert [source[i].targets["classification"].name for i in range(3)] == ["b", "a", "b"]


def test_plain_images(tmp_path):
    images = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    file = write(tmp_path / "x" / "test.npz", images=images, labels=np.array([0, 1]))
    source = build_source(f"npz:{file}", classes=["a", "b"], name="cifar10")
    assert (source[1].pixels.permute(1, 2, 0).numpy() == images[1]).all()
    source[1].pixels.zero_()
    assert int(source[1].pixels.max()) == 119


def test_a_set_of_one_file_is_split_by_the_bytes_of_its_images(tmp_path):
    values = [v % 100 for v in range(200)]  # every image comes twice
    files = [encode(v) for v in values]
    write(tmp_path / "tens" / "train.npz", blob=np.concatenate(files), offsets=np.cumsum([0, *map(len, files)]),
          labels=np.array(values) % 2, classes=np.array(["even", "odd"]))  # fmt: skip
    parts = {s: build_source(f"npz:{tmp_path / 'tens'}", s, val_share=0.3) for s in ("train", "val")}
    seen = {s: [int(part[i].pixels[0, 0, 0]) for i in range(len(part))] for s, part in parts.items()}
    assert sorted(seen["train"] + seen["val"]) == sorted(values)
    assert not set(seen["train"]) & set(seen["val"]), "equal images are on one side"
    assert 0.15 < len(seen["val"]) / len(values) < 0.45
    for split, part in parts.items():
        assert [part[i].targets["classification"].label for i in range(len(part))] == [v % 2 for v in seen[split]]
    larger = build_source(f"npz:{tmp_path / 'tens'}", "val", val_share=0.6)
    assert {int(larger[i].pixels[0, 0, 0]) for i in range(len(larger))} >= set(seen["val"])
    for share, split in ((0.0, "val"), (1.0, "val"), (0.5, "test")):
        with pytest.raises(ConfigError, match=f"val_share is {share} for split '{split}'"):
            build_source(f"npz:{tmp_path / 'tens'}", split, val_share=share)


def test_mistakes_are_named(packed, tmp_path):
    with pytest.raises(DataError, match=r"val\.npz does not exist; npz files there: train\.npz"):
        build_source(f"npz:{packed.parent}", "val")
    broken = write(tmp_path / "y" / "a.npz", images=np.zeros((2, 4, 4, 3), np.uint8), labels=np.array([0, 3]))
    with pytest.raises(DataError, match="has no array 'classes'"):
        build_source(f"npz:{broken}")
    with pytest.raises(DataError, match=r"holds label 3, but its 2 classes are 0\.\.1"):
        build_source(f"npz:{broken}", classes=["a", "b"])
    short = write(tmp_path / "y" / "b.npz", images=np.zeros((2, 4, 4, 3), np.uint8), labels=np.array([0]))
    with pytest.raises(DataError, match="holds 2 images but 1 labels"):
        build_source(f"npz:{short}", classes=["a"])
    floats = write(tmp_path / "y" / "c.npz", images=np.zeros((1, 4, 4, 3)), labels=np.array([0]))
    with pytest.raises(DataError, match=r"images are \(1, 4, 4, 3\) float64"):
        build_source(f"npz:{floats}", classes=["a"])
    objects = write(tmp_path / "y" / "d.npz", images=np.array([None]), labels=np.array([0]))
    with pytest.raises(DataError, match="cannot be read as npz"):
        build_source(f"npz:{objects}")
    nothing = write(tmp_path / "y" / "e.npz", other=np.array([0]))
    with pytest.raises(DataError, match="it needs labels"):
        build_source(f"npz:{nothing}")


IMAGES = np.zeros((2, 4, 4, 3), np.uint8)
NAMES = np.array(["a", "b"])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": np.array([0.7, 1])}, r"labels are \(2,\) float64; they must be \(N,\) whole numbers"),
        ({"labels": np.array([np.nan, 1])}, r"labels are \(2,\) float64"),
        ({"labels": np.array(["cat", "dog"])}, r"labels are \(2,\) <U3"),
        ({"labels": np.eye(2, dtype=np.int64)}, r"labels are \(2, 2\) int64"),
        ({"classes": np.array([b"a", b"b"])}, "hold b'a'; each must be text"),
        ({"classes": np.array("ab")}, "are 'ab'; give a list of names"),
        ({"images": np.uint8(4)}, r"images are \(\) uint8; they must be"),
    ],
)
def test_arrays_of_other_kinds_are_named(tmp_path, arrays, message):
    file = write(tmp_path / "z" / "a.npz", **{"images": IMAGES, "labels": np.array([0, 1]), "classes": NAMES, **arrays})
    with pytest.raises(DataError, match=message):
        build_source(f"npz:{file}")


def test_offsets_lie_within_the_blob(packed, tmp_path):
    stored = dict(np.load(packed))
    for offsets in ([0, 10**9, 10**9, 10**9], [9, 5, 6, 7], [-1, 5, 6, 7]):
        file = write(tmp_path / "z" / "a.npz", **{**stored, "offsets": np.array(offsets)})
        with pytest.raises(DataError, match=rf"cut at {offsets[0]} to {offsets[-1]}; .* offsets rise within it"):
            build_source(f"npz:{file}")


def test_whole_numbers_may_be_floats(tmp_path):
    file = write(tmp_path / "z" / "a.npz", images=IMAGES, labels=np.array([1.0, 0.0]), classes=NAMES)
    assert build_source(f"npz:{file}").labels.tolist() == [1, 0]

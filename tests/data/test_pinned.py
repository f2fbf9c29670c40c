from pathlib import Path

import pytest
import torch

from visgen.data import build_source
from visgen.data.pinned import by_hash, centre_square, check_pin, files_by_hash, pin_of, to_pixmap
from visgen.data.readers.files import read_pixels
from visgen.data.town.crops import object_crops
from visgen.errors import DataError


def test_parts_are_disjoint_balanced_and_the_same_every_time() -> None:
    labels = [i % 3 for i in range(90)]
    first, second = by_hash(labels, (20, 5))
    assert not set(first) & set(second) and by_hash(labels, (20, 5)) == [first, second]
    assert [sum(labels[i] == k for i in first) for k in range(3)] == [20, 20, 20]
    assert [sum(labels[i] == k for i in second) for k in range(3)] == [5, 5, 5]
    assert first[:20] != sorted(first[:20])
    assert [len(part) for part in by_hash([0] * 4, (3, 3))] == [3, 1]


def test_a_pin_knows_bytes_and_order(tmp_path: Path) -> None:
    assert pin_of([b"a", b"b"]) != pin_of([b"b", b"a"]) and pin_of([]) == pin_of([])
    pinned = {"x": check_pin("x", [b"a", b"b"], {})}
    assert check_pin("x", [b"a", b"b"], pinned) == {"images": 2, "sha256": pin_of([b"a", b"b"])}
    with pytest.raises(DataError, match="list 'x' has 1 pictures with hash .* but 2 with"):
        check_pin("x", [b"a"], pinned)
    for name in ("a.jpg", "b.jpg", "c.png"):
        (tmp_path / name).write_bytes(b"")
    assert {p.name for p in files_by_hash(tmp_path)} == {"a.jpg", "b.jpg"} and len(
        files_by_hash(tmp_path, limit=1)
    ) == 1
    with pytest.raises(DataError, match="holds no file that ends in .gif"):
        files_by_hash(tmp_path, ".gif")


def test_pixmaps_and_squares() -> None:
    pixels = torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(read_pixels(to_pixmap(pixels), "x"), pixels)
    torch.testing.assert_close(centre_square(to_pixmap(pixels), 20, 20)[0], pixels[:, :, 5:25] / 255)
    flat = torch.full((3, 64, 40), 51, dtype=torch.uint8)
    torch.testing.assert_close(centre_square(to_pixmap(flat), 16, 48), torch.full((1, 3, 48, 48), 0.2))


def test_crops_of_known_and_of_unseen_objects() -> None:
    scenes = "town:street?count=12&size=96x128&tasks=detection&ood_share={}"
    plain, strange = (build_source(scenes.format(share), "val") for share in (0, 1))
    known = list(object_crops((plain[i] for i in range(6)), least=8))
    kinds = set(plain.classes["detection"])
    assert known and {kind for kind, _ in known} <= kinds
    assert all(crop.dtype == torch.uint8 and min(crop.shape[1:]) >= 4 for _, crop in known)
    unseen = list(object_crops((strange[i] for i in range(12)), unseen=True, least=4))
    assert unseen and not {kind for kind, _ in unseen} & kinds

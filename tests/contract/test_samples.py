"""The shipped photographs are the ones the manifest names, and their licences allow passing them on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from PIL import Image

from visgen.shipped import shipped_path

FREE = {4: "creativecommons.org/licenses/by/2.0", 7: "flickr.com/commons/usage"}
SAMPLES = shipped_path("data/samples")
IMAGES = json.loads((SAMPLES / "manifest.json").read_text(encoding="utf-8"))["images"]


def test_folder_and_manifest_agree() -> None:
    photographs = {p.name for p in SAMPLES.iterdir() if p.suffix in (".jpg", ".png")}
    assert photographs == {record["file"] for record in IMAGES} and len(IMAGES) >= 6
    assert sum((SAMPLES / name).stat().st_size for name in photographs) < 400_000


@pytest.mark.parametrize("record", IMAGES, ids=lambda r: r["file"])
def test_file_licence_and_credit(record: dict) -> None:
    data = (SAMPLES / record["file"]).read_bytes()
    assert hashlib.sha256(data).hexdigest() == record["sha256"] and len(data) == record["bytes"]
    with Image.open(SAMPLES / record["file"]) as picture:
        assert picture.size == (record["width"], record["height"])
    assert FREE[record["license_id"]] in record["license_url"]
    card = (SAMPLES / "card.md").read_text(encoding="utf-8")
    (row,) = [line for line in card.splitlines() if f"`{record['file']}`" in line and line.startswith("|")]
    for credit in (str(record["coco_id"]), record["license_url"], record["flickr_url"], record["flickr_page"]):
        assert credit in row


def test_licences_are_those_of_coco(data_root: Path) -> None:
    folder = data_root / "coco_mini"
    if not folder.is_dir():
        pytest.skip(f"no coco_mini under {data_root}")
    for record in IMAGES:
        file = folder / f"{record['coco_mini_split']}.json"
        (known,) = [i for i in json.loads(file.read_text())["images"] if i["id"] == record["coco_id"]]
        assert (known["license"], known["flickr_url"]) == (record["license_id"], record["flickr_url"])
        assert (folder / "images" / known["file_name"]).read_bytes() == (SAMPLES / record["file"]).read_bytes()

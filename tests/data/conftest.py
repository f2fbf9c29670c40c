"""Samples whose pixels say where they come from, and tiny data sets written to disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from visgen.data import Sample
from visgen.structures import Boxes, ClassLabel, DepthMap, Masks, SemanticMap

CLASSES = ("sky", "tree", "car", "road", "dog")


def make_ramp(height: int = 96, width: int = 128) -> Sample:
    """Red is the column, green the row, depth 1 + column / 100 metres; ids count 16-pixel columns; two rectangles."""
    columns = torch.arange(width).expand(height, width)
    rows = torch.arange(height)[:, None].expand(height, width)
    image = torch.stack([columns, rows, torch.zeros(height, width)]).to(torch.uint8)
    masks = torch.zeros(2, height, width, dtype=torch.bool)
    masks[0, 10:40, 20:70] = True
    masks[1, 50:90, 60:128] = True
    boxes = torch.tensor([[20.0, 10, 70, 40], [60, 50, 128, 90]])
    labels = torch.tensor([2, 4])
    targets = {
        "classification": ClassLabel(1, CLASSES),
        "detection": Boxes(boxes, labels, (height, width), CLASSES, is_crowd=torch.tensor([False, True])),
        "masks": Masks(masks, labels, CLASSES),
        "segmentation": SemanticMap((columns // 16 % 5).contiguous(), CLASSES, name="ramp"),
        "depth": DepthMap((1 + columns / 100).float().contiguous()),
    }
    return Sample(image, targets, {"id": "ramp"})


@pytest.fixture
def ramp() -> Sample:
    return make_ramp()


class Numbers:
    """A source of 32 x 32 images whose every pixel is the index; counts how often it is read."""

    def __init__(self, count: int, name: str = "numbers") -> None:
        self.count, self.name, self.reads = count, name, 0
        self.heads = {"classification": f"classification.{name}"}
        self.classes = {"classification": ("even", "odd")}

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        self.reads += 1
        label = ClassLabel(index % 2, self.classes["classification"])
        return Sample(torch.full((3, 32, 32), index % 256, dtype=torch.uint8), {"classification": label}, {"id": index})


@pytest.fixture
def numbers() -> type[Numbers]:
    return Numbers


@pytest.fixture
def write_picture() -> Callable[..., Path]:
    """Write a picture of one colour, or of given values; makes the folders."""

    def write(path: Path, value: object = (10, 20, 30), size: tuple[int, int] = (40, 48)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        array = np.asarray(value)
        if array.ndim < 2:
            array = np.broadcast_to(array, (*size, *array.shape)).astype(np.uint8)
        Image.fromarray(array).save(path)
        return path

    return write


@pytest.fixture
def coco_set(tmp_path: Path, write_picture: Callable[..., Path]) -> Path:
    """Four images: polygons with a crowd, boxes only, no annotation, and one RLE; category ids 7, 3 and 90."""
    root = tmp_path / "mini"
    for image in (11, 12, 13, 14):
        write_picture(root / "images" / f"{image:05d}.png", (image, 0, 0))
    write_picture(root / "semantic" / "00011.png", np.full((40, 48), 1, np.uint8))
    (root / "classes.txt").write_text("background\nzebra\napple\nbus\n")
    rle = {"size": [40, 48], "counts": [0, 40 * 4, 40 * 44]}  # column-major: the first four columns
    data = {
        "images": [
            {"id": 11, "file_name": "00011.png", "width": 48, "height": 40},
            {"id": 12, "file_name": "00012.png", "width": 48, "height": 40, "annotation_kind": "boxes",
             "has_masks": False},
            {"id": 13, "file_name": "00013.png", "width": 48, "height": 40},
            {"id": 14, "file_name": "00014.png", "width": 48, "height": 40, "annotation_kind": "panoptic"},
        ],
        "annotations": [
            {"id": 1, "image_id": 11, "category_id": 90, "bbox": [4, 6, 10, 8], "iscrowd": 0,
             "segmentation": [[4, 6, 14, 6, 14, 14, 4, 14]]},
            {"id": 2, "image_id": 11, "category_id": 3, "bbox": [0, 0, 4, 40], "iscrowd": 1, "segmentation": rle},
            {"id": 3, "image_id": 12, "category_id": 7, "bbox": [1.5, 2.5, 10, 20], "iscrowd": 0, "segmentation": []},
            {"id": 4, "image_id": 14, "category_id": 7, "bbox": [0, 0, 4, 40], "iscrowd": 0, "segmentation": rle},
            {"id": 5, "image_id": 14, "category_id": 7, "bbox": [5, 5, 0, 3], "iscrowd": 0, "segmentation": rle},
        ],
        "categories": [{"id": 90, "name": "bus"}, {"id": 3, "name": "zebra"}, {"id": 7, "name": "apple"}],
    }  # fmt: skip
    (root / "train.json").write_text(json.dumps(data))
    return root

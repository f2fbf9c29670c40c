"""Feature maps on disk: what is written comes back, boxes lie on their cells, and splits share one projection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from visgen.data import Sample, build_source
from visgen.data.readers.maps import FeatureMaps
from visgen.engine import write_maps
from visgen.errors import ConfigError, DataError
from visgen.structures import Boxes, SceneGraph
from visgen.structures.features import Features


class Means(nn.Module):
    """Each cell holds the mean colour of its 16 x 16 pixels, and a fourth channel without any variance."""

    def forward(self, images: Tensor) -> Features:
        pad = (0, -images.shape[-1] % 16, 0, -images.shape[-2] % 16)
        cells = nn.functional.avg_pool2d(nn.functional.pad(images, pad), 16)
        return Features({16: torch.cat([cells, torch.ones_like(cells[:, :1])], dim=1)}, cells.mean((2, 3)))


class Pictures:
    """Random pictures with a graph of two boxes; every third has none of its relations."""

    name = "pictures"

    def __init__(self, sizes: list[tuple[int, int]]) -> None:
        self.sizes = sizes
        self.heads = {"scene_graph": "scene_graph"}
        self.classes = {"scene_graph": ("near",)}

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> Sample:
        height, width = self.sizes[index]
        image = torch.rand(3, height, width, generator=torch.Generator().manual_seed(index))
        boxes = torch.tensor([[0.0, 0, width / 2, height], [width / 2, 0, width, height / 2]])
        graph = SceneGraph(
            Boxes(boxes, torch.tensor([0, 1]), (height, width), ("cat", "dog")),
            torch.tensor([[0, 1, 0]] * (index % 3 > 0), dtype=torch.int64).reshape(-1, 3),
            ("near",),
        )
        return Sample(image, {"scene_graph": graph}, {"id": f"p{index}"})


def write(folder: Path, sizes: list[tuple[int, int]], split: str = "train", **options: Any) -> FeatureMaps:
    return write_maps(Means(), Pictures(sizes), folder, split, **{"long_side": 64, "channels": 3, **options})


def test_maps_are_whitened_components_of_what_the_backbone_sees(tmp_path: Path) -> None:
    made = write(tmp_path, [(48, 64)] * 9)
    assert len(made) == 9 and made.channels == 3 and made.about["grid"] == [3, 4]
    cells = torch.cat([made[i].targets["map"].flatten(1) for i in range(9)], dim=1)
    assert torch.allclose(cells.mean(1), torch.zeros(3), atol=2e-3)
    assert torch.allclose(cells @ cells.T / cells.shape[1], torch.eye(3), atol=5e-3)
    # an independent way: the whitened cells keep all Mahalanobis distances of the colours
    raw = torch.cat(
        [Means()(Pictures([(48, 64)] * 9)[i].image[None]).pyramid[16][0, :3].flatten(1) for i in range(9)], 1
    )
    inverse = torch.linalg.inv(torch.cov(raw, correction=0))
    gap = raw[:, 5] - raw[:, 20]
    assert float((cells[:, 5] - cells[:, 20]).square().sum()) == pytest.approx(float(gap @ inverse @ gap), rel=1e-2)


def test_boxes_and_pictures_fit_the_cells(tmp_path: Path) -> None:
    made = write(tmp_path, [(24, 32)] * 3)  # enlarged to 48 x 64: 3 x 4 cells of 4 kept pixels
    sample = made[1]
    assert sample.size == (12, 16) and sample.meta["cells"] == (3, 4) and sample.meta["id"] == "p1"
    graph = sample.targets["scene_graph"]
    assert graph.boxes.xyxy.tolist() == [[0, 0, 8, 12], [8, 0, 16, 6]] and graph.boxes.size == (12, 16)
    assert graph.names == (("cat", "near", "dog"),) and len(made[0].targets["scene_graph"]) == 0
    assert made.graph_of(1).boxes.xyxy.tolist() == graph.boxes.xyxy.tolist()


def test_pictures_of_several_sizes_share_a_grid(tmp_path: Path) -> None:
    made = write(tmp_path, [(48, 64), (64, 48), (32, 64)], grid=(4, 4))
    assert [made[i].meta["cells"] for i in range(3)] == [(3, 4), (4, 3), (2, 4)]
    assert not made[1].targets["map"][:, :, 3].any() and not made[2].targets["map"][:, 2:].any()
    assert bool(made[0].targets["map"][:, :3].any())
    with pytest.raises(DataError, match=r"a map has \(4, 3\) cells but the grid is \(3, 4\)"):
        write(tmp_path / "other", [(48, 64), (64, 48)])
    assert not (tmp_path / "other" / "train").exists()


def test_other_splits_take_the_projection_of_train(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="write that split first"):
        write(tmp_path, [(48, 64)], "val")
    train = write(tmp_path, [(48, 64)] * 4)
    val = write(tmp_path, [(48, 64)] * 4, "val")
    assert torch.equal(train[2].targets["map"], val[2].targets["map"])
    assert isinstance(build_source(f"maps:{tmp_path}", "val"), FeatureMaps)


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="channels is 5; the backbone's map has 4"):
        write(tmp_path, [(48, 64)], channels=5)
    with pytest.raises(ConfigError, match="cell is 17"):
        write(tmp_path, [(48, 64)], cell=17)
    write(tmp_path, [(48, 64)])
    with pytest.raises(DataError, match="no split 'test'; it has train"):
        FeatureMaps(tmp_path, "test")
    about = tmp_path / "train" / "about.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "channels": 2}))
    with pytest.raises(DataError, match="72 bytes but its .* needs 48"):
        FeatureMaps(tmp_path)
    about.write_text("{}")
    with pytest.raises(DataError, match="has format None"):
        FeatureMaps(tmp_path)


def test_another_projection_would_make_other_splits_wrong(tmp_path: Path) -> None:
    write(tmp_path, [(48, 64)] * 9)
    write(tmp_path, [(48, 64)] * 2, "val")
    write(tmp_path, [(48, 64)] * 9)  # the same again
    with pytest.raises(ConfigError, match=r"holds maps of val under another projection; write all splits"):
        write(tmp_path, [(48, 64)] * 5)
    assert len(FeatureMaps(tmp_path, "train")) == 9
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == ["train", "val"]


def test_a_rewrite_that_is_cut_short_keeps_maps_and_projection_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, [(48, 64)] * 9)
    before = (tmp_path / "projection.safetensors").read_bytes()

    def stop(*_: object) -> Tensor:
        raise KeyboardInterrupt

    monkeypatch.setattr("visgen.engine.maps._project", stop)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, [(48, 64)] * 5)
    assert (tmp_path / "projection.safetensors").read_bytes() == before and len(FeatureMaps(tmp_path, "train")) == 9

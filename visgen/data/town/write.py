"""Town scenes as files, in the public layouts that the readers open."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...errors import DataError
from .config import KINDS, PREDICATES, SEMANTIC_CLASSES, TownConfig
from .scene import Scene, render
from .source import TownSource, run_lengths, scene_meta

__all__ = ["write_dataset"]


def write_dataset(
    config: TownConfig,
    count: int,
    out_dir: str | Path,
    *,
    seed: int = 0,
    split: str = "train",
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Render scenes 0..count-1 of a source into a new folder, and give its path.

    The folder holds `images/STEM.png`; `SPLIT.json` (COCO boxes and masks), `semantic/STEM.png` with `classes.txt` and
    `SPLIT.txt`; `depth/STEM.png` (16-bit millimetres, 0 missing) with the list `depth_SPLIT.txt`;
    `scene_graph/SPLIT.json`; `meta.jsonl` (`scene_meta`, one line for each image); and `town.json` with the
    configuration and seeds that make the same files again. So `coco:OUT`, `semantic:OUT` (split SPLIT) and `depth:OUT`
    (split depth_SPLIT) open it. With time "both" every scene has the stems NUMBER_day and NUMBER_night.
    All or nothing: a folder that exists is complete.

    Args:
        config: What the scenes hold.
        count: Number of scenes.
        out_dir: A path where nothing is yet.
        seed, split: As in `TownSource`: image i is the scene that the source of that seed and split gives for i.
        progress: Called with the number of scenes done.
    Raises:
        DataError: `out_dir` exists.
        ConfigError, UnknownName: As `TownSource`.
    """
    out = Path(out_dir)
    if out.exists():
        raise DataError(f"folder {out} exists; write_dataset makes a new one: remove it or choose another path.")
    pictures = 2 if config.time == "both" else 1
    source = TownSource(count * pictures, config, seed, split=split)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        _fill(partial, source, count, pictures, split, progress)
        partial.chmod(0o755)  # mkdtemp gives 0700
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return out


def _fill(
    base: Path, source: TownSource, count: int, pictures: int, split: str, progress: Callable[[int], None] | None
) -> None:
    for name in ("images", "semantic", "depth", "scene_graph"):
        (base / name).mkdir()
    coco: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": i + 1, "name": k} for i, k in enumerate(KINDS)],
    }
    graphs: list[dict[str, Any]] = []
    stems: list[str] = []
    width = max(6, len(str(count)))
    with (base / "meta.jsonl").open("w", encoding="utf-8") as metas:
        for number in range(count):
            scene = render(source.scene_seed(number * pictures), source.config)
            for time, picture in scene.images.items():
                stem = f"{number:0{width}d}" + (f"_{time}" if pictures == 2 else "")
                stems.append(stem)
                Image.fromarray(picture).save(base / "images" / f"{stem}.png")
                Image.fromarray(scene.semantic).save(base / "semantic" / f"{stem}.png")
                millimetres = np.round(scene.depth * 1000).astype(np.uint16)
                Image.fromarray(millimetres).save(base / "depth" / f"{stem}.png")
                _annotate(coco, scene, len(stems), f"{stem}.png")
                graphs.append(_graph(scene, len(stems), f"../images/{stem}.png"))
                metas.write(json.dumps(scene_meta(scene, time)) + "\n")
            if progress:
                progress(number + 1)
    (base / f"{split}.json").write_text(json.dumps(coco))
    (base / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems))
    (base / f"depth_{split}.txt").write_text("".join(f"images/{stem}.png depth/{stem}.png\n" for stem in stems))
    (base / "classes.txt").write_text("".join(f"{name}\n" for name in SEMANTIC_CLASSES))
    held = [list(t) for t in source.config.holdout_triplets]
    graph = {
        "info": {
            "name": source.name,
            "split": split,
            "note": "relations of procedural scenes, exact",
            "bbox": "xywh pixels",
        },
        "objects": list(KINDS),
        "predicates": list(PREDICATES),
        "licenses": [],
        "zero_shot_triplets": held,
        "images": graphs,
    }
    (base / "scene_graph" / f"{split}.json").write_text(json.dumps(graph))
    record = {
        "config": asdict(source.config),
        "seed": source.seed,
        "split": split,
        "count": count,
        "images": len(stems),
    }
    (base / "town.json").write_text(json.dumps(record, indent=2) + "\n")


def _xywh(box: tuple[int, int, int, int]) -> list[int]:
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def _annotate(coco: dict[str, Any], scene: Scene, image_id: int, file: str) -> None:
    height, width = scene.semantic.shape
    coco["images"].append({"id": image_id, "file_name": file, "height": height, "width": width})
    for o, mask in zip(scene.labelled, scene.masks(), strict=True):
        coco["annotations"].append(
            {
                "id": len(coco["annotations"]) + 1,
                "image_id": image_id,
                "category_id": o.label + 1,
                "bbox": _xywh(o.box),
                "area": o.area,
                "iscrowd": 0,
                "segmentation": run_lengths(mask),
            }
        )


def _graph(scene: Scene, image_id: int, file: str) -> dict[str, Any]:
    height, width = scene.semantic.shape
    held = set(scene.config.holdout_triplets)
    return {
        "id": image_id,
        "file": file,
        "width": width,
        "height": height,
        "objects": [{"id": i, "category": o.kind, "bbox": _xywh(o.box)} for i, o in enumerate(scene.labelled)],
        "relations": [
            {"subject_id": s, "predicate": p, "object_id": o, "zero_shot": scene.triplet((s, p, o)) in held}
            for s, p, o in scene.relations
        ],
    }

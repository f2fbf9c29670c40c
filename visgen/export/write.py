"""Export one head of a model: record, compare with the model, and only then write."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import ConfigError, UnknownName, VisgenError, nearest
from ..shipped import shipped_path
from ..structures import load_image
from ..structures.working_size import MIN_SIDE
from .describe import SIDES, describe, output_names
from .graph import build_graph, check_exportable
from .parity import check_parity, require_reach
from .probe import find_probes
from .record import need_onnx, record_graph, write_onnx, write_torch_export
from .runtime import ExportedModel

if TYPE_CHECKING:
    from ..task import MultiTaskModel

__all__ = ["FORMATS", "Exported", "export_model"]

INT8_FILE, INT8_REPORT = "model.int8.onnx", "int8.json"  # what `visgen.export.quantise` puts beside a file
FORMATS = {"onnx": "model.onnx", "torch_export": "model.pt2"}
PROBE_SIZE = (48, 80)  # of the pictures that a graph of any size is compared on: few tokens, so each counts
OTHER_SIZES = [(200, 330), (64, 33)]  # the recorded one, and one that needs no rows and many columns of padding


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        folder: Where.
        file: The graph.
        meta: The metadata, as it also lies in the file and in `export.json`.
    """

    folder: Path
    file: Path
    meta: dict[str, Any]


def export_model(
    model: MultiTaskModel,
    head: str,
    out: str | Path,
    *,
    format: str = "onnx",
    size: tuple[int, int] | None = None,
    probes: Tensor | None = None,
    seed: int = 0,
) -> Exported:
    """Write one head of a model as a graph that runs without visgen.

    The file is compared with the model on pictures that send tokens to every expert which the task can select, and is
    written only if both agree. Experts are in dense form: all are computed for all tokens.

    Args:
        model: Any model; it is not changed.
        head: Task key or head name.
        out: Folder, created when absent; gets `model.onnx` or `model.pt2`, `export.json` and `README.md`.
        format: "onnx" or "torch_export".
        size: (H, W) of the pictures, both 32 or more; None for any size.
        probes: More pictures (N, 3, H, W) in [0, 1] for the comparison, which are brought to the size of the others.
        seed: Of the random probe pictures.
    Raises:
        ConfigError: The head has no graph, an expert was not reached, or file and model differ.
        MissingDependency: The extra [export] is not installed.
    """
    if format not in FORMATS:
        raise UnknownName(f"format '{format}' is unknown{nearest(format, FORMATS, ';')} use {' or '.join(FORMATS)}.")
    if size is not None and not 32 <= min(size) <= max(size) <= SIDES[1]:
        raise ConfigError(f"size is {size[0]}x{size[1]}; both sides must be 32..{SIDES[1]} pixels.")
    if format == "onnx":
        need_onnx()
    name = model.resolve(head)
    check_exportable(model, name)
    reference = build_graph(model, name, is_dense=False)
    found = find_probes(reference, size or PROBE_SIZE, _photographs(size or PROBE_SIZE, probes), seed)
    require_reach(found)
    graph = build_graph(model, name)
    least = SIDES[0] if format == "torch_export" else MIN_SIDE  # torch guards what it recorded, onnx takes less as well
    meta = describe(model, name, reference, size, "dense", least)
    program = record_graph(graph, size)
    folder = Path(out)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"'{folder}' is a file; --out needs the name of a folder.")
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        file = scratch / FORMATS[format]

        def write(meta: dict[str, Any]) -> None:
            if format == "onnx":
                write_onnx(program, file, output_names(meta), meta, size is None)
            else:
                write_torch_export(program, file, meta)

        write(meta)
        opened = ExportedModel(file)
        meta["parity"] = check_parity(reference, found, opened._run, OTHER_SIZES if size is None else None)
        write(meta)
        (scratch / "export.json").write_text(json.dumps(meta, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (scratch / "README.md").write_text(_readme(meta, FORMATS[format]), encoding="utf-8")
        folder.mkdir(exist_ok=True)
        for name in (INT8_FILE, INT8_REPORT):  # of an earlier export they would tell of other weights
            (folder / name).unlink(missing_ok=True)
        for path in sorted(scratch.iterdir()):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Exported(folder, folder / FORMATS[format], meta)


def _photographs(size: tuple[int, int], more: Tensor | None) -> Tensor | None:
    """The shipped photographs after those that the caller gave, all at `size`."""
    found = [] if more is None else list(more.split(1))
    try:
        paths = sorted(shipped_path("data/samples").glob("*.jpg"))
    except VisgenError:  # a package without its samples: random pictures are left
        paths = []
    found += [load_image(path)[None] for path in paths]
    fitted = [torch.nn.functional.interpolate(image, size=size, mode="bilinear", antialias=True) for image in found]
    return torch.cat(fitted).clamp(0, 1) if fitted else None


def _readme(meta: dict[str, Any], file: str) -> str:
    lines = [
        f"# {meta['head']} as {file}",
        "",
        f"Written by visgen {meta['visgen']}. `export.json` (also inside the file, under the key `visgen`) says how to",
        "make the input from a picture (`prepare`), what the graph does itself (`inside`) and how to read its output",
        "(`decode`); `parity` says on what it was compared with the model.",
        "",
        "With visgen installed:",
        "",
        "```python",
        "from visgen.export import ExportedModel",
        "",
        f'print(ExportedModel("{file}")("photo.jpg"))',
        "```",
    ]
    return "\n".join(lines) + "\n"

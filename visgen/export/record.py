"""Record a graph with torch.export and write it as ONNX or as a torch.export archive."""

from __future__ import annotations

import json
import logging
import operator
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..errors import ConfigError, MissingDependency
from .describe import SIDES
from .graph import HeadGraph

__all__ = ["METADATA_KEY", "OPSET", "need_onnx", "record_graph", "write_onnx", "write_torch_export"]

OPSET = 20  # the first with Gelu
METADATA_KEY = "visgen"  # of the metadata in the file, one JSON text
SAMPLE = (2, 200, 330)  # batch, height and width at which a graph of any size is recorded: none of them special


def need_onnx() -> None:
    """Raise MissingDependency unless what writes and runs ONNX is installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingDependency(
            f"exporting to ONNX needs the package '{error.name}', which is not installed; run: pip install "
            "'visgen[export]'."
        ) from error


def record_graph(graph: HeadGraph, size: tuple[int, int] | None) -> torch.export.ExportedProgram:
    """Record a graph for batches of any number of pictures.

    Args:
        graph: In a form without ragged rows.
        size: (H, W) of all pictures, or None for any within `visgen.export.describe.SIDES`.
    Raises:
        ConfigError: The backbone cannot be recorded so; the message says what to try.
    """
    batch, height, width = SAMPLE if size is None else (2, *size)
    shapes: dict[int, Any] = {0: torch.export.Dim.DYNAMIC(min=1, max=1024)}
    if size is None:
        shapes[2] = torch.export.Dim.DYNAMIC(min=SIDES[0], max=SIDES[1])
        shapes[3] = torch.export.Dim.DYNAMIC(min=SIDES[0], max=SIDES[1])
    sample = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad(), quiet():
            return torch.export.export(
                graph,
                (sample,),
                dynamic_shapes={"images": shapes},
                strict=False,
                prefer_deferred_runtime_asserts_over_guards=True,
            )
    except Exception as error:  # the recorder raises many kinds
        first = str(error).strip().partition("\n")[0]
        way_out = "give one size, such as 240x320" if size is None else "this backbone has no graph of one piece"
        raise ConfigError(
            f"the model cannot be recorded for pictures of {'any size' if size is None else f'{size[0]}x{size[1]}'}: "
            f"{first}; {way_out}."
        ) from error


def write_onnx(
    program: torch.export.ExportedProgram,
    path: Path,
    outputs: Sequence[str],
    meta: Mapping[str, Any],
    is_any_size: bool,
) -> None:
    """Write a recorded graph as an ONNX file with its metadata inside."""
    need_onnx()
    axes = {0: "batch", **({2: "height", 3: "width"} if is_any_size else {})}
    with quiet():
        written = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=["images"],
            output_names=list(outputs),
            dynamic_shapes={"images": axes},
            custom_translation_table={operator.floordiv: _floor_division()},
            verbose=False,
        )
    assert written is not None
    written.model.metadata_props[METADATA_KEY] = json.dumps(meta, ensure_ascii=False)
    written.save(str(path), external_data=False)


def write_torch_export(program: torch.export.ExportedProgram, path: Path, meta: Mapping[str, Any]) -> None:
    """Write a recorded graph as a torch.export archive (.pt2) with its metadata inside."""
    with quiet():
        torch.export.save(program, path, extra_files={METADATA_KEY: json.dumps(meta, ensure_ascii=False)})


def _floor_division() -> Any:
    """ONNX form of `a // b` that rounds down for negative numbers too.

    The exporter's own form (onnxscript 0.7) rounds towards zero and says nothing: a ceiling written as -(-a // b) would
    be one too small, and a graph of any size wrong at every size but the recorded one.
    """
    from onnxscript import opset20 as op

    def floor_division(a: Any, b: Any) -> Any:
        return op.Div(op.Sub(a, op.Mod(a, b)), b)

    return floor_division


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporters' own progress and warnings off the screen."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    kept = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, kept, strict=True):
            logger.setLevel(level)

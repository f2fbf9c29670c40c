"""8-bit integers for an exported ONNX file, kept only where the task's own figure stays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Source
from ..engine import evaluate
from ..engine.evaluate import evenly_spaced
from ..errors import ConfigError, UnknownName, nearest
from .record import METADATA_KEY, need_onnx, quiet
from .runtime import ExportedModel
from .write import INT8_FILE, INT8_REPORT, Exported

__all__ = ["INT8_FILE", "METHODS", "PRIMARY", "Int8Report", "quantise"]

METHODS = ("static", "dynamic")
# Task -> the figure that decides, and whether more is better.
PRIMARY = {
    "classification": ("top1", True),
    "detection": ("AP", True),
    "segmentation": ("mIoU", True),
    "depth": ("AbsRel", False),
    "ood": ("AUROC", True),
}


@dataclass(frozen=True)
class Int8Report:
    """What 8-bit integers cost and save.

    Attributes:
        method: "static" (weights and activations of convolutions and products, calibrated) or "dynamic" (products).
        metric: The figure of the task.
        float32, int8: Its value on `images` pictures of `data`.
        drop: How much worse int8 is, as a share of the float32 figure; below 0 where it is better.
        tolerance: The most that was allowed.
        bytes_float32, bytes_int8: Sizes of the files.
        kept: The file was written.
    """

    method: str
    metric: str
    float32: float
    int8: float
    drop: float
    tolerance: float
    data: str
    images: int
    bytes_float32: int
    bytes_int8: int
    kept: bool


def quantise(
    exported: Exported,
    source: Source,
    *,
    method: str = "static",
    tolerance: float = 0.02,
    calibration: int = 64,
    calibration_source: Source | None = None,
    limit: int | None = None,
    data: str = "",
) -> Int8Report:
    """Write `model.int8.onnx` beside an exported ONNX file, if the task's figure allows.

    Routers stay in float32: rounding their scores would send tokens to other experts.

    Args:
        exported: From `visgen.export.export_model` with format "onnx".
        source: Labelled pictures on which both files are measured.
        method: "static" or "dynamic"; see `Int8Report`.
        tolerance: The most that the figure may get worse, as a share of it; more, and no file is written.
        calibration: Pictures from which "static" learns the range of activations.
        calibration_source: Where those come from; `source` when None.
        limit: Measure on so many pictures, evenly spaced; None takes all.
        data: What the caller calls the data, for the report.
    Raises:
        ConfigError: A value out of range, or a file of another format.
        MissingDependency: The extra [export] is not installed.
    """
    need_onnx()
    if method not in METHODS:
        raise UnknownName(f"int8 method '{method}' is unknown{nearest(method, METHODS, ';')} use static or dynamic.")
    if exported.file.suffix != ".onnx":
        raise ConfigError(f"'{exported.file}' is no ONNX file; int8 needs format onnx.")
    if not 0 <= tolerance < 1 or calibration < 1:
        raise ConfigError(f"tolerance is {tolerance} and calibration {calibration}; use 0..1 and 1 or more.")
    whole = ExportedModel(exported.file)
    path = exported.folder / f".{INT8_FILE}"  # takes its name once it has passed
    try:
        _write_int8(whole, path, method, calibration_source or source, calibration)
        small = ExportedModel(path)
        figures = [_measure(model, source, limit, data) for model in (whole, small)]
        metric, is_more_better = PRIMARY[exported.meta["task"]]
        if metric not in figures[0].metrics:  # boxes of some classes only, where a false alarm cannot be told
            metric = "AR@100"
        before, after = (report.metrics[metric] for report in figures)
        drop = (before - after if is_more_better else after - before) / max(abs(before), 1e-12)
        report = Int8Report(
            method,
            metric,
            before,
            after,
            drop,
            tolerance,
            data or source.name,
            int(figures[0].protocol["images"]),
            exported.file.stat().st_size,
            path.stat().st_size,
            bool(drop <= tolerance),
        )
        if report.kept:
            _set_metadata(path, {**exported.meta, "int8": asdict(report)})
            path.replace(exported.folder / INT8_FILE)
            (exported.folder / INT8_REPORT).write_text(json.dumps(asdict(report), indent=1) + "\n", encoding="utf-8")
        return replace(report, bytes_int8=report.bytes_int8)
    finally:
        path.unlink(missing_ok=True)


def _measure(model: ExportedModel, source: Source, limit: int | None, data: str) -> Any:
    most, least = model.bounds
    return evaluate(model, source, model.name, max_side=most, min_side=least, limit=limit, data=data)


def _write_int8(model: ExportedModel, path: Path, method: str, source: Source, calibration: int) -> None:
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )

    graph = onnx.load(model.path)
    kept = [node.name for node in graph.graph.node if _is_router(node)]

    class Pictures(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.inputs = _inputs(model, source, calibration)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.inputs, None)

    with quiet():
        if method == "dynamic":
            quantize_dynamic(
                graph, path, op_types_to_quantize=["MatMul", "Gemm"], per_channel=True, weight_type=QuantType.QInt8,
                nodes_to_exclude=kept, extra_options={"MatMulConstBOnly": True},
            )  # fmt: skip
        else:
            quantize_static(
                graph, path, Pictures(), quant_format=QuantFormat.QDQ, op_types_to_quantize=["Conv", "MatMul", "Gemm"],
                per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, nodes_to_exclude=kept,
                extra_options={"MatMulConstBOnly": True},
            )  # fmt: skip
    _set_metadata(path, model.meta)


def _is_router(node: Any) -> bool:
    """True for a node that the exporter says comes from a router."""
    return any("router" in entry.value for entry in node.metadata_props if entry.key.endswith("name_scopes"))


def _inputs(model: ExportedModel, source: Source, count: int) -> Iterator[dict[str, np.ndarray]]:
    for index in evenly_spaced(len(source), count):
        yield {"images": model.prepare(source[index].image)[None].numpy()}


def _set_metadata(path: Path, meta: dict[str, Any]) -> None:
    """Put the metadata into a file, which quantisation does not carry over."""
    import onnx

    graph = onnx.load(path)
    kept = {entry.key: entry.value for entry in graph.metadata_props}
    onnx.helper.set_model_props(graph, {**kept, METADATA_KEY: json.dumps(meta, ensure_ascii=False)})
    onnx.save(graph, path)

"""Use an exported file: from any picture to the typed answer that `visgen.pipeline` gives."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import CheckpointError, ConfigError, UnknownName, nearest
from ..structures import Result, load_image
from ..structures.working_size import resize_for_work
from ..task import TASKS, HeadSpec
from .describe import FORMAT
from .graph import each_output
from .record import METADATA_KEY, need_onnx, quiet

__all__ = ["ExportedModel"]


class ExportedModel:
    """One exported head, run by onnxruntime (.onnx) or by torch (.pt2).

    Everything it does to pictures and outputs follows the metadata in the file. It answers `visgen.engine.evaluate`
    too, so that a file is measured like the model it came from.

    Args:
        path: A file that `visgen export` wrote, or the folder that holds one `model.onnx` or `model.pt2`.
        threads: CPU threads of onnxruntime; those of torch when None.
    Raises:
        CheckpointError: There is no such file, or it holds no metadata of visgen.
        MissingDependency: onnxruntime is not installed.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        self.path = _file(Path(path))
        if self.path.suffix == ".onnx":
            need_onnx()
            self._run, text = _open_onnx(self.path, threads or torch.get_num_threads())
        else:
            self._run, text = _open_torch(self.path)
        try:
            self.meta: dict[str, Any] = json.loads(text or "")
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"'{self.path}' has no metadata of visgen; write it with visgen export.") from error
        if self.meta.get("format") != FORMAT:
            raise CheckpointError(
                f"'{self.path}' has format {self.meta.get('format')!r}, this visgen reads {FORMAT}; export it again."
            )
        self.name: str = self.meta["head"]
        self.specs: Mapping[str, HeadSpec] = {
            self.name: HeadSpec(self.meta["task"], tuple(self.meta["classes"]), on=None)
        }

    @property
    def size(self) -> tuple[int, int] | None:
        """(H, W) of the only size that it takes, or None for any."""
        height, width = self.meta["input"]["height"], self.meta["input"]["width"]
        return None if isinstance(height, list) else (int(height), int(width))

    @property
    def bounds(self) -> tuple[int | None, int | None]:
        """The most and the least longer side at which it answers, as the pipeline resizes; None for none."""
        return self._resize.get("longer_side_at_most"), self._resize.get("longer_side_at_least")

    @property
    def _resize(self) -> Mapping[str, Any]:
        return next(step for step in self.meta["prepare"] if step["step"] == "resize")

    @property
    def _least(self) -> int:
        """The least height and width that a graph of any size takes."""
        return int(self._resize["side_at_least"])

    def prepare(self, picture: Any) -> Tensor:
        """Give the input (3, h, w) for anything that `visgen.load_image` reads."""
        image = load_image(picture)
        return self._fit(image[None])[0] if self.size else resize_for_work(image, *self.bounds, self._least)

    def run(self, images: Tensor) -> Tensor:
        """Give what the head says about prepared images (B, 3, H, W)."""
        return self._outputs(images)[0]

    def _outputs(self, images: Tensor) -> list[Tensor]:
        """What the head says, and the one that weighs its answers where there is one."""
        return [torch.from_numpy(o) for o in self._run(np.ascontiguousarray(images.numpy(), dtype=np.float32))]

    def __call__(self, picture: Any) -> Result:
        """Answer about one picture, in its own pixels."""
        whole = load_image(picture)
        size = (int(whole.shape[1]), int(whole.shape[2]))
        (value,) = self.predict(self.prepare(whole)[None], [self.name], sizes=[size])[self.name]
        source = str(picture) if isinstance(picture, (str, Path)) else None
        return Result(**{self.meta["task"]: value}, source=source, size=size)

    def predict(
        self,
        images: Tensor,
        heads: Sequence[str] | None = None,
        *,
        sizes: Sequence[tuple[int, int]] | None = None,
        given: Any = None,
    ) -> dict[str, list[Any]]:
        """Give one typed value per image of (B, 3, H, W), of the given (H, W); as `MultiTaskModel.predict`."""
        for name in heads or [self.name]:
            self.resolve(name)
        if given:
            raise ConfigError("an exported file answers from pixels alone; `given` is for a model.")
        shown = [(int(images.shape[-2]), int(images.shape[-1]))] * len(images)
        images = self._fit(images)
        inside = (int(images.shape[-2]), int(images.shape[-1]))
        logits, *others = self._outputs(images)
        task, spec = TASKS.get(self.meta["task"]), self.specs[self.name]
        options, valid = task.decode_options(self.head(self.name)), [inside] * len(images)
        values = task.decode(logits, spec.classes, valid, list(sizes or shown), _stride(inside, logits), **options)
        for weighing in others:
            classes = self.meta["weighed_by"]["classes"]
            values = task.weigh(values, weighing, classes, valid, _stride(inside, weighing))
        return {self.name: values}

    def resolve(self, name: str) -> str:
        """Give the head that a task key or head name means; there is one."""
        if name not in (self.name, self.meta["task"]):
            raise UnknownName(
                f"'{name}' is not in '{self.path}'{nearest(name, [self.name], ';')} it holds the head '{self.name}'."
            )
        return self.name

    def head(self, name: str) -> Any:
        """What `Task.decode_options` and `Task.metric_options` read of a head module."""
        threshold = self.meta.get("threshold")
        return SimpleNamespace(
            threshold=0.0 if threshold is None else threshold,
            is_calibrated=threshold is not None,
            keep=self.meta.get("keeps"),
            score_name=self.meta.get("score", ""),
        )

    def below(self, name: str) -> str | None:
        """The head below is inside the graph."""
        return None

    def _fit(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        size = self.size or (max(self._least, height), max(self._least, width))
        if (height, width) == size:
            return images
        resized = F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)
        return resized.clamp(0, 1)


def _stride(size: tuple[int, int], logits: Tensor) -> int:
    return round(size[0] / logits.shape[-2]) if logits.ndim == 4 else 1


def _file(path: Path) -> Path:
    if path.is_dir():
        found = [path / name for name in ("model.onnx", "model.pt2") if (path / name).is_file()]
        if len(found) != 1:
            raise CheckpointError(f"folder '{path}' holds {len(found)} of model.onnx and model.pt2; name the file.")
        return found[0]
    if not path.is_file() or path.suffix not in (".onnx", ".pt2"):
        raise CheckpointError(f"'{path}' is no exported file (.onnx or .pt2); write one with visgen export.")
    return path


def _open_onnx(path: Path, threads: int) -> tuple[Any, str | None]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises kinds of its own
        raise CheckpointError(f"'{path}' cannot be read by onnxruntime: {error}") from error
    outputs = [o.name for o in session.get_outputs()]
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    return lambda images: session.run(outputs, {"images": images}), text


def _open_torch(path: Path) -> tuple[Any, str | None]:
    extra = {METADATA_KEY: ""}
    try:
        with quiet():
            module = torch.export.load(path, extra_files=extra).module()
    except Exception as error:  # a torn archive raises many kinds
        raise CheckpointError(f"'{path}' cannot be read by torch.export: {error}") from error

    def run(images: np.ndarray) -> list[np.ndarray]:
        with torch.no_grad():
            return [output.numpy() for output in each_output(module(torch.from_numpy(images)))]

    return run, extra[METADATA_KEY] or None

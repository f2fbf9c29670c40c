"""The distance of every pixel."""

from __future__ import annotations

import io
import math
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import DataError
from .png import decode_png, encode_png, from_base64, to_base64, write_atomically
from .validation import check_tensor, dict_entry, span
from .value import register_value

__all__ = ["DEPTH_KINDS", "MAX_PNG_METRES", "DepthMap"]

DEPTH_KINDS = {"metric_m": "metres", "relative": "unitless, larger is farther", "inverse": "unitless, larger is nearer"}
MAX_PNG_METRES = 65.535  # the largest 16-bit count of millimetres


@register_value
@dataclass(frozen=True, eq=False)
class DepthMap:
    """The depth of every pixel: target and prediction of depth estimation.

    Args:
        metres: (H, W) float32, >= 0 and finite, along the optical axis; 0 is "missing". In metres when `kind` is
            "metric_m", otherwise without unit.
        kind: "metric_m"; "relative" (unknown scale and shift, larger is farther); "inverse" (larger is nearer).
    Raises:
        DataError: A field breaks these rules.
    """

    metres: Tensor
    kind: str = "metric_m"

    type_name: ClassVar[str] = "depth_map"

    def __post_init__(self) -> None:
        if self.kind not in DEPTH_KINDS:
            raise DataError(f"kind of DepthMap is {self.kind!r}; it must be one of {', '.join(DEPTH_KINDS)}.")
        check_tensor("metres of DepthMap", self.metres, torch.float32, ("H", "W"))
        if 0 in self.metres.shape:
            raise DataError(f"metres of DepthMap has shape {tuple(self.metres.shape)}; both sides must be at least 1.")
        low, high = span(self.metres)
        if low >= 0 and high < math.inf:
            return
        if not bool(self.metres.isfinite().all()):
            count = int((~self.metres.isfinite()).sum())
            raise DataError(f"metres of DepthMap holds NaN or infinity at {count} pixels; mark missing depth with 0.")
        raise DataError(f"metres of DepthMap goes down to {low:g}; depth must be >= 0, with 0 for missing.")

    @property
    def valid(self) -> Tensor:
        """(H, W) bool, true where depth is known."""
        return self.metres > 0

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return int(self.metres.shape[0]), int(self.metres.shape[1])

    @property
    def units(self) -> str:
        """What the numbers mean: "metres", or the direction of a unitless depth."""
        return DEPTH_KINDS[self.kind]

    def summary(self) -> dict[str, float | None]:
        """Give min, median and max over the known pixels (None without any) and the share of known pixels."""
        known = self.metres[self.valid]
        share = known.numel() / self.metres.numel()
        if known.numel() == 0:
            return {"min": None, "median": None, "max": None, "valid_share": 0.0}
        middle = float(known.double().quantile(0.5)) if known.numel() < 2**24 else float(known.median())
        return {"min": float(known.min()), "median": middle, "max": float(known.max()), "valid_share": share}

    def to(self, device: torch.device | str) -> DepthMap:
        """Give the same map on another device."""
        return DepthMap(self.metres.to(device), self.kind)

    def fits_png(self) -> bool:
        """Tell whether 16-bit millimetres can hold the map: it is metric and rounds to at most 65.535 m."""
        return self.kind == "metric_m" and round(float(self.metres.max()) * 1000) <= 65535

    def to_png(self, beyond: str = "error") -> bytes:
        """Give 16-bit PNG bytes in millimetres, 0 = missing.

        Millimetres are rounded; a known depth under 1 mm becomes 1 mm, so that it stays known.

        Args:
            beyond: For depth over 65.535 m: "error", or "clip" to 65.535 m.
        Raises:
            DataError: The depth is not metric, or it is too far and `beyond` is "error".
        """
        if beyond not in ("error", "clip"):
            raise DataError(f"beyond is {beyond!r}; it must be 'error' or 'clip'.")
        if self.kind != "metric_m":
            raise DataError(f"depth of kind '{self.kind}' has no metres; 16-bit PNG holds millimetres; use save_npz.")
        if beyond == "error" and not self.fits_png():
            raise DataError(
                f"depth reaches {float(self.metres.max()):.3f} m; 16-bit millimetres end at {MAX_PNG_METRES} m; "
                "use save_npz, or beyond='clip'."
            )
        metres = self.metres.cpu().double()
        counts = torch.where(metres > 0, (metres * 1000).round().clamp(1, 65535), 0.0)
        return encode_png(counts.numpy().astype(np.uint16))

    @classmethod
    def from_png(cls, data: bytes, owner: str = "depth PNG") -> DepthMap:
        """Read 16-bit PNG bytes in millimetres; raises DataError naming `owner` for 8-bit or unreadable data."""
        counts = decode_png(data, owner)
        if counts.dtype != np.uint16:
            raise DataError(
                f"{owner} is an 8-bit PNG; depth is 16-bit millimetres, so this is a picture and no depth map."
            )
        return cls(torch.from_numpy((counts.astype(np.float64) / 1000).astype(np.float32)))

    def save_png(self, path: str | os.PathLike[str], beyond: str = "error") -> Path:
        """Write a 16-bit PNG in millimetres; rules and errors as in `to_png`."""
        return write_atomically(Path(path), self.to_png(beyond))

    @classmethod
    def load_png(cls, path: str | os.PathLike[str]) -> DepthMap:
        """Read a 16-bit PNG in millimetres, 0 = missing; raises DataError for another format, OSError for no file."""
        return cls.from_png(Path(path).read_bytes(), str(path))

    def to_npz(self) -> bytes:
        """Give the float32 values ("depth") and the kind ("kind") as the bytes of an npz file."""
        stream = io.BytesIO()
        np.savez_compressed(stream, depth=self.metres.cpu().numpy(), kind=np.array(self.kind))
        return stream.getvalue()

    def save_npz(self, path: str | os.PathLike[str]) -> Path:
        """Write the float32 values and the kind to an npz file, exactly and without a limit."""
        return write_atomically(Path(path), self.to_npz())

    @classmethod
    def load_npz(cls, path: str | os.PathLike[str]) -> DepthMap:
        """Read what `save_npz` wrote; raises DataError for another layout, OSError for no file."""
        data = Path(path).read_bytes()
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as stored:
                values, kind = stored["depth"], str(stored["kind"])
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} is no depth file: {error}; it must come from DepthMap.save_npz.") from error
        return cls(torch.from_numpy(values), kind)

    def to_dict(self, form: str = "auto") -> dict[str, Any]:
        """Give a JSON-able dictionary; the summary in it is for readers.

        Args:
            form: "png_mm" keeps whole millimetres (rules and errors of `to_png`), "float32" keeps every bit, and "auto"
                takes png_mm where the map is metric and ends by 65.535 m, float32 elsewhere, so nothing is ever
                clipped.
        """
        if form not in ("auto", "png_mm", "float32"):
            raise DataError(f"form is {form!r}; it must be 'auto', 'png_mm' or 'float32'.")
        if form == "auto":
            form = "png_mm" if self.fits_png() else "float32"
        kept = self
        if form == "png_mm":
            packed = self.to_png()
            kept = self.from_png(packed, "data of DepthMap")  # the summary is of what is written
        else:
            packed = zlib.compress(self.metres.cpu().numpy().astype("<f4").tobytes(), 6)
        return {
            "type": self.type_name,
            "kind": self.kind,
            "units": self.units,
            "size": list(self.size),
            **kept.summary(),
            "form": form,
            "data": to_base64(packed),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DepthMap:
        """Rebuild what `to_dict` wrote; raises DataError when a key is missing or the data are broken."""
        form = dict_entry("DepthMap", data, "form")
        packed = from_base64(dict_entry("DepthMap", data, "data"), "data of DepthMap")
        if form == "png_mm":
            return cls.from_png(packed, "data of DepthMap")
        if form != "float32":
            raise DataError(f"form of DepthMap is {form!r}; it must be 'png_mm' or 'float32'.")
        height, width = dict_entry("DepthMap", data, "size")
        try:
            values = np.frombuffer(zlib.decompress(packed), dtype="<f4").reshape(height, width)
        except (zlib.error, ValueError) as error:
            raise DataError(f"data of DepthMap do not hold {height} x {width} float32 values: {error}.") from error
        return cls(torch.from_numpy(values.astype(np.float32)), dict_entry("DepthMap", data, "kind"))

    def draw(self, image: Any = None, long_side: int | None = None) -> Image.Image:
        """Draw depth in colours (near is bright) with a scale in metres and the median below.

        Missing pixels show the darkened photograph, or grey without one; where few pixels are known, each is drawn
        larger.
        """
        from .drawing import draw_depth

        return draw_depth(image, self, long_side)

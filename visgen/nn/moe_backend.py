"""Which implementation computes the experts: chosen by what the tensors and this build can do, never by semantics.

    reference     every expert on every row, then a mask: slow, obvious, for tests and for the bench
    loop          one matrix product for each contiguous slice of rows; anywhere, any floating dtype
    compiled      this machine's own kernel, once `visgen kernels build` has made it; CPU, float32 and bfloat16
    cuda_grouped  torch's grouped product; CUDA of compute capability 8.0 or newer, bfloat16, 16-byte aligned rows.
                  From 9.0 on it never waits for the GPU; between 8.0 and 9.0 torch may fall back to a loop of its own.

All give the same result up to the rounding of their dtype. The environment variable VISGEN_MOE_BACKEND names one; a
name that is unknown, or that cannot compute what it is given, is an error and never a silent change.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError, nearest
from .compiled_kernel import kernel_refuses

__all__ = ["BACKENDS", "ENVIRONMENT", "available_backends", "choose_backend", "torch_grouped_mm", "wants_reference"]

BACKENDS = ("reference", "loop", "compiled", "cuda_grouped")
ENVIRONMENT = "VISGEN_MOE_BACKEND"
_log = logging.getLogger(__name__)


def choose_backend(x: Tensor, *weights: Tensor) -> str:
    """Name the backend for rows `x` (R, in) and weights (E, out, in) of one dtype.

    Raises:
        ConfigError: VISGEN_MOE_BACKEND is set to an unknown name, or to a backend that cannot compute these tensors.
    """
    wanted = os.environ.get(ENVIRONMENT, "")
    if wanted:
        if wanted not in BACKENDS:
            raise ConfigError(
                f"{ENVIRONMENT} is '{wanted}'{nearest(wanted, BACKENDS, ';')} use one of {', '.join(BACKENDS)}, or "
                "unset it to let visgen choose."
            )
        if reason := _refusal(wanted, x, weights):
            raise ConfigError(f"{ENVIRONMENT} is '{wanted}' but {reason}; unset it to let visgen choose.")
        return _note(wanted, x.device.type, x.dtype)
    name = "cuda_grouped" if x.device.type == "cuda" else "compiled"
    return _note("loop" if _refusal(name, x, weights) else name, x.device.type, x.dtype)


def available_backends(x: Tensor, *weights: Tensor) -> list[str]:
    """The backends that can compute these tensors, whatever the environment says."""
    return [name for name in BACKENDS if not _refusal(name, x, weights)]


@torch.compiler.assume_constant_result
def wants_reference() -> bool:
    """True when VISGEN_MOE_BACKEND asks for the reference; a compiled graph keeps the answer it was traced with."""
    return os.environ.get(ENVIRONMENT) == "reference"


@functools.cache
def _note(name: str, device: str, dtype: torch.dtype) -> str:
    """Log a choice the first time that it is made."""
    _log.info("experts on %s in %s run on backend '%s'", device, str(dtype).removeprefix("torch."), name)
    return name


def _refusal(name: str, x: Tensor, weights: tuple[Tensor, ...]) -> str:
    """Why a backend cannot compute these tensors, or "" when it can."""
    if name == "cuda_grouped":
        if x.device.type != "cuda":
            return f"the tensors are on {x.device.type} and it needs CUDA"
        return _cuda_refusal(x, weights)
    if name == "compiled":
        if x.device.type != "cpu":
            return f"the tensors are on {x.device.type} and it computes on the CPU"
        return kernel_refuses(x.dtype, weights)
    return ""


def _cuda_refusal(x: Tensor, weights: tuple[Tensor, ...]) -> str:
    if x.dtype != torch.bfloat16:
        return f"the tensors are {str(x.dtype).removeprefix('torch.')} and it needs bfloat16"
    if torch_grouped_mm() is None:
        return f"torch {torch.__version__} has no grouped product"
    if _capability(x.device.index or 0) < (8, 0):
        return "this GPU is older than compute capability 8.0"
    odd = [n for w in weights for n in w.shape[1:] if n % 8]
    return f"a width is {odd[0]} and rows must be multiples of 16 bytes (8 numbers)" if odd else ""


@functools.cache
def _capability(index: int) -> tuple[int, int]:
    return torch.cuda.get_device_capability(index)


@functools.cache
def torch_grouped_mm() -> Callable[..., Tensor] | None:
    """torch's grouped product under its public or its older private name, or None."""
    return getattr(F, "grouped_mm", None) or getattr(torch, "_grouped_mm", None)

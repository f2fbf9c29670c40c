"""Where and in which number format a model computes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from ..engine.distributed import choose_device
from ..errors import ConfigError

__all__ = ["DTYPES", "autocast", "resolve_device", "resolve_dtype", "synchronise"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Give a device that works here: the accelerator for "auto" when there is one, else the CPU.

    Raises:
        ConfigError: The name is no device, or this machine does not have it.
    """
    return choose_device(str(device))


def resolve_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """Give the format of the heavy arithmetic: for "auto" float32 on the CPU, bfloat16 on an accelerator.

    Raises:
        ConfigError: The name is not one of auto, float32, bfloat16, float16; or float16 on the CPU, where it is slow.
    """
    if dtype == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    wanted = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if wanted is None or wanted not in DTYPES.values():
        raise ConfigError(f"dtype '{dtype}' is not known; use one of auto, {', '.join(DTYPES)}.")
    if wanted == torch.float16 and device.type == "cpu":
        raise ConfigError("dtype 'float16' is slow and inexact on a CPU; use float32 or bfloat16.")
    return wanted


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """A context in which matrix products run in `dtype`; none at all for float32."""
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype=dtype)


def synchronise(device: torch.device) -> None:
    """Wait until `device` has done its work, so that a clock read afterwards tells the truth."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)

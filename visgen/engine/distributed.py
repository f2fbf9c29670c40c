"""Processes of one run: rank, device and the few collectives the trainer needs, on accelerate's process group."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError

__all__ = ["Workers", "choose_device"]


def choose_device(name: str = "auto") -> torch.device:
    """Give the device called `name`; "auto" takes the accelerator that torch finds, else the CPU.

    Raises:
        ConfigError: The name is no device, or the device is absent here.
    """
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"device '{name}' cannot be used here ({reason}); use auto or cpu.") from error
    return device


class Workers:
    """The processes that `torchrun` or `accelerate launch` started, or this one alone.

    Gradients are averaged here, not by DistributedDataParallel, because ranks may run different heads in one step:
    every rank issues the same collectives whatever its batches hold, and a parameter that no rank used keeps a
    gradient of None.

    Args:
        device: Name as in `choose_device`; several processes take one accelerator each.
    """

    def __init__(self, device: str = "auto") -> None:
        self.rank, self.world = 0, int(os.environ.get("WORLD_SIZE", "1"))
        self.device = choose_device(device)
        if self.world > 1:
            from datetime import timedelta

            from accelerate import PartialState

            # Rank 0 evaluates alone while the others wait, so the usual 10 minutes are too short.
            state = PartialState(cpu=self.device.type == "cpu", timeout=timedelta(hours=6))
            self.rank, self.world, self.device = state.process_index, state.num_processes, state.device

    @property
    def is_main(self) -> bool:
        """True on the one process that writes files and shows progress."""
        return self.rank == 0

    def gather(self, value: Any) -> list[Any]:
        """Give every rank's JSON-able value, in the order of ranks, to all ranks."""
        if self.world == 1:
            return [value]
        data = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8).to(self.device)
        sizes = [torch.zeros(1, dtype=torch.int64, device=self.device) for _ in range(self.world)]
        torch.distributed.all_gather(sizes, torch.tensor([data.numel()], device=self.device))
        widest = int(max(s.item() for s in sizes))
        padded = torch.zeros(widest, dtype=torch.uint8, device=self.device)
        padded[: data.numel()] = data
        rows = [torch.zeros_like(padded) for _ in range(self.world)]
        torch.distributed.all_gather(rows, padded)
        return [json.loads(bytes(row[: int(size)].cpu().tolist())) for row, size in zip(rows, sizes, strict=True)]

    def any(self, flag: bool) -> bool:
        """True on every rank when the flag is true on one of them."""
        return any(self.gather(bool(flag)))

    def broadcast(self, value: Any) -> Any:
        """Give rank 0's JSON-able value to all ranks."""
        return self.gather(value if self.is_main else None)[0]

    def barrier(self) -> None:
        """Wait for all ranks."""
        self.gather(None)

    def copy_module(self, module: nn.Module) -> None:
        """Give every rank the parameters and buffers of rank 0."""
        if self.world > 1:
            with torch.no_grad():
                for tensor in (*module.parameters(), *module.buffers()):
                    torch.distributed.broadcast(tensor, src=0)

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Sum gradients over ranks in place; None stays None where no rank has a gradient.

        Args:
            parameters: The same list on every rank.
        """
        if self.world == 1:
            return
        used = torch.tensor([float(p.grad is not None) for p in parameters], device=self.device)
        torch.distributed.all_reduce(used)
        active = [p for p, n in zip(parameters, used.tolist(), strict=True) if n > 0]
        for parameter in active:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self._sum([p.grad for p in active if p.grad is not None])

    def average_norm_statistics(self, module: nn.Module) -> None:
        """Average the running statistics of batch norms over ranks, so that any rank's checkpoint is the run's."""
        if self.world == 1:
            return
        statistics: list[Tensor] = []
        for layer in module.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is not None:
                statistics += [layer.running_mean, layer.running_var]  # type: ignore[list-item]
        with torch.no_grad():
            self._sum(statistics)
            for tensor in statistics:
                tensor /= self.world

    def _sum(self, tensors: Iterable[Tensor], limit: int = 2**24) -> None:
        """All-reduce in flat buckets of at most `limit` numbers (64 MiB in float32)."""
        bucket: list[Tensor] = []
        size = 0
        for tensor in (*tensors, None):
            if bucket and (tensor is None or size + tensor.numel() > limit or tensor.dtype != bucket[0].dtype):
                flat = torch.cat([t.reshape(-1) for t in bucket])
                torch.distributed.all_reduce(flat)
                for target, part in zip(bucket, flat.split([t.numel() for t in bucket]), strict=True):
                    target.copy_(part.view_as(target))
                bucket, size = [], 0
            if tensor is not None:
                bucket.append(tensor)
                size += tensor.numel()

"""Proof that training moved what it announced and nothing else: the hash of every tensor before and after."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import VisgenError

__all__ = ["FrozenPartMoved", "MovementReport", "check_movement", "tensor_hashes"]


class FrozenPartMoved(VisgenError):
    """A tensor that training was not to touch has changed."""


@dataclass(frozen=True)
class MovementReport:
    """What a training changed.

    Args:
        frozen: Tensors (parameters and buffers) outside the announced set, all bit for bit as before.
        frozen_hash: One sha256 over their names and bytes.
        moved: Announced tensors that changed.
        unmoved: Announced tensors that did not.
    """

    frozen: int
    frozen_hash: str
    moved: tuple[str, ...]
    unmoved: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Give plain values."""
        return {**asdict(self), "moved": list(self.moved), "unmoved": list(self.unmoved)}


def tensor_hashes(module: nn.Module) -> dict[str, str]:
    """Give the sha256 of shape, dtype and bytes of every parameter and buffer by name, also of those not saved."""
    named: dict[str, Tensor] = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {name: _hash(tensor) for name, tensor in named.items()}


def check_movement(before: Mapping[str, str], after: Mapping[str, str], announced: Collection[str]) -> MovementReport:
    """Compare the hashes of two moments.

    Args:
        before, after: From `tensor_hashes`, of one model.
        announced: Names of the tensors that may change.
    Raises:
        FrozenPartMoved: Another tensor changed, appeared or went; the message names it.
    """
    allowed = set(announced)
    wrong = sorted(name for name in {*before, *after} - allowed if before.get(name) != after.get(name))
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise FrozenPartMoved(
            f"training changed {len(wrong)} tensors that were announced as frozen: {', '.join(wrong[:5])}{more}; the "
            "result is not what the report says, so it is not kept."
        )
    frozen = sorted({*before} - allowed)
    digest = hashlib.sha256("\n".join(f"{name} {before[name]}" for name in frozen).encode()).hexdigest()
    moved = tuple(name for name in after if name in allowed and after[name] != before.get(name))
    unmoved = tuple(name for name in after if name in allowed and after[name] == before.get(name))
    return MovementReport(len(frozen), digest, moved, unmoved)


def _hash(tensor: Tensor) -> str:
    value = tensor.detach().cpu().contiguous().reshape(-1)
    head = f"{tuple(tensor.shape)} {tensor.dtype} ".encode()
    return hashlib.sha256(head + value.view(torch.uint8).numpy().tobytes() if value.numel() else head).hexdigest()

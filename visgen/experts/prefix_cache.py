"""Remember what a frozen prefix gives for a picture, so that epochs after the first skip the stem."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError

__all__ = ["PrefixCache", "is_prefix_frozen"]


def is_prefix_frozen(backbone: Any) -> bool:
    """Whether no parameter that trains takes part in `backbone.prefix`, told by a small forward pass with gradients."""
    was_training = backbone.training
    backbone.eval()  # a probe must not move batch statistics
    try:
        with torch.enable_grad():
            probe = torch.zeros(1, 3, 32, 32, device=next(backbone.parameters()).device)
            return not any(t.requires_grad for t in _tensors(backbone.prefix(probe)))
    finally:
        backbone.train(was_training)


class PrefixCache:
    """Stands in for `backbone.prefix` of a frozen prefix; set it as `MultiTaskModel.prefix_cache`.

    A picture is known by the hash of its values, so any source, order and augmentation is right: a picture that was
    altered is another one. Results come back bit for bit as they were computed, which may be in a batch of another
    size. Copies of a model (such as its average) share the cache; so may models whose prefix is the same.

    Args:
        limit: Bytes to keep; what comes after is computed every time.
    Attributes:
        hits, misses: Pictures found and computed.
        nbytes: Bytes kept.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ConfigError(f"the cache of the prefix may keep {limit} bytes; give at least 1, or use none.")
        self.limit, self.nbytes, self.hits, self.misses = limit, 0, 0, 0
        self._kept: dict[bytes, Any] = {}
        self._prefix = b""

    def __deepcopy__(self, memo: Any) -> PrefixCache:
        return self

    def attach(self, model: Any) -> None:
        """Serve a model from now on; forgets everything when its prefix is not the one of before.

        Raises:
            ConfigError: A part of the prefix trains, or the backbone's prefix cannot be cut into pictures.
        """
        backbone = model.backbone
        if not is_prefix_frozen(backbone):
            raise ConfigError(
                "finetune.cache_mb is set but a part of the prefix trains, so its outputs change with every step; set "
                "cache_mb to 0 for full and lora."
            )
        digest = hashlib.sha256()
        with torch.no_grad():
            was_training = backbone.training
            probe = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
            state = backbone.eval().prefix(probe.to(next(backbone.parameters()).device))
            backbone.train(was_training)
        if not is_dataclass(state):
            raise ConfigError(
                f"the prefix of {type(backbone).__name__} gives {type(state).__name__}, which cannot be cut into "
                "pictures; set finetune.cache_mb to 0."
            )
        for tensor in _tensors(state):
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        if digest.digest() != self._prefix:
            self._kept.clear()
            self.nbytes, self._prefix = 0, digest.digest()
        model.prefix_cache = self

    @torch.no_grad()
    def __call__(self, backbone: nn.Module, images: Tensor) -> Any:
        """Give the state of the prefix for images (B, 3, H, W)."""
        mode = f"{tuple(images.shape[1:])} {images.device} {torch.is_autocast_enabled(images.device.type)}".encode()
        keys = [hashlib.blake2b(mode + image.cpu().numpy().tobytes(), digest_size=16).digest() for image in images]
        missing = [i for i, key in enumerate(keys) if key not in self._kept]
        found: dict[int, Any] = {i: self._kept[key] for i, key in enumerate(keys) if key in self._kept}
        self.hits += len(found)
        self.misses += len(missing)
        if missing:
            state = backbone.prefix(images[missing])  # type: ignore[operator]
            for place, i in enumerate(missing):
                found[i] = _pick(state, place)
                size = sum(t.nbytes for t in _tensors(found[i]))
                if keys[i] not in self._kept and self.nbytes + size <= self.limit:
                    self._kept[keys[i]] = found[i]
                    self.nbytes += size
        return _join([found[i] for i in range(len(images))])


def _tensors(value: Any) -> list[Tensor]:
    """All tensors inside a state: a dataclass of tensors, mappings of tensors, and plain values."""
    if isinstance(value, Tensor):
        return [value]
    if is_dataclass(value):
        return [t for f in fields(value) for t in _tensors(getattr(value, f.name))]
    if isinstance(value, dict):
        return [t for v in value.values() for t in _tensors(v)]
    return [t for v in value for t in _tensors(v)] if isinstance(value, (list, tuple)) else []


def _pick(value: Any, index: int) -> Any:
    """One picture of a state, with memory of its own."""
    if isinstance(value, Tensor):
        return value[index : index + 1].clone()
    if isinstance(value, dict):
        return {key: _pick(v, index) for key, v in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _pick(getattr(value, f.name), index) for f in fields(value)})
    return value


def _join(parts: Sequence[Any]) -> Any:
    """Put pictures of one size together again."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(list(parts))
    if isinstance(first, dict):
        return {key: _join([part[key] for part in parts]) for key in first}
    if is_dataclass(first) and not isinstance(first, type):
        return replace(first, **{f.name: _join([getattr(p, f.name) for p in parts]) for f in fields(first)})
    return first

"""What of a trained mixture of experts is fine-tuned."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigError

__all__ = ["FinetuneConfig"]


@dataclass(frozen=True)
class FinetuneConfig:
    """Start from a trained model and train a part of it on the data of the run.

    Args:
        model: Shipped name, folder or Hub id of the model to start from.
        experts: What trains beside the new head: "head" (nothing), "router" (the task's routers), "top:N" or "bottom:N"
            (routers and the N most or least used experts of each routed layer), "new:N" (routers and N experts that are
            added to each layer), experts by number ("1,3"), "full", or "lora" or "lora:RANK" (low-rank updates of the
            dense layers of all blocks).
        keep_heads: Keep the heads that the model has; their answers stay as they are unless a part that they use is
            trained, and the report says which. False leaves the new head alone.
        router_steps: First so many of the steps train only the head and the routers; the experts of top, bottom and
            new are then chosen or copied by the usage that these routers have learnt.
        usage_batches: Training batches on which usage is measured.
        match: "lora" without a rank takes the largest one that trains no more parameters than this selection does.
        cache_mb: Memory for the outputs of a frozen prefix, so that pictures seen again skip it; 0 for none. It helps
            where the transforms of the data give the same picture again.
    """

    model: str = ""
    experts: str = "top:4"
    keep_heads: bool = False
    router_steps: int = 0
    usage_batches: int = 16
    match: str = "top:4"
    cache_mb: int = 0

    def __post_init__(self) -> None:
        if not self.model:
            raise ConfigError("finetune.model is empty; name the model to start from, such as visgen-tiny or a folder.")
        for name, least in (("router_steps", 0), ("usage_batches", 1), ("cache_mb", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"finetune.{name} is {getattr(self, name)}; it must be {least} or more.")

"""Give a model of some of a model's heads, answering at another size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..task import MultiTaskModel, build_model
from .extract import extract_experts

__all__ = ["with_heads"]


def with_heads(
    model: MultiTaskModel, heads: Sequence[str] | None = None, sides: tuple[int, int] | None = None
) -> MultiTaskModel:
    """Build a model with the same weights and only some of the heads; routers that no head uses go too.

    Args:
        model: Stays as it is.
        heads: Head names; heads that they stand on or are weighed by come along. None keeps all.
        sides: (max_side, min_side), the bounds of the longer side in pixels at which the new model answers; None
            leaves them.
    """
    config: dict[str, Any] = model.config()
    if heads is not None:
        names = model.with_needed(heads)
        banks = getattr(model.backbone, "banks", {})
        if banks:
            model = extract_experts(model, names, {k: range(b.router.num_experts) for k, b in banks.items()})
            config = model.config()
        config = {**config, "heads": {name: config["heads"][name] for name in names}}
        config["default_heads"] = {t: n for t, n in config["default_heads"].items() if n in names}
    if sides is not None:
        config = {**config, "max_side": sides[0], "min_side": sides[1]}
    found = build_model(config, load_weights=False)
    state = model.state_dict()
    found.load_state_dict({name: state[name] for name in found.state_dict()})
    return found.to(next(model.parameters()).device).train(model.training)

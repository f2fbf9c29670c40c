"""The shape of a mixture-of-experts vision transformer, and its named sizes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..errors import ConfigError, UnknownName, nearest
from ..nn.bank import BankShape
from ..nn.block import NORM_EPS
from ..nn.routing import check_gates, task_names
from ..options import build_options

__all__ = ["LAYOUTS", "SIZES", "ViTMoEConfig", "named_size"]

LAYOUTS = ("twice", "all_mlp", "odd_mlp", "dense")
POSITIONS = ("conv", "sincos", "learned", "none")
TOKENS = ("mean", "mean_norm", "class")


@dataclass(frozen=True)
class ViTMoEConfig:
    """Shape of a ViTMoE; `ViTMoEConfig.named("tiny", tasks=...)` gives the published sizes.

    Attributes:
        tasks: Routed tasks, in the order that integer task indices mean. Named heads share the router of their task.
        width, depth, heads: D, number of blocks, and heads H of dense attention, which is also the number of experts
            that a token visits in routed attention.
        head_dim: d; width / heads when null.
        mlp_ratio: Hidden width of a dense MLP in units of D.
        num_experts, top_k: Bank and active experts of a routed MLP.
        expert_hidden: Width inside one expert; mlp_ratio * width / top_k when null, so that the active parameters
            equal those of the dense MLP.
        attention_experts: Bank of a routed attention.
        layout: Which parts of the blocks after the prefix are routed. "twice": attention in blocks 0, 2, ... and MLP
            in blocks 1, 3, ...; "all_mlp": every MLP; "odd_mlp": the MLP of blocks 1, 3, ...; "dense": none, with
            parts as large as the active parameters of `twin_of`.
        twin_of: The layout that "dense" matches.
        prefix_depth: The first blocks, always dense, that all tasks share on one image.
        banks: Routed layer ("blocks.2.mlp") -> fields of `visgen.nn.bank.BankShape`, for layers whose experts were
            split, added, cut out or given to some tasks only; `visgen.experts` writes them.
        gate_norm, noise, noise_std, router_hidden: See `visgen.nn.routing.Router`.
        task_embedding: Add a learned vector per task to all tokens where the suffix starts.
        drop_path: Stochastic depth of the last block; it grows linearly from 0.
        stem: Options of `ConvStemConfig` for a convolutional stem, or null for a patch embedding of 16 px.
        stem_context: Add the projected stride-32 map of the stem to the tokens.
        stem_token: Append the mean of the stride-32 map of the stem to the image vector.
        stem_maps: Append the stem's own maps to those at strides 16 and 32, so that heads read what it was trained
            for beside what the experts make of it.
        position: "conv", "sincos", "learned" (table of `grid`, resampled) or "none".
        grid: Reference grid (h, w) of learned positions.
        class_token, registers: Prepend a learned token, and this many more that nothing reads.
        token: The image vector: "mean" of normalised patch tokens, "mean_norm" norm of their mean, or the "class"
            token.
        qkv_bias, layer_scale, norm_eps: Options of the blocks.
        pre_norm: Normalise the tokens before the first block.
        mean, std: Statistics for RGB in [0, 1], used by the patch embedding; a stem brings its own.
    """

    tasks: tuple[str, ...] = ()
    width: int = 192
    depth: int = 12
    heads: int = 3
    head_dim: int | None = None
    mlp_ratio: float = 4.0
    num_experts: int = 16
    top_k: int = 4
    expert_hidden: int | None = None
    attention_experts: int = 12
    layout: str = "twice"
    twin_of: str = "twice"
    prefix_depth: int = 0
    banks: dict[str, Any] | None = None
    gate_norm: str = "topk"
    noise: str = "none"
    noise_std: float | None = None
    router_hidden: int = 0
    task_embedding: bool = True
    drop_path: float = 0.0
    stem: dict[str, Any] | None = None
    stem_context: bool = True
    stem_token: bool = False
    stem_maps: bool = False
    position: str = "conv"
    grid: tuple[int, int] = (14, 14)
    class_token: bool = False
    registers: int = 0
    token: str = "mean"
    qkv_bias: bool = True
    layer_scale: float | None = None
    norm_eps: float = NORM_EPS
    pre_norm: bool = False
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        for name in ("tasks", "grid", "mean", "std"):  # YAML brings lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        task_names(self.tasks)
        for name, known in (
            ("layout", LAYOUTS),
            ("twin_of", LAYOUTS[:-1]),
            ("position", POSITIONS),
            ("token", TOKENS),
        ):
            value = getattr(self, name)
            if value not in known:
                raise ConfigError(f"{name} '{value}' is unknown{nearest(value, known, ';')} use {', '.join(known)}.")
        for name in ("width", "depth", "heads", "head_dim", "expert_hidden"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ConfigError(f"{name} is {value}; use 1 or more.")
        if self.mlp_ratio <= 0 or not 0 <= self.drop_path < 1 or min(self.registers, self.router_hidden) < 0:
            raise ConfigError(
                f"mlp_ratio is {self.mlp_ratio:g}, drop_path {self.drop_path:g}, registers {self.registers} and "
                f"router_hidden {self.router_hidden}; use above 0, a share in [0, 1), and 0 or more for both others."
            )
        if not 0 <= self.prefix_depth <= self.depth:
            raise ConfigError(f"prefix_depth is {self.prefix_depth} but depth is {self.depth}; use 0..{self.depth}.")
        if self.head_dim is None and self.width % self.heads:
            raise ConfigError(f"width {self.width} is not a multiple of heads {self.heads}; set head_dim.")
        if self.token == "class" and not self.class_token:
            raise ConfigError("token is 'class' but class_token is false; set class_token to true or token to 'mean'.")
        for name in ("stem_token", "stem_maps"):
            if self.stem is None and getattr(self, name):
                raise ConfigError(f"{name} is true but there is no stem; set stem, or {name} to false.")
        if self.routed_layout == "twice":
            check_gates(self.attention_experts, self.heads, self.gate_norm)
        check_gates(self.num_experts, self.top_k, self.gate_norm)
        for name in self.banks or {}:
            self.bank(name)

    def bank(self, layer: str) -> BankShape | None:
        """The shape of a routed layer's bank, where it is not one part that all tasks see whole."""
        options = (self.banks or {}).get(layer)
        return None if options is None else build_options(BankShape, options, f"bank of '{layer}'")

    @classmethod
    def named(cls, size: str, tasks: tuple[str, ...], **changes: Any) -> ViTMoEConfig:
        """Give the configuration called "tiny", "small" or "base" for `tasks`, with `changes` applied."""
        return cls(**{**named_size(size), "tasks": tuple(tasks), **changes})

    @property
    def routed_layout(self) -> str:
        """The layout, or the one that a dense twin stands for."""
        return self.twin_of if self.layout == "dense" else self.layout

    @property
    def attention_dim(self) -> int:
        """Width d of one attention head."""
        return self.width // self.heads if self.head_dim is None else self.head_dim

    @property
    def hidden(self) -> int:
        """Width inside one expert."""
        return round(self.mlp_ratio * self.width / self.top_k) if self.expert_hidden is None else self.expert_hidden

    def dense_twin(self, **changes: Any) -> ViTMoEConfig:
        """The same network with dense parts of equal active parameters."""
        return replace(self, **{"layout": "dense", "twin_of": self.routed_layout, **changes})


# Mod-Squad, arXiv:2212.08066; routed attention of "tiny" is ours. Width of a head is 2 D / H in small and base.
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"width": 192, "heads": 3, "head_dim": 64, "attention_experts": 12},
    "small": {"width": 384, "heads": 6, "head_dim": 128, "attention_experts": 15},
    "base": {"width": 768, "heads": 12, "head_dim": 128, "attention_experts": 24},
}


def named_size(size: str) -> dict[str, Any]:
    """The fields that make up the named size "tiny", "small" or "base"."""
    if size not in SIZES:
        raise UnknownName(f"ViTMoE size '{size}' is unknown{nearest(size, SIZES, ';')} use {', '.join(SIZES)}.")
    return SIZES[size]

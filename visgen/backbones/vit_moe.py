"""The mixture-of-experts vision transformer: one bank of experts, one router per task, a task-independent prefix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError
from ..nn.attention import Attention
from ..nn.bank import BankShape, ExpertBank
from ..nn.block import Block
from ..nn.crop import crop
from ..nn.mlp import Mlp
from ..nn.moe import MoEMlp
from ..nn.moe_attention import MoEAttention
from ..nn.pos_embed import ConvPosition, LearnedPosition, SinCosPosition
from ..nn.route import Route, as_routes
from ..nn.routing import Router, select_tasks, task_names
from ..nn.routing_sums import merge_statistics
from ..nn.simple_pyramid import SimplePyramid, halve
from ..options import build_options
from .conv_stem import ConvStem, ConvStemConfig
from .protocol import BACKBONES, Backbone, Features, crop_pyramid, pad_to_multiple
from .vit_moe_config import ViTMoEConfig, named_size

__all__ = ["PrefixState", "RoutedLayer", "ViTMoE", "ViTMoEConfig"]

STRIDE = 16


@dataclass
class PrefixState:
    """What the prefix hands to the suffixes of all tasks.

    Attributes:
        tokens: (B, N, D), N = h * w cells that hold picture, after the class token and registers.
        maps: Maps of the stem (padded size) at strides 4 and 8, with `stem_maps` also 16 and 32; empty for a patch
            embedding.
        context: Mean of the stem's stride-32 map (B, C), or None.
        grid: (h, w) at stride 16.
        size: (H, W) of the images in pixels.
    """

    tokens: Tensor
    maps: dict[int, Tensor]
    context: Tensor | None
    grid: tuple[int, int]
    size: tuple[int, int]


@dataclass(frozen=True)
class RoutedLayer:
    """A routed part, in the order of `Features.extras["routing"]`: module path, "attention" or "mlp", bank, active."""

    name: str
    kind: str
    num_experts: int
    top_k: int


@BACKBONES.register("vit_moe")
class ViTMoE(Backbone):
    """Features for images (B, 3, H, W) in [0, 1], any H and W >= 32, through the experts of a task.

    Tokens exist only where there is picture: images are padded to a multiple of 32 for the stem and the token grid is
    cut to ceil(H/16) x ceil(W/16) before the blocks. While gradients are on, or with `collect`, the features carry
    `extras["routing"]`: one dict of `visgen.nn.routing_sums.routing_statistics` per routed layer.

    Args:
        config: Shape; or give its fields as keyword options, on top of those of a named `size`.
        load_weights: Let the stem read the weights that its options name.
    Source: Chen et al. 2023 (Mod-Squad), arXiv:2212.08066; prefix, pyramid and gates differ, see the fields of
        ViTMoEConfig.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, config: ViTMoEConfig | None = None, load_weights: bool = True, *, size: str | None = None, **options: Any
    ) -> None:
        super().__init__()
        if config is not None and (options or size):
            raise ConfigError(f"options {sorted(options)} were given beside a config; use dataclasses.replace on it.")
        if config is None:
            preset = {} if size is None else named_size(size)
            config = build_options(ViTMoEConfig, {**preset, **options}, "backbone vit_moe")
        self.config = config
        self._had_banks = config.banks is not None
        self.tasks = config.tasks
        width = config.width
        self.stem: ConvStem | None = None
        self.pyramid: SimplePyramid | None = None
        self.token_dim = width
        if config.stem is None:
            self.patch_embed = nn.Conv2d(3, width, STRIDE, stride=STRIDE)
            self.pyramid = SimplePyramid(width)
            self.channels = dict(self.pyramid.channels)
            self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1), persistent=False)
            self.register_buffer("std", torch.tensor(config.std).view(1, 3, 1, 1), persistent=False)
        else:
            self.stem = ConvStem(build_options(ConvStemConfig, config.stem, "stem of vit_moe"), load_weights)
            channels = self.stem.channels
            self.stem_proj = nn.Conv2d(channels[16], width, 1)
            self.context_proj = nn.Conv2d(channels[32], width, 1) if config.stem_context else None
            self.channels = {4: channels[4], 8: channels[8], 16: width, 32: width}
            if config.stem_maps:
                self.channels = {**self.channels, 16: width + channels[16], 32: width + channels[32]}
            self.token_dim += channels[32] if config.stem_token else 0
        extra = config.class_token + config.registers
        self.extra_tokens = nn.Parameter(0.02 * torch.randn(1, extra, width)) if extra else None
        self.position = _position(config)
        rates = torch.linspace(0, config.drop_path, config.depth).tolist()
        self.blocks = nn.ModuleList(_block(config, i, rates[i]) for i in range(config.depth))
        self.task_embedding = (
            nn.ParameterDict({t: nn.Parameter(0.02 * torch.randn(width)) for t in self.tasks})
            if config.task_embedding
            else None
        )
        self.norm_pre = nn.LayerNorm(width, eps=config.norm_eps) if config.pre_norm else nn.Identity()
        self.norm = nn.LayerNorm(width, eps=config.norm_eps)

    @property
    def routed_layers(self) -> tuple[RoutedLayer, ...]:
        """The routed parts, in the order of the routing statistics."""
        found = []
        for i, block in enumerate(self.blocks):
            for name, kind in (("attn", "attention"), ("mlp", "mlp")):
                router = getattr(getattr(block, name), "router", None)
                if router is not None:
                    found.append(RoutedLayer(f"blocks.{i}.{name}", kind, router.num_experts, router.top_k))
        return tuple(found)

    @property
    def banks(self) -> dict[str, ExpertBank]:
        """The routed parts themselves, by module path."""
        return {layer.name: self.get_submodule(layer.name) for layer in self.routed_layers}  # type: ignore[misc]

    def changes(self) -> dict[str, Any]:
        """The tasks and banks as they are now, for the options that rebuild this model."""
        found = {}
        for name, bank in self.banks.items():
            shape = bank.shape()
            is_attention = name.endswith(".attn")
            base = self.config.attention_experts if is_attention else self.config.num_experts
            if shape.options() != {"parts": [base]}:
                found[name] = shape.options()
        self.config = replace(self.config, tasks=self.tasks, banks=found or None)
        return {"tasks": list(self.tasks)} | ({"banks": found or None} if found or self._had_banks else {})

    def add_task(self, name: str, routes: Mapping[str, Route] | None = None) -> None:
        """Give a further task a router in every routed layer, and a task embedding where the others have one.

        Args:
            name: A new name without dots.
            routes: Layer -> what the task sees of its bank; all of it where absent.
        """
        self.tasks = task_names((*self.tasks, name))
        for layer, bank in self.banks.items():
            bank.router.add_task(name, (routes or {}).get(layer))
            bank.router.tasks[name].to(next(bank.parameters()).device)
        if self.task_embedding is not None:
            like = next(iter(self.task_embedding.values()))
            self.task_embedding[name] = nn.Parameter(0.02 * torch.randn(like.shape).to(like.device))
        self.changes()

    def no_weight_decay(self) -> set[str]:
        """Names of parameters with two or more axes that are no matrices, such as biases (E, h) of experts."""
        small = ("extra_tokens", "position.table", ".b1", ".b2")
        return {n for n, _ in self.named_parameters() if n.endswith(small) or n.startswith("task_embedding.")}

    def prefix(self, images: Tensor) -> PrefixState:
        padded, size = pad_to_multiple(images)
        grid = (-(-size[0] // STRIDE), -(-size[1] // STRIDE))
        maps: dict[int, Tensor] = {}
        context = None
        if self.stem is None:
            x = self.patch_embed((padded - self.mean) / self.std)
        else:
            levels = self.stem(padded)
            x = self.stem_proj(levels[16])
            if self.context_proj is not None:
                coarse = self.context_proj(levels[32])
                x = x + F.interpolate(coarse, size=x.shape[-2:], mode="bilinear", align_corners=False)
            maps = levels if self.config.stem_maps else {4: levels[4], 8: levels[8]}
            if self.config.stem_token:
                context = crop_pyramid({32: levels[32]}, size)[32].mean((2, 3))
        tokens = crop(x, *grid).flatten(2).transpose(1, 2)  # (B, h * w, D)
        if self.position is not None:
            tokens = self.position(tokens, grid)
        if self.extra_tokens is not None:
            tokens = torch.cat([self.extra_tokens.expand(tokens.shape[0], -1, -1).to(tokens.dtype), tokens], dim=1)
        tokens = self.norm_pre(tokens)
        for block in self.blocks[: self.config.prefix_depth]:
            tokens, _ = block(tokens)
        return PrefixState(tokens, maps, context, grid, size)

    def suffix(
        self,
        state: PrefixState,
        task: str | Tensor | None = None,
        *,
        collect: bool = False,
        generator: torch.Generator | None = None,
    ) -> Features:
        """Finish the features of `task` from a prefix.

        Args:
            state: From `prefix`; it is not changed, so several tasks can follow one prefix.
            task: A task name for all images, int64 indices (B,) into `tasks`, or None with one task.
            collect: Record the experts of every token, also without gradients.
            generator: Source of routing noise in training; the global one when None.
        """
        x, routing = self._through_experts(state.tokens, task, collect, generator)
        return self._features(x, state, routing)

    def suffixes(self, state: PrefixState, tasks: Sequence[str]) -> dict[str, Features]:
        """Finish the features of several tasks in one pass: the tokens of all tasks go through the experts together."""
        if len(tasks) < 2 or torch.is_grad_enabled() or not set(tasks) <= set(self.tasks):
            return super().suffixes(state, tasks)
        images = len(state.tokens)
        index = torch.tensor([self.tasks.index(t) for t in tasks], device=state.tokens.device)
        rows = index.repeat_interleave(images)
        x, _ = self._through_experts(state.tokens.repeat(len(tasks), 1, 1), rows, False, None)
        return {t: self._features(part, state, []) for t, part in zip(tasks, x.split(images), strict=True)}

    def _through_experts(
        self, x: Tensor, task: str | Tensor | None, collect: bool, generator: torch.Generator | None
    ) -> tuple[Tensor, list[dict[str, Tensor]]]:
        """Send tokens (B, N, D) through the blocks after the prefix; also gives the routing statistics."""
        groups = self._groups(task)
        if groups is not None:
            return self._through_experts_apart(x, groups, collect, generator)
        tasks = select_tasks(task, self.tasks, x.shape[0], x.device)
        if self.task_embedding is not None:
            embedding = torch.stack([self.task_embedding[name] for name in tasks.names])
            embedding = embedding if tasks.rows is None else embedding[tasks.rows]
            x = x + embedding.unsqueeze(1).to(x.dtype)
        record = collect or torch.is_grad_enabled()
        routing: list[dict[str, Tensor]] = []
        for block in self.blocks[self.config.prefix_depth :]:
            x, statistics = block(x, tasks, record, collect, generator)
            routing += statistics
        return x, routing

    def _groups(self, task: str | Tensor | None) -> list[Tensor] | None:
        """Where the images of a mixed batch see a bank differently, the rows of each kind with their tasks."""
        if not isinstance(task, Tensor) or task.ndim != 1 or not any(len(b.router.views) for b in self.banks.values()):
            return None
        kinds: dict[tuple[Route, ...], list[int]] = {}
        for i, name in enumerate(self.tasks):
            kinds.setdefault(tuple(b.router.route(name) for b in self.banks.values()), []).append(i)
        if len(kinds) == 1:
            return None
        members = [torch.isin(task, torch.tensor(ids, device=task.device)) for ids in kinds.values()]
        rows = [member.nonzero().flatten() for member in members if bool(member.any())]
        if len(rows) < 2 or sum(map(len, rows)) < len(task):  # one kind, or a task out of range: told further on
            return None
        return [torch.stack([r, task[r]]) for r in rows]

    def _through_experts_apart(
        self, x: Tensor, groups: Sequence[Tensor], collect: bool, generator: torch.Generator | None
    ) -> tuple[Tensor, list[dict[str, Tensor]]]:
        """Each group as a batch of its own, which is the very problem that it was before other groups came."""
        found, statistics = [], []
        for rows, task in groups:
            y, one = self._through_experts(x[rows], task, collect, generator)
            found.append(y)
            statistics.append(one)
        order = torch.cat([rows for rows, _ in groups])
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order), device=order.device)
        merged = [merge_statistics(layer, place) for layer in zip(*statistics, strict=True)]
        return torch.cat(found).index_select(0, place), merged

    def _features(self, x: Tensor, state: PrefixState, routing: list[dict[str, Tensor]]) -> Features:
        """Lay the tokens (B, N, D) of one task out as maps, beside those of the stem."""
        patches = x[:, self.config.class_token + self.config.registers :]
        normed = self.norm(patches)
        if self.config.token == "class":
            token = self.norm(x[:, 0])
        else:
            token = normed.mean(1) if self.config.token == "mean" else self.norm(patches.mean(1))
        if state.context is not None:
            token = torch.cat([token, state.context.to(token.dtype)], dim=1)
        # seen as a map with channels last: a transposed view would send pooling, joining and convolutions of one image
        # the slow way, because torch does not recognise the layout of a batch of 1
        image = normed.unflatten(1, state.grid).permute(0, 3, 1, 2)
        pyramid = {**state.maps, 16: image, 32: halve(image)} if self.pyramid is None else self.pyramid(image)
        if self.config.stem_maps:
            for s in (16, 32):
                stem = crop(state.maps[s], *pyramid[s].shape[-2:])
                pyramid[s] = torch.cat([pyramid[s], stem.to(pyramid[s].dtype)], dim=1)
        return Features(crop_pyramid(pyramid, state.size), token, extras={"routing": routing})

    def forward(
        self,
        images: Tensor,
        task: str | Tensor | None = None,
        text: Any = None,
        *,
        collect: bool = False,
        generator: torch.Generator | None = None,
    ) -> Features:
        """Give the Features of `images` for `task`; see `suffix`. `text` is not read."""
        return self.suffix(self.prefix(images), task, collect=collect, generator=generator)


def _position(config: ViTMoEConfig) -> nn.Module | None:
    if config.position == "conv":
        return ConvPosition(config.width)
    if config.position == "sincos":
        return SinCosPosition(config.width)
    return LearnedPosition(config.width, config.grid) if config.position == "learned" else None


def _block(config: ViTMoEConfig, index: int, drop_path: float) -> Block:
    """Build block `index`: dense in the prefix, routed as the layout says after it."""
    width, heads, dim = config.width, config.heads, config.attention_dim
    local = index - config.prefix_depth
    routes_attention = local >= 0 and config.routed_layout == "twice" and local % 2 == 0
    routes_mlp = local >= 0 and (config.routed_layout == "all_mlp" or local % 2 == 1)
    dense_hidden = round(config.mlp_ratio * width)

    def router(experts: int, k: int, shape: BankShape | None) -> Router:
        return Router(
            width,
            experts if shape is None else shape.size,
            k,
            config.tasks,
            gate_norm=config.gate_norm,
            noise=config.noise,
            noise_std=config.noise_std,
            hidden=config.router_hidden,
            routes=None if shape is None else as_routes(shape.routes),
        )

    attention_bank, mlp_bank = config.bank(f"blocks.{index}.attn"), config.bank(f"blocks.{index}.mlp")
    attn: nn.Module
    mlp: nn.Module
    if not routes_attention:
        attn = Attention(width, heads, dim, config.qkv_bias)
    elif config.layout != "dense":
        routes = router(config.attention_experts, heads, attention_bank)
        attn = MoEAttention(width, dim, routes, *_parts(attention_bank))
    else:
        active = heads * 2 * dim * width + (width + 1) * 2 * dim + _router_size(config, config.attention_experts)
        per_dim = heads * (4 * width + 3 * config.qkv_bias)
        attn = Attention(width, heads, round((active - width) / per_dim), config.qkv_bias)
    if not routes_mlp:
        mlp = Mlp(width, dense_hidden)
    elif config.layout != "dense":
        routes = router(config.num_experts, config.top_k, mlp_bank)
        mlp = MoEMlp(width, config.hidden, routes, *_parts(mlp_bank))
    else:
        expert = 2 * width * config.hidden + config.hidden + width
        active = config.top_k * expert + _router_size(config, config.num_experts)
        mlp = Mlp(width, round((active - width) / (2 * width + 1)))
    return Block(width, attn, mlp, config.layer_scale, drop_path, config.norm_eps)


def _parts(shape: BankShape | None) -> tuple[Sequence[int] | None, Sequence[int] | None]:
    return (None, None) if shape is None else (shape.parts, shape.order)


def _router_size(config: ViTMoEConfig, experts: int) -> int:
    """Parameters of one task's router."""
    outputs = 2 * experts if config.noise == "learned" else experts
    if not config.router_hidden:
        return outputs * config.width
    return (config.width + 1) * config.router_hidden + outputs * (config.router_hidden + 1)

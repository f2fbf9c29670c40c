"""One model of several tasks: a backbone and named heads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbones import Backbone
from ..errors import ConfigError, DataError, UnknownName, nearest
from ..heads import HEADS
from ..options import call_with
from .batch_run import BatchRun
from .protocol import FURTHER_TASK_KEYS, TASK_KEYS, TASKS, HeadSpec

__all__ = ["MultiTaskModel"]


class MultiTaskModel(nn.Module):
    """Backbone and heads; every head sees the features of its own task.

    Attributes:
        specs: Head name -> HeadSpec.
        default_heads: Task key -> head name.
        max_side, min_side: Bounds of the longer side at which photographs are answered.
    """

    backbone: Backbone

    def __init__(
        self,
        backbone: Backbone,
        specs: Mapping[str, HeadSpec],
        default_heads: Mapping[str, str] | None = None,
        max_side: int = 320,
        min_side: int = 0,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.specs = dict(specs)
        self.max_side = max_side
        self.min_side = min_side
        # Takes over `backbone.prefix` where it is frozen and pictures come again; called as (backbone, images).
        self.prefix_cache: Callable[[Backbone, Tensor], Any] | None = None
        self._config = dict(config or {})
        self.default_heads = {s.task: name for name, s in reversed(self.specs.items())}
        for task, name in (default_heads or {}).items():
            if name not in self.specs or self.specs[name].task != task:
                raise ConfigError(
                    f"default head of '{task}' is '{name}', which is no head of that task{nearest(name, self.specs)}"
                )
            self.default_heads[task] = name
        self.heads = nn.ModuleDict()
        for name, spec in self.specs.items():
            self._build_head(name, spec)
        for name in self.specs:
            self.route(name)
            self.weigher(name)

    def _build_head(self, name: str, spec: HeadSpec) -> None:
        if name.split(".")[0] != spec.task:
            raise ConfigError(f"head '{name}' has task '{spec.task}'; call it '{spec.task}' or '{spec.task}.<set>'.")
        self._check_saved_name(name)
        task = TASKS.get(spec.task)
        if twice := sorted({c for c in spec.classes if spec.classes.count(c) > 1}):
            raise ConfigError(f"head '{name}' has the classes {', '.join(twice)} twice; name each once.")
        below = self.below(name)
        experts = sum(layer.num_experts for layer in getattr(self.backbone, "routed_layers", ()))
        head = call_with(
            HEADS.get(spec.head or task.head),
            spec.options,
            f"head '{name}'",
            channels=dict(self.backbone.channels),
            token_dim=self.backbone.token_dim,
            outputs=task.outputs(spec.classes),
            **task.head_options(None if below is None else self.specs[below]),
            **({"experts": experts} if task.counts_experts else {}),
        )
        # as the maps of the backbones lie: else a processor copies the weights anew for every convolution
        self.heads[_module_name(name)] = head.to(memory_format=torch.channels_last)

    def _check_saved_name(self, name: str) -> None:
        taken = [other for other in self.specs if other != name and _module_name(other) == _module_name(name)]
        if taken:
            raise ConfigError(
                f"heads '{taken[0]}' and '{name}' would both be saved as '{_module_name(name)}', because a dot is "
                "written as two underscores; rename one of them."
            )

    @property
    def tasks(self) -> tuple[str, ...]:
        """Task keys that the model has, in the order used everywhere."""
        present = {s.task for s in self.specs.values()}
        return tuple(dict.fromkeys([*(k for k in (*TASK_KEYS, *FURTHER_TASK_KEYS) if k in present), *sorted(present)]))

    def config(self) -> dict[str, Any]:
        """The configuration as plain values, enough for `build_model` and without any path of stem weights."""
        if not self._config:
            return {}
        changes = self.backbone.changes()
        gone = {key for key, value in changes.items() if value is None}
        options = {**self._config["backbone"], **changes}
        return {**self._config, "backbone": {key: value for key, value in options.items() if key not in gone}}

    def add_head(self, name: str, spec: HeadSpec) -> None:
        """Give the model one more head, freshly initialised.

        Args:
            name: "<task>" or "<task>.<set>", not yet taken.
            spec: What it answers; its router, where it has one of its own, must be in the backbone already.
        Raises:
            ConfigError: The name is taken or does not fit the task, or its router is not there.
        """
        if name in self.specs:
            raise ConfigError(f"head '{name}' is in the model already; choose another name.")
        self._check_saved_name(name)
        self.specs[name] = spec
        try:
            self._build_head(name, spec)
            self.route(name)
            self.weigher(name)
        except ConfigError:
            del self.specs[name]
            self.heads.pop(_module_name(name)) if _module_name(name) in self.heads else None
            raise
        self.heads[_module_name(name)].to(next(self.backbone.parameters()).device).train(self.training)
        self.default_heads.setdefault(spec.task, name)
        if self._config:
            self._config["heads"] = {**self._config["heads"], name: asdict(spec)}

    def set_route(self, name: str, router: str | None) -> None:
        """Let a head take a router, such as one that other heads take too; None for the one of its task.

        Raises:
            UnknownName: The model has no such head.
            ConfigError: The backbone lacks the router. The model is then unchanged.
        """
        name = self.resolve(name)
        self._change(name, replace(self.specs[name], route=router))

    def set_weigher(self, name: str, other: str | None) -> None:
        """Let the answers of a head be weighed by another head's map; None for answers of that head alone.

        Raises:
            UnknownName: The model has no head `name`.
            ConfigError: The model has no head `other`, or not one that can weigh. The model is then unchanged.
        """
        name = self.resolve(name)
        self._change(name, replace(self.specs[name], weighed_by=other))

    def _change(self, name: str, spec: HeadSpec) -> None:
        before, self.specs[name] = self.specs[name], spec
        try:
            self.route(name)
            self.weigher(name)
        except ConfigError:
            self.specs[name] = before
            raise
        if self._config:
            self._config["heads"] = {**self._config["heads"], name: asdict(spec)}

    def resolve(self, name: str) -> str:
        """Give the head that a task key or head name means; raises UnknownName with the nearest name."""
        if name in self.specs:
            return name
        if name in self.default_heads:
            return self.default_heads[name]
        known = list(dict.fromkeys([*self.tasks, *self.specs]))
        if name in (*TASK_KEYS, *FURTHER_TASK_KEYS):
            raise UnknownName(f"task '{name}' is not in this model; it has {', '.join(self.tasks)}.")
        several = "; give several as a list." if "," in name else nearest(name, known)
        raise UnknownName(f"'{name}' is neither a task nor a head of this model{several} It has {', '.join(known)}.")

    def head(self, name: str) -> nn.Module:
        """The head module called `name`."""
        return self.heads[_module_name(name)]

    def below(self, name: str) -> str | None:
        """Give the head that the head `name` stands on; None where its task stands on no other.

        Raises:
            ConfigError: The head that it names is not in the model or of another task, or there is none.
        """
        spec = self.specs[name]
        wanted = TASKS.get(spec.task).stands_on
        if wanted is None:
            if spec.on is not None:
                raise ConfigError(f"head '{name}' stands on '{spec.on}', but task '{spec.task}' reads no other head.")
            return None
        found = spec.on or self.default_heads.get(wanted)
        able = (wanted, *TASKS.get(spec.task).may_stand_on)
        if found is None or found not in self.specs or self.specs[found].task not in able:
            have = [head for head, other in self.specs.items() if other.task in able]
            raise ConfigError(
                f"head '{name}' stands on a head of task '{wanted}', but `on` is '{spec.on}' and the model has "
                f"{', '.join(have) or 'none of that task'}; add one, or name it under `on`."
            )
        return found

    def weigher(self, name: str) -> str | None:
        """Give the head that weighs the answers of the head `name`; None for answers of that head alone.

        Raises:
            ConfigError: The head that it names is not in the model or of another task, or its task knows no weighing.
        """
        spec = self.specs[name]
        if spec.weighed_by is None:
            return None
        able = TASKS.get(spec.task).weighed_by
        if able is None:
            raise ConfigError(f"head '{name}' is weighed by '{spec.weighed_by}', but nothing weighs '{spec.task}'.")
        if spec.weighed_by not in self.specs or self.specs[spec.weighed_by].task != able:
            have = [head for head, other in self.specs.items() if other.task == able]
            raise ConfigError(
                f"head '{name}' is weighed by '{spec.weighed_by}', which is no head of task '{able}' in this model; it "
                f"has {', '.join(have) or 'none'}. Name one under `weighed_by`, or leave it out."
            )
        return spec.weighed_by

    def route(self, name: str) -> str:
        """Give the router whose experts the features of head `name` pass through: its task's, or its own.

        Raises:
            ConfigError: The backbone routes by task and lacks that router.
        """
        below = self.below(name)
        spec = self.specs[below if below and TASKS.get(self.specs[name].task).rides else name]
        known, route = getattr(self.backbone, "tasks", ()), spec.route or spec.task
        if known and route not in known:
            raise ConfigError(
                f"head '{name}' has route '{route}' but the backbone routes {', '.join(known)}; give the head one of "
                "these as `route`, or add the task to the backbone's `tasks`."
            )
        return route

    def prefix(self, images: Tensor) -> Any:
        """Give what all tasks share for images (B, 3, H, W), from `prefix_cache` where there is one."""
        return self.backbone.prefix(images) if self.prefix_cache is None else self.prefix_cache(self.backbone, images)

    def forward(self, images: Tensor, head: str, features: Any = None, queries: Any = None) -> tuple[Any, Any]:
        """Give the logits of one head and the Features they came from.

        Args:
            images: (B, 3, H, W) float32 RGB in [0, 1].
            head: Head name.
            features: Features of the same task for these images, when they are at hand.
            queries: What the head reads beside the features.
        """
        if head not in self.specs:
            raise UnknownName(
                f"head '{head}' is not in this model{nearest(head, self.specs)} It has {list(self.specs)}."
            )
        features = features or self.backbone(images, self.route(head))
        return self.head(head)(features, queries), features

    @torch.no_grad()
    def predict(
        self,
        images: Tensor,
        heads: Sequence[str] | None = None,
        valid: Sequence[tuple[int, int]] | None = None,
        sizes: Sequence[tuple[int, int]] | None = None,
        given: Mapping[str, tuple[str, Sequence[Any]]] | None = None,
        verdicts: bool = False,
        tta: bool = False,
    ) -> dict[str, list[Any]]:
        """Answer for a batch, computing the task-independent prefix once and each task's features once.

        Args:
            images: (B, 3, H, W) float32 RGB in [0, 1].
            heads: Task keys or head names; all heads when None.
            valid: (H, W) of each image inside the batch, the rest being padding right and below; all of it when None.
            sizes: (H, W) that each answer shall have; `valid` when None.
            given: Head name -> (protocol, targets), where a part of the answer is given as `Task.protocols` say.
            verdicts: Let an answer carry the verdict of the fitted OOD head that stands on its head, where there is
                one and the typed value has a field for it.
            tta: Test-time augmentation: what heads of tasks that `Task.mirrors` say is averaged with what they say of
                the mirrored pictures, turned back. Heads that stand on them or are weighed by them read the plain one.
        Returns:
            Head name -> one typed value per image, on the device of the images.
        """
        names = [self.resolve(n) for n in heads] if heads is not None else list(self.specs)
        full = (int(images.shape[-2]), int(images.shape[-1]))
        valid = list(valid) if valid is not None else [full] * len(images)
        sizes = list(sizes) if sizes is not None else valid
        if len(valid) != len(images) or len(sizes) != len(images):
            raise DataError(f"{len(images)} images came with {len(valid)} valid and {len(sizes)} output sizes.")
        was_training = self.training
        if was_training:  # walking all modules twice would cost as much as a task of a small model
            self.eval()
        try:
            riders = self._riders(names) if verdicts else {}
            wanted = self.with_needed([*names, *riders.values()], given or ())
            features = self.features(images, wanted)
            mirrored = self._mirrored_features(images, names) if tta else {}
            run = BatchRun(self, features, full, valid, sizes, given or {}, mirrored)
            answers = {name: run.answer(name) for name in dict.fromkeys(names)}
            for name, rider in riders.items():
                task = self.specs[rider].task
                if all(hasattr(answer, task) for answer in answers[name]):
                    pairs = zip(answers[name], run.answer(rider), strict=True)
                    answers[name] = [replace(answer, **{task: verdict}) for answer, verdict in pairs]
            return answers
        finally:
            if was_training:
                self.train()

    def features(self, images: Tensor, heads: Sequence[str], collect: bool = False) -> dict[str, Any]:
        """Give the features of each route that the heads take.

        The experts of every token are recorded where a head reads them, or everywhere with `collect`, which only a
        backbone with experts takes.
        """
        state = self.prefix(images)
        read = [h for h in heads if collect or getattr(self.head(h), "reads", "") == "routing"]
        noted = dict.fromkeys(map(self.route, read))
        plain = [route for route in dict.fromkeys(self.route(h) for h in heads) if route not in noted]
        found = self.backbone.suffixes(state, plain) if plain else {}
        return found | {route: self.backbone.suffix(state, route, collect=True) for route in noted}  # type: ignore[call-arg]

    def _mirrored_features(self, images: Tensor, heads: Sequence[str]) -> dict[str, Any]:
        """Give the features of the mirrored pictures for those of the heads whose tasks `Task.mirrors`."""
        able = [name for name in heads if TASKS.get(self.specs[name].task).mirrors]
        whole = F.pad(images, (0, -images.shape[-1] % 4, 0, 0), mode="replicate")  # a map turns back onto itself
        return self.features(whole.flip(-1), able) if able else {}

    def _riders(self, heads: Sequence[str]) -> dict[str, str]:
        """Give, for each head that a fitted head rides on, that head."""
        found: dict[str, str] = {}
        for name, spec in self.specs.items():
            is_fitted = bool(getattr(getattr(self.head(name), "score", None), "fitted", False))
            if TASKS.get(spec.task).rides and is_fitted and self.below(name) in heads:
                found.setdefault(str(self.below(name)), name)
        return found

    def with_needed(self, names: Iterable[str], given: Collection[str] = ()) -> list[str]:
        """Give heads and those that they stand on or are weighed by, where no target takes their place."""
        found = list(dict.fromkeys(names))
        for name in found:  # it grows on the way
            others = () if name in given else (self.below(name), self.weigher(name))
            found += [other for other in others if other is not None and other not in found]
        return found


def _module_name(head: str) -> str:
    return head.replace(".", "__")  # a dot would nest the state dict

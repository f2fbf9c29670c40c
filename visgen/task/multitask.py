"""Training of a MultiTaskModel as the engine sees it: one phase whose loss sums the heads that a batch feeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ..data import Batch
from ..errors import ConfigError, DataError, nearest
from ..losses.routing import RoutingLoss, RoutingLossConfig, merge_routing
from ..metrics import routing_summary
from .model import MultiTaskModel
from .objective import Phase
from .protocol import TASKS

__all__ = ["MultiTaskObjective", "count_classes"]


class MultiTaskObjective:
    """Weighted task losses of a batch plus the routing losses of a mixture-of-experts backbone.

    A batch may feed one head (heterogeneous training) or several (multi-label data): the task-independent prefix of
    the backbone then runs once. Parameters of heads and routers that a batch does not feed keep gradient None.

    Args:
        model: The model to train.
        loss_weights: Head name -> weight; 1 where a head is not named.
        class_weights: Head name -> class weights (K,).
        loss_options: Head name -> options of the task's loss, over those of the head's own `loss`.
        routing: Weights of the routing losses; ignored by a backbone without routers.
    Raises:
        ConfigError: A head is named that the model lacks.
    """

    def __init__(
        self,
        model: MultiTaskModel,
        loss_weights: Mapping[str, float] | None = None,
        class_weights: Mapping[str, Tensor] | None = None,
        loss_options: Mapping[str, Mapping[str, Any]] | None = None,
        routing: RoutingLossConfig | None = None,
    ) -> None:
        for name in [*(loss_weights or {}), *(class_weights or {}), *(loss_options or {})]:
            if name not in model.specs:
                raise ConfigError(
                    f"the objective names head '{name}', which the model lacks{nearest(name, model.specs)} "
                    f"It has {', '.join(model.specs)}."
                )
        self.model = model
        self.loss_weights = dict(loss_weights or {})
        self.loss_options = {
            name: {**spec.loss, **(loss_options or {}).get(name, {})} for name, spec in model.specs.items()
        }
        self._routed_layers = getattr(model.backbone, "routed_layers", ())
        banks = [layer.num_experts for layer in self._routed_layers]
        self.routing = RoutingLoss(banks, len(model.backbone.tasks), routing) if banks else None  # type: ignore[arg-type]
        self.module = nn.ModuleDict({"model": model})
        if self.routing is not None:
            self.module["routing"] = self.routing
        self._class_weights = nn.ParameterDict()
        for name, weights in (class_weights or {}).items():
            self._class_weights[name.replace(".", "__")] = nn.Parameter(weights, requires_grad=False)
        self.phases = (Phase("train", lambda: [{"params": list(model.parameters())}], self.loss),)

    def before_step(self, step: int) -> None:
        """Forget the routing sums of a step that was not applied."""
        if self.routing is not None:
            self.routing.discard()

    def after_step(self, step: int) -> None:
        """Update the running joint of tasks and experts."""
        if self.routing is not None:
            self.routing.step()

    def notes(self) -> tuple[dict[str, float], str]:
        """Give figures of the experts for a row of metrics.csv, and a warning that names the dead ones, if any.

        From the running estimate of P(e|t), a layer at a time, over the T tasks seen so far: `routing/LAYER/share` is
        I(task; expert) / log T (of two tasks and more), `routing/LAYER/dead` counts experts that no task uses (see
        `visgen.metrics.routing_summary`), and `routing/LAYER/overlap/A|B` is the Jaccard index of the top k of tasks
        A and B.
        """
        figures: dict[str, float] = {}
        dead = []
        if self.routing is None:
            return figures, ""
        estimates: Any = self.routing.layers
        for layer, running in zip(self._routed_layers, estimates, strict=True):
            seen = [t for t, rows in enumerate(running.rows.tolist()) if rows]
            if not seen:
                continue
            names = [str(self.model.backbone.tasks[t]) for t in seen]  # type: ignore[index]
            found = routing_summary(running.conditional()[seen], names, layer.top_k)
            lead = f"routing/{layer.name}"
            figures |= {f"{lead}/share": found.normalised} if len(seen) > 1 else {}
            figures[f"{lead}/dead"] = len(found.dead)
            figures |= {f"{lead}/overlap/{pair}": value for pair, value in found.overlap.items()}
            if found.dead:
                dead.append(f"{layer.name}: {', '.join(map(str, found.dead))}")
        return figures, f"dead experts (no task uses them): {'; '.join(dead)}" if dead else ""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Give {"loss": ..., "<head>": its loss, routing terms} for one batch.

        Raises:
            ConfigError: The batch feeds a head that the model lacks.
            DataError: No image of the batch has a target. Single images without one are left out of the loss.
        """
        state: Any = None  # what all heads of the batch share, unless a head mixes the pictures first
        logs: dict[str, Tensor] = {}
        total: Tensor | None = None
        statistics: list[list[dict[str, Any]]] = []
        for task, head in batch.heads.items():
            if head not in self.model.specs:
                raise ConfigError(
                    f"source '{batch.source}' feeds head '{head}', which the model lacks; add it under model.heads, or "
                    "rename the source's head."
                )
            targets = batch.targets.get(task, [])
            labelled = [i for i, target in enumerate(targets) if target is not None]
            if not labelled or not TASKS.get(task).is_trained:
                continue
            if TASKS.get(task).mixes(self.loss_options[head]):
                value, parts = self._mixed(batch, task, head, labelled, statistics)
                logs |= parts
                weighted = self.loss_weights.get(head, 1.0) * value
                total = weighted if total is None else total + weighted
                continue
            state = self.model.prefix(batch.images) if state is None else state
            features = self.model.backbone.suffix(state, self.model.route(head))
            if features.extras.get("routing"):
                statistics.append(features.extras["routing"])
            sizes = [meta.get("size") for meta in batch.meta]  # none in a batch that was made by hand
            queries = TASKS.get(task).training_queries(targets, batch.targets, sizes if all(sizes) else None)
            logits, _ = self.model(batch.images, head, features, queries)
            if queries is None and len(labelled) < len(targets):
                logits, targets = logits[labelled], [targets[i] for i in labelled]
            weights = self.weights_of(head, batch.images.device)
            value = TASKS.get(task).loss(logits, targets, self.loss_options[head], weights)
            logs[head] = value.detach()
            weighted = self.loss_weights.get(head, 1.0) * value
            total = weighted if total is None else total + weighted
        if total is None:
            raise DataError(
                f"no image of a batch from '{batch.source}' has a target for {', '.join(batch.heads)}; leave "
                "unlabelled images out of the training split."
            )
        if self.routing is not None and statistics:
            terms = self.routing(merge_routing(statistics))
            total = total + terms.pop("loss")
            logs.update({f"routing/{name}": value.detach() for name, value in terms.items()})
        return {"loss": total, **logs}

    def _mixed(
        self, batch: Batch, task: str, head: str, labelled: list[int], statistics: list[list[dict[str, Any]]]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of a head that mixes the pictures of its batch before the model sees them, and what to log."""
        if len(batch.heads) > 1:
            raise ConfigError(
                f"head '{head}' mixes the pictures of source '{batch.source}', which also feeds "
                f"{', '.join(h for h in batch.heads.values() if h != head)}; let a part with this head alone feed it."
            )

        def see(images: Tensor) -> Any:
            features = self.model.backbone.suffix(self.model.prefix(images), self.model.route(head))
            if features.extras.get("routing"):
                statistics.append(features.extras["routing"])
            return features

        images, targets = batch.images, batch.targets[task]
        if len(labelled) < len(targets):
            images, targets = images[labelled], [targets[i] for i in labelled]
        weights = self.weights_of(head, images.device)
        found = TASKS.get(task).mixed_loss(
            self.model.head(head), see, images, targets, self.loss_options[head], weights
        )
        value = found.pop("loss")
        return value, {head: value.detach(), **{f"{head}/{name}": part.detach() for name, part in found.items()}}

    def weights_of(self, head: str, device: Any) -> Tensor | None:
        """Give the class weights (K,) of a head's loss, or None."""
        name = head.replace(".", "__")
        return self._class_weights[name].to(device) if name in self._class_weights else None


def count_classes(model: MultiTaskModel, head: str, targets: Any) -> Tensor | None:
    """Count the classes of one head over training targets, for automatic class weights."""
    spec = model.specs[head]
    return TASKS.get(spec.task).class_counts(list(targets), spec.classes)

"""Scene graphs with made training features: a head's second step on swapped or generated maps of new compositions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..data import Batch, Source, triplet_counts
from ..errors import ConfigError
from ..gan import ADVERSARIAL
from ..gan.adversaries import frozen
from ..gan.compositional import (
    CompositionalConfig,
    FeatureBank,
    GraphBatch,
    Judges,
    build_perturbation,
    count_table,
    graph_vectors,
    read_vectors,
    swap_tiles,
)
from ..options import build_options, call_with
from ..structures import SceneGraph
from .compositional_saving import build_generator, build_graph_head, save_compositional
from .map_batch import STRIDE, MapBatch, map_features, read_maps
from .objective import OBJECTIVES, ParameterGroup, Phase
from .protocol import HeadSpec
from .scene_graph import SceneGraphTask

__all__ = ["CompositionalObjective", "build_compositional", "fill_bank"]


@dataclass(frozen=True)
class _Made:
    """Maps of changed graphs and their regions, without a way back to the generator; `judged` names pairs."""

    seen: MapBatch
    true: GraphBatch
    flat: GraphBatch
    graphs: list[SceneGraph]
    maps: Tensor
    nodes: Tensor
    edges: Tensor
    judged: Tensor


class CompositionalObjective:
    """Phases at every step: `f`, the head on real maps; with a generator `g`; `again`, the head's second step, which
    shares the optimiser of `f`; with a generator `d`, the judges.

    The generator makes its maps before its own step, and the head learns from them without a way back (but see
    `attach_g`). So the gradients are those of one backward pass of the sum, as in the source. The backbone is not
    there: batches bring its maps (data of format maps), and nothing can move it.

    Args:
        config: The training.
        classes, predicates: Names in the order of their ids.
        channels: C of the maps.
        counts: (K, P, K) training counts.
        bank: Real regions, for "swapped" and "generated".
    Source: Knyazev et al. 2021, arXiv:2007.05756. There the head's second step and the judges' are taken likewise.
    """

    def __init__(
        self,
        config: CompositionalConfig,
        classes: Sequence[str],
        predicates: Sequence[str],
        channels: int,
        counts: Tensor,
        bank: FeatureBank | None = None,
    ) -> None:
        self.config, self.classes, self.predicates = config, tuple(classes), tuple(predicates)
        self.channels, self.task, self.bank = channels, SceneGraphTask(), bank
        # The head comes first, so that its first weights do not depend on what else is built.
        self.head: Any = build_graph_head(config, channels, len(self.predicates), len(self.classes))
        parts: dict[str, nn.Module] = {"head": self.head}
        self.perturb = None
        if config.perturb and config.second in ("swapped", "generated"):
            vectors = read_vectors(config.vectors, self.classes) if config.vectors else graph_vectors(counts)
            self.perturb = build_perturbation(config.perturb, counts, vectors)
        if config.has_generator:
            sizes = (channels, len(self.classes), len(self.predicates))
            self.generator = build_generator(config, channels, len(self.predicates), len(self.classes), self.head)
            self.judges = call_with(Judges, config.judges, "judges", *sizes)
            self.adversarial = ADVERSARIAL.get(config.adversarial)
            parts.update(generator=self.generator, judges=self.judges)
        self.module = nn.ModuleDict(parts)
        self.phases = tuple(self._phases())
        self._step = 0
        self._made: dict[int, _Made] = {}

    def before_step(self, step: int) -> None:
        """Note the step and forget what was made."""
        self._step = step
        self._made.clear()

    def after_step(self, step: int) -> None:
        """Nothing follows."""

    def export(self, module: nn.Module, path: Any) -> Any:
        """Write the head, and the generator where there is one, into the folder `path`."""
        parts = {name: module[name] for name in ("head", "generator") if name in module}  # type: ignore[index,operator]
        return save_compositional(path, self.config, self.classes, self.predicates, self.channels, parts)

    def _phases(self) -> list[Phase]:
        config = self.config
        found = [Phase("f", [{"params": list(self.head.parameters())}], self._f_loss)]
        if config.has_generator:
            found.append(Phase("g", [_group(self.generator, config.g_lr_scale)], self._g_loss))
        if config.second != "none" and config.second_weight > 0:
            losses = {"real": self._f_loss, "swapped": self._swapped_loss, "generated": self._made_loss}
            found.append(Phase("again", [], partial(self._again, losses[config.second]), shares="f"))
        if config.has_generator:
            found.append(Phase("d", [_group(self.judges, config.d_lr_scale)], self._d_loss))
        return found

    def _again(self, loss: Any, batch: Batch) -> dict[str, Tensor]:
        if self._step < self.config.start_step or loss == self._f_loss:
            return {"loss": self.config.second_weight * self._f_loss(batch)["loss"]}
        return loss(batch)

    def _f_loss(self, batch: Batch) -> dict[str, Tensor]:
        seen = self.see(batch)
        logits = self.head(map_features(seen.maps), seen.queries)
        return {"loss": self.task.loss(logits, seen.graphs, self.config.loss)}

    def _swapped_loss(self, batch: Batch) -> dict[str, Tensor]:
        seen, rng = self.see(batch), _rng()
        true, graphs, flat, loose = self.change(seen, rng)
        changed = flat.labels != true.labels
        tiles = self._tiles(flat, rng)
        logits = self.head(map_features(swap_tiles(seen.maps, flat, tiles, changed)), seen.queries)
        loss = self.task.loss(logits, self._targets(graphs, rng), self.config.loss)
        return {"loss": self.config.second_weight * loss, "changed": _share(changed), "loose": loose}

    def _g_loss(self, batch: Batch) -> dict[str, Tensor]:
        seen, rng = self.see(batch), _rng()
        true, graphs, flat, loose = self.change(seen, rng)
        maps = self.make(flat, rng)
        boxes, judged = STRIDE * flat.boxes, self.judges.chosen(flat.predicates, rng)
        # The way back through the regions of all pairs is dear, and only those that are judged need it.
        nodes, some = self.head.pool(maps, boxes, flat.ends[judged], flat.image)
        with torch.set_grad_enabled(self.config.attach_g):
            _, edges = self.head.pool(maps, boxes, flat.ends, flat.image)
        made = _Made(seen, true, flat, graphs, maps.detach(), nodes.detach(), edges.detach(), judged)
        self._made[id(batch)] = made
        with frozen(self.judges):
            self.judges.eval()  # its power iterations belong to its own step
            said = self.judges(maps, nodes, flat.labels, some, flat.predicates[judged])
            self.judges.train()
        found = {name: self.adversarial.g(logits) for name, logits in said.items() if len(logits)}
        loss = self.config.adversarial_weight * torch.stack(list(found.values())).sum()
        if self.config.attach_g:
            with frozen(self.head):
                logits = self.head.read(nodes, edges, seen.queries)
                loss = loss + self.config.second_weight * self.task.loss(logits, graphs, self.config.loss)
        changed = _share(flat.labels != true.labels)
        return {"loss": loss, **{k: v.detach() for k, v in found.items()}, "changed": changed, "loose": loose}

    def _made_loss(self, batch: Batch) -> dict[str, Tensor]:
        made = self._made[id(batch)]
        logits = self.head.read(made.nodes, made.edges, made.seen.queries)
        loss = self.task.loss(logits, self._targets(made.graphs, _rng()), self.config.loss)
        return {"loss": self.config.second_weight * loss}

    def _d_loss(self, batch: Batch) -> dict[str, Tensor]:
        made = self._made[id(batch)]
        real, fake, judged = made.true, made.flat, made.judged
        nodes, edges = self.head.pool(made.seen.maps, STRIDE * real.boxes, real.ends, real.image)
        predicates = real.predicates[judged]
        true = self.judges(made.seen.maps, nodes, real.labels, edges[judged], predicates)
        false = self.judges(made.maps, made.nodes, fake.labels, made.edges[judged], predicates)
        found = {name: self.adversarial.d(true[name], false[name]) for name in true if len(true[name])}
        loss = self.config.adversarial_weight * torch.stack(list(found.values())).sum()
        return {"loss": loss, **{k: v.detach() for k, v in found.items()}}

    def make(self, flat: GraphBatch, rng: torch.Generator) -> Tensor:
        """Make maps (B, C, h, w) of graphs, each box shown a real region of its class from another picture."""
        tiles = self._tiles(flat, rng) if self.generator.join is not None else None
        noise = torch.randn(len(flat.labels), self.generator.noise, generator=rng).to(flat.boxes)
        return self.generator(flat, tiles, noise)

    def make_pair(self, one: GraphBatch, other: GraphBatch, node: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Make maps of two graphs that differ in the class of box `node` alone, all other chance being equal."""
        noise = torch.randn(len(one.labels), self.generator.noise, generator=rng).to(one.boxes)
        tiles = self._tiles(one, rng)
        changed = tiles.clone()
        changed[node] = self._tiles(other, rng)[node]
        return self.generator(one, tiles, noise), self.generator(other, changed, noise)

    def _tiles(self, flat: GraphBatch, rng: torch.Generator) -> Tensor:
        assert self.bank is not None
        owners = flat.owner(torch.arange(len(flat.labels)))
        return self.bank.draw(flat.labels.cpu(), owners, rng).to(flat.boxes)

    def see(self, batch: Batch) -> MapBatch:
        """Read a batch of format maps."""
        return read_maps(batch, self.task, self.config.told, self.config.pairs)

    def change(self, seen: MapBatch, rng: torch.Generator) -> tuple[GraphBatch, list[SceneGraph], GraphBatch, Tensor]:
        """The true graphs, those of new compositions, and the share of visited boxes that left the candidates."""
        true = seen.flat()
        if self.perturb is None:
            return true, seen.graphs, true, torch.zeros(())
        found = [self.perturb(g.boxes.labels.cpu(), g.triplets.cpu(), rng) for g in seen.graphs]
        device = seen.maps.device
        graphs = [
            replace(g, boxes=replace(g.boxes, labels=one.labels.to(device)))
            for g, one in zip(seen.graphs, found, strict=True)
        ]
        visited, loose = sum(len(one.visited) for one in found), sum(one.loose for one in found)
        changed = true.with_labels(torch.cat([g.boxes.labels for g in graphs]))
        return true, graphs, changed, torch.tensor(loose / max(visited, 1))

    def _targets(self, graphs: list[SceneGraph], rng: torch.Generator) -> list[SceneGraph]:
        """What made features shall be called; with `shuffle` the labels of the batch in another order."""
        if not self.config.shuffle:
            return graphs
        labels = torch.cat([g.boxes.labels for g in graphs])
        predicates = torch.cat([g.triplets[:, 2] for g in graphs])
        labels = labels[torch.randperm(len(labels), generator=rng).to(labels.device)]
        predicates = predicates[torch.randperm(len(predicates), generator=rng).to(predicates.device)]
        shuffled = []
        own = labels.split([len(g.boxes) for g in graphs]), predicates.split([len(g) for g in graphs])
        for graph, names, kinds in zip(graphs, *own, strict=True):
            triplets = torch.cat([graph.triplets[:, :2], kinds[:, None]], dim=1)
            shuffled.append(replace(graph, boxes=replace(graph.boxes, labels=names), triplets=triplets))
        return shuffled


def _group(network: nn.Module, scale: float) -> ParameterGroup:
    """Parameters of one side of the GAN: betas (0, 0.9) where the run has (0.9, 0.999), and no decay."""
    return {"params": list(network.parameters()), "lr_scale": scale, "beta_power": 100.0, "weight_decay": 0.0}


def _share(chosen: Tensor) -> Tensor:
    """Share of bool (n,) that is true; 0 of none."""
    return chosen.float().sum() / max(len(chosen), 1)


def _rng() -> torch.Generator:
    """A generator on the CPU, seeded from torch's global one, which the engine has seeded for this phase."""
    return torch.Generator().manual_seed(int(torch.randint(2**62, ())))


@OBJECTIVES.register("compositional")
def build_compositional(sources: Mapping[str, Source], seed: int, **options: Any) -> CompositionalObjective:
    """Build the training for sources of format maps; options are the fields of CompositionalConfig.

    A run file that asks for maps of rare compositions:

        objective: {name: compositional, options: {second: generated, perturb: {name: graphn, alpha: 2}}}
    """
    config = build_options(CompositionalConfig, options, "objective.options")
    firsts = {name: source[0].targets for name, source in sources.items()}
    for name, targets in firsts.items():
        if "map" not in targets or "scene_graph" not in targets:
            raise ConfigError(
                f"part '{name}' has no feature maps; use data of format maps, see visgen.engine.write_maps."
            )
    graphs: list[SceneGraph] = [targets["scene_graph"] for targets in firsts.values()]
    channels = {int(targets["map"].shape[0]) for targets in firsts.values()}
    if len({(g.boxes.classes, g.predicates) for g in graphs}) > 1 or len(channels) > 1:
        raise ConfigError(f"the parts {', '.join(sources)} differ in classes, predicates or channels; use equal ones.")
    classes, predicates, width = graphs[0].boxes.classes, graphs[0].predicates, channels.pop()
    named: Counter[tuple[str, str, str]] = Counter()
    for source in sources.values():
        named += triplet_counts(source)
    counts = count_table(named, classes, predicates)
    objective = CompositionalObjective(config, classes, predicates, width, counts)
    objective.task.learn_counts(objective.head, list(sources.values()), HeadSpec("detection", classes))
    if config.second in ("swapped", "generated"):
        objective.bank = fill_bank(objective, sources, seed)
    return objective


def fill_bank(objective: CompositionalObjective, sources: Mapping[str, Source], seed: int) -> FeatureBank:
    """Give a bank of the regions of all boxes of the sources, as the objective's head pools them."""
    config, cells = objective.config, objective.head.cells
    folder = config.bank_folder or None
    bank = FeatureBank(len(objective.classes), (objective.channels, cells, cells), config.bank, folder)
    rng = torch.Generator().manual_seed(seed)
    none = torch.zeros(0, 2, dtype=torch.int64)
    for source in sources.values():
        for index in range(len(source)):
            sample = source[index]
            graph, maps = sample.targets["scene_graph"], sample.targets["map"][None]
            boxes = graph.boxes.xyxy * STRIDE * maps.shape[-1] / sample.size[1]
            tiles, _ = objective.head.pool(maps, boxes, none, torch.zeros(len(boxes), dtype=torch.int64))
            name = f"{sample.meta.get('source', source.name)}/{sample.meta['id']}"
            bank.add([name] * len(boxes), graph.boxes.labels, tiles, rng)
    return bank

"""Day-to-night GANs: who learns in which phase, that runs repeat, and what a run leaves."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from visgen.data import Batch
from visgen.errors import CheckpointError, ConfigError, DataError
from visgen.gan.night import HEDNet, load_edges, load_night, save_edges
from visgen.structures import SemanticMap
from visgen.task import TASKS, build_model
from visgen.task.night import NightConfig, NightObjective, build_night_objective
from visgen.zoo import save_pretrained

SMALL: dict[str, Any] = {
    "translator": {"name": "resnet", "channels": 4, "blocks": 1},
    "discriminator": {"channels": 4, "steps": 2},
    "resolution": 32,
    "nce_stages": (0, 2),
    "nce_patches": 8,
}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    options = {"name": "test_efficientnet", "width": 4}
    return str(save_edges(tmp_path_factory.mktemp("edges") / "net", HEDNet(**options), options, {}))  # type: ignore[arg-type]


def batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    day = torch.rand(2, 3, 32, 32, generator=generator)
    night = [(torch.rand(3, 32, 32, generator=generator) * 60).to(torch.uint8) for _ in range(2)]
    return Batch(day, {"other": night}, {}, [], "pictures")


def labelled(ids: Tensor | None = None) -> Batch:
    """The batch with a map for each picture: its left half is of class 0 and its right half of class 1."""
    known = batch()
    ids = torch.arange(32).repeat(32, 1).div(16, rounding_mode="floor") if ids is None else ids
    known.targets["segmentation"] = [SemanticMap(ids, ("left", "right"))] * 2
    return known


def objective(variant: str, teacher: str, **changes: Any) -> NightObjective:
    torch.manual_seed(0)
    edges = teacher if variant in ("hedngan", "hedgan") else "sobel"
    return NightObjective(NightConfig(variant=variant, **{**SMALL, "edges": edges, **changes}))  # type: ignore[arg-type]


def step(made: NightObjective, only: str = "") -> dict[str, dict[str, Tensor]]:
    """One step as the engine takes it; gives the logs of each phase that ran."""
    logs = {}
    made.before_step(0)
    for phase in made.phases:
        if only and phase.name != only:
            continue
        optimisers = [torch.optim.Adam(g["params"], 1e-3, betas=(0.5, 0.999)) for g in phase.groups()]
        made.module.zero_grad(set_to_none=True)
        logs[phase.name] = dict(phase.loss(batch()))
        logs[phase.name]["loss"].backward()
        for optimiser in optimisers:
            optimiser.step()
    return logs


def of_each_phase(made: NightObjective, shown: Batch) -> dict[str, dict[str, Tensor]]:
    """Logs of each phase, whose gradients reach its own networks and no others."""
    logs = {}
    for phase in made.phases:
        made.module.zero_grad(set_to_none=True)
        logs[phase.name] = dict(phase.loss(shown))
        logs[phase.name]["loss"].backward()
        touched = {id(p) for p in made.module.parameters() if p.grad is not None}
        assert touched == {id(q) for g in phase.groups() for q in g["params"]}, phase.name
    return logs


@pytest.mark.parametrize(
    ("variant", "phases"), [("hedgan", "d g"), ("hedngan", "d s g"), ("cyclegan", "d g"), ("cut", "d g")]
)
def test_each_phase_gives_gradients_to_its_own_networks_alone(variant: str, phases: str, teacher: str) -> None:
    made = objective(variant, teacher)
    assert " ".join(p.name for p in made.phases) == phases
    owners = {p.name: {id(q) for g in p.groups() for q in g["params"]} for p in made.phases}
    of_each_phase(made, batch())
    assert not set.intersection(*owners.values())


def test_the_teacher_never_changes_and_the_student_does(teacher: str) -> None:
    made = objective("hedngan", teacher)
    before = copy.deepcopy(made.module["teacher"].state_dict())
    assert all(torch.equal(v, made.student.state_dict()[k]) for k, v in before.items())  # it starts as the teacher
    for _ in range(3):
        step(made)
    after = made.module["teacher"].state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items())
    assert any(not torch.equal(made.student.state_dict()[k], v) for k, v in before.items())


def test_a_translator_that_changes_nothing_keeps_every_edge(teacher: str) -> None:
    made = objective("hedngan", teacher)
    made.there.generator = nn.Identity()  # type: ignore[assignment]
    made.there.generator.forward = lambda z, y=None: z  # type: ignore[method-assign, misc]
    batch_ = batch()
    assert made._g_loss(batch_)["edges"].item() == 0.0
    assert made._s_loss(batch_)["loss"].item() == 0.0


def test_without_its_weight_the_edges_cost_nothing_and_with_it_they_cost_as_much_as_it_says(teacher: str) -> None:
    plain = objective("hedgan", teacher, edge_weight=0.0)._g_loss(batch())
    assert "edges" not in plain and float(plain["loss"]) == pytest.approx(2 * float(plain["adversarial"]), rel=1e-5)
    weighed = objective("hedgan", teacher, edge_weight=5.0)._g_loss(batch())
    expected = 2 * float(weighed["adversarial"]) + 5 * float(weighed["edges"])
    assert float(weighed["loss"]) == pytest.approx(expected, rel=1e-5)


class Sized(list[int]):
    """A source as far as its classes are asked."""

    def __init__(self, classes: dict[str, tuple[str, ...]]) -> None:
        super().__init__([0])
        self.classes = classes


def readable(**changes: Any) -> NightObjective:
    torch.manual_seed(0)
    options = {**SMALL, "label_weight": 2.0, "reader": {"channels": 4, "blocks": 0, "norm": "group"}, **changes}
    return NightObjective(NightConfig(variant="hedgan", **options), classes=("left", "right"))


def test_a_reader_learns_in_a_phase_of_its_own_and_the_translator_must_stay_readable() -> None:
    made, shown = readable(), labelled()
    assert [p.name for p in made.phases] == ["d", "r", "g"]
    logs = of_each_phase(made, shown)["g"]
    expected = 2 * float(logs["adversarial"]) + 5 * float(logs["edges"]) + 2 * float(logs["labels"])
    assert float(logs["loss"].detach()) == pytest.approx(expected, rel=1e-5)
    assert float(logs["labels"]) == pytest.approx(0.693, abs=0.5)  # of two classes, and nothing learned


def test_the_reader_comes_to_read_both_the_pictures_and_their_nights() -> None:
    made, shown = readable(), labelled()
    (phase,) = (p for p in made.phases if p.name == "r")
    optimiser = torch.optim.Adam(made.reader.parameters(), 0.01)
    losses = []
    for _ in range(25):
        made.before_step(0)
        optimiser.zero_grad()
        loss = phase.loss(shown)["loss"]
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]
    with torch.no_grad():
        wrong = float(made._labels_loss(labelled(torch.ones(32, 32).long()), made.reader, 2 * shown.images - 1))
        right = float(made._labels_loss(shown, made.reader, 2 * shown.images - 1))
    assert right < 0.3 < wrong


def test_pictures_without_a_map_are_translated_and_not_read() -> None:
    made, half = readable(), labelled()
    half.targets["segmentation"] = [None, half.targets["segmentation"][1]]
    pictures = 2 * half.images - 1
    alone = Batch(half.images[1:], {"segmentation": half.targets["segmentation"][1:]}, {}, [], "pictures")
    assert torch.equal(
        made._labels_loss(half, made.reader, pictures), made._labels_loss(alone, made.reader, pictures[1:])
    )
    for phase in made.phases:  # a part without maps, beside one that has some
        made.before_step(0)
        logs = phase.loss(batch())
        logs["loss"].backward()
    assert float(logs["labels"]) == 0 and float(logs["loss"].detach()) > 0


def test_judges_see_the_noise_of_a_camera_and_edges_do_not() -> None:
    made, shown = objective("hedgan", "sobel", edges="sobel", grain=(0.2, 0.2)), batch()
    made.there.generator.forward = lambda z, y=None: z  # type: ignore[method-assign, misc]
    seen, drawn = made._batches("g", shown)
    noise = seen[0].fake - drawn[0]
    assert torch.equal(drawn[0], 2 * shown.images - 1) and float(noise.std()) > 0.2
    made.before_step(0)
    assert float(made._g_loss(shown)["edges"]) == 0.0


def test_a_third_discriminator_tells_by_how_bright_which_part_is() -> None:
    made, shown = objective("hedgan", "sobel", edges="sobel", light_weight=0.5), batch()
    logs = of_each_phase(made, shown)["g"]
    expected = 2 * float(logs["adversarial"]) + 5 * float(logs["edges"]) + 0.5 * float(logs["light"])
    assert float(logs["loss"].detach()) == pytest.approx(expected, rel=1e-4)
    seen = made.beside["light"].view
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    assert [m.shape[-1] for m in seen(x)] == [8, 4, 2]
    assert torch.allclose(seen(x)[2], F.adaptive_avg_pool2d(x, 2), atol=1e-6)
    mixed = x.view(1, 3, 8, 8, 8, 8).transpose(3, 5).reshape(x.shape)  # other pixels in each square of 8, same means
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(seen(x), seen(mixed), strict=True))
    assert not torch.allclose(seen(x)[0], seen(x.flip(2))[0], atol=1e-2)
    with pytest.raises(ConfigError, match="light_weight is -1"):
        objective("hedgan", "sobel", edges="sobel", light_weight=-1)


def test_a_second_discriminator_sees_pictures_through_a_network_that_never_changes() -> None:
    features = {"model": "test_efficientnet", "mean": [0.5] * 3, "std": [0.5] * 3}
    made, shown = objective("hedgan", "sobel", edges="sobel", feature_weight=0.5, features=features), batch()
    before = copy.deepcopy(made.viewer.state_dict())
    made.module.train()
    logs = of_each_phase(made, shown)["g"]
    expected = 2 * float(logs["adversarial"]) + 5 * float(logs["edges"]) + 0.5 * float(logs["features"])
    assert float(logs["loss"].detach()) == pytest.approx(expected, rel=1e-4)
    assert all(torch.equal(made.viewer.state_dict()[k], v) for k, v in before.items())  # statistics too
    judge = made.beside["features"].judge
    assert {id(p) for p in judge.parameters()} <= {id(q) for q in made.phases[0].groups()[0]["params"]}
    with pytest.raises(ConfigError, match="feature_weight is -1"):
        NightConfig(variant="hedgan", feature_weight=-1)


def saved_reader(folder: Path, classes: tuple[str, ...] = ("left", "right"), task: str = "segmentation") -> str:
    """What a run with a semantic head leaves: a small model with fresh weights."""
    torch.manual_seed(3)
    head = {"task": task, "classes": list(classes), "options": {"width": 8}}
    backbone = {"name": "timm", "model": "test_efficientnet", "pretrained": False}
    return str(save_pretrained(build_model({"backbone": backbone, "heads": {task: head}}), folder))


def test_a_fixed_reader_of_nights_is_asked_and_never_changes(tmp_path: Path) -> None:
    folder = saved_reader(tmp_path / "reader")
    made, shown = readable(label_weight=0.0, night_label_weight=3.0, night_readers=(folder,)), labelled()
    assert [p.name for p in made.phases] == ["d", "g"]
    (reader,) = made.module["night_readers"]  # type: ignore[misc]
    before = copy.deepcopy(reader.state_dict())
    made.module.train()
    logs = of_each_phase(made, shown)["g"]
    expected = 2 * float(logs["adversarial"]) + 5 * float(logs["edges"]) + 3 * float(logs["night labels"])
    assert float(logs["loss"].detach()) == pytest.approx(expected, rel=1e-5)
    assert all(torch.equal(reader.state_dict()[k], v) for k, v in before.items())  # statistics too
    with torch.no_grad():
        night = made.there.generator(2 * shown.images - 1)
        logits = reader.model.eval()((night + 1) / 2, "segmentation")[0]
        wanted = TASKS.get("segmentation").loss(logits, shown.targets["segmentation"], {"stride": 2})
    assert float(logs["night labels"]) == pytest.approx(float(wanted), rel=1e-5)
    trained = {id(p) for phase in made.phases for group in phase.groups() for p in group["params"]}
    assert not trained & {id(p) for p in reader.parameters()}
    bare = of_each_phase(made, batch())["g"]  # a part without maps, beside one that has some
    assert float(bare["night labels"]) == 0 and float(bare["loss"].detach()) > 0


def test_a_reader_of_nights_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give both"):
        NightConfig(variant="hedgan", night_label_weight=1.0)
    with pytest.raises(CheckpointError, match="which holds no model"):
        readable(night_label_weight=1.0, night_readers=(str(tmp_path / "nothing"),))
    other = saved_reader(tmp_path / "other", ("left", "up"))
    with pytest.raises(ConfigError, match="knows left, up, and the maps have left, right"):
        readable(night_label_weight=1.0, night_readers=(other,))
    boxes = saved_reader(tmp_path / "boxes", task="detection")
    with pytest.raises(ConfigError, match="has no head of task 'segmentation'"):
        readable(night_label_weight=1.0, night_readers=(boxes,))


def test_a_translator_starts_from_another_and_only_the_parts_named_learn(tmp_path: Path) -> None:
    first = objective("hedgan", "sobel", edges="sobel")
    folder = str(first.export(first.module, tmp_path / "night"))
    made = objective("hedgan", "sobel", edges="sobel", start=folder, learns=("decoder",))
    start = load_night(folder).translator.state_dict()
    assert all(torch.equal(made.there.generator.state_dict()[k], v) for k, v in start.items())
    step(made)
    changed = {k.split(".")[0] for k, v in made.there.generator.state_dict().items() if not torch.equal(v, start[k])}
    assert changed == {"decoder"} and len({k.split(".")[0] for k in start}) > 1
    with pytest.raises(ConfigError, match=r"whose translator is not .*'channels': 8"):
        objective("hedgan", "sobel", edges="sobel", start=folder, translator={**SMALL["translator"], "channels": 8})
    with pytest.raises(ConfigError, match="learns names 'end', but the translator has the parts"):
        objective("hedgan", "sobel", edges="sobel", learns=("end",))


def test_labels_without_maps_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"labels: true"):
        NightObjective(NightConfig(variant="hedgan", **{**SMALL, "label_weight": 1.0}))
    with pytest.raises(ConfigError, match="the parts a, b have semantic maps of different classes"):
        build_night_objective({n: Sized({"segmentation": (n,)}) for n in "ab"}, 0, variant="hedgan", label_weight=1)
    with pytest.raises(ConfigError, match="label_weight is -1"):
        NightConfig(variant="hedgan", label_weight=-1)
    with pytest.raises(ConfigError, match="two standard deviations"):
        NightConfig(variant="hedgan", grain=(0.2, 0.1))


@pytest.mark.parametrize(("variant", "calls"), [("hedngan", 1), ("cyclegan", 2)])
def test_a_batch_is_translated_once_a_step(variant: str, calls: int, teacher: str) -> None:
    made, seen = objective(variant, teacher), []
    made.there.generator.register_forward_hook(lambda *_: seen.append(1))
    shared = batch()
    for step_ in range(2):
        made.before_step(step_)
        for phase in made.phases:
            phase.loss(shared)["loss"].backward()
    assert len(seen) == 2 * calls  # cyclegan: there, and there again after back


@pytest.mark.parametrize(("variant", "steps"), [("hedgan", 20), ("hedngan", 4), ("cyclegan", 4), ("cut", 4)])
def test_the_same_seed_gives_the_same_weights(variant: str, steps: int, teacher: str) -> None:
    states = []
    for _ in range(2):
        made = objective(variant, teacher)
        torch.manual_seed(7)
        for _ in range(steps):
            step(made)
        states.append(made.module.state_dict())
    assert all(torch.equal(states[0][k], v) for k, v in states[1].items())


def test_what_a_run_leaves_is_a_night(tmp_path: Path, teacher: str) -> None:
    made = objective("hedngan", teacher)
    night = load_night(made.export(made.module, tmp_path / "night"))
    image = torch.rand(1, 3, 30, 41)
    assert night(image).shape == image.shape and night.resolution == 32
    net = load_edges(teacher)
    assert torch.equal(net(batch().images), made.teacher(batch().images))
    with torch.no_grad():
        for parameter in made.student.parameters():
            parameter.mul_(1.1)
    made.export(made.module, tmp_path / "night")
    student = load_edges(tmp_path / "night" / "student")
    assert torch.equal(student(batch().images), made.student.eval()(batch().images))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"translator": {**SMALL["translator"], "chanels": 8}}, "has no option 'chanels'; did you mean 'channels'"),
        ({"discriminator": {"step": 2}}, "discriminator has no option 'step'; did you mean 'steps'"),
        ({"edge_weight": -5.0}, "edge_weight is -5.0; it must be 0 or more"),
        ({"student_lr_scale": -0.1}, "student_lr_scale is -0.1; it must be 0 or more"),
    ],
)
def test_options_of_the_parts_are_checked(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        NightObjective(NightConfig(variant="hedgan", **{**SMALL, **changes}))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="variant 'hedngan' needs a detector that can learn"):
        NightConfig(variant="hedngan")
    with pytest.raises(ConfigError, match="variant 'cycle' is unknown"):
        NightConfig(variant="cycle")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"nce_stages is \[9\]; the encoder has stages 0..3"):
        NightObjective(NightConfig(variant="cut", **{**SMALL, "nce_stages": (9,)}))
    made = NightObjective(NightConfig(variant="hedgan", **SMALL))
    with pytest.raises(DataError, match="has no second pictures"):
        made.phases[0].loss(Batch(torch.rand(1, 3, 32, 32), {}, {}, [], "pictures"))

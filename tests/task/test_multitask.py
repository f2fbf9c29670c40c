import pytest
import torch

from visgen.data import Batch
from visgen.errors import ConfigError, DataError
from visgen.losses.routing import RoutingLossConfig
from visgen.structures import ClassLabel, DepthMap
from visgen.task import MultiTaskObjective, build_model

from .test_model import CONFIG


def batch(tasks=("classification", "depth"), size=(32, 48), number=2):
    generator = torch.Generator().manual_seed(1)
    targets = {
        "classification": [ClassLabel(i % 2, ("cat", "dog")) for i in range(number)],
        "depth": [DepthMap(torch.rand(size, generator=generator) + 1) for _ in range(number)],
    }
    return Batch(
        images=torch.rand(number, 3, *size, generator=generator),
        targets={t: targets[t] for t in tasks},
        heads={t: t for t in tasks},
        meta=[{} for _ in range(number)],
        source="test",
    )


def objective(**options):
    torch.manual_seed(0)
    return MultiTaskObjective(build_model(CONFIG), **options)


def test_the_loss_is_the_weighted_sum_of_its_parts():
    made = objective(loss_weights={"depth": 0.25})
    logs = made.loss(batch())
    routing = sum(v for k, v in logs.items() if k == "routing/loss")
    torch.testing.assert_close(
        logs["loss"], logs["classification"] + 0.25 * logs["depth"] + routing, rtol=1e-5, atol=1e-4
    )


def test_absent_heads_and_routers_have_no_gradient():
    made = objective()
    made.loss(batch(("depth",)))["loss"].backward()
    with_gradient = {n for n, p in made.model.named_parameters() if p.grad is not None}
    assert any(n.startswith("heads.depth") for n in with_gradient)
    assert not any(n.startswith("heads.classification") or ".tasks.classification" in n for n in with_gradient)
    assert any(".router.tasks.depth" in n for n in with_gradient)


def test_running_estimates_move_only_when_a_step_is_applied():
    made = objective(routing=RoutingLossConfig(mi=0.1))
    before = [layer.sums.clone() for layer in made.routing.layers]
    made.before_step(0)
    made.loss(batch(("depth",)))
    made.before_step(1)  # the step was skipped
    made.after_step(1)
    assert all(torch.equal(layer.sums, old) for layer, old in zip(made.routing.layers, before, strict=True))
    made.loss(batch(("depth",)))
    made.after_step(1)
    assert all(float(layer.sums.sum()) > 0 for layer in made.routing.layers)


def test_notes_tell_what_the_running_estimate_says_of_each_layer():
    made = objective()
    assert made.notes() == ({}, "")  # no task was seen
    for layer in made.routing.layers:
        layer.rows[:2] = 1.0
        layer.sums[:2] = 0.25
    first, second = made.routing.layers[0], made._routed_layers[0]
    first.sums[:2] = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.0, 0.5, 0.5, 0.0]])
    figures, warning = made.notes()
    lead, pair = f"routing/{second.name}", "|".join(made.model.backbone.tasks[:2])
    assert figures[f"{lead}/share"] == pytest.approx(0.5) and figures[f"{lead}/dead"] == 1
    assert figures[f"{lead}/overlap/{pair}"] == pytest.approx(1 / 3)
    assert warning == f"dead experts (no task uses them): {second.name}: 3"
    for other in made._routed_layers[1:]:
        assert (figures[f"routing/{other.name}/share"], figures[f"routing/{other.name}/dead"]) == (0.0, 0)


def test_class_weights_change_only_their_head():
    plain, weighted = objective(), objective(class_weights={"classification": torch.tensor([3.0, 1.0])})
    given = batch(number=3)
    a, b = plain.loss(given), weighted.loss(given)
    torch.testing.assert_close(a["depth"], b["depth"])
    assert not torch.isclose(a["classification"], b["classification"])
    assert not any("class_weights" in n for n in weighted.module.state_dict())


def test_refusals_name_the_head():
    with pytest.raises(ConfigError, match="head 'detph', which the model lacks; did you mean 'depth'"):
        objective(loss_weights={"detph": 1.0})
    wrong = batch(("depth",))
    wrong.heads["depth"] = "depth.far"
    with pytest.raises(ConfigError, match="source 'test' feeds head 'depth.far'"):
        objective().loss(wrong)


def test_an_image_without_a_target_does_not_count():
    made = objective()
    made.module.eval()
    two = batch(("depth",))
    one = batch(("depth",))
    one.targets["depth"][1] = None
    alone = Batch(two.images[:1], {"depth": two.targets["depth"][:1]}, {"depth": "depth"}, [{}], "test")
    torch.testing.assert_close(made.loss(one)["depth"], made.loss(alone)["depth"], rtol=1e-4, atol=1e-5)
    one.targets["depth"][0] = None
    with pytest.raises(DataError, match="no image of a batch from 'test' has a target for depth"):
        made.loss(one)

"""Statistics of experts: equal to counting token by token, kept by saving, and shown as they are."""

import json

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from visgen.engine import measure_routing
from visgen.errors import ConfigError, DataError, UnknownName
from visgen.experts import ExpertStats, LayerStats, collect_expert_stats, draw_curves, draw_heat_map
from visgen.experts.picture import _span


@torch.no_grad()
def count_by_hand(model, task, sources):
    """Per layer: visits, probabilities and gates of each expert, token by token."""
    found = {}
    hooks = []
    for name, bank in model.backbone.banks.items():

        def note(module, given, out, name=name):
            _, routing = out
            visits, gates = torch.zeros(2, module.router.num_experts, dtype=torch.float64)
            for experts, weights in zip(routing.experts.flatten(0, 1), routing.weights.flatten(0, 1), strict=True):
                for e, g in zip(experts.tolist(), weights.tolist(), strict=True):
                    visits[e] += 1
                    gates[e] += g
            p = routing.logits.double().softmax(-1).flatten(0, 1)
            one = [visits, p.sum(0), gates, -(p * p.log()).sum(), torch.tensor(float(len(p)))]
            found[name] = [a + b for a, b in zip(found[name], one, strict=True)] if name in found else one

        hooks.append(bank.register_forward_hook(note))
    for source in sources:
        for i in range(len(source)):
            model.backbone(source[i].image[None], task)
    for hook in hooks:
        hook.remove()
    return found


def test_equals_counting_token_by_token(tiny_model, pictures):
    from .conftest import Pictures

    other = Pictures(2, seed=5, size=(32, 64))
    sources = {"classification.x": [pictures, other], "depth": [other]}
    tiny_model.train()
    stats = collect_expert_stats(tiny_model, sources)
    assert tiny_model.training and stats.tasks == ("classification", "depth")
    assert stats.rows == (3 * 24 + 2 * 8, 2 * 8) and stats.data == {
        "classification": ["pictures", "pictures"],
        "depth": ["pictures"],
    }
    tiny_model.eval()
    for t, (task, given) in enumerate((("classification", [pictures, other]), ("depth", [other]))):
        for name, (visits, p, gates, entropy, rows) in count_by_hand(tiny_model, task, given).items():
            layer = stats.layer(name)
            torch.testing.assert_close(layer.load[t], visits / rows)
            torch.testing.assert_close(layer.importance[t], p / rows, rtol=1e-5, atol=1e-7)
            torch.testing.assert_close(layer.gates[t], gates / rows, rtol=1e-5, atol=1e-7)
            assert float(layer.entropy[t]) == pytest.approx(float(entropy / rows), rel=1e-4)
    for layer in stats.layers:
        torch.testing.assert_close(layer.load.sum(1), torch.full((2,), float(layer.top_k), dtype=torch.float64))
        torch.testing.assert_close(layer.gates.sum(1), torch.ones(2, dtype=torch.float64))
    short = measure_routing(tiny_model, {"classification": [pictures, other], "depth": [other]})
    for layer, line, old in zip(stats.layers, stats.summary(), short, strict=True):
        assert line["I"] == pytest.approx(old["I"], rel=1e-9) and line["dead"] == old["dead"]
        np.testing.assert_allclose(layer.load, old["load"], atol=5.1e-5)


def made(load, tasks=("a", "b")):
    load = torch.tensor(load, dtype=torch.float64)
    p = load / load.sum(1, keepdim=True)
    layer = LayerStats("blocks.1.mlp", "mlp", 2, load, p, p, torch.zeros(len(load), dtype=torch.float64))
    return ExpertStats(tasks, (100,) * len(tasks), (layer,), "m")


def test_partitioned_tasks_tell_all_and_equal_ones_nothing():
    apart = made([[1, 1, 0, 0, 0], [0, 0, 0.7, 1.3, 0]]).summary()[0]
    assert apart["I/logT"] == pytest.approx(1) and apart["dead"] == [4]
    assert apart["by_task"]["a"]["dead"] == [2, 3, 4] and apart["by_task"]["b"]["experts_for_90_percent"] == 2
    assert made([[1, 1, 0], [1, 1, 0]]).summary()[0]["I/logT"] == pytest.approx(0, abs=1e-12)
    assert made([[1.9, 0.05, 0.05]], ("a",)).summary()[0]["by_task"]["a"]["experts_for_90_percent"] == 1


def test_saving_keeps_every_bit(tiny_model, pictures, tmp_path):
    stats = collect_expert_stats(tiny_model, {"depth": pictures}, limit=2, name="tiny")
    again = ExpertStats.load(stats.save(tmp_path / "stats.json"))
    assert again.to_dict() == stats.to_dict() and again.model == "tiny" and again.rows == (48,)
    broken = json.loads((tmp_path / "stats.json").read_text())
    for change, message in (
        ({"format": 2}, "format 2"),
        ({"layers": [{"name": "x"}]}, "cannot be read"),
        ({"tasks": ["a", "b"]}, r"has load \(1, 5\) for 2 tasks"),
    ):
        with pytest.raises(DataError, match=message):
            ExpertStats.from_dict({**broken, **change})
    with pytest.raises(DataError, match="cannot be read"):
        ExpertStats.load(tmp_path / "none.json")


def test_a_wrong_question_is_refused(tiny_model, pictures):
    with pytest.raises(UnknownName, match="'dept' is no task or head.*did you mean 'depth'"):
        collect_expert_stats(tiny_model, {"dept": pictures})
    with pytest.raises(DataError, match="no image was given for any task"):
        collect_expert_stats(tiny_model, {})
    stats = made([[1, 1, 0], [1, 1, 0]])
    with pytest.raises(UnknownName, match="layer 'blocks.1.mpl'.*did you mean 'blocks.1.mlp'"):
        stats.layer("blocks.1.mpl")
    with pytest.raises(UnknownName, match="task 'c' was not measured"):
        stats.task("c")
    from visgen.task import build_model

    dense = build_model(
        {
            "backbone": {"name": "vit_moe", "width": 32, "heads": 2, "depth": 1, "layout": "dense"},
            "heads": {"depth": {"task": "depth"}},
        }
    )
    with pytest.raises(ConfigError, match="routes nothing"):
        collect_expert_stats(dense, {"depth": pictures})


def test_the_heat_map_shows_visits_and_crosses_dead_experts_out():
    from visgen.structures.palette import depth_colours

    picture = np.asarray(draw_heat_map(made([[1, 1, 0, 0, 0], [0, 0, 0.7, 1.3, 0]])))
    for share, most in ((1.0, 2000), (0.7, 1000)):
        colour = depth_colours(np.array(share))
        assert (picture == colour).all(-1).sum() > most, share
    crossed = np.asarray(draw_heat_map(made([[1, 1, 0], [1, 1, 0]])))
    whole = np.asarray(draw_heat_map(made([[1, 1, 0], [0, 1, 1]])))
    faint = (np.array([112, 112, 112]) == crossed).all(-1).sum()
    assert faint > (np.array([112, 112, 112]) == whole).all(-1).sum() + 60


@pytest.mark.parametrize(
    ("values", "span"),
    [
        ((0.0, 1.0), (-0.05, 1.05)),
        ((100.0, 100.001), (95.001, 105.0)),  # noise in the sixth digit does not fill the picture
        ((2.0, 2.0), (1.9, 2.1)),
        ((0.0, 0.0), (-1.0, 1.0)),
        ((-4.0, -2.0), (-4.1, -1.9)),
    ],
)
def test_an_axis_leaves_room_and_shows_small_differences_small(values, span):
    assert _span(values) == pytest.approx(span, rel=1e-4)


def test_curves_pass_through_their_points():
    picture = np.asarray(
        draw_curves(
            {"a": [(0, 0), (1, 1)], "b": [(0, 1), (1, 0)]},
            title="t",
            across="x",
            up="y",
            bands={"a": [(0.5, 0.2, 0.8)]},
        )
    )
    for colour in ((0, 114, 178), (213, 94, 0)):
        assert (picture == colour).all(-1).sum() > 500
    with pytest.raises(DataError, match="0 lines"):
        draw_curves({}, title="", across="", up="")
    with pytest.raises(DataError, match="finite"):
        draw_curves({"a": [(0, float("nan"))]}, title="", across="", up="")


def _measure(rank, folder):
    from .conftest import Pictures, make_model

    torch.set_num_threads(1)
    alone = collect_expert_stats(make_model(), {"depth": Pictures(3)})
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    both = collect_expert_stats(make_model(), {"depth": Pictures(3)})
    assert both.rows == alone.rows
    for a, b in zip(both.layers, alone.layers, strict=True):
        torch.testing.assert_close(a.load, b.load)
        torch.testing.assert_close(a.importance, b.importance)
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_count_as_one(tmp_path):
    mp.spawn(_measure, args=(str(tmp_path),), nprocs=2)

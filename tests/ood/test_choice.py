import pytest
import torch

from visgen.errors import ConfigError
from visgen.metrics import auroc
from visgen.ood import DEFAULT_SCORE, build_score, choose_score, choose_training, default_score, table_of_halves


def way(lead, seed):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(200, generator=g), {"far": torch.randn(150, generator=g) + lead}


def test_a_better_score_replaces_the_present_one_and_an_equal_one_does_not():
    choose = {"old": way(0.5, 0), "new": way(2.0, 0), "poor": way(0.0, 0)}
    found = choose_score(choose, {"old": way(0.5, 1), "new": way(2.0, 1), "poor": way(0.0, 1)}, "old", draws=100)
    assert found["best"] == "new" and list(found["ranking"]) == ["new", "old", "poor"]
    assert found["replaces"] and found["difference"]["low"] > 0
    # chosen by luck on one half, no better on the other
    lucky = choose_score(choose, {"old": way(0.5, 1), "new": way(0.5, 1), "poor": way(0.0, 1)}, "old", draws=100)
    assert lucky["best"] == "new" and not lucky["replaces"] and lucky["difference"]["difference"] == 0
    stays = choose_score(choose, choose, "new", draws=20)
    assert stays["best"] == "new" and not stays["replaces"]


def test_trainings_are_stacked_over_their_runs():
    rows = {lead: [way(lead, seed) for seed in range(3)] for lead in (0.5, 2.0)}
    runs = {lead: [{"msp": {"val": inside, **outs}} for inside, outs in found] for lead, found in rows.items()}
    found = choose_training({"plain": runs[0.5], "mix": runs[2.0]}, ("plain", "msp"))
    assert found["present"] == "plain, msp" and found["best"] == "mix, msp" and found["replaces"]
    by_hand = sum(auroc(inside[::2], outs["far"][::2]) for inside, outs in rows[2.0]) / 3
    assert found["ranking"]["mix, msp"] == pytest.approx(by_hand)


def test_a_threshold_of_one_half_tells_what_it_keeps_of_the_other():
    rising = torch.arange(20.0)
    values = {"msp": {"val0": rising, "val1": rising + 5, "far0": rising + 30, "far1": rising + 10}}
    found = table_of_halves(values, ["far"], "msp", keep=0.9)
    row = found["half_1"]["msp"]
    assert row["threshold"] == 17 and found["half_0"]["msp"]["id_kept"] == 0.9
    assert row["id_kept"] == 13 / 20 and row["far"]["ood_found"] == 12 / 20
    assert found["half_0"]["msp"]["far"]["AUROC"] == 1 and found["choice"]["replaces"] is False


def test_only_the_inside_of_half_0_sets_the_threshold():
    g = torch.Generator().manual_seed(0)
    seen = {part: torch.randn(20, generator=g) for part in ("val0", "val1", "far0", "far1")}

    def threshold(*moved):
        given = {part: scores + 3 * (part in moved) for part, scores in seen.items()}
        table = table_of_halves({"msp": given}, ["far"], "msp")
        assert table["half_0"]["msp"]["threshold"] == table["half_1"]["msp"]["threshold"]
        return table["half_0"]["msp"]["threshold"]

    assert threshold("val1", "far0", "far1") == threshold()
    assert threshold("val0") == pytest.approx(threshold() + 3)


def test_the_default_is_a_score():
    assert build_score(DEFAULT_SCORE, 2, 3).classes == 2


@pytest.mark.parametrize("images", [4, 405, 9000])
def test_every_default_can_be_fitted_to_the_images_that_there_are(images):
    labels = torch.arange(images) % 2
    for task in ("classification", "segmentation", "detection"):
        name, options = default_score(task, images)
        build_score(name, 2, 3, **options).fit(torch.randn(images, 2), torch.randn(images, 3), labels)
    assert default_score("detection", 405) == ("knn", {"bank": 405, "k": 10})


def test_refusals():
    with pytest.raises(ConfigError, match="present score 'od' is not among both halves; did you mean 'old'"):
        choose_score({"old": way(1, 0)}, {"old": way(1, 0)}, "od")

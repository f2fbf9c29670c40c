import json
import math

import pytest
import torch

from visgen import Result
from visgen.errors import DataError
from visgen.structures import OODLabel, OODVerdict, value_from_dict


def test_a_verdict_is_its_score_against_its_threshold():
    assert OODVerdict(2.5, 2.0).is_ood is True and OODVerdict(2.5, 2.0).name == "unusual"
    assert OODVerdict(2.0, 2.0).is_ood is False and OODVerdict(2.0, 2.0).name == "familiar"
    assert OODVerdict(2.5).is_ood is None and OODVerdict(2.5).name == "undecided"
    assert OODLabel(True).name == "unusual" and OODLabel(False).name == "familiar"


def test_a_verdict_explains_itself():
    near = (("anchor", 1773.4), ("owl", 0.12345))
    told = OODVerdict(2.5, 2.0, 0.95, "mahalanobis", None, 0.987, near).explain()
    assert told == (
        "Unusual: score 2.5 is above the threshold 2, which keeps 95 % of familiar pictures. It is higher than that of "
        "99 % of familiar pictures. Nearest classes: anchor, owl."
    )
    highest = OODVerdict(2.5, 2.0, percentile=1.0).explain()
    assert highest.endswith("It is higher than that of every familiar picture.")
    assert "99 % of" in OODVerdict(2.5, 2.0, percentile=0.997).explain()  # not of 100 %
    assert OODVerdict(2410.3, 1630.0).explain() == "Unusual: score 2410 is above the threshold 1630."
    assert OODVerdict(2.0, 2.0).explain() == "Familiar: score 2 is not above the threshold 2."
    assert OODVerdict(2.0).explain() == "Undecided: score 2, and no threshold was set."


def test_json_keeps_every_bit():
    pixels = torch.randn(3, 5, generator=torch.Generator().manual_seed(0)) * 1e-7
    for verdict in (OODVerdict(0.1 + 0.2, 1 / 3, 0.95, "energy", pixels), OODVerdict(-1e-300), OODVerdict(4.0, 5.0)):
        again = value_from_dict(json.loads(json.dumps(verdict.to_dict())))
        fields = ("score", "threshold", "keeps", "score_name", "is_ood")
        assert all(getattr(again, name) == getattr(verdict, name) for name in fields)
        assert again.map is verdict.map is None or torch.equal(again.map, verdict.map)
    assert value_from_dict(OODLabel(True).to_dict()).is_ood is True


def test_a_moved_verdict_is_the_same():
    verdict = OODVerdict(1.0, 2.0, 0.9, "msp", torch.zeros(2, 2))
    assert verdict.to("cpu").to_dict() == verdict.to_dict()
    assert OODVerdict(1.0).to("cpu").score == 1.0 and OODLabel(True).to("cpu").is_ood


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"score": math.nan}, "score of OODVerdict is nan; it must be a finite float"),
        ({"score": 1}, "score of OODVerdict is 1; it must be a finite float"),
        ({"score": 1.0, "threshold": math.inf}, "threshold of OODVerdict is inf"),
        ({"score": 1.0, "keeps": 95.0}, "keeps of OODVerdict is 95; it is a share"),
        ({"score": 1.0, "score_name": None}, "score_name of OODVerdict is None"),
        ({"score": 1.0, "map": torch.zeros(1, 2, 2)}, "map of OODVerdict has shape"),
        ({"score": 1.0, "map": torch.full((2, 2), math.nan)}, "map of OODVerdict holds NaN"),
    ],
)
def test_wrong_fields_are_refused(fields, message):
    with pytest.raises(DataError, match=message):
        OODVerdict(**fields)


def test_broken_json_and_labels_are_refused():
    with pytest.raises(DataError, match=r"map_float32 holds 16 bytes but map_size is \[3, 2\]"):
        OODVerdict.from_dict({**OODVerdict(1.0, map=torch.zeros(2, 2)).to_dict(), "map_size": [3, 2]})
    with pytest.raises(DataError, match="lacks 'score'"):
        OODVerdict.from_dict({"type": "ood_verdict"})
    with pytest.raises(DataError, match="is_ood of OODLabel is 1; it must be True or False"):
        OODLabel(1)


def test_a_result_takes_no_other_value():
    assert Result(ood=OODVerdict(1.0)).ood.score == 1.0
    with pytest.raises(DataError, match="ood of Result is a float; it must be OODVerdict or OODLabel"):
        Result(ood=1.0)

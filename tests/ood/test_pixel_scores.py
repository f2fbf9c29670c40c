import pytest
import torch

from visgen.errors import ConfigError, DataError
from visgen.ood import build_score, pixel_scores

LOGITS = torch.tensor([[[[2.0, 0.0]], [[1.0, 0.0]], [[-1.0, 0.0]]]])  # (1, 3, 1, 2): one certain pixel, one undecided


def test_values_by_hand():
    e = torch.tensor([2.0, 1.0, -1.0]).exp()
    want = {
        "max_logit": [-2.0, 0.0],
        "msp": [-float(e[0] / e.sum()), -1 / 3],
        "energy": [-float(e.sum().log()), -float(torch.tensor(3.0).log())],
    }
    for name, values in want.items():
        assert pixel_scores(LOGITS, name).flatten().tolist() == pytest.approx(values, abs=1e-6)


@pytest.mark.parametrize("name", ["max_logit", "msp", "energy"])
def test_each_pixel_is_scored_like_an_image_of_its_own(name):
    logits = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0))
    rows = logits.permute(0, 2, 3, 1).reshape(-1, 5)
    score = build_score(name, 5, 1).fit(rows, torch.zeros(len(rows), 1), torch.arange(len(rows)) % 5)
    alone = score(rows, torch.zeros(len(rows), 1)).reshape(2, 3, 4)
    torch.testing.assert_close(pixel_scores(logits, name), alone, rtol=1e-6, atol=1e-6)


def test_refusals():
    with pytest.raises(ConfigError, match="'max_logits' is not known; did you mean 'max_logit'"):
        pixel_scores(LOGITS, "max_logits")
    with pytest.raises(DataError, match=r"got logits \(3, 1, 2\); they must be \(B, K, h, w\)"):
        pixel_scores(LOGITS[0])

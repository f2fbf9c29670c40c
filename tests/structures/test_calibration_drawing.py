import numpy as np
import pytest
import torch

from visgen.errors import DataError
from visgen.structures.calibration_drawing import COLOURS, draw_calibration
from visgen.structures.canvas import INK


def painted(picture, colour):
    return np.argwhere((np.asarray(picture) == np.array(colour)).all(-1))


def test_the_curve_of_higher_scores_lies_further_right():
    low, high = torch.linspace(0, 1, 50), torch.linspace(2, 3, 50)
    picture = draw_calibration(low, 0.95, {"textures": high})
    first, second = painted(picture, COLOURS[0]), painted(picture, COLOURS[1])
    middle = 200  # half way up the curves
    columns = [rows[np.abs(rows[:, 0] - middle) < 3][:, 1].mean() for rows in (first, second)]
    assert columns[0] + 100 < columns[1]
    line = painted(picture, INK)
    place = np.median(line[(line[:, 0] > 40) & (line[:, 0] < 390)][:, 1])
    assert columns[0] < place < columns[1]


def test_quantiles_of_scores_draw_the_same_curve():
    scores = torch.randn(4000, generator=torch.Generator().manual_seed(0))
    steps = torch.quantile(scores, torch.linspace(0, 1, 101))
    one, two = (painted(draw_calibration(x, 1.6), COLOURS[0]) for x in (scores, steps))
    for row in (100, 200, 300):
        places = [p[np.abs(p[:, 0] - row) < 3][:, 1].mean() for p in (one, two)]
        assert abs(places[0] - places[1]) < 25


def test_refusals():
    with pytest.raises(DataError, match=r"scores of 'x' have shape \(1,\)"):
        draw_calibration(torch.rand(5), 0.5, {"x": torch.rand(1)})
    with pytest.raises(DataError, match="got 5 kinds outside"):
        draw_calibration(torch.rand(5), 0.5, {str(i): torch.rand(3) for i in range(5)})

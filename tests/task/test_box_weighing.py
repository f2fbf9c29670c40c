"""A map speaks for a box that holds what it shows, and against one that cuts it in two."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from visgen.errors import ConfigError
from visgen.structures import Boxes
from visgen.task import build_model
from visgen.task.box_weighing import weigh_boxes

CLASSES = ("background", "cat", "dog")


def boxes(*corners: tuple[float, float, float, float], size: tuple[int, int] = (80, 80), label: int = 0) -> Boxes:
    count = len(corners)
    return Boxes(
        torch.tensor(corners), torch.full((count,), label), size, ("cat", "cow"), scores=torch.full((count,), 0.3)
    )


def a_cat(rows: int = 20, columns: int = 20) -> Tensor:
    """Logits at stride 4: a cat on the cells 5..14 of both sides, sure of it; nothing elsewhere."""
    logits = torch.zeros(3, rows, columns)
    logits[0] = 20
    logits[:2, 5:15, 5:15] = torch.tensor([0.0, 20.0])[:, None, None]
    return logits


def by_hand(boxes: Boxes, share: Tensor, stride: float) -> list[float]:
    """The same in plain loops over cells."""
    found = []
    height, width = share.shape
    for x0, y0, x1, y1 in (boxes.xyxy / stride).tolist():
        grow = 0.2 * (x1 - x0), 0.2 * (y1 - y0)

        def cells(a: float, b: float, c: float, d: float) -> set[tuple[int, int]]:
            left, top = min(max(round(a), 0), width - 1), min(max(round(b), 0), height - 1)
            right, low = max(min(round(c), width), left + 1), max(min(round(d), height), top + 1)
            return {(y, x) for y in range(top, low) for x in range(left, right)}

        inner = cells(x0, y0, x1, y1)
        wide = cells(x0 - grow[0], y0 - grow[1], x1 + grow[0], y1 + grow[1]) | inner
        columns, rows = ([c[axis] for c in wide] for axis in (1, 0))
        frame = {(y, x) for y in range(min(rows), max(rows) + 1) for x in range(min(columns), max(columns) + 1)} - inner
        inside = sum(float(share[c]) for c in inner) / len(inner)
        around = sum(float(share[c]) for c in frame) / len(frame) if frame else inside
        odds = 0.3 / 0.7 * (inside + 0.01) ** 0.5 / (around + 0.01) ** 0.4
        found.append(odds / (1 + odds))
    return found


def test_it_agrees_with_plain_loops_on_any_boxes_and_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(3, 13, 17, generator=generator)
    ends = torch.rand(60, 2, 2, generator=generator) * torch.tensor([130.0, 90.0])
    corners = torch.cat([ends.amin(1), ends.amax(1)], 1)
    some = boxes(*map(tuple, corners.tolist()), size=(90, 130))  # type: ignore[arg-type]
    share = logits[:, :12, :16].softmax(0)[1]  # 12 of 13 rows and 16 of 17 columns hold the picture of 45 x 63
    scaled = Boxes(some.xyxy * torch.tensor([63 / 130, 45 / 90] * 2), some.labels, (45, 63), some.classes)
    wanted = by_hand(scaled, share, 4)
    found = weigh_boxes(some, logits, CLASSES, (45, 63), 4)
    assert torch.allclose(found.scores, torch.tensor(sorted(wanted, reverse=True)), atol=1e-5)
    assert torch.equal(found.xyxy, some.xyxy[torch.tensor(wanted).argsort(descending=True, stable=True)])


def test_the_whole_of_a_thing_wins_over_a_part_and_over_nothing() -> None:
    whole, half, elsewhere = (20.0, 20.0, 60.0, 60.0), (20.0, 20.0, 60.0, 40.0), (66.0, 66.0, 78.0, 78.0)
    found = weigh_boxes(boxes(elsewhere, half, whole), a_cat(), CLASSES, (80, 80), 4)
    assert found.xyxy.tolist() == [list(whole), list(half), list(elsewhere)]
    best, part, nothing = found.scores.tolist()
    assert best > 0.3 > nothing and best > part
    assert nothing == pytest.approx(1 / (1 + 7 / 3 * 0.01**-0.1), abs=1e-4)  # both shares are nought


def test_a_box_that_fills_the_picture_has_nothing_around_it() -> None:
    (found,) = weigh_boxes(boxes((0.0, 0.0, 80.0, 80.0)), a_cat(), CLASSES, (80, 80), 4).scores.tolist()
    share = 100 / 400
    assert found == pytest.approx(1 / (1 + 7 / 3 * (share + 0.01) ** -0.1), abs=1e-4)


def test_classes_that_the_map_lacks_and_no_boxes_at_all_stay_as_they_were() -> None:
    cows = boxes((20.0, 20.0, 40.0, 40.0), label=1)
    assert torch.equal(weigh_boxes(cows, a_cat(), CLASSES, (80, 80), 4).scores, cows.scores)
    none = boxes((20.0, 20.0, 40.0, 40.0)).select(torch.tensor([], dtype=torch.int64))
    assert len(weigh_boxes(none, a_cat(), CLASSES, (80, 80), 4).scores) == 0


def test_padding_has_no_word() -> None:
    logits = a_cat()
    logits[1, :, 15:] = 50.0  # cats in the padding right of a picture of 60 columns
    box = boxes((20.0, 20.0, 60.0, 40.0), size=(80, 60))
    clean = weigh_boxes(box, a_cat(), CLASSES, (80, 60), 4)
    assert torch.equal(weigh_boxes(box, logits, CLASSES, (80, 60), 4).scores, clean.scores)
    assert math.isfinite(float(clean.scores[0]))


def config(**detection: object) -> dict[str, object]:
    return {
        "backbone": {"name": "timm", "model": "test_efficientnet", "pretrained": False},
        "heads": {
            "detection": {"task": "detection", "classes": ["cat", "cow"], "options": {"width": 8}, **detection},
            "segmentation": {"task": "segmentation", "classes": list(CLASSES), "options": {"width": 8}},
        },
    }


def test_a_model_weighs_its_boxes_where_it_says_so() -> None:
    torch.manual_seed(0)
    weighed = build_model(config(weighed_by="segmentation")).eval()
    plain = build_model(config()).eval()
    plain.load_state_dict(weighed.state_dict())
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    valid = [(64, 96), (50, 64)]
    for one in (weighed, plain):  # scores that pass the least one
        torch.nn.init.constant_(one.head("detection").classify.bias, 0.0)  # type: ignore[union-attr, arg-type]
    before = plain.predict(images, ["detection"], valid)["detection"]
    after = weighed.predict(images, ["detection"], valid)["detection"]
    logits = weighed(images, "segmentation")[0]
    stride = round(64 / logits.shape[-2])
    for i in range(2):
        assert len(before[i].scores) > 0
        wanted = weigh_boxes(before[i], logits[i], CLASSES, valid[i], stride)
        assert torch.equal(after[i].scores, wanted.scores) and torch.equal(after[i].xyxy, wanted.xyxy)
        assert not torch.equal(after[i].scores, before[i].scores)
    together = weighed.predict(images, ["segmentation", "detection"], valid)["detection"]
    assert torch.equal(together[0].scores, after[0].scores)
    assert weighed.with_needed(["detection"]) == ["detection", "segmentation"]


def test_weighing_is_switched_on_and_off_and_the_configuration_knows() -> None:
    model = build_model(config())
    model.set_weigher("detection", "segmentation")
    assert model.weigher("detection") == "segmentation"
    assert model.config()["heads"]["detection"]["weighed_by"] == "segmentation"
    with pytest.raises(ConfigError, match="is weighed by 'maps'"):
        model.set_weigher("detection", "maps")
    assert model.weigher("detection") == "segmentation"
    model.set_weigher("detection", None)
    assert model.weigher("detection") is None and model.config()["heads"]["detection"]["weighed_by"] is None


@pytest.mark.parametrize("wrong", ["segmentation.streets", "detection"])
def test_a_head_that_cannot_weigh_is_refused_with_those_that_can(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"weighed by .* has segmentation"):
        build_model(config(weighed_by=wrong))
    swapped = config()
    swapped["heads"]["segmentation"]["weighed_by"] = "detection"  # type: ignore[index]
    with pytest.raises(ConfigError, match="nothing weighs 'segmentation'"):
        build_model(swapped)

import json

import numpy as np
import pytest
import torch

from visgen.errors import DataError
from visgen.metrics import DetectionMetric
from visgen.structures import Boxes

CLASSES = ("cat", "dog", "tree")
SIZE = (100, 120)


def boxes(rows, scores=None, crowd=None, **more):
    """Boxes from (x1, y1, x2, y2, label) rows."""
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 5)
    return Boxes(
        table[:, :4],
        table[:, 4].long(),
        SIZE,
        CLASSES,
        scores=None if scores is None else torch.tensor(scores, dtype=torch.float32),
        is_crowd=None if crowd is None else torch.tensor(crowd, dtype=torch.bool),
        **more,
    )


def measure(found, truth, **options):
    metric = DetectionMetric(CLASSES, **options)
    metric.update(found, truth)
    return metric.compute()


def scene(seed, images=12):
    """True boxes with crowds, and detections that are shifted, mislabelled, doubled or invented."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for _ in range(images):
        n = int(rng.integers(0, 6))
        low = rng.uniform(0, 60, (n, 2))
        high = low + rng.uniform(4, 40, (n, 2))
        label = rng.integers(0, 3, n)
        truth.append(boxes(np.column_stack([low, high, label]).tolist(), crowd=(rng.random(n) < 0.15).tolist()))
        m = int(rng.integers(0, 4))
        rows = [[*r[:4], r[4] if rng.random() < 0.8 else (r[4] + 1) % 3] for r in np.column_stack([low, high, label])]
        rows = [[*(np.array(r[:4]) + rng.normal(0, 3, 4)), r[4]] for r in rows for _ in range(int(rng.integers(0, 3)))]
        new = rng.uniform(0, 60, (m, 2))
        rows += np.column_stack([new, new + rng.uniform(2, 40, (m, 2)), rng.integers(0, 3, m)]).tolist()
        rows = [[min(r[0], r[2]), min(r[1], r[3]), max(r[0], r[2]), max(r[1], r[3]), r[4]] for r in rows]
        found.append(boxes(rows, scores=np.round(rng.random(len(rows)), 2).tolist()))
    return found, truth


def as_coco(found, truth):
    """Plain COCO dictionaries written here by hand, apart from the code under test."""
    annotations, results = [], []
    for i, (f, t) in enumerate(zip(found, truth, strict=True)):
        for (x1, y1, x2, y2), label, crowd in zip(
            t.xyxy.double().tolist(), t.labels.tolist(), t.is_crowd.tolist(), strict=True
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": i + 1,
                    "category_id": label + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": int(crowd),
                }
            )
        for (x1, y1, x2, y2), label, score in zip(
            f.xyxy.double().tolist(), f.labels.tolist(), f.scores.double().tolist(), strict=True
        ):
            results.append(
                {"image_id": i + 1, "category_id": label + 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
            )
    data = {
        "images": [{"id": i + 1, "height": SIZE[0], "width": SIZE[1]} for i in range(len(truth))],
        "categories": [{"id": k + 1, "name": n} for k, n in enumerate(CLASSES)],
        "annotations": annotations,
    }
    return data, results


@pytest.mark.parametrize("seed", range(4))
def test_figures_equal_faster_coco_eval(seed, tmp_path):
    faster = pytest.importorskip("faster_coco_eval")
    found, truth = scene(seed)
    data, results = as_coco(found, truth)
    (tmp_path / "truth.json").write_text(json.dumps(data))
    ours = measure(found, truth)
    reference = faster.COCO(str(tmp_path / "truth.json"))
    for agnostic in (False, True):
        run = faster.COCOeval_faster(reference, reference.loadRes(results), "bbox")
        run.params.useCats = int(not agnostic)
        run.evaluate()
        run.accumulate()
        run.summarize()
        if agnostic:
            assert ours["AR@100"] == pytest.approx(run.stats[8], abs=1e-6)
        else:
            assert [ours[k] for k in ("AP", "AP50", "AP75")] == pytest.approx(list(run.stats[:3]), abs=1e-6)


@pytest.mark.parametrize("seed", range(2))
def test_figures_equal_the_default_run_of_pycocotools(seed, tmp_path):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    found, truth = scene(seed + 10)
    data, results = as_coco(found, truth)
    (tmp_path / "truth.json").write_text(json.dumps(data))
    reference = COCO(str(tmp_path / "truth.json"))
    run = COCOeval(reference, reference.loadRes(results), "bbox")
    run.evaluate(), run.accumulate(), run.summarize()
    ours = measure(found, truth)
    assert [ours[k] for k in ("AP", "AP50", "AP75")] == pytest.approx(list(run.stats[:3]), abs=1e-9)


def test_one_hit_and_one_miss_worked_by_hand():
    truth = [boxes([[0, 0, 10, 10, 0], [20, 20, 40, 40, 0]])]
    found = [boxes([[0, 0, 10, 10, 0], [60, 60, 70, 70, 0]], scores=[0.9, 0.8])]
    figures = measure(found, truth, per_class=True)
    # Precision 1 up to recall 1/2, 0 beyond: 51 of the 101 recall points.
    assert figures["AP50"] == pytest.approx(51 / 101) == figures["AP50/cat"] == figures["AP/cat"]
    assert figures["AR@100"] == pytest.approx(0.5) and "AP/dog" not in figures


def test_laws():
    found, truth = scene(20)
    whole = measure(found, truth)
    order = list(reversed(range(len(truth))))
    assert measure([found[i] for i in order], [truth[i] for i in order]) == pytest.approx(whole, abs=0.02)
    squeezed = [Boxes(f.xyxy, f.labels, f.size, f.classes, scores=f.scores**3) for f in found]
    assert measure(squeezed, truth) == pytest.approx(whole, abs=1e-6)  # only the ranking counts
    lone = boxes([[0, 0, 30, 30, 1]])
    good = boxes([[1, 1, 30, 30, 1]], scores=[0.7])
    extra = boxes([[1, 1, 30, 30, 1], [50, 50, 90, 90, 1]], scores=[0.7, 0.9])
    assert measure([extra], [lone])["AP50"] == pytest.approx(0.5)
    assert measure([good], [lone])["AP50"] == pytest.approx(1)


def test_a_low_score_still_counts_and_a_crowd_forgives():
    truth = [boxes([[0, 0, 30, 30, 1]])]
    assert measure([boxes([[0, 0, 30, 30, 1]], scores=[1e-4])], truth)["AP50"] == pytest.approx(1)
    crowd = [boxes([[0, 0, 30, 30, 1], [40, 40, 100, 90, 1]], crowd=[False, True])]
    inside = boxes([[0, 0, 30, 30, 1], [45, 45, 60, 60, 1]], scores=[0.5, 0.9])
    assert measure([inside], crowd)["AP50"] == pytest.approx(1)


def test_nothing_found_is_zero_and_incomplete_boxes_have_recall_only():
    truth = [boxes([[0, 0, 30, 30, 1]])]
    assert measure([boxes([], scores=[])], truth) == {"AP": 0.0, "AP50": 0.0, "AP75": 0.0, "AR@100": 0.0}
    partial = [boxes([[0, 0, 30, 30, 1]], complete=("cat",))]
    assert measure([boxes([[0, 0, 30, 30, 1]], scores=[0.3])], partial) == {"AR@100": 1.0}


def test_refusals():
    truth = boxes([[0, 0, 30, 30, 1]])
    with pytest.raises(DataError, match="no scores"):
        measure([truth], [truth])
    with pytest.raises(DataError, match="0 true boxes"):
        measure([boxes([], scores=[])], [boxes([])])
    small = Boxes(truth.xyxy, truth.labels, (50, 50), CLASSES, scores=torch.ones(1))
    with pytest.raises(DataError, match=r"\(50, 50\)"):
        measure([small], [truth])
    with pytest.raises(DataError, match="0 classes"):
        DetectionMetric(())

"""One call from any picture to typed answers: inputs agree, order holds, errors follow the policy."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from visgen import pipeline
from visgen.backbones import BACKBONES
from visgen.errors import ConfigError, DataError, ImageError, UnknownName
from visgen.structures import Boxes, Result
from visgen.task import MultiTaskModel, build_model

from .conftest import CAMVID, COCO, photograph


@pytest.fixture(scope="module")
def pipe(model: MultiTaskModel) -> Any:
    return pipeline(None, model, device="cpu")


def maps(result: Result) -> list[torch.Tensor]:
    """Every number of an answer; the two label sets of segmentation come as a dictionary."""
    return [
        result.classification.probabilities,
        *(value.ids.float() for value in result.segmentation.values()),
        result.depth.metres,
    ]


def assert_same(a: Result, b: Result, share: float = 0.0) -> None:
    """Numbers agree to 1e-5; `share` is how many pixels may change class where two are nearly equal."""
    for x, y in zip(maps(a), maps(b), strict=True):
        assert x.shape == y.shape
        assert ((x - y).abs() > 1e-5 * (1 + y.abs())).float().mean() <= share


def test_one_picture_gives_one_typed_result(pipe: Any, picture_path: Path) -> None:
    result = pipe(picture_path)
    assert isinstance(result, Result)
    assert (result.source, result.size, result.path, result.error) == (str(picture_path), (60, 80), "moe", None)
    assert result.classification.classes == ("cat", "dog", "owl")
    assert {k: v.classes for k, v in result.segmentation.items()} == {"camvid": CAMVID, "coco": COCO}
    assert {k: v.name for k, v in result.segmentation.items()} == {"camvid": "camvid", "coco": "coco"}
    assert result.depth.size == (60, 80)
    assert sorted(result.timing) == ["model", "read", "resize"]
    assert all(0 <= seconds < 60 for seconds in result.timing.values())
    assert Result.from_json(result.to_json()).size == (60, 80)


def test_every_kind_of_input_gives_the_same_answer(
    pipe: Any, picture: np.ndarray, picture_path: Path, site: Any
) -> None:
    site.pages["/photo.png"] = (200, {"Content-Type": "image/png"}, picture_path.read_bytes())
    chw = torch.from_numpy(picture).permute(2, 0, 1)
    first = pipe(picture_path)
    kinds = {
        "text path": pipe(str(picture_path)),
        "PIL": pipe(Image.fromarray(picture)),
        "uint8 HWC": pipe(picture),
        "float HWC": pipe(picture.astype(np.float32) / 255),
        "float CHW": pipe(chw.float() / 255),
        "uint8 CHW": pipe(chw),
        "BGR HWC": pipe(picture[..., ::-1], color="bgr"),
        "BGR CHW": pipe(chw.flip(0), color="bgr"),
        "bytes": pipe(picture_path.read_bytes()),
        "file": pipe(io.BytesIO(picture_path.read_bytes())),
        "URL": pipe(site.url("/photo.png"), allow_private=True),
        "list": pipe([picture_path])[0],
        "batch HWC": pipe(picture[None])[0],
        "batch CHW": pipe(chw[None])[0],
        "folder": pipe(picture_path.parent)[0],
        "pattern": pipe(str(picture_path.parent / "*.png"))[0],
        "generator": next(pipe(p for p in [picture])),
    }
    for kind, result in kinds.items():
        assert isinstance(result, Result), kind
        assert_same(result, first)
    wrong = pipe(picture[..., ::-1])
    assert not torch.allclose(wrong.depth.metres, first.depth.metres, rtol=1e-4), "the colour order must matter"


def test_the_same_photograph_under_an_exif_turn(pipe: Any, picture: np.ndarray, tmp_path: Path) -> None:
    turned = Image.fromarray(picture).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    turned.save(tmp_path / "turned.png", exif=exif)
    assert_same(pipe(tmp_path / "turned.png"), pipe(picture))


def test_an_address_in_the_private_network_is_refused(pipe: Any, site: Any) -> None:
    with pytest.raises(ImageError, match="not a public internet address"):
        pipe(site.url("/photo.png"))
    assert site.hits == []


@pytest.mark.parametrize("batch_size", [3, 8])
def test_the_batch_size_changes_neither_order_nor_answers(pipe: Any, batch_size: int) -> None:
    sizes = [(60, 80), (80, 60), (33, 47), (60, 80), (200, 300), (20, 30), (60, 80), (64, 64), (80, 60), (300, 200)]
    pictures = [photograph(*size, seed=i) for i, size in enumerate(sizes)]
    alone = pipe(pictures)
    together = pipe(pictures, batch_size=batch_size)
    assert [r.size for r in alone] == [r.size for r in together] == sizes
    assert [r.source for r in together] == [f"item {i}" for i in range(len(sizes))]
    for a, b in zip(alone, together, strict=True):
        assert a.depth.size == a.size
        assert_same(a, b, share=0.002)


def test_small_and_large_photographs_get_maps_of_their_own_size(pipe: Any) -> None:
    for size in ((5, 7), (1, 1), (700, 40), (480, 640)):
        result = pipe(photograph(*size))
        assert result.size == result.depth.size == result.segmentation["coco"].size == size


def test_max_side_changes_the_work_but_not_the_size_of_the_maps(pipe: Any) -> None:
    picture = photograph(300, 400)
    coarse, fine = pipe(picture, max_side=32), pipe(picture, max_side=400)
    assert coarse.depth.size == fine.depth.size == (300, 400)
    assert not torch.allclose(coarse.depth.metres, fine.depth.metres)
    assert_same(pipe(picture), pipe(picture, max_side=96))
    assert_same(pipe(picture, max_side=400), pipe(picture, max_side=4000))


def test_a_task_answers_by_its_default_head_and_a_head_by_its_name(model: MultiTaskModel, picture: np.ndarray) -> None:
    default = pipeline("segmentation", model, device="cpu")(picture).segmentation
    assert default.classes == COCO
    named = pipeline("segmentation.camvid", model, device="cpu")(picture)
    assert named.segmentation.classes == CAMVID
    assert named.classification is named.depth is None
    both = pipeline(["segmentation.camvid", "segmentation", "depth"], model, device="cpu")
    assert both.heads == ("segmentation.camvid", "segmentation.coco", "depth")
    answered = both(picture).segmentation
    assert list(answered) == ["camvid", "coco"]
    assert torch.equal(answered["coco"].ids, default.ids)
    assert torch.equal(answered["camvid"].ids, named.segmentation.ids)


def test_unknown_tasks_are_named(model: MultiTaskModel) -> None:
    with pytest.raises(UnknownName, match=r"task 'detection' is not in this model; it has classification"):
        pipeline("detection", model)
    with pytest.raises(UnknownName, match=r"'segmentation\.camvit' .*did you mean 'segmentation\.camvid'"):
        pipeline(["depth", "segmentation.camvit"], model)
    with pytest.raises(UnknownName, match="did you mean 'depth'"):
        pipeline("dept", model)
    with pytest.raises(ConfigError, match="task is an empty list"):
        pipeline([], model)


def test_unknown_paths_devices_and_formats_are_named(model: MultiTaskModel) -> None:
    with pytest.raises(UnknownName, match=r"path 'moo' is not known; did you mean 'moe'\?"):
        pipeline("depth", model, path="moo")
    with pytest.raises(ConfigError, match="device 'quantum' cannot be used here"):
        pipeline("depth", model, device="quantum")
    with pytest.raises(ConfigError, match="dtype 'int8' is not known; use one of auto, float32, bfloat16, float16"):
        pipeline("depth", model, device="cpu", dtype="int8")
    with pytest.raises(ConfigError, match="'float16' is slow and inexact on a CPU"):
        pipeline("depth", model, device="cpu", dtype="float16")
    assert pipeline("depth", model, device="cpu").dtype == torch.float32


def test_bfloat16_is_close_to_float32(model: MultiTaskModel, picture: np.ndarray) -> None:
    whole, half = (
        pipeline("depth", model, device="cpu", dtype=dtype)(picture).depth.metres for dtype in ("float32", "bfloat16")
    )
    assert half.dtype == torch.float32
    assert torch.allclose(whole, half, rtol=0.1)
    assert not torch.equal(whole, half)


def test_another_backbone_answers_under_its_own_name(picture: np.ndarray) -> None:
    assert "timm" in BACKBONES
    config = {"backbone": {"name": "timm"}, "heads": {"depth": {"task": "depth"}}}
    other = build_model(config)
    assert pipeline("depth", other, device="cpu")(picture).path == "timm"
    with pytest.raises(ConfigError, match="path is 'moe' but the backbone of model 'MultiTaskModel' is 'timm'"):
        pipeline("depth", other, device="cpu", path="moe")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"threshold": 1.5}, "threshold is 1.5"),
        ({"top_k": 3}, r"top_k is 3 but it limits detections.*classification\.top\(3\)"),
        ({"seed": -1}, "seed is -1"),
        ({"color": "rbg"}, "color is 'rbg'"),
        ({"on_error": "ignore"}, "on_error is 'ignore'"),
        ({"max_side": 16}, "max_side is 16; it must be at least 32"),
    ],
)
def test_options_outside_their_range_are_refused(pipe: Any, picture: np.ndarray, options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pipe(picture, **options)


def test_averaging_with_the_mirrored_picture_leaves_no_side(model: MultiTaskModel, picture: np.ndarray) -> None:
    pipe = pipeline("depth", model, device="cpu")
    there, back = (pipe(values, tta=True).depth.metres for values in (picture, picture[:, ::-1].copy()))
    assert torch.allclose(back.flip(-1), there, rtol=1e-4) and not torch.allclose(there, pipe(picture).depth.metres)


def test_a_threshold_that_no_task_uses_is_refused(model: MultiTaskModel, picture: np.ndarray) -> None:
    with pytest.raises(ConfigError, match=r"threshold is 0\.5 but none of the tasks asked \(depth\) uses it"):
        pipeline("depth", model, device="cpu")(picture, threshold=0.5)


def test_threshold_and_top_k_keep_the_best_boxes() -> None:
    from visgen.pipelines.run import RunOptions, limit_value

    corners = torch.tensor([[0.0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 3, 3], [0, 0, 4, 4]])
    boxes = Boxes(corners, torch.tensor([0, 1, 0, 1]), (10, 10), ("a", "b"), torch.tensor([0.2, 0.9, 0.5, 0.7]))
    options = RunOptions(torch.device("cpu"), torch.float32, "moe", 320, 0, threshold=0.5, top_k=2)
    kept = limit_value(boxes, options)
    assert kept.xyxy[:, 2].tolist() == [2, 4]
    assert kept.labels.tolist() == [1, 1]
    assert kept.scores.tolist() == pytest.approx([0.9, 0.7])
    every = limit_value(boxes, replace(options, top_k=None))
    assert every.xyxy[:, 2].tolist() == [2, 4, 3]


def test_every_seed_gives_the_same_answer_here(pipe: Any, picture: np.ndarray) -> None:
    assert_same(pipe(picture, seed=1), pipe(picture, seed=2))


@pytest.fixture
def mixed(tmp_path: Path) -> list[Any]:
    """Two good pictures among a torn, an empty, a missing and an ambiguous one."""
    good = tmp_path / "good.png"
    Image.fromarray(photograph(40, 50)).save(good)
    (tmp_path / "torn.png").write_bytes(good.read_bytes()[:150])
    (tmp_path / "empty.png").write_bytes(b"")
    bad = [tmp_path / n for n in ("torn.png", "empty.png", "missing.png")]
    return [good, *bad, np.full((40, 50, 3), 7.0), photograph(40, 50)]


def test_raise_names_the_file(pipe: Any, mixed: list[Any]) -> None:
    for bad, name in ((1, r"torn\.png"), (2, r"empty\.png"), (3, r"missing\.png"), (4, "item 0")):
        with pytest.raises(DataError, match=name):
            pipe([mixed[bad]])


@pytest.mark.parametrize("batch_size", [1, 4])
def test_record_keeps_a_place_for_every_item(pipe: Any, mixed: list[Any], batch_size: int) -> None:
    results = pipe(mixed, on_error="record", batch_size=batch_size)
    assert [r.error is None for r in results] == [True, False, False, False, False, True]
    for result, name in zip(results[1:5], ("torn.png", "empty.png", "missing.png", "item 4"), strict=True):
        assert name in result.error
        assert name in result.source
        assert result.depth is None
        assert Result.from_json(result.to_json()).error == result.error


def test_skip_leaves_the_others_in_order(pipe: Any, mixed: list[Any]) -> None:
    results = pipe(mixed, on_error="skip", batch_size=4)
    assert [r.source for r in results] == [str(mixed[0]), "item 5"]
    assert pipe(mixed[1], on_error="skip") is None


def test_an_error_of_the_callers_own_generator_is_not_swallowed(pipe: Any) -> None:
    def pictures() -> Iterator[Any]:
        yield photograph(40, 40)
        raise RuntimeError("camera unplugged")

    results = pipe(pictures(), on_error="skip")
    assert next(results).size == (40, 40)
    with pytest.raises(RuntimeError, match="camera unplugged"):
        next(results)


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_pictures_before_the_one_that_raises_are_answered(pipe: Any, batch_size: int) -> None:
    broken = [photograph(40, 40), photograph(50, 60), np.full((40, 50, 3), 7.0), photograph(40, 40)]
    results = pipe(broken, batch_size=batch_size, stream=True)
    assert [next(results).source, next(results).source] == ["item 0", "item 1"]
    with pytest.raises(DataError, match="item 2: array of shape"):
        next(results)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_generator_is_read_at_most_one_batch_ahead(pipe: Any, batch_size: int) -> None:
    drawn: list[int] = []

    def pictures() -> Iterator[Any]:
        for i in itertools.count():
            drawn.append(i)
            yield photograph(40, 40, seed=i)

    results = pipe(pictures(), batch_size=batch_size)
    assert drawn == []
    for k in range(1, 5):
        next(results)
        assert k <= len(drawn) <= k + batch_size - 1


def test_stream_makes_any_input_lazy(pipe: Any, picture_path: Path) -> None:
    results = pipe(picture_path, stream=True)
    assert isinstance(results, Iterator)
    assert [r.source for r in results] == [str(picture_path)]
    missing = pipe([picture_path, "missing.png"], stream=True)
    assert next(missing).source == str(picture_path)
    with pytest.raises(ImageError, match=r"missing\.png"):
        next(missing)


def test_an_empty_list_gives_an_empty_list(pipe: Any) -> None:
    assert pipe([]) == []


def test_memory_stays_flat_over_two_thousand_pictures(model: MultiTaskModel) -> None:
    pipe = pipeline("depth", model, device="cpu")
    process = psutil.Process()
    pictures = (photograph(32, 32, seed=i % 50) for i in range(2000))
    results = pipe(pictures, batch_size=16)
    for _ in range(100):
        next(results)
    before, peak = process.memory_info().rss, 0
    for result in results:
        assert result.depth.size == (32, 32)
        peak = max(peak, process.memory_info().rss)
    assert peak - before < 200 * 2**20


def test_a_result_draws_whatever_the_input_was(pipe: Any, picture: np.ndarray, picture_path: Path) -> None:
    from_array, from_file = pipe(picture), pipe(picture_path)
    assert np.array_equal(from_array.image, picture)
    assert from_file.image is None, "a file is opened again when it is drawn"
    assert from_array.plot().size == from_file.plot().size


def test_progress_goes_to_standard_error_only(
    pipe: Any, picture: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(pipe([picture, picture], progress=True)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "2/2" in captured.err


def test_a_model_loads_by_folder(model: MultiTaskModel, picture: np.ndarray, tmp_path: Path, pipe: Any) -> None:
    from visgen.zoo import save_pretrained

    save_pretrained(model, tmp_path / "tiny")
    loaded = pipeline(model=tmp_path / "tiny", device="cpu")
    assert loaded.name == str(tmp_path / "tiny")
    assert_same(loaded(picture), pipe(picture))


def test_a_result_tells_itself_in_a_line(pipe: Any, picture_path: Path) -> None:
    text = repr(pipe(picture_path))
    assert text.startswith(f"Result({picture_path}, size=(60, 80), path=moe; classification: ") and len(text) < 400
    assert "segmentation.camvid: SemanticMap" in text and "tensor" not in text
    assert "error: torn" in repr(Result(source="a", error="torn"))

"""Videos as lazy rows of frames; the clips are made here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visgen.errors import ConfigError, ImageError, MissingDependency
from visgen.pipelines import pipeline
from visgen.pipelines.inputs import open_inputs
from visgen.pipelines.video import frame_count, read_frames

av = pytest.importorskip("av", reason="videos need PyAV: pip install 'visgen[video]'")

FRAMES, RATE = 12, 4


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds in which the left half goes from black to red."""
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 96, 64, "yuv420p", 2_000_000
        for i in range(FRAMES):
            picture = np.zeros((64, 96, 3), np.uint8)
            picture[:, :48, 0] = 20 * i
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def test_frames_come_with_index_and_time_and_in_rgb(clip: Path) -> None:
    frames = list(read_frames(clip))
    assert [index for index, _, _ in frames] == list(range(FRAMES))
    assert [seconds for _, seconds, _ in frames] == pytest.approx([i / RATE for i in range(FRAMES)], abs=0.01)
    for i, _, picture in frames:
        left, right = np.array(picture)[8:56, 8:40], np.array(picture)[8:56, 56:88]
        assert left[..., 0].mean() == pytest.approx(20 * i, abs=12)
        assert left[..., 2].mean() < 25
        assert right.mean() < 12
    assert frame_count(clip) == FRAMES


def test_every_so_many_th_frame_and_videos_of_a_pattern(clip: Path, model: Any) -> None:
    few = [result.source for result in pipeline("depth", model)(clip, every=5)]
    assert [source.partition("#frame=")[2].partition("&")[0] for source in few] == ["0", "5", "10"]
    assert open_inputs(str(clip), every=5).total == 3
    (clip.parent / "a.png").touch()
    both = open_inputs(str(clip.parent / "*"), every=6)
    sources = [item.source for item in both.items]
    assert (both.form, both.total, len(sources)) == ("stream", 3, 3) and sources[0].endswith("a.png")
    with pytest.raises(ConfigError, match="every is 0; it must be a whole number from 1 on"):
        open_inputs(str(clip), every=0)


@pytest.mark.parametrize(
    ("degrees", "flips", "corners"),
    [
        (0, {}, "rgby"),  # red, green above blue, yellow
        (90, {}, "gyrb"),  # against the clock
        (-90, {}, "bryg"),
        (180, {}, "ybgr"),
        (0, {"hflip": True}, "gryb"),
        (0, {"vflip": True}, "byrg"),
    ],
)
def test_frames_are_turned_as_the_file_says(
    degrees: int, flips: dict[str, bool], corners: str, tmp_path: Path, model: Any
) -> None:
    colours = {"r": (220, 0, 0), "g": (0, 220, 0), "b": (0, 0, 220), "y": (220, 220, 0)}
    stored = np.zeros((64, 96, 3), np.uint8)
    for name, rows, columns in (("r", 0, 0), ("g", 0, 48), ("b", 32, 0), ("y", 32, 48)):
        stored[rows : rows + 32, columns : columns + 48] = colours[name]
    with av.open(str(tmp_path / "turned.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 96, 64, "yuv420p", 2_000_000
        if not hasattr(stream, "set_display_rotation"):
            pytest.skip("this PyAV cannot write a display matrix")
        stream.set_display_rotation(degrees, **flips)
        for packet in [*stream.encode(av.VideoFrame.from_ndarray(stored, format="rgb24")), *stream.encode()]:
            container.mux(packet)
    (result,) = pipeline("depth", model, device="cpu")(tmp_path / "turned.mp4")
    assert result.size == ((96, 64) if abs(degrees) == 90 else (64, 96))
    seen = [result.image[y, x] for y in (8, -8) for x in (8, -8)]
    for name, colour in zip(corners, seen, strict=True):
        assert np.abs(colour - np.array(colours[name])).max() < 40, (name, colour)


def test_a_video_is_a_stream_that_is_read_lazily(clip: Path, model: Any) -> None:
    opened = open_inputs(str(clip))
    assert (opened.form, opened.total) == ("stream", FRAMES)
    results = pipeline("depth", model, device="cpu")(clip)
    first = next(results)
    assert first.source == f"{clip}#frame=0&t=0.000"
    assert first.size == (64, 96)
    assert next(results).source == f"{clip}#frame=1&t=0.250"
    assert len(list(results)) == FRAMES - 2


def test_color_is_for_arrays_and_not_for_frames(clip: Path, model: Any) -> None:
    pipe = pipeline("depth", model, device="cpu")
    rgb, bgr = (list(pipe(clip, color=color))[-1] for color in ("rgb", "bgr"))
    assert np.array_equal(rgb.image, bgr.image)
    assert rgb.image[32, 20, 0] > 150


def test_the_broken_part_of_a_video_follows_on_error(clip: Path, tmp_path: Path, model: Any) -> None:
    torn = tmp_path / "torn.mp4"
    torn.write_bytes(clip.read_bytes()[:400])
    pipe = pipeline("depth", model, device="cpu")
    with pytest.raises(ImageError, match=r"torn\.mp4' could not be read"):
        list(pipe(torn))
    assert [r.error is None for r in pipe(torn, on_error="record")][-1] is False
    assert all(r.error is None for r in pipe(torn, on_error="skip"))


def test_a_missing_video_and_one_without_pictures_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"no\.mp4' does not exist"):
        open_inputs(tmp_path / "no.mp4")
    sound = tmp_path / "sound.mp4"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    with pytest.raises(ImageError, match="no picture track"):
        next(read_frames(sound))


def test_without_the_package_the_extra_is_named(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependency, match=r"pip install 'visgen\[video\]'"):
        next(read_frames(clip))

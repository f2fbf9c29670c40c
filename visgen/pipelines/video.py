"""Read the frames of a video one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import ImageError, MissingDependency

__all__ = ["VIDEO_SUFFIXES", "frame_count", "read_frames"]

VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".ogv"})

_TURN = Image.Transpose
TURNS = {  # signs of a, b, c, d of the display matrix, which shows pixel (x, y) at (a x + c y, b x + d y)
    (-1, 0, 0, 1): _TURN.FLIP_LEFT_RIGHT,
    (1, 0, 0, -1): _TURN.FLIP_TOP_BOTTOM,
    (-1, 0, 0, -1): _TURN.ROTATE_180,
    (0, 1, 1, 0): _TURN.TRANSPOSE,
    (0, -1, -1, 0): _TURN.TRANSVERSE,
    (0, 1, -1, 0): _TURN.ROTATE_270,
    (0, -1, 1, 0): _TURN.ROTATE_90,
}


def read_frames(path: str | Path, every: int = 1) -> Iterator[tuple[int, float, Any]]:
    """Yield (index, seconds from the start, PIL image) for each `every`-th frame, decoding as they are asked for.

    Pictures are turned as the file says they are to be shown: telephones store them as the sensor lay.

    Raises:
        MissingDependency: PyAV is not installed.
        ImageError: The file is missing, holds no picture track, or breaks off; frames before the break are yielded.
    """
    av = _load_av()
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ImageError(f"video '{path}' holds no picture track; give a file with one.")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            rate = float(stream.average_rate or 0)
            index = -1
            for index, frame in enumerate(container.decode(stream)):
                if index % every:
                    continue
                seconds = frame.time if frame.time is not None else (index / rate if rate else 0.0)
                yield index, float(seconds), _upright(frame)
            if index < 0:
                raise ImageError(f"video '{path}' holds no frame; the file may be cut off.")
    except (av.error.FFmpegError, OSError) as error:
        raise ImageError(f"video '{path}' could not be read: {error}; check that it plays elsewhere.") from error


def frame_count(path: str | Path) -> int | None:
    """Give the number of frames that the file declares, or None when it declares none or cannot be opened."""
    av = _load_av()
    try:
        with av.open(str(path)) as container:
            return container.streams.video[0].frames or None if container.streams.video else None
    except (av.error.FFmpegError, OSError):
        return None


def _upright(frame: Any) -> Image.Image:
    picture, matrix = frame.to_image(), frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return picture
    turn = TURNS.get(tuple(np.sign(np.frombuffer(matrix, np.int32)[[0, 1, 3, 4]]).tolist()))
    return picture if turn is None else picture.transpose(turn)


def _load_av() -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingDependency(
            "reading a video needs the package 'av' (PyAV), which is not installed; run: pip install 'visgen[video]'."
        ) from error
    return av

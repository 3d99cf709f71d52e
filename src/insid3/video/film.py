"""Frames with what was marked in them, as a video to look at."""

from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from insid3.errors import ConfigError, OutputError
from insid3.storage import write_atomically, writing
from insid3.video.clip import import_av

_TICKS = 90_000  # a second, as MPEG counts
FORMATS = (".mp4", ".mov", ".mkv")


def film(path: Path, pictures: Iterable[tuple[float, UInt8[np.ndarray, "H W 3"]]], rate: Fraction) -> int:
    """Write pictures of (time in seconds, RGB), one in memory at a time, all scaled to the first one's size; H.264.

    Returns how many. Without any there is no file.

    Args:
        rate: frames per second, for players that want one; each picture is shown at its own time.

    Raises:
        ConfigError: a suffix that is not one of FORMATS.
        OutputError: it cannot be written.
    """
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"{path}: a video is written as {', '.join(FORMATS)}")
    left, count = iter(pictures), 0
    first = next(left, None)

    def write(temporary: Path) -> None:
        nonlocal count
        try:
            count = _encode(temporary, chain([first], left), rate)  # type: ignore[list-item]
        except import_av().error.FFmpegError as error:
            if isinstance(error, OSError):
                raise  # a full disk
            raise OutputError(f"{path} cannot be written ({error})") from error

    if first is not None:
        writing(lambda: write_atomically(path, write))
    return count


def _encode(path: Path, pictures: Iterable[tuple[float, UInt8[np.ndarray, "H W 3"]]], rate: Fraction) -> int:
    av, count = import_av(), 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "23", "preset": "veryfast"})
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", Fraction(1, _TICKS)
        for count, (time, picture) in enumerate(pictures, 1):
            if count == 1:  # chroma has half the pixels
                stream.height, stream.width = (max(2, side // 2 * 2) for side in picture.shape[:2])
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame = frame.reformat(stream.width, stream.height, "yuv420p")
            frame.pts, frame.time_base = round(time * _TICKS), Fraction(1, _TICKS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return count

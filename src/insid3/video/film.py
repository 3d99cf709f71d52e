"""The film of a run: frames with their masks drawn in, written as a video."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import UInt8

from insid3.errors import ConfigError, OutputError
from insid3.storage import byte_stream
from insid3.video.container import import_av

_TICKS = 90_000  # per second, as in MPEG
_LONGEST = 2**31 - 1  # ticks for which MP4 can show a picture
_RATES = Fraction(1, 1000), Fraction(1000)  # least and largest frames per second that encoders accept
FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}

Picture = UInt8[np.ndarray, "H W 3"]


def film(
    path: Path,
    pictures: Iterable[tuple[float, Picture]],
    rate: Fraction,
    aspect: Fraction = Fraction(1),
    length: float | None = None,
) -> int:
    """Write pictures as a video in H.264, one in memory at a time, and return their number; without pictures, no file.

    Each picture is shown until the time of the next. Pictures of another size are fitted into the first one's.

    Args:
        pictures: (time in seconds, RGB picture), ascending.
        rate: frames per second, for players that need a rate, and for the duration of the last picture.
        aspect: width of a pixel divided by its height.
        length: duration of the film in seconds; None: the last picture is shown for one frame.

    Raises:
        ConfigError: the suffix of `path` is not one of FORMATS.
        OutputError: the file cannot be written.
    """
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"{path}: a video is written as {', '.join(FORMATS)}")
    left, count = iter(pictures), 0
    first = next(left, None)
    if first is None:
        return 0
    with byte_stream(path) as file:
        try:
            container = FORMATS[path.suffix.lower()]
            count = _encode(file, container, chain([first], left), sorted((*_RATES, rate))[1], aspect, length)
        except (import_av().error.FFmpegError, ValueError) as error:
            if isinstance(error, OSError) and not isinstance(error, ValueError):
                raise  # a full disk
            raise OutputError(
                f"{path} cannot be written, its encoder gives up: leave the film out (--no-film)"
            ) from error
    return count


def _encode(
    file: BinaryIO,
    container: str,
    pictures: Iterable[tuple[float, Picture]],
    rate: Fraction,
    aspect: Fraction,
    length: float | None,
) -> int:
    av, count, held = import_av(), 0, None
    ticks = next((ticks for ticks in (_TICKS, 1000) if ticks * (length or 1000) < _LONGEST), 1)
    with av.open(file, "w", format=container) as output:
        # Without reordering, every container and player shows a picture until the next one.
        options = {"crf": "23", "preset": "veryfast", "bf": "0"}
        stream = output.add_stream("libx264", rate=rate.limit_denominator(60_000), options=options)
        stream.pix_fmt, stream.codec_context.time_base = "yuv420p", Fraction(1, ticks)
        for packet in _packets(stream, pictures, aspect, ticks):
            if held is not None:
                held.duration = packet.pts - held.pts
                output.mux(held)
            held, count = packet, count + 1
        if held is not None:
            end = held.pts + ticks / rate if length is None else length * ticks
            held.duration = max(1, round(end) - held.pts)
            output.mux(held)
    return count


def _packets(stream: Any, pictures: Iterable[tuple[float, Picture]], aspect: Fraction, ticks: int) -> Iterator[Any]:
    """Yield one packet for each picture, in order."""
    av, last = import_av(), -1
    for time, picture in pictures:
        if last < 0:
            # chroma has half the resolution
            stream.height, stream.width = (max(2, side // 2 * 2) for side in picture.shape[:2])
            stream.codec_context.sample_aspect_ratio = aspect.limit_denominator(255)
            shape = picture.shape
        if picture.shape != shape:
            picture = _fitted(picture, stream.height, stream.width)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame = frame.reformat(stream.width, stream.height, "yuv420p")
        last = max(round(time * ticks), last + 1)
        frame.pts, frame.time_base = last, Fraction(1, ticks)
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _fitted(picture: Picture, height: int, width: int) -> Picture:
    """Return a picture scaled to fit, on a black ground."""
    scale = min(height / picture.shape[0], width / picture.shape[1])
    h, w = (max(1, round(side * scale)) for side in picture.shape[:2])
    small = import_av().VideoFrame.from_ndarray(picture, format="rgb24").reformat(w, h).to_ndarray(format="rgb24")
    result, top, left = np.zeros((height, width, 3), np.uint8), (height - h) // 2, (width - w) // 2
    result[top : top + h, left : left + w] = small
    return result

"""Videos made for tests."""

import struct
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from stubs import scene


def moving(count: int = 24) -> list[np.ndarray]:
    """A red box that moves to the right and comes back, in some noise; the pictures are 64 x 96."""
    random = np.random.default_rng(0)
    noise = random.integers(-12, 12, (count, 64, 96, 3))
    pictures = [scene((16, left, 48, left + 32), size=(64, 96)) for left in lefts(count)]
    return [np.clip(picture + noise, 0, 255).astype(np.uint8) for picture, noise in zip(pictures, noise, strict=True)]


def lefts(count: int = 24) -> list[int]:
    """Where the box begins."""
    return [min(i, 24 - i) * 4 % 56 for i in range(count)]


def write_clip(
    path: Path,
    pictures: Iterable[np.ndarray],
    rate: int = 10,
    times: list[int] | None = None,
    **options: str,
) -> Path:
    """Every picture a frame; `times` in units of 1 / rate, for frames that come irregularly."""
    return encode_film(path, pictures, times=times, pixels="yuv444p", rate=rate, muxing=options, crf="8", g="4", bf="0")


def numbered(count: int, size: tuple[int, int] = (64, 96), start: int = 0) -> list[np.ndarray]:
    """Pictures that say which they are: eight stripes, white for each 1 of their number in binary."""
    pictures = []
    for number in range(start, start + count):
        stripes = [40 + 170 * (number >> bit & 1) for bit in range(8)]
        row = np.repeat(np.array(stripes, np.uint8), size[1] // 8)
        pictures.append(np.broadcast_to(row[None, :, None], (*size, 3)).copy())
    return pictures


def number_of(picture: np.ndarray) -> int:
    """Which of `numbered` a picture is."""
    stripes = np.split(picture.mean((0, 2)), 8)
    return sum((stripe.mean() > 125) << bit for bit, stripe in enumerate(stripes))


def encode_film(
    path: Path,
    pictures: Iterable[np.ndarray],
    codec: str = "libx264",
    *,
    times: list[int] | None = None,
    pixels: str = "yuv420p",
    rate: int = 10,
    muxing: dict[str, str] | None = None,
    **coding: str,
) -> Path:
    """A video of any codec and container, with B-frames where the codec has them; `times` as in `write_clip`."""
    ordered = {"bf": "2", "g": "6"} if codec in ("libx264", "libx265", "mpeg4", "mpeg2video") else {}
    if codec == "libx265":
        ordered = {"x265-params": "log-level=none:bframes=3:keyint=8"}
    with av.open(str(path), "w", options=muxing or {}) as container:
        stream = container.add_stream(codec, rate=rate, options={**ordered, **coding})
        stream.pix_fmt = pixels
        for i, picture in enumerate(pictures):
            if not i:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = times[i] if times else i, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def joined(path: Path, *parts: Path) -> Path:
    """Files one after the other, as `cat` joins them."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def with_matrix(path: Path, a: float, b: float, c: float, d: float) -> Path:
    """An MP4 whose track has another display matrix."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4
    at += 40 if data[at] == 0 else 52
    numbers = [int(number * 65536) for number in (a, b, 0, c, d, 0, 0, 0)]
    data[at : at + 36] = struct.pack(">9i", *numbers, 1 << 30)
    path.write_bytes(data)
    return path


def with_cover(path: Path, pictures: Iterable[np.ndarray], *, disposition: int = 0, frames: int = 1) -> Path:
    """A video whose first stream is a cover of one small picture, or a preview of several."""
    with av.open(str(path), "w") as container:
        cover, stream = container.add_stream("mjpeg", rate=10), container.add_stream("libx264", rate=10)
        cover.width, cover.height, cover.pix_fmt = 48, 32, "yuvj420p"
        for i, picture in enumerate(pictures):
            if not i:
                stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], "yuv420p"
                cover.disposition = disposition
            if i < frames:
                small = av.VideoFrame.from_ndarray(np.full((32, 48, 3), 128, np.uint8), format="rgb24")
                container.mux(cover.encode(small))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        for each in (cover, stream):
            container.mux(each.encode(None))
    return path

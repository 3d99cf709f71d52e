"""Animated WebP, read with Pillow, because FFmpeg does not decode it."""

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from insid3.checks.parsing import parsing, read_content
from insid3.errors import ImageError
from insid3.imaging.containers.exif import TURNS
from insid3.imaging.opening import explained, opened, pixels
from insid3.video.stream import Listing

_BEGINNING = 2**16  # bytes at the beginning of a file that tell whether the picture is animated
_LEAST = 0.1  # seconds for which players show a frame without a duration


def is_animation(path: Path) -> bool:
    """Tell whether a file is an animated WebP; False if the file cannot be read."""
    head = _head(path, 21)
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and len(head) == 21 and bool(head[20] & 2)


def is_animated(path: Path) -> bool:
    """Tell whether a picture file is animated: WebP, PNG, AVIF by their headers, any GIF; False if unreadable."""
    head = _head(path, _BEGINNING)
    if head.startswith(b"\x89PNG"):
        return b"acTL" in head.partition(b"IDAT")[0]
    return head.startswith(b"GIF8") or head[4:12] == b"ftypavis" or is_animation(path)


def _head(path: Path, count: int) -> bytes:
    try:
        if not path.is_file():  # reading a pipe would block
            return b""
        with path.open("rb") as file:
            return file.read(count)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return b""


class Animation:
    """The frames of an animated WebP; a file that was cut off is read up to its last whole frame.

    Attributes:
        listing: times, rate and size of the frames.
    """

    def __init__(self, path: Path, max_pixels: int) -> None:
        """Raises:
        ImageError: the file is damaged or too large, or holds no whole frame.
        """
        self.path = path
        with parsing(path, "animated WebP", ImageError):
            self._data, durations, is_short = _whole(read_content(path))
        if not durations:
            raise ImageError(f"{path} holds no frames: it may have been cut off; convert it again")
        name = os.fspath(path)
        with explained(name), opened(self._data, name) as picture:
            picture.check_size(max_pixels)
            size, _ = picture.upright_size, picture.image  # fails if the file cannot be decoded
        ends = np.cumsum([duration or _LEAST for duration in durations]).tolist()
        rate = Fraction(len(ends) / ends[-1]).limit_denominator(1001)
        self.listing = Listing([0.0, *ends[:-1]], ends[-1], rate, None if is_short else 0, True, size)

    def frames(self) -> Iterator[tuple[int, UInt8[np.ndarray, "H W 3"]]]:
        """Yield the numbers of all frames that can be decoded, ascending, and the frames."""
        name = os.fspath(self.path)
        with explained(name), opened(self._data, name) as picture:
            image, turn = picture.image, TURNS[picture.orientation]
            assert image is not None  # None for TIFF files only
            for index in range(len(self.listing.times)):
                if not _shows(image, index):
                    return
                yield index, np.ascontiguousarray(turn(pixels(image, "RGB")))

    def picture(self, frame: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
        """Return a frame, which is a picture already."""
        return frame


def _shows(image: Image.Image, index: int) -> bool:
    """Go on to a frame; False if it is damaged, and with it all later frames."""
    try:
        image.seek(index)
        image.load()
    except (EOFError, OSError, ValueError):
        return False
    return True


def _whole(data: bytes) -> tuple[bytes, list[float], bool]:
    """Return a file up to its last whole chunk, the durations of its frames in seconds, and whether it was cut off."""
    at, durations = 12, list[float]()
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + size > len(data):
            break
        if kind == b"ANMF" and size >= 16:
            durations.append(int.from_bytes(data[at + 20 : at + 23], "little") / 1000)
        at += 8 + size + size % 2
    end = min(at, len(data))
    is_short = int.from_bytes(data[4:8], "little") + 8 > len(data) + 1
    return data[:4] + (end - 8).to_bytes(4, "little") + data[8:end], durations, is_short

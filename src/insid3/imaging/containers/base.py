"""A picture file before any pixel is decoded, and the parts of it that a decoder gets."""

import io
import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from insid3.imaging.containers.ifd import Directory, Seekable

MANY = 200_000  #: pieces of a file at most; cameras and programs write fewer


class Pieces(io.RawIOBase):
    """A read-only file made of pieces of another file, (start, end), and of bytes, one after another.

    A damaged length may ask for gigabytes. Python's own files reserve that much memory; this class only what is left.
    """

    def __init__(self, file: Seekable, parts: Sequence[tuple[int, int] | bytes]) -> None:
        self._file, self._at = file, 0
        self._parts = [part for part in parts if (len(part) if isinstance(part, bytes) else part[1] > part[0])]
        lengths = [len(part) if isinstance(part, bytes) else part[1] - part[0] for part in self._parts]
        self._ends = list(accumulate(lengths))

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self._ends[-1] if self._ends else 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        if start + offset < 0:
            raise ValueError(f"no place {start + offset} in a file")
        self._at = start + offset
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self.size - self._at)
        left = left if size is None or size < 0 else min(size, left)
        found = []
        while left:
            i = bisect_right(self._ends, self._at)
            part, stays = self._parts[i], self._ends[i] - self._at
            if isinstance(part, bytes):
                some = part[len(part) - stays :][:left]
            else:
                self._file.seek(part[1] - stays)
                some = self._file.read(min(left, stays))
            if not some:  # the file became shorter meanwhile
                break
            found.append(some)
            self._at += len(some)
            left -= len(some)
        return found[0] if len(found) == 1 else b"".join(found)

    def readinto(self, buffer: Any, /) -> int:
        place = memoryview(buffer).cast("B")  # the buffer may hold items of several bytes
        some = self.read(len(place))
        place[: len(some)] = some
        return len(some)


@dataclass(frozen=True)
class Container:
    """The facts that a picture file states before any pixel is decoded.

    Attributes:
        stream: the file for the decoder: pixels, and what decoding them needs.
        kind: Pillow's name of the format if this package reads its files itself, else "".
        whole: the complete file.
        exif, xmp: metadata that may hold an orientation, as stored; None where the decoder reads them.
        repairs: notes on damaged or odd parts that were left out, such as "metadata dropped (...)".
        bits: of a value.
        channels: number of values of a pixel.
        top: the value of full brightness that the file declares, 0 where it declares none.
        directory: of a TIFF.
        size: (height, width), given where the decoder takes memory for the pixels when it tells their number.
        refused: why the file is not read, as the end of a sentence; "" if it is.
    """

    stream: Pieces
    kind: str = ""
    whole: Pieces | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    repairs: tuple[str, ...] = ()
    bits: int = 8
    channels: int = 0
    top: int = 0
    directory: Directory = field(default_factory=lambda: Directory({}))
    size: tuple[int, int] | None = None
    refused: str = ""


def in_pieces(file: Pieces, kind: str) -> Container:
    """Return the refusal of a file of more than `MANY` pieces, which would take minutes to follow."""
    return Container(file, kind, refused=f"is made of more than {MANY:,} pieces: save it anew")

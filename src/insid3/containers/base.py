"""A file as its decoder gets it, and what else it says."""

import io
import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from insid3.containers.ifd import Directory, Seekable

MANY = 200_000  #: pieces of which a file may be made; those that cameras and programs write have fewer


class Pieces(io.RawIOBase):
    """Pieces of a file, given as (start, end), and bytes, one after the other as one file that can only be read.

    Asked for more than is left, Python's own files reserve memory for it all: damaged lengths ask for gigabytes. This
    does not.
    """

    def __init__(self, file: Seekable, parts: Sequence[tuple[int, int] | bytes]) -> None:
        self._file, self._at = file, 0
        self._parts = [part for part in parts if (len(part) if isinstance(part, bytes) else part[1] > part[0])]
        lengths = [len(part) if isinstance(part, bytes) else part[1] - part[0] for part in self._parts]
        self._ends = list(accumulate(lengths))

    @property
    def size(self) -> int:
        """In bytes."""
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
        place = memoryview(buffer).cast("B")  # an array, for one
        some = self.read(len(place))
        place[: len(some)] = some
        return len(some)


@dataclass(frozen=True)
class Container:
    """What a file says before any pixel is decoded.

    Attributes:
        stream: the file as its decoder gets it: pixels, and what they depend on.
        kind: Pillow's name of the format where this package looks into such files itself, else "".
        whole: the file as it is.
        exif, xmp: metadata that may hold an orientation, as stored; None where the decoder tells them.
        repairs: what is damaged or odd in it and was left out, as "metadata dropped (...)".
        bits: of a sample.
        channels: samples of a pixel.
        top: the value of full brightness that the file declares, 0 where it declares none.
        directory: of a TIFF.
        size: (height, width), where the decoder takes memory for the pixels as soon as it is asked for them.
        refused: why nothing can be read from it, as the end of a sentence; "" if something can.
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
    """Refuse a file that is made to be slow: its pieces would be followed for minutes."""
    return Container(file, kind, refused=f"is made of more than {MANY:,} pieces: save it anew")

"""JPEG: the segments that a decoder needs, metadata, and the number of missing rows."""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import numpy as np

from insid3.imaging.containers.base import MANY, Container, Pieces, in_pieces
from insid3.imaging.containers.exif import BAD_EXIF, is_readable

_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])")  # ends coded data
_END, _SCAN = b"\xff\xd9", b"\xff\xda"
_SCANS = 100  # passes over all pixels at most; programs write about ten
# Bytes put where data are missing: rows decoded from them differ from rows decoded without them.
_FILLERS = (bytes((i * 37 + 11) % 251 for i in range(256)), bytes((i * 91 + 77) % 253 for i in range(256)))


def read_jpeg(file: Pieces) -> Container:
    """Return the container of a JPEG; the decoder gets no application segments but those that colours need."""
    parts: list[tuple[int, int] | bytes] = [(0, 2)]
    exif, xmp, at = None, None, 2
    for piece in count():
        if piece == MANY:
            return in_pieces(file, "JPEG")
        file.seek(at)
        head = file.read(4)
        code = head[1] if len(head) == 4 and head[0] == 0xFF else 0xDA
        if code == 0xFF:
            at += 1
            continue
        length = struct.unpack(">H", head[2:])[0] if len(head) == 4 else 0
        end = at + 2 + length
        if code in (0xD8, 0xD9, 0xDA) or length < 2 or end > file.size:
            break
        if code == 0xE1:
            data = file.read(length - 2)
            if data.startswith(b"Exif\0\0"):
                exif = exif or data
            elif data.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
                xmp = xmp or data
        elif not (0xE0 <= code <= 0xEF or code == 0xFE) or _says_colours(code, file.read(min(length - 2, 14))):
            parts.append((at, end))
        at = end
    parts.append((at, file.size))
    bad = exif is not None and not is_readable(exif)
    repairs = (BAD_EXIF,) if bad else ()
    return Container(Pieces(file, parts), "JPEG", file, exif or b"", xmp, repairs)


def has_many_scans(data: bytes) -> bool:
    """Tell whether a JPEG has more than `_SCANS` scans, each of which makes the decoder go over all pixels."""
    return data.count(_SCAN) > _SCANS and _coded(data).scans > _SCANS  # the quick count includes those of previews


def _says_colours(code: int, data: bytes) -> bool:
    jfif, adobe = data.startswith(b"JFIF\0") and len(data) >= 14, data.startswith(b"Adobe") and len(data) >= 12
    return (code == 0xE0 and jfif) or (code == 0xEE and adobe)


@dataclass(frozen=True)
class _Coded:
    """Where the coded pixels end, whether the end marker follows, whether all scans have begun, and their number."""

    end: int
    marked: bool
    begun: bool
    scans: int


def missing_rows(data: bytes, decode: Callable[[bytes], np.ndarray]) -> tuple[int, bytes]:
    """Return how many rows of a JPEG that is cut short are incomplete, and the file with an end marker.

    A row is incomplete if it is decoded differently when other bytes follow the end of the file.

    Args:
        data: bytes of the file.
        decode: returns one entry for each row; may raise any exception.
    """
    coded = _coded(data)
    kept = data[: coded.end].rstrip(b"\xff")
    mended = kept + _END
    rows = decode(mended)
    height = len(rows)
    if not coded.begun:
        return height, mended
    first = height
    for filler in _FILLERS:
        differ = np.flatnonzero((decode(kept + filler + _END) != rows).reshape(height, -1).any(axis=1))
        first = min(first, int(differ[0])) if len(differ) else first
    first = (first + 1) // 8 * 8 if first < height else height  # a block has 8 rows; its colours reach one row higher
    return max(0, height - first), mended


def _coded(data: bytes) -> _Coded:
    """Follow the scans to their end."""
    at, needed, seen, scans = 2, set[tuple[int, int]](), set[tuple[int, int]](), 0
    while found := _MARKER.search(data, at):
        code, at = found[1][0], found.end()
        if code == 0xD9:
            return _Coded(found.start(), True, needed <= seen, scans)
        length = int.from_bytes(data[at : at + 2], "big")
        segment = data[at + 2 : at + length]
        if at + length > len(data):
            return _Coded(found.start(), False, False, scans)
        if 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC) and len(segment) > 5:
            needed = {(name, k) for name in segment[6::3] for k in range(64)}
        elif code == 0xDA and segment:
            scans, parts = scans + 1, segment[0]
            first, last, shift = (segment[1 + 2 * parts :] + b"\0\0\0")[:3]
            if not shift & 15:
                seen |= {(name, k) for name in segment[1 : 1 + 2 * parts : 2] for k in range(first, last + 1)}
        at += length
    return _Coded(len(data), False, needed <= seen, scans)

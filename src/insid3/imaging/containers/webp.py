"""WebP: the chunks that a decoder needs, and metadata."""

import struct
from itertools import count

from insid3.imaging.containers.base import MANY, Container, Pieces, in_pieces
from insid3.imaging.containers.exif import BAD_EXIF, is_readable

_NEEDED = (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF")
_METADATA = 0b0010_1100  # flags that announce a profile, EXIF and XMP data


def read_webp(file: Pieces) -> Container:
    """Return the container of a WebP; the decoder gets no metadata, so these may be cut off at the end."""
    parts: list[tuple[int, int] | bytes] = []
    exif, xmp, at, length, canvas = None, None, 12, 4, None
    for piece in count():
        if piece == MANY:
            return in_pieces(file, "WEBP")
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            break
        kind, size = struct.unpack("<4sI", head)
        end = at + 8 + size + size % 2
        if kind in (b"VP8X", b"VP8 ", b"VP8L"):
            canvas = canvas or _canvas(kind, file.read(10))
            file.seek(at + 8)
        if kind == b"VP8X" and size == 10:
            flags, rest = file.read(1), (at + 9, end)
            parts += [head + bytes([flags[0] & ~_METADATA] if flags else b""), rest]
            length += end - at
        elif kind in _NEEDED:
            parts.append((at, min(end, file.size)))
            length += end - at
        elif kind == b"EXIF":
            exif = exif or file.read(min(size, 2**20))
        elif kind == b"XMP ":
            xmp = xmp or file.read(min(size, 2**20))
        at = end
    start = b"RIFF" + struct.pack("<I", length) + b"WEBP"
    repairs = (BAD_EXIF,) if exif is not None and not is_readable(exif) else ()
    return Container(Pieces(file, [start, *parts]), "WEBP", file, exif or b"", xmp, repairs, size=canvas)


def _canvas(kind: bytes, data: bytes) -> tuple[int, int] | None:
    """Return the (height, width) in a chunk's `data`; None if these are cut short."""
    if len(data) < 10:
        return None
    if kind == b"VP8X":
        return int.from_bytes(data[7:10], "little") + 1, int.from_bytes(data[4:7], "little") + 1
    if kind == b"VP8L":
        sides = int.from_bytes(data[1:5], "little")
        return (sides >> 14 & 0x3FFF) + 1, (sides & 0x3FFF) + 1
    return int.from_bytes(data[8:10], "little") & 0x3FFF, int.from_bytes(data[6:8], "little") & 0x3FFF

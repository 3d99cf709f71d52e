"""WebP: the pixels for the decoder, and the orientation."""

import struct

from insid3.containers.base import Container, Pieces
from insid3.containers.exif import BAD_EXIF, is_readable

_NEEDED = (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF")
_METADATA = 0b0010_1100  # flags that announce a profile, EXIF and XMP data


def read_webp(file: Pieces) -> Container:
    """What a WebP says. The decoder gets no metadata; those at the end may be cut off."""
    parts: list[tuple[int, int] | bytes] = []
    exif, xmp, at, length = None, None, 12, 4
    while True:
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            break
        kind, size = struct.unpack("<4sI", head)
        end = at + 8 + size + size % 2
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
    return Container(Pieces(file, [start, *parts]), "WEBP", file, exif or b"", xmp, repairs)

"""Picture files made by hand: what no library writes."""

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image


def chunk(kind: bytes, data: bytes, *, right: bool = True) -> bytes:
    """A chunk of a PNG, on demand with a wrong checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ (not right))


def png(values: np.ndarray, before: Sequence[bytes] = (), after: Sequence[bytes] = (), wrong: bytes = b"") -> bytes:
    """A PNG of 8-bit grey or colour, or of 16 bits with as many channels as `values` has.

    Args:
        before, after: chunks around the pixels.
        wrong: the kind of chunk whose checksum is wrong.
    """
    values = values[..., None] if values.ndim == 2 else values
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[values.shape[2]]
    rows = values.astype(values.dtype.newbyteorder(">"))
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 8 * values.itemsize, colour, 0, 0, 0)
    kinds = ((b"IHDR", head), (b"IDAT", packed), (b"IEND", b""))
    first, pixels, last = (chunk(kind, data, right=kind != wrong) for kind, data in kinds)
    return b"\x89PNG\r\n\x1a\n" + first + b"".join(before) + pixels + b"".join(after) + last


def exif(orientation: Any, more: bytes = b"", order: str = "<") -> bytes:
    """EXIF data with an orientation (a number, or text) and an exposure of -1 / 0, which nothing can rewrite."""
    if isinstance(orientation, bytes):
        turned = struct.pack(order + "HHI4s", 274, 2, len(orientation), orientation)
    else:
        turned = struct.pack(order + "HHI", 274, 3, 1) + struct.pack(order + "HH", orientation, 0)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    entries = turned + struct.pack(order + "HHII", 0x9204, 10, 1, 100)
    body = head + struct.pack(order + "H", 2) + entries + struct.pack(order + "I", 0)
    return body.ljust(100, b"\0") + struct.pack(order + "ii", -1, 0) + more


def encoded(image: Image.Image | np.ndarray, kind: str, **options: Any) -> bytes:
    """A picture as a file of Pillow's."""
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def jpeg_with(data: bytes, *segments: bytes) -> bytes:
    """A JPEG with further APP1 segments at its beginning."""
    return data[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", len(s) + 2) + s for s in segments) + data[2:]

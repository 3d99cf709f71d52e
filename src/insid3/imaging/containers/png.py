"""PNG: the critical chunks for the decoder, metadata, and notes on odd chunks."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from insid3.checks.parsing import Flaw
from insid3.imaging.containers.base import MANY, Container, Pieces, in_pieces
from insid3.imaging.containers.exif import is_readable

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LONG = 2**20  # bytes at most of a chunk of metadata that is read
_CHECKED = 1000  # chunks at most that are checked: inflating more takes minutes and only serves a note
_LENGTHS = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9, b"tIME": 7}
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type


@dataclass(frozen=True)
class _Chunk:
    kind: bytes
    start: int  # of the length field
    length: int  # of the data
    whole: bool  # the file holds the complete chunk

    @property
    def critical(self) -> bool:
        return not self.kind[0] & 32

    @property
    def end(self) -> int:
        return self.start + 12 + self.length


def read_png(file: Pieces) -> Container:
    """Return the container of a PNG; compressed metadata are inflated to a megabyte at most.

    Raises:
        Flaw: a critical chunk before the pixels has a wrong checksum.
    """
    parts: list[tuple[int, int] | bytes] = [(0, len(SIGNATURE))]
    odd, exif, xmp, bits, channels, ended = [], None, None, 8, 1, False
    for number, chunk in enumerate(_chunks(file)):
        if number == MANY:
            return in_pieces(file, "PNG")
        data = b""
        if chunk.whole and chunk.length <= _LONG and chunk.kind != b"IDAT":
            file.seek(chunk.start + 4)
            named = file.read(4 + chunk.length)
            data = named[4:]
            right = file.read(4) == struct.pack(">I", zlib.crc32(named))
            if chunk.critical and not right:
                raise Flaw(f"the checksum of its {_name(chunk.kind)} chunk is wrong")
        if chunk.critical:
            parts.append((chunk.start, min(chunk.end, file.size)))
            if chunk.kind == b"IHDR" and len(data) == 13:
                bits, channels = data[8], _CHANNELS.get(data[9], 1)
            ended = chunk.kind == b"IEND"
            continue
        if chunk.kind == b"eXIf" and data and exif is None:
            exif = data
        elif chunk.kind in (b"tEXt", b"zTXt") and data.startswith(b"Raw profile type "):
            exif = exif or _profile(chunk.kind, data)
        elif chunk.kind == b"iTXt" and data.startswith(b"XML:com.adobe.xmp\0\0"):
            xmp = data
        if number < _CHECKED and chunk.whole and (what := _oddity(chunk, data, right=not data or right)):
            odd.append(what)
    repairs = [f"metadata dropped ({', '.join(dict.fromkeys(odd))})"] if odd else []
    if not ended:
        repairs.append("end marker missing")
    return Container(
        Pieces(file, parts), "PNG", file, exif or b"", xmp, tuple(repairs), bits, channels, 65535 if bits == 16 else 0
    )


def check_pixels(file: Pieces) -> None:
    """Check the checksums of the chunks that hold pixels.

    Raises:
        Flaw: a checksum is wrong.
    """
    for chunk in _chunks(file):
        if chunk.kind != b"IDAT" or not chunk.whole:
            continue
        file.seek(chunk.start + 4)
        left, found = 4 + chunk.length, 0
        while left:
            some = file.read(min(left, _LONG))
            found, left = zlib.crc32(some, found), left - len(some)
        if file.read(4) != struct.pack(">I", found):
            raise Flaw("the checksum of its IDAT chunk is wrong")


def _chunks(file: Pieces) -> Iterator[_Chunk]:
    """Yield the chunks up to the end marker, or to a chunk that the file holds only in part."""
    at = len(SIGNATURE)
    while True:
        file.seek(at)
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        chunk = _Chunk(kind, at, length, at + 12 + length <= file.size)
        yield chunk
        if kind == b"IEND" or not chunk.whole:
            return
        at = chunk.end


def _oddity(chunk: _Chunk, data: bytes, right: bool) -> str | None:
    """Return what is wrong with a chunk that is not critical; None if nothing is."""
    name, text = _name(chunk.kind), chunk.kind in (b"tEXt", b"zTXt", b"iTXt")
    if text and chunk.length > 1_000_000:
        return f"a text chunk of {_size(chunk.length)}"
    if chunk.length > _LONG:
        return None
    if not right:
        return f"its {name} chunk, whose checksum is wrong"
    if chunk.kind in _LENGTHS:
        wrong = chunk.length != _LENGTHS[chunk.kind] or (chunk.kind == b"sRGB" and data[0] > 3)
    elif chunk.kind == b"eXIf":
        wrong = not is_readable(data)
    elif (packed := _packed(chunk.kind, data)) is not None:
        inflated = _inflated(packed, 1_000_001)
        if inflated is not None and len(inflated) > 1_000_000:
            return f"its {name} chunk, which unpacks to more than 1 MB"
        wrong = inflated is None
    else:
        wrong = chunk.kind == b"iCCP"
    return f"its {name} chunk, which cannot be read" if wrong else None


def _packed(kind: bytes, data: bytes) -> bytes | None:
    """Return the compressed part of a chunk; None if there is none."""
    _, nought, rest = data.partition(b"\0")
    if not nought:
        return None
    if kind in (b"zTXt", b"iCCP"):
        return rest[1:] if rest[:1] == b"\0" else None
    if kind == b"iTXt" and rest[:1] == b"\1":
        return rest[2:].split(b"\0", 2)[-1]
    return None


def _inflated(packed: bytes, most: int) -> bytes | None:
    """Return the first `most` bytes of inflated data; None if the data are damaged."""
    try:
        return zlib.decompressobj().decompress(packed, most)
    except zlib.error:
        return None


def _profile(kind: bytes, data: bytes) -> bytes | None:
    """Return EXIF data from hex digits in a text chunk, where ImageMagick put them before PNG had a chunk for EXIF."""
    name, _, text = data.partition(b"\0")
    if name.removeprefix(b"Raw profile type ") not in (b"exif", b"APP1"):
        return None
    found = text if kind == b"tEXt" else _inflated(text[1:], 2**17)
    try:
        return bytes.fromhex(b"".join((found or b"").split()[2:]).decode("ascii")) or None
    except ValueError:
        return None


def _name(kind: bytes) -> str:
    return kind.decode("ascii", "replace") if kind.isalpha() else "unnamed"


def _size(length: int) -> str:
    return f"{length / 1e6:.0f} MB" if length >= 1.5e6 else f"{length / 1e6:.1f} MB"

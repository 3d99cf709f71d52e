"""GIF: the first picture for the decoder, without the comments and pictures around it."""

from io import BufferedReader
from typing import Any, cast

from insid3.imaging.containers.base import Container, Pieces

_TRAILER = b";"
_CONTROL = 0xF9  # the extension that declares transparency
_DISPOSAL = 0b1110_0011  # all its flags but the disposal of the picture, for which decoders take memory


def read_gif(file: Pieces) -> Container:
    """Return the container of a GIF; from a file that is cut short the decoder gets what is there."""
    reader = BufferedReader(cast(Any, file))
    try:
        return Container(Pieces(file, _first_picture(reader, file.size)), "GIF", file, b"")
    finally:
        reader.detach()


def _first_picture(reader: BufferedReader, size: int) -> list[tuple[int, int] | bytes]:
    reader.seek(0)
    head = reader.read(13)
    start = 13 + _colours(head[10]) if len(head) == 13 else size
    parts: list[tuple[int, int] | bytes] = [(0, start)]
    control = b""
    reader.seek(start)
    while (kind := reader.read(1)) == b"!":
        code, block = reader.read(1), _block(reader)
        if code and code[0] == _CONTROL and len(block or b"") == 4:
            control = b"!\xf9\x04" + bytes([cast(bytes, block)[0] & _DISPOSAL]) + cast(bytes, block)[1:] + b"\0"
        while block:
            block = _block(reader)
    if kind == b",":
        at = reader.tell() - 1
        place = reader.read(9)
        reader.seek((_colours(place[8]) if len(place) == 9 else 0) + 1, 1)  # one more byte is the size of codes
        while block := _block(reader):
            pass
        parts += [control, (at, min(reader.tell(), size)), _TRAILER if block == b"" else b""]
    return parts


def _colours(flags: int) -> int:
    """Return the number of bytes of the colour table that follows."""
    return 3 << (flags & 7) + 1 if flags & 128 else 0


def _block(reader: BufferedReader) -> bytes | None:
    """Return the next block of data; empty at the end of the blocks, None at the end of the file."""
    length = reader.read(1)
    return reader.read(length[0]) if length else None

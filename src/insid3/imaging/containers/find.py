"""The format of a picture file, by its first bytes."""

import re

from insid3.imaging.containers.base import Container, Pieces
from insid3.imaging.containers.deep import read_jpeg2000, read_netpbm
from insid3.imaging.containers.gif import read_gif
from insid3.imaging.containers.jpeg import read_jpeg
from insid3.imaging.containers.png import SIGNATURE, read_png
from insid3.imaging.containers.tiff import read_tiff
from insid3.imaging.containers.webp import read_webp

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF's
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_EXIF_ITEM = re.compile(rb"infe[\2\3].{3}(?:.{4}|.{6})(Exif)", re.DOTALL)
_AVIF = {b"avif", b"avis"}


def container_of(file: Pieces, *, stored: bool = False) -> Container:
    """Return the container of a picture file.

    Args:
        stored: let a decoder return a TIFF's stored values (`read_tiff`).

    Raises:
        Flaw: a part that decoding needs is damaged.
    """
    file.seek(0)
    head = file.read(32)
    if head.startswith(SIGNATURE):
        return read_png(file)
    if head.startswith(b"\xff\xd8\xff"):
        return read_jpeg(file)
    if head[:4] in _TIFF:
        return read_tiff(file, stored)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return read_webp(file)
    if head.startswith((b"GIF87a", b"GIF89a")):
        return read_gif(file)
    if head[:1] == b"P" and head[1:2] in b"2356":
        return read_netpbm(file)
    if head.startswith((b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")):
        return read_jpeg2000(file)
    if head[4:8] == b"ftyp":
        brands = _brands(file)
        if brands & _AVIF:
            return Container(_without_exif(file), "AVIF", file)
        if brands & _HEIC or head[8:12] in (b"mif1", b"msf1"):
            return Container(file, "HEIF", file, b"")  # the decoder turns the picture
    return Container(file)


def _without_exif(file: Pieces) -> Pieces:
    """Return an AVIF file with its EXIF item hidden from the decoder: boxes of AVIF say how the picture is turned."""
    file.seek(0)
    parts: list[tuple[int, int] | bytes] = []
    at = 0
    for found in _EXIF_ITEM.finditer(file.read(2**16)):
        parts += [(at, found.start(1)), b"skip"]
        at = found.end(1)
    return Pieces(file, [*parts, (at, file.size)])


def _brands(file: Pieces) -> set[bytes]:
    """Return the formats that a file of boxes declares itself compatible with."""
    file.seek(0)
    data = file.read(4096)
    length = int.from_bytes(data[:4], "big")
    return {data[8:12], *(data[at : at + 4] for at in range(16, min(length, len(data)), 4))}

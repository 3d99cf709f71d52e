"""TIFF: the directory of the first picture, with only the tags that decoding needs."""

from collections.abc import Mapping
from types import MappingProxyType

from insid3.imaging.containers.base import Container, Pieces
from insid3.imaging.containers.ifd import read_directory

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, CHANNELS, PLANES, FORMAT = 256, 257, 258, 259, 262, 277, 284, 339
_GEO_KEYS, _RAW = 34735, 50706  # tags of GeoTIFF and of DNG
_NEEDED = frozenset(
    [
        254, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, 266, 273, CHANNELS, 278, 279, PLANES, 292, 293, 317, 320,
        322, 323, 324, 325, 332, 334, 338, FORMAT, 340, 341, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529,
        530, 531, 532,
    ]
)  # fmt: skip
_SHOWN: Mapping[int, int] = MappingProxyType({})
_AS_STORED: Mapping[int, int] = MappingProxyType({PHOTOMETRIC: 1})


def read_tiff(file: Pieces, stored: bool = False) -> Container:
    """Return the container of a TIFF; the decoder does not see the orientation, so that it is not applied twice.

    Args:
        stored: make the decoder take 0 for black whatever the file says, if a value has more than one bit.
    """
    directory = read_directory(file, file.size)
    if directory is None or not directory.entries:
        return Container(file, "TIFF", file)
    if _RAW in directory.entries:
        return Container(file, "TIFF", file, refused="is a camera's raw file (DNG): convert it to JPEG or TIFF first")
    bits = directory.number(BITS, 1)
    turned = stored and bits > 1 and directory.number(PHOTOMETRIC, 1) == 0
    entries = directory.with_only(_NEEDED, _AS_STORED if turned else _SHOWN)
    parts: list[tuple[int, int] | bytes] = [(0, directory.start), entries, (directory.end, file.size)]
    bad = sorted(tag for tag, entry in directory.entries.items() if tag not in _NEEDED and not entry.inside)
    repairs = (f"metadata dropped (tags {', '.join(map(str, bad))}, which point beyond the file)",) if bad else ()
    top = 2**bits - 1 if 8 < bits <= 16 else 0
    return Container(
        Pieces(file, parts), "TIFF", file, b"", None, repairs, bits, directory.number(CHANNELS, 1), top, directory
    )


def white_is_zero(container: Container) -> bool:
    """Tell whether a file is a TIFF in which zero is white."""
    return container.kind == "TIFF" and container.directory.number(PHOTOMETRIC, 1) == 0


def is_geo(container: Container) -> bool:
    """Tell whether a file says where on earth its pixels lie."""
    return _GEO_KEYS in container.directory.entries

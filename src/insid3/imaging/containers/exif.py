"""The orientation of a picture: one of eight ways to turn and mirror it."""

import io
import re
from collections.abc import Callable

import numpy as np

from insid3.imaging.containers.ifd import read_directory

ORIENTATION = 274
BAD_EXIF = "metadata dropped (EXIF data that cannot be read)"  #: a repair
_XMP = re.compile(rb'tiff:Orientation(?:="|>)\s*([0-9]+)')

#: Functions that turn stored rows and columns upright, by orientation.
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: stored[::-1].swapaxes(0, 1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: stored[:, ::-1].swapaxes(0, 1),
}


def orientation(exif: bytes | None, xmp: bytes | None = None) -> int:
    """Return the orientation, 1 to 8, from EXIF data, else from XMP data; 1 where neither holds a valid one."""
    if exif is not None:
        exif = exif.removeprefix(b"Exif\0\0")
        directory = read_directory(io.BytesIO(exif), len(exif))
        if directory is not None and ORIENTATION in directory.entries:
            return sensible(directory.number(ORIENTATION))
    found = _XMP.search(xmp or b"")
    return sensible(int(found[1][:9])) if found else 1


def sensible(value: int) -> int:
    """Return `value` if it is an orientation, else 1."""
    return value if value in TURNS else 1


def is_readable(exif: bytes) -> bool:
    """Tell whether EXIF data can be read to the end."""
    exif = exif.removeprefix(b"Exif\0\0")
    directory = read_directory(io.BytesIO(exif), len(exif))
    return directory is not None and directory.whole and all(entry.inside for entry in directory.entries.values())

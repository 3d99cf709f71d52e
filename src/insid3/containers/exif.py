"""The orientation of a picture: one of eight ways to turn and mirror it, or 1 where nothing sensible is said."""

import io
import re
from collections.abc import Callable

import numpy as np

from insid3.containers.ifd import read_directory

ORIENTATION = 274
BAD_EXIF = "metadata dropped (EXIF data that cannot be read)"  #: a repair
_XMP = re.compile(rb'tiff:Orientation(?:="|>)\s*([0-9]+)')

#: What turns stored rows and columns upright, by orientation.
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
    """From 1 to 8, as EXIF data say it, or XMP data where those do not; 1 where the value means nothing."""
    if exif is not None:
        exif = exif.removeprefix(b"Exif\0\0")
        directory = read_directory(io.BytesIO(exif), len(exif))
        if directory is not None and ORIENTATION in directory.entries:
            return sensible(directory.number(ORIENTATION))
    found = _XMP.search(xmp or b"")
    return sensible(int(found[1][:9])) if found else 1


def sensible(value: int) -> int:
    """An orientation, 1 in the place of a number that is none."""
    return value if value in TURNS else 1


def is_readable(exif: bytes) -> bool:
    """Whether EXIF data are what they claim to be."""
    exif = exif.removeprefix(b"Exif\0\0")
    directory = read_directory(io.BytesIO(exif), len(exif))
    return directory is not None and directory.whole and all(entry.inside for entry in directory.entries.values())

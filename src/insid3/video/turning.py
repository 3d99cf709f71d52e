"""Frames turned and mirrored by their display matrix, with which phones store how they were held."""

import struct
from typing import Any

import numpy as np
from jaxtyping import UInt8

from insid3.video.container import import_av


def upright(frame: Any) -> UInt8[np.ndarray, "H W 3"]:
    """Return a decoded frame as an upright picture, 8-bit RGB."""
    return turned(frame.to_ndarray(format="rgb24"), matrix_of(frame))


def matrix_of(frame: Any) -> tuple[float, float, float, float]:
    """Return a, b, c, d of a frame's display matrix, which moves the pixel (x, y) to (a x + c y, b x + d y)."""
    own = import_av().sidedata.sidedata.SideDataContainer(frame)  # frame.side_data would keep the frame alive
    stored = own.get("DISPLAYMATRIX")
    if stored is None or len(bytes(stored)) < 36:
        return 1, 0, 0, 1
    a, b, _, c, d, *_ = struct.unpack("9i", bytes(stored)[:36])
    return a, b, c, d


def is_on_its_side(matrix: tuple[float, float, float, float]) -> bool:
    """Tell whether a display matrix turns rows into columns."""
    a, b, c, d = matrix
    return abs(b) + abs(c) > abs(a) + abs(d)


def turned(
    picture: UInt8[np.ndarray, "h w 3"], matrix: tuple[float, float, float, float]
) -> UInt8[np.ndarray, "H W 3"]:
    """Return a picture turned and mirrored by a display matrix, rounded to quarter turns.

    Args:
        matrix: a, b, c, d as `matrix_of` returns them; four zeros leave the picture as it is.
    """
    a, b, c, d = matrix
    if is_on_its_side(matrix):
        picture, across, down = picture.swapaxes(0, 1), c, b
    else:
        across, down = a, d
    return np.ascontiguousarray(picture[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])

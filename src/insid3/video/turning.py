"""How a frame is to be shown: phones store how they were held, and mirrors what was seen in them."""

import struct
from typing import Any

import numpy as np
from jaxtyping import UInt8

from insid3.video.container import import_av


def upright(frame: Any) -> UInt8[np.ndarray, "H W 3"]:
    """A decoded frame as 8-bit RGB, as it is to be shown."""
    return turned(frame.to_ndarray(format="rgb24"), matrix_of(frame))


def matrix_of(frame: Any) -> tuple[float, float, float, float]:
    """a, b, c, d of a frame's display matrix, which puts the pixel (x, y) at (a x + c y, b x + d y)."""
    own = import_av().sidedata.sidedata.SideDataContainer(frame)  # frame.side_data keeps its frame until a collection
    stored = own.get("DISPLAYMATRIX")
    if stored is None or len(bytes(stored)) < 36:
        return 1, 0, 0, 1
    a, b, _, c, d, *_ = struct.unpack("9i", bytes(stored)[:36])
    return a, b, c, d


def is_on_its_side(matrix: tuple[float, float, float, float]) -> bool:
    """Whether rows become columns."""
    a, b, c, d = matrix
    return abs(b) + abs(c) > abs(a) + abs(d)


def turned(
    picture: UInt8[np.ndarray, "h w 3"], matrix: tuple[float, float, float, float]
) -> UInt8[np.ndarray, "H W 3"]:
    """A picture as a display matrix says, to the nearest quarter turn; all eight ways to turn and mirror it.

    Args:
        matrix: a, b, c, d as `matrix_of` returns them; all 0 is none.
    """
    a, b, c, d = matrix
    if is_on_its_side(matrix):
        picture, across, down = picture.swapaxes(0, 1), c, b
    else:
        across, down = a, d
    return np.ascontiguousarray(picture[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])

"""Results shown on their picture, in notebooks and elsewhere."""

import io
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from insid3.errors import ImageError
from insid3.imaging.opening import Source, name_of
from insid3.imaging.read import read_image


@runtime_checkable
class Shown(Protocol):
    """A result that can be drawn on its picture."""

    def overlay(self, picture: Source | None = None) -> Image.Image: ...


def picture_of(
    picture: Source | None, source: str, size: tuple[int, int], **reading: Any
) -> UInt8[np.ndarray, "H W 3"]:
    """Read the picture that a result belongs to.

    Args:
        picture: the picture, if the caller has it; else it is read from `source`.
        source: path of the target's file; "" where the target was none.
        size: the result's (height, width).
        reading: `max_pixels` and `stretch` of `read_image`.

    Raises:
        ImageError: there is no file to read, or the picture has another size.
    """
    if picture is None and not source:
        raise ImageError("the target was no file, and a result keeps no picture: give the picture to overlay()")
    found = source if picture is None else picture
    image = read_image(found, told=[], **reading)
    if image.shape[:2] != size:
        have, expected = (f"{width} x {height}" for height, width in (image.shape[:2], size))
        raise ImageError(f"{name_of(found)} has {have} pixels, the result {expected}: give the target's own picture")
    return image


def png_of(result: Shown, otherwise: Image.Image) -> bytes:
    """Return a result as a PNG for notebooks: on its picture if that can be read, else as a mask."""
    try:
        image = result.overlay()
    except ImageError:
        image = otherwise
    image.thumbnail((800, 800))
    encoded = io.BytesIO()
    image.save(encoded, "PNG")
    return encoded.getvalue()

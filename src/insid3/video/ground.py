"""The colour of transparent pixels in animated GIFs."""

import os
from pathlib import Path

from insid3.errors import ImageError
from insid3.imaging.opening import explained, opened


def ground_of(path: Path) -> tuple[int, int, int] | None:
    """Return the colour of a GIF's transparent pixels, which its first picture declares; None if it declares none."""
    name = os.fspath(path)
    try:
        with explained(name), opened(path, name) as picture:
            image = picture.image
            index = None if image is None else image.info.get("transparency")
            if image is None or not isinstance(index, int):
                return None
            colours = bytes(range(256)) if image.palette is None else bytes(image.palette.palette)
    except ImageError:  # a damaged file may still hold frames
        return None
    if image.palette is None:  # without a palette all colours are grey
        return colours[index], colours[index], colours[index]
    red, green, blue = colours[3 * index : 3 * index + 3].ljust(3, b"\0")
    return red, green, blue

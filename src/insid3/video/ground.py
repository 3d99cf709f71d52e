"""What transparent pixels of a moving picture look like: as in its first picture, whose alpha is dropped."""

import os
from pathlib import Path

from insid3.errors import ImageError
from insid3.opening import explained, opened


def ground_of(path: Path) -> tuple[int, int, int] | None:
    """The colour of a GIF's transparent pixels, which its first picture says; None where it has none."""
    name = os.fspath(path)
    try:
        with explained(name), opened(path, name) as picture:
            image = picture.image
            index = None if image is None else image.info.get("transparency")
            if image is None or not isinstance(index, int):
                return None
            colours = bytes(range(256)) if image.palette is None else bytes(image.palette.palette)
    except ImageError:  # as damaged as it is, it may hold frames
        return None
    if image.palette is None:  # all its colours are grey
        return colours[index], colours[index], colours[index]
    red, green, blue = colours[3 * index : 3 * index + 3].ljust(3, b"\0")
    return red, green, blue

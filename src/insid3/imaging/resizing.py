"""Resizing of pictures and masks, exactly as the published code resizes them with Pillow."""

import numpy as np
from jaxtyping import Bool, Shaped, UInt8
from PIL import Image


def resize_image(image: UInt8[np.ndarray, "H W 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "H2 W2 3"]:
    """Resize to (height, width) `size`, ignoring the aspect ratio, with Pillow's antialiased bilinear filter.

    Pillow rounds to 8 bits between its two passes, and since version 13 it runs the vertical pass first where that is
    much cheaper. One grey level moves features by 0.4, so this function fixes the order of Pillow 13 for all versions.
    """
    height, width = image.shape[:2]
    vertical_first = height - size[0] > 2 * max(width - size[1], 0)
    between = (width, size[0]) if vertical_first else (size[1], height)
    half_way = Image.fromarray(image).resize(between, Image.Resampling.BILINEAR)
    return np.asarray(half_way.resize(size[::-1], Image.Resampling.BILINEAR))


def resize_part(
    image: UInt8[np.ndarray, "H W 3"], box: tuple[float, float, float, float], size: int
) -> UInt8[np.ndarray, "R R 3"]:
    """Resize a part of a picture to a square of `size` pixels a side.

    Args:
        box: (left, top, right, bottom) of the part in pixels of the picture, fractions allowed.
    """
    left, top = int(box[0]), int(box[1])
    part = image[top : int(np.ceil(box[3])), left : int(np.ceil(box[2]))]
    within = (box[0] - left, box[1] - top, min(box[2] - left, part.shape[1]), min(box[3] - top, part.shape[0]))
    return np.asarray(Image.fromarray(part).resize((size, size), Image.Resampling.BILINEAR, within))


def resize_mask(mask: Bool[np.ndarray, "H W"], size: tuple[int, int]) -> Bool[np.ndarray, "H2 W2"]:
    """Resize to (height, width) `size`, nearest; if no pixel is left, set the one under the mask's centroid."""
    (height, width), small = mask.shape, resize_nearest(mask, size)
    if not small.any():
        y, x = (int(np.mean(index)) for index in np.nonzero(mask))
        small[y * size[0] // height, x * size[1] // width] = True
    return small


def resize_nearest(values: Shaped[np.ndarray, "H W"], size: tuple[int, int]) -> Shaped[np.ndarray, "H2 W2"]:
    """Resize to (height, width) `size` by taking the value at floor(index x old / new).

    Example:
        >>> resize_nearest(np.array([[1, 2, 3, 4]]), (1, 2))
        array([[1, 3]])
    """
    height, width = values.shape
    return values[np.ix_(np.arange(size[0]) * height // size[0], np.arange(size[1]) * width // size[1])]


def thumbnail(image: UInt8[np.ndarray, "H W 3"], side: int = 320) -> UInt8[np.ndarray, "h w 3"]:
    """Return a copy of which the longer side has at most `side` pixels."""
    small = Image.fromarray(image)
    small.thumbnail((side, side))
    return np.asarray(small)

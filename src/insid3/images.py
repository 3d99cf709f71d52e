"""Pictures as an encoder sees them, and their sizes; masks, and what else is read of a picture file."""

import os
import warnings
from collections.abc import Collection, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped, UInt8
from PIL import Image

from insid3.config import as_range
from insid3.containers.exif import TURNS
from insid3.decoding import Numbers, decode
from insid3.depth import Stretch, to_8_bits
from insid3.errors import ImageError
from insid3.masks import Label, read_mask, read_patch, used_colours
from insid3.opening import MAX_PIXELS, Source, explained, name_of, opened, picture_from_bytes, pixels

__all__ = [
    "MAX_PIXELS", "SUFFIXES", "Label", "Source", "is_upright", "name_of", "nearest", "picture_from_bytes",
    "picture_size", "read_image", "read_mask", "read_patch", "read_values", "resize_image", "resize_mask",
    "resize_part", "thumbnail",
]  # fmt: skip

# What folders are searched for.
SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif"} | {
    ".pbm", ".pgm", ".ppm", ".pnm", ".jp2", ".avif"
}  # fmt: skip
if find_spec("pillow_heif"):  # the extra heif
    SUFFIXES |= {".heic", ".heif", ".hif"}


def read_image(
    source: Source,
    max_pixels: int = MAX_PIXELS,
    *,
    upright: bool = True,
    stretch: Sequence[int | float] | str | None = None,
    told: list[str] | None = None,
) -> UInt8[np.ndarray, "H W 3"]:
    """Any picture as 8-bit RGB.

    Other than 8 bits are stretched by the picture's own range, see `depth.to_8_bits`. Alpha is dropped, palettes and
    CMYK go through Pillow's conversion. Of animations the first frame counts. Damaged metadata and a missing end marker
    hinder nothing; a missing row does.

    Args:
        upright: apply the orientation that EXIF data or a TIFF say.
        stretch: the numbers that become black and white, whatever the depth, 8 bits included; those of AVIF, HEIC and
            of colours in CMYK are of the 8 bits that their decoder gives.
        told: gets what was done, as "stretched: 16 bits, from 0 to 4095" or "repaired: end marker missing". Without it
            a picture that is stretched by its own range is warned of unless it is a map (GeoTIFF); repairs are not.

    Raises:
        ImageError: missing, damaged, larger than `max_pixels`, or of an unsupported kind.
        ConfigError: `stretch` is not two numbers, the lower first.
        UserWarning: stretched, by which range; see `told`.
    """
    name, between = name_of(source), as_range(stretch)
    repairs: tuple[str, ...] = ()
    if isinstance(source, np.ndarray):
        content: Image.Image | Numbers = _of_array(source, name)
        picture, done = _seen(content, between)
    else:
        with explained(name), opened(source, name) as found:
            content, repairs = decode(found, max_pixels)
            picture, done = _seen(content, between)
            picture = np.ascontiguousarray(TURNS[found.orientation if upright else 1](picture))
    if told is not None:
        told += [f"repaired: {repair}" for repair in repairs] + ([f"stretched: {done}"] if done else [])
    elif done and between is None and not (isinstance(content, Numbers) and content.by_band):
        warnings.warn(
            f"{name} was stretched: {done}; stretch= (--stretch LOW,HIGH) fixes the range for all pictures",
            stacklevel=2,
        )
    return picture


def read_values(
    path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS, *, grey: bool = False, colours: Collection[Any] = ()
) -> Shaped[np.ndarray, "H W ..."]:
    """What a file of labels holds, in its own orientation: palette indices and numbers as stored, or grey levels.

    A palette of which only `colours` and black are used is RGB, whatever the order of its entries.

    Raises:
        ImageError: as `read_image`.
    """
    name = os.fspath(path)
    with explained(name), opened(path, name, stored=True) as picture:
        content = decode(picture, max_pixels)[0]
        if isinstance(content, Numbers):
            values = content.values[..., 0] if content.values.shape[2] == 1 else content.values
            return pixels(Image.fromarray(values), "L") if grey else values
        if colours and content.mode == "P" and {*map(tuple, used_colours(content))} <= {(0, 0, 0), *colours}:
            content = content.convert("RGB")
        return pixels(content, "L" if grey else content.mode)


def picture_size(path: str | os.PathLike[str], *, upright: bool = True) -> tuple[int, int]:
    """(height, width) of what `read_image` returns, from the file's header; ImageError if it has none."""
    with explained(os.fspath(path)), opened(path, os.fspath(path)) as picture:
        return picture.upright_size if upright else picture.size


def is_upright(path: Path) -> bool:
    """Whether a picture is stored as it is to be shown; ImageError as `picture_size`."""
    with explained(os.fspath(path)), opened(path, os.fspath(path)) as picture:
        return picture.orientation == 1


def resize_image(image: UInt8[np.ndarray, "H W 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "H2 W2 3"]:
    """To (height, width) `size`, ignoring the aspect ratio: Pillow's antialiased bilinear filter.

    Pillow rounds to 8 bits between its two passes and since version 13 takes the vertical one first where that is much
    cheaper; a grey level moves features by 0.4. So the order of Pillow 13 is spelled out here, whichever is installed.
    """
    height, width = image.shape[:2]
    vertical_first = height - size[0] > 2 * max(width - size[1], 0)
    between = (width, size[0]) if vertical_first else (size[1], height)
    half_way = Image.fromarray(image).resize(between, Image.Resampling.BILINEAR)
    return np.asarray(half_way.resize(size[::-1], Image.Resampling.BILINEAR))


def resize_part(
    image: UInt8[np.ndarray, "H W 3"], box: tuple[float, float, float, float], size: int
) -> UInt8[np.ndarray, "R R 3"]:
    """(left, top, right, bottom) of a picture, in pixels that need not be whole, to a square; the same filter."""
    left, top = int(box[0]), int(box[1])
    part = image[top : int(np.ceil(box[3])), left : int(np.ceil(box[2]))]
    within = (box[0] - left, box[1] - top, min(box[2] - left, part.shape[1]), min(box[3] - top, part.shape[0]))
    return np.asarray(Image.fromarray(part).resize((size, size), Image.Resampling.BILINEAR, within))


def resize_mask(mask: Bool[np.ndarray, "H W"], size: tuple[int, int]) -> Bool[np.ndarray, "H2 W2"]:
    """To (height, width) `size`, nearest. If that loses every pixel, the one under the mask's centroid is set."""
    (height, width), small = mask.shape, nearest(mask, size)
    if not small.any():
        y, x = (int(np.mean(index)) for index in np.nonzero(mask))
        small[y * size[0] // height, x * size[1] // width] = True
    return small


def nearest(values: Shaped[np.ndarray, "H W"], size: tuple[int, int]) -> Shaped[np.ndarray, "H2 W2"]:
    """To (height, width) `size`: the value at floor(index x old / new)."""
    height, width = values.shape
    return values[np.ix_(np.arange(size[0]) * height // size[0], np.arange(size[1]) * width // size[1])]


def thumbnail(image: UInt8[np.ndarray, "H W 3"], side: int = 320) -> UInt8[np.ndarray, "h w 3"]:
    """A copy whose longer side is at most `side` pixels."""
    small = Image.fromarray(image)
    small.thumbnail((side, side))
    return np.asarray(small)


def _seen(content: Image.Image | Numbers, stretch: Stretch | None) -> tuple[UInt8[np.ndarray, "H W 3"], str]:
    """As RGB of 8 bits, and how it was stretched; "" if it was not."""
    if isinstance(content, Image.Image):
        content = Numbers(pixels(content, "RGB"), 8)
    values = content.values[..., : 1 if content.values.shape[2] < 3 else 3]  # without alpha and further bands
    if values.dtype == np.uint8 and content.void is None and not stretch:
        shown, done = values, ""
    else:
        shown, done = to_8_bits(values, top=content.top, void=content.void, by_band=content.by_band, stretch=stretch)
    if content.inverted:
        shown = 255 - shown
    return np.ascontiguousarray(np.broadcast_to(shown, (*shown.shape[:2], 3))), done and f"{content.bits} bits, {done}"


def _of_array(array: Shaped[np.ndarray, "..."], name: str) -> Numbers:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4) or 0 in array.shape:
        raise ImageError(f"{name}: expected (height, width) or (height, width, 1 to 4 channels)")
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{name} holds {array.dtype} values, expected 8-bit or 16-bit unsigned: convert it first")
    return Numbers(array, array.dtype.itemsize * 8, 65535 if array.dtype == np.uint16 else 255)

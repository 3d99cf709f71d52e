"""Readers of picture files: pictures as an encoder sees them, stored values, and sizes from headers."""

import os
import warnings
from collections.abc import Collection, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image

from insid3.config import as_range
from insid3.errors import ImageError
from insid3.imaging.containers.exif import TURNS
from insid3.imaging.decoding import Numbers, decode
from insid3.imaging.depth import Stretch, to_8_bits
from insid3.imaging.masks import used_colours
from insid3.imaging.opening import MAX_PIXELS, Source, explained, name_of, opened, pixels
from insid3.imaging.tensors import TensorLike, picture_array

# Files with these suffixes are the pictures of a folder.
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
    """Read a picture as 8-bit RGB, (H, W, 3).

    Values of other depths are stretched from the picture's own range (`depth.to_8_bits`). Alpha is dropped; Pillow
    converts palettes and CMYK. The first frame of an animation is read. Damaged metadata and a missing end marker are
    repaired; a missing row is an error.

    Args:
        max_pixels: the largest number of pixels that is read.
        upright: apply the orientation that the file declares.
        stretch: the values (low, high) that become black and white, at any depth, 8 bits included. For AVIF, HEIC and
            CMYK they are values of the 8 bits that the decoder returns.
        told: list to which notes are added, such as "stretched: 16 bits, from 0 to 4095" or "repaired: end marker
            missing". Without a list, stretching a picture other than a GeoTIFF by its own range is a warning.

    Raises:
        ImageError: the picture is missing, damaged, larger than `max_pixels` or of an unsupported format.
        ConfigError: `stretch` is not two numbers, the lower one first.
        UserWarning: the picture was stretched by its own range and `told` is not given.
    """
    name, between = name_of(source), as_range(stretch)
    repairs: tuple[str, ...] = ()
    if isinstance(source, TensorLike):
        source = picture_array(source, name)
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
    """Return the values of a label picture as stored, not turned: palette indices, or numbers of any depth.

    Args:
        max_pixels: the largest number of pixels that is read.
        grey: return grey levels.
        colours: RGB triples. Where a palette picture uses no others but black, RGB values are returned.

    Raises:
        ImageError: the picture is missing, damaged, larger than `max_pixels` or of an unsupported format.
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
    """Return the (height, width) of what `read_image` returns, from the header alone.

    Raises:
        ImageError: the file is missing or has no header that can be read.
    """
    with explained(os.fspath(path)), opened(path, os.fspath(path)) as picture:
        return picture.upright_size if upright else picture.size


def is_upright(path: Path) -> bool:
    """Tell whether a picture is stored as it is shown, neither turned nor mirrored.

    Raises:
        ImageError: the file is missing or has no header that can be read.
    """
    with explained(os.fspath(path)), opened(path, os.fspath(path)) as picture:
        return picture.orientation == 1


def _seen(content: Image.Image | Numbers, stretch: Stretch | None) -> tuple[UInt8[np.ndarray, "H W 3"], str]:
    """Return 8-bit RGB and a note on how it was stretched, "" where it was not."""
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

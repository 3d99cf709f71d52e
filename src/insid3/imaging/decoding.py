"""Decoding of opened pictures, with all bits of their values."""

import io
import re
import sys
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Shaped
from PIL import Image, ImageFile

from insid3.checks.parsing import Flaw
from insid3.errors import ImageError
from insid3.imaging import geotiff
from insid3.imaging.containers.deep import netpbm_values
from insid3.imaging.containers.ifd import Seekable
from insid3.imaging.containers.jpeg import has_many_scans, missing_rows
from insid3.imaging.containers.png import check_pixels
from insid3.imaging.containers.tiff import FORMAT, PHOTOMETRIC, PLANES, is_geo, white_is_zero
from insid3.imaging.opening import Picture, check_values, decoded, header, pixels

_SIXTEEN = re.compile(r"(RGBX?|RGBA);16([BLN])")  # raw modes of which Pillow keeps one byte of two
_CMYK = 5  # a TIFF's photometric interpretation; Pillow converts it to RGB, in 8 bits
_OTHER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


@dataclass(frozen=True)
class Numbers:
    """Values that still have to be converted to an 8-bit picture.

    Attributes:
        values: (H, W, c) as stored.
        bits: of a value.
        top: the value of full brightness, 0 if unknown.
        void: the value of pixels that were not measured, None if none is declared.
        by_band: the channels are independent, like the bands of a map.
        inverted: zero is white.
    """

    values: Shaped[np.ndarray, "H W c"]
    bits: int
    top: int | float = 0
    void: float | None = None
    by_band: bool = False
    inverted: bool = False


def decode(picture: Picture, max_pixels: int) -> tuple[Image.Image | Numbers, tuple[str, ...]]:
    """Decode a picture and return its pixels, not turned, and the repairs that were made.

    The pixels of 8 bits are a Pillow picture, all others `Numbers`.

    Raises:
        ImageError: the picture is too large, or a package is not installed. Exceptions of decoders pass:
            `opening.explained` turns them into an ImageError.
    """
    picture.check_size(max_pixels)
    container, image = picture.container, picture.image
    many = container.bits > 8 and container.channels > 1 and container.directory.number(PHOTOMETRIC) != _CMYK
    if container.kind == "PNG":
        assert container.whole is not None
        check_pixels(container.whole)
    if image is None or (container.kind == "TIFF" and container.bits > 8 and is_geo(container)):
        return _bands(picture, max_pixels), container.repairs
    if container.kind == "PPM":
        assert container.whole is not None
        return Numbers(netpbm_values(container.whole), container.bits, container.top), container.repairs
    if container.kind == "JPEG2000" and many:
        return _jpeg2000(picture, max_pixels), container.repairs
    if container.kind in ("PNG", "TIFF") and many:
        values = None if container.directory.number(PLANES, 1) == 2 else _all_bits(container.stream, max_pixels)
        if values is None:
            return _bands(picture, max_pixels), container.repairs
        return Numbers(values, container.bits, container.top), container.repairs
    if container.kind == "JPEG":
        return _jpeg(picture, max_pixels)
    image = decoded(image, max_pixels)
    if image.mode.startswith(("I", "F")):
        return _numbers(image, picture), container.repairs
    return image, container.repairs


def _bands(picture: Picture, max_pixels: int) -> Numbers:
    """Return the bands of a TIFF that Pillow cannot read in full."""
    container, found = picture.container, geotiff.read(picture.container, picture.name, max_pixels)
    kind, bits = found.values.dtype, found.values.dtype.itemsize * 8
    top = 2**bits - 1 if kind.kind == "u" and bits <= 16 else 0
    colours = container.directory.number(PHOTOMETRIC, 1) == 2
    by_band = is_geo(container) or not colours
    return Numbers(found.values, bits, container.top or top, found.void, by_band, white_is_zero(container))


def _jpeg2000(picture: Picture, max_pixels: int) -> Numbers:
    """Decode colours of more than 8 bits with imagecodecs: Pillow would turn the brightest black."""
    try:
        from imagecodecs import jpeg2k_decode
    except ImportError as error:
        raise ImageError(
            f"{picture.name} has more than 8 bits, which needs packages that are not installed: "
            'pip install "insid3[geo]"'
        ) from error
    check_values(picture.name, (*picture.size, picture.container.channels), 2, max_pixels)
    picture.container.stream.seek(0)
    values = np.asarray(jpeg2k_decode(picture.container.stream.read()))
    return Numbers(values.reshape(*values.shape[:2], -1), picture.container.bits, picture.container.top)


def _all_bits(stream: Seekable, max_pixels: int) -> Shaped[np.ndarray, "H W c"] | None:
    """Decode channels of 16 bits, for which Pillow has no mode, once for each byte; None where Pillow cannot."""
    image = header(stream)
    if [tile.args for tile in image.tile] == ["LA;16B"]:  # two channels of two bytes lie like four of one byte
        image._mode, image.tile = "RGBA", [image.tile[0]._replace(args="RGBA")]
        return pixels(decoded(image, max_pixels), "RGBA").view(">u2").astype(np.uint16)
    values = None
    for low in (False, True):
        image = header(stream)
        forms = [_SIXTEEN.fullmatch(_args(tile)[0]) for tile in image.tile]
        if low:
            image.tile = [
                tile._replace(args=(f"{form[1]};16{_OTHER[form[2]]}", *_args(tile)[1:]))
                for tile, form in zip(image.tile, forms, strict=True)
                if form
            ]
        elif not all(forms):
            return None
        some = pixels(decoded(image, max_pixels), image.mode)
        if values is None:
            values = some.astype(np.uint16)
            values <<= 8
        else:
            values |= some
    return values


def _args(tile: ImageFile._Tile) -> tuple[Any, ...]:
    """Return the arguments of a Pillow decoder; the first says how the bytes lie."""
    return tile.args if isinstance(tile.args, tuple) else (tile.args or "",)


def _numbers(image: Image.Image, picture: Picture) -> Numbers:
    """Return the values of a Pillow picture of one channel."""
    container, bits = picture.container, 8 * pixels(image.crop((0, 0, 1, 1)), image.mode).itemsize
    if image.mode == "I":
        low, high = np.array(image.getextrema())
        if low >= 0 and high <= 65535:  # Pillow opens some 16-bit files with 32 bits
            image, bits = image.convert("I;16"), 16
    values = pixels(image, image.mode)[..., None]
    if container.kind == "JPEG2000":  # Pillow shifts values up to 16 bits
        values = values >> (16 - container.bits)
    elif container.kind == "TIFF" and image.mode == "I" and container.directory.number(FORMAT, 1) == 1:
        values = values.view(np.uint32)
    top = container.top or (65535 if values.dtype.itemsize == 2 else 0)
    return Numbers(values, bits if container.bits <= 8 else container.bits, top, inverted=white_is_zero(container))


def _jpeg(picture: Picture, max_pixels: int) -> tuple[Image.Image, tuple[str, ...]]:
    """Decode a JPEG of which every row is there; its end marker may be missing.

    Raises:
        Flaw: rows are missing; the message says how many.
    """
    repairs, stream = picture.container.repairs, picture.container.stream
    stream.seek(0)
    data = stream.read()
    if has_many_scans(data):
        raise ImageError(f"{picture.name} goes over its pixels too many times: save it anew")
    problem = None
    try:
        image = decoded(header(stream), max_pixels)
        if not _ends_in_nothing(image):
            return image, repairs
        del image
    except OSError as error:
        problem = error

    def rows(data: bytes) -> np.ndarray:
        image = decoded(header(io.BytesIO(data)), max_pixels)
        crops = (image.crop((0, y, image.width, y + 1)) for y in range(image.height))
        return np.array([zlib.crc32(row.tobytes()) for row in crops], np.uint32)

    missing, mended = missing_rows(data, rows)
    if missing:
        raise Flaw(f"{missing} of {picture.size[0]} rows are missing") from problem
    repairs = (*repairs, "end marker missing") if problem else repairs
    return decoded(header(io.BytesIO(mended)), max_pixels), repairs


def _ends_in_nothing(image: Image.Image) -> bool:
    """Tell whether the last block is the grey with which a decoder fills missing data."""
    corner = np.asarray(image.crop((max(0, image.width - 8), max(0, image.height - 8), image.width, image.height)))
    return bool((corner.min((0, 1)) == corner.max((0, 1))).all() and abs(int(corner.min()) - 128) < 3)

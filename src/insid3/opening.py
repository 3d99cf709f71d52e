"""The only place that opens pictures: allowed formats, the limit of pixels, and our errors in the place of Pillow's."""

import io
import math
import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from jaxtyping import Shaped
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError, features

from insid3.config import Config
from insid3.containers import Container, Pieces, container_of
from insid3.containers.exif import BAD_EXIF, is_readable, orientation, sensible
from insid3.containers.ifd import Seekable
from insid3.containers.tiff import HEIGHT, WIDTH
from insid3.errors import ImageError

Source = str | os.PathLike[str] | Image.Image | np.ndarray
Readable = str | os.PathLike[str] | Image.Image | bytes

MAX_PIXELS: int = Config.max_pixels
# Formats whose decoders neither run other programs (EPS) nor guess from weak signatures (TGA).
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "PPM", "JPEG2000", "AVIF")
_OF_PYTHON = re.compile(r"\bb['\"]|\b(int|float)\(|\bNone|' object|argument|[a-z]Error\b")  # in messages of decoders
_lock = threading.Lock()


def name_of(source: Source) -> str:
    """What error messages and results call a picture."""
    if isinstance(source, np.ndarray):
        return f"array of shape {source.shape}"
    if isinstance(source, Image.Image):
        return getattr(source, "filename", "") or f"{source.width} x {source.height} PIL image"
    return f"a picture of {len(source):,} bytes" if isinstance(source, bytes) else os.fspath(source)


@dataclass(frozen=True)
class Picture:
    """A picture of which only the header was read.

    Attributes:
        container: what its file says.
        header: what Pillow makes of it; None for a TIFF that it cannot open, or where it would take memory for it.
        orientation: how it is to be turned, from 1 to 8, see `exif.TURNS`.
    """

    name: str
    container: Container
    header: Image.Image | None
    orientation: int

    @cached_property
    def image(self) -> Image.Image | None:
        """What Pillow makes of it; None for a TIFF that it cannot open. Its size has to be checked before."""
        return self.header if self.container.size is None else _header_of(self.container, self.name)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) as stored."""
        if self.container.size is not None:
            return self.container.size
        if self.image is not None:
            return self.image.height, self.image.width
        return self.container.directory.number(HEIGHT), self.container.directory.number(WIDTH)

    @property
    def upright_size(self) -> tuple[int, int]:
        """(height, width) as it is to be shown."""
        return self.size if self.orientation < 5 else self.size[::-1]

    def check_size(self, max_pixels: int) -> None:
        """Refuse a picture with too many pixels, or with none.

        Raises:
            ImageError: it is one.
        """
        height, width = self.size
        if width * height > max_pixels:
            raise ImageError(
                f"{self.name} has {width} x {height} pixels, the limit is {max_pixels:,} in all: "
                "raise it with max_pixels= (--max-pixels) if you trust the file"
            )
        if width * height == 0:
            raise ImageError(f"{self.name} has no pixels ({width} x {height})")


def check_values(name: str, shape: Sequence[int], size: int, max_pixels: int) -> None:
    """Refuse a picture whose numbers take more memory than three numbers of four bytes for each pixel that is allowed.

    Args:
        shape: of all its numbers: height, width, bands, depth.
        size: bytes of a number.

    Raises:
        ImageError: it is one.
    """
    if math.prod(shape) * size > 12 * max_pixels:
        raise ImageError(
            f"{name} has {' x '.join(map(str, shape))} numbers of {size} bytes, the limit is {12 * max_pixels:,} "
            "bytes: keep fewer bands, or raise it with max_pixels= (--max-pixels) if you trust the file"
        )


@contextmanager
def opened(source: Readable, name: str, *, stored: bool = False) -> Iterator[Picture]:
    """A picture of a path, of bytes or of Pillow, whose pixels can be decoded until the context ends.

    A picture of Pillow's that was not decoded yet is read from its file, as if that had been given.

    Args:
        stored: give the numbers of a TIFF as stored, even if it says that zero is white.

    Raises:
        ImageError: of no supported format, missing or empty; other exceptions come through, see `explained`.
    """
    if isinstance(source, Image.Image):
        data, file = getattr(source, "insid3_data", None), _undecoded(source)
        if data is None and file is None:
            source.load()
            yield Picture(name, Container(Pieces(io.BytesIO(), [])), source, _said_by(source))
            return
    else:
        data, file = source if isinstance(source, bytes) else None, None
    if data is not None:
        yield _picture(io.BytesIO(data), name, stored)
    elif file is not None:
        place = file.tell()
        try:
            yield _picture(file, name, stored)
        finally:
            file.seek(place)
    else:
        assert isinstance(source, str | os.PathLike)
        path = Path(source)
        if "\0" in name:
            raise ImageError(f"{name}: no such file, its name is damaged (it holds a NUL, which no disk takes)")
        if path.is_dir():
            raise ImageError(f"{name} is a folder, expected a picture")
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise ImageError(f"{name} is a pipe or a device, expected a picture")
        with path.open("rb") as own:
            yield _picture(own, name, stored)


def picture_from_bytes(data: bytes, name: str) -> Image.Image:
    """Open a picture that is embedded in another file.

    What is done with it later calls it `name`, and reads it as if it were a file.

    Raises:
        ImageError: of no supported format, damaged, or with more than `MAX_PIXELS` pixels.
    """
    with explained(name), opened(data, name) as picture:
        picture.check_size(MAX_PIXELS)
        if (image := picture.image) is None:
            raise UnidentifiedImageError
        image.filename = name  # type: ignore[attr-defined]
        image.insid3_data = data  # type: ignore[attr-defined]
        if picture.orientation != 1:
            exif = Image.Exif()
            exif[ExifTags.Base.Orientation] = picture.orientation
            image.info["exif"] = exif.tobytes()
        return image


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Every failure as an ImageError: damaged files make Pillow raise nearly anything, warnings too where asked to."""
    try:
        yield
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not a picture of a supported format ({', '.join(_FORMATS)})") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageError(f"{name}: no such file") from error
    except PermissionError as error:
        raise ImageError(f"{name}: no permission to read it") from error
    except MemoryError as error:
        raise ImageError(f"{name} needs more memory than there is: shrink the picture") from error
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:  # of the system, not of a decoder
            raise ImageError(f"{name} cannot be read: {error.strerror}") from error
        told = next(iter(str(error).splitlines()), "")
        detail = told[:120] if told and not _OF_PYTHON.search(told) else "its decoder gives up"
        raise ImageError(f"{name} is damaged or cut short ({detail}): replace the file") from error


def header(stream: Seekable) -> ImageFile.ImageFile:
    """A picture of Pillow's, of which nothing but the header is read; any size is allowed."""
    with _pillow_limit(None):
        Image.init()
        return Image.open(cast(BinaryIO, stream), formats=[known for known in _FORMATS if known in Image.OPEN])


def decoded(image: Image.Image, max_pixels: int) -> Image.Image:
    """The same picture of Pillow's with its pixels, even if Pillow thinks that they are too many."""
    theirs = Image.MAX_IMAGE_PIXELS
    allowed = theirs is not None and image.width * image.height > theirs  # what Pillow would refuse to decode
    with _pillow_limit(max_pixels) if allowed else nullcontext():
        image.load()
    return image


def pixels(image: Image.Image, mode: str) -> Shaped[np.ndarray, "H W ..."]:
    """`np.asarray(image.convert(mode))` strip by strip: done at once, a large picture is in memory four times."""
    probe = _converted(image, (0, 0, 1, 1), mode)
    result = np.empty((image.height, image.width, *probe.shape[2:]), probe.dtype)
    rows = max(1, 2**20 // image.width)
    for top in range(0, image.height, rows):
        result[top : top + rows] = _converted(image, (0, top, image.width, min(top + rows, image.height)), mode)
    return result


def _converted(image: Image.Image, box: tuple[int, int, int, int], mode: str) -> Shaped[np.ndarray, "h w ..."]:
    part = image.crop(box)
    part.info.pop("transparency", None)  # of no use here, and Pillow warns of some when converting
    return np.asarray(part.convert(mode))


@contextmanager
def _pillow_limit(limit: int | None) -> Iterator[None]:
    """Ours in the place of Pillow's process-wide limit of pixels, which warns and lives in every decoder."""
    with _lock:
        theirs, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, limit
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = theirs


def _picture(file: Seekable, name: str, stored: bool) -> Picture:
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        raise ImageError(f"{name} is empty (0 bytes): copy it again")
    container = container_of(Pieces(file, [(0, size)]), stored=stored)
    if container.refused:
        raise ImageError(f"{name} {container.refused}")
    image = None if container.size else _header_of(container, name)
    exif, xmp = container.exif, container.xmp
    if container.kind == "TIFF":
        return Picture(name, container, image, sensible(container.directory.number(ExifTags.Base.Orientation, 1)))
    if exif is None and image is not None:  # the decoder has them
        exif, xmp = image.info.get("exif"), image.info.get("xmp")
        container = container if exif is None or is_readable(exif) else replace(container, repairs=(BAD_EXIF,))
    return Picture(name, container, image, orientation(exif, xmp))


def _header_of(container: Container, name: str) -> Image.Image | None:
    if container.kind == "HEIF":
        return _heif(container, name)
    if container.kind == "AVIF" and not ("avif" in features.modules and features.check("avif")):
        raise ImageError(f"{name} is an AVIF picture, which this Pillow cannot read: pip install --upgrade Pillow")
    try:
        return header(container.stream)
    except UnidentifiedImageError:
        if container.kind == "TIFF" and container.directory.number(WIDTH):
            return None
        raise


def _heif(container: Container, name: str) -> Image.Image:
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise ImageError(
            f'{name} is a HEIC picture, which needs a package that is not installed: pip install "insid3[heif]"'
        ) from error
    with _pillow_limit(None):
        image: Image.Image = HeifImageFile(container.stream)
    return image


def _undecoded(image: Image.Image) -> Any:
    """The file of a picture that Pillow has opened only; None if it has decoded it, or does not say where it is."""
    file = getattr(image, "fp", None)
    if not isinstance(image, ImageFile.ImageFile) or image.format not in (*_FORMATS, "MPO"):
        return None
    as_it_is = image.tile and image.tell() == 0 and not image.decoderconfig  # no later frame, not to be made smaller
    return file if as_it_is and hasattr(file, "seek") else None


def _said_by(image: Image.Image) -> int:
    """The orientation of a decoded picture; 1 where its metadata cannot be read."""
    try:
        return sensible(int(image.getexif().get(ExifTags.Base.Orientation, 1)))
    except Exception:  # whatever is wrong with them, the pixels are here
        return 1

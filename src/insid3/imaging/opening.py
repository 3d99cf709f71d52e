"""The only opener of pictures: it allows some formats, limits the pixels, and turns decoders' errors into ours."""

import hashlib
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
from stat import S_ISREG
from typing import Any, BinaryIO, cast

import numpy as np
from jaxtyping import Shaped
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError, features

from insid3.checks.numbers import told
from insid3.config import Config
from insid3.errors import ImageError
from insid3.imaging.containers import Container, Pieces, container_of
from insid3.imaging.containers.exif import BAD_EXIF, is_readable, orientation, sensible
from insid3.imaging.containers.ifd import Seekable
from insid3.imaging.containers.tiff import HEIGHT, WIDTH
from insid3.imaging.tensors import TensorLike

Source = str | os.PathLike[str] | Image.Image | np.ndarray | TensorLike
Readable = str | os.PathLike[str] | Image.Image | bytes

MAX_PIXELS: int = Config.max_pixels
# Formats of which the decoder neither runs other programs (EPS) nor guesses from weak signatures (TGA).
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "PPM", "JPEG2000", "AVIF")
# Words in decoders' messages that only programmers understand.
_OF_PYTHON = re.compile(r"\bb['\"]|\b(int|float)\(|\bNone|' object|argument|[a-z]Error\b")
_lock = threading.Lock()


def name_of(source: Source) -> str:
    """Return the name that error messages and results give a picture."""
    if isinstance(source, np.ndarray):
        return f"array of shape {source.shape}"
    if isinstance(source, TensorLike):
        return f"tensor of shape {tuple(getattr(source, 'shape', ()))}"
    if isinstance(source, Image.Image):
        return getattr(source, "filename", "") or f"{source.width} x {source.height} PIL image"
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    if isinstance(source, bytes):
        return f"a picture of {len(source):,} bytes"
    raise ImageError(f"a picture must be a path, a PIL image, an array or a tensor, got {told(source)}")


def path_of(source: Source) -> str:
    """Return the path of a picture's file; "" for a source that is no path."""
    return os.fspath(source) if isinstance(source, str | os.PathLike) else ""


def file_digest(source: Source) -> str:
    """Return the size and the SHA-256 of a picture's file, as "SIZE-HASH"; "" for a source that is no file."""
    if not isinstance(source, str | os.PathLike):
        return ""
    try:
        with Path(source).open("rb") as file:
            if not S_ISREG(os.fstat(file.fileno()).st_mode):
                return ""
            found = hashlib.file_digest(file, "sha256").hexdigest()
            return f"{file.tell()}-{found}"
    except (OSError, ValueError):
        return ""


@dataclass(frozen=True)
class Picture:
    """A picture of which only the header was read.

    Attributes:
        name: the picture's name in error messages.
        container: what the file says.
        header: Pillow's picture; None for a TIFF that Pillow cannot open, and where opening would take memory.
        orientation: how the picture must be turned, from 1 to 8 (`exif.TURNS`).
    """

    name: str
    container: Container
    header: Image.Image | None
    orientation: int

    @cached_property
    def image(self) -> Image.Image | None:
        """Pillow's picture; None for a TIFF that Pillow cannot open. Call `check_size` first: this may take memory."""
        return self.header if self.container.size is None else _header_of(self.container, self.name)

    @property
    def size(self) -> tuple[int, int]:
        """The (height, width) as stored."""
        if self.container.size is not None:
            return self.container.size
        if self.image is not None:
            return self.image.height, self.image.width
        return self.container.directory.number(HEIGHT), self.container.directory.number(WIDTH)

    @property
    def upright_size(self) -> tuple[int, int]:
        """The (height, width) of the picture turned upright."""
        return self.size if self.orientation < 5 else self.size[::-1]

    def check_size(self, max_pixels: int) -> None:
        """Check that a picture has pixels, and at most `max_pixels`.

        Raises:
            ImageError: there are more pixels, or none.
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
    """Check that the values of a picture fit into 12 bytes for each allowed pixel: three values of four bytes.

    Args:
        name: the picture's name in error messages.
        shape: height, width, bands and, where there is one, depth.
        size: bytes of one value.
        max_pixels: the number of allowed pixels.

    Raises:
        ImageError: the values take more memory.
    """
    if math.prod(shape) * size > 12 * max_pixels:
        raise ImageError(
            f"{name} has {' x '.join(map(str, shape))} numbers of {size} bytes, the limit is {12 * max_pixels:,} "
            "bytes: keep fewer bands, or raise it with max_pixels= (--max-pixels) if you trust the file"
        )


@contextmanager
def opened(source: Readable, name: str, *, stored: bool = False) -> Iterator[Picture]:
    """Open a picture, given as a path, as bytes or by Pillow, and yield it; its pixels can be decoded until the end.

    A Pillow picture that is not decoded yet is read from its file, as if the file had been given.

    Args:
        name: the picture's name in error messages.
        stored: decode a TIFF in which zero is white to its stored values.

    Raises:
        ImageError: the picture is missing, empty or of no supported format. Exceptions of decoders pass: `explained`
            turns them into an ImageError.
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
        if path.exists() and not path.is_file():  # reading a pipe would wait for its writer
            raise ImageError(f"{name} is a pipe or a device, expected a picture")
        with path.open("rb") as own:
            yield _picture(own, name, stored)


def picture_from_bytes(data: bytes, name: str) -> Image.Image:
    """Open a picture that is embedded in another file; it can be read later like a file.

    Args:
        data: bytes of the picture file.
        name: the picture's name in error messages.

    Raises:
        ImageError: the picture is damaged, of no supported format, or has more than `MAX_PIXELS` pixels.
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
    """Turn every exception into an ImageError: damaged files make Pillow raise nearly any exception, even warnings."""
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
        if isinstance(error, OSError) and error.strerror:  # the system raised it, not a decoder
            raise ImageError(f"{name} cannot be read: {error.strerror}") from error
        told = next(iter(str(error).splitlines()), "")
        detail = told[:120] if told and not _OF_PYTHON.search(told) else "its decoder gives up"
        raise ImageError(f"{name} is damaged or cut short ({detail}): replace the file") from error


def header(stream: Seekable) -> ImageFile.ImageFile:
    """Open a Pillow picture by its header alone; any size is allowed."""
    with _pillow_limit(None):
        Image.init()
        return Image.open(cast(BinaryIO, stream), formats=[known for known in _FORMATS if known in Image.OPEN])


def decoded(image: Image.Image, max_pixels: int) -> Image.Image:
    """Decode the pixels of a Pillow picture, up to our own limit even where Pillow's is lower."""
    theirs = Image.MAX_IMAGE_PIXELS
    allowed = theirs is not None and image.width * image.height > theirs  # Pillow would refuse to decode these
    with _pillow_limit(max_pixels) if allowed else nullcontext():
        image.load()
    return image


def pixels(image: Image.Image, mode: str) -> Shaped[np.ndarray, "H W ..."]:
    """Return `np.asarray(image.convert(mode))`, made in strips, since a whole picture would take memory four times."""
    probe = _converted(image, (0, 0, 1, 1), mode)
    result = np.empty((image.height, image.width, *probe.shape[2:]), probe.dtype)
    rows = max(1, 2**20 // image.width)
    for top in range(0, image.height, rows):
        result[top : top + rows] = _converted(image, (0, top, image.width, min(top + rows, image.height)), mode)
    return result


def _converted(image: Image.Image, box: tuple[int, int, int, int], mode: str) -> Shaped[np.ndarray, "h w ..."]:
    part = image.crop(box)
    part.info.pop("transparency", None)  # not used, and Pillow warns of some values when converting
    return np.asarray(part.convert(mode))


@contextmanager
def _pillow_limit(limit: int | None) -> Iterator[None]:
    """Replace Pillow's limit of pixels while the context lasts: it holds for the whole process, and warns."""
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
    if exif is None and image is not None:  # for this format the decoder reads the metadata
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
    """Return the file of a Pillow picture that is not decoded yet; None if it is decoded, or the file is unknown."""
    file = getattr(image, "fp", None)
    if not isinstance(image, ImageFile.ImageFile) or image.format not in (*_FORMATS, "MPO"):
        return None
    as_it_is = image.tile and image.tell() == 0 and not image.decoderconfig  # no later frame, not to be made smaller
    return file if as_it_is and hasattr(file, "seek") else None


def _said_by(image: Image.Image) -> int:
    """Return the orientation of a decoded picture; 1 where its metadata cannot be read."""
    try:
        return sensible(int(image.getexif().get(ExifTags.Base.Orientation, 1)))
    except Exception:  # whatever is wrong with the metadata, the pixels are decoded
        return 1

"""The only place that opens, checks, orients and resizes pictures and masks."""

import io
import os
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from jaxtyping import Bool, Shaped, UInt8
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from insid3 import geotiff
from insid3.config import Config
from insid3.errors import ImageError, MaskError

Source = str | os.PathLike[str] | Image.Image | np.ndarray
Label = int | Literal["any"] | None

MAX_PIXELS: int = Config.max_pixels
# What folders are searched for.
SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif"} | {
    ".pbm", ".pgm", ".ppm", ".pnm", ".jp2", ".avif"
}  # fmt: skip
# Formats whose decoders neither run other programs (EPS) nor guess from weak signatures (TGA).
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "PPM", "JPEG2000", "AVIF")
_lock = threading.Lock()


def name_of(source: Source) -> str:
    """What error messages and results call a picture."""
    if isinstance(source, np.ndarray):
        return f"array of shape {source.shape}"
    if isinstance(source, Image.Image):
        return getattr(source, "filename", "") or f"{source.width} x {source.height} PIL image"
    return os.fspath(source)


def read_image(source: Source, max_pixels: int = MAX_PIXELS, *, upright: bool = True) -> UInt8[np.ndarray, "H W 3"]:
    """Any picture as 8-bit RGB.

    16-bit values are divided by 257 (of GeoTIFFs stretched, see `geotiff.read`), alpha is dropped, palettes and CMYK go
    through Pillow's conversion. Of animations the first frame counts.

    Args:
        upright: apply the EXIF orientation.

    Raises:
        ImageError: missing, damaged, larger than `max_pixels`, or of an unsupported kind.
    """
    name = name_of(source)
    if isinstance(source, np.ndarray):
        return _rgb_array(source, name)
    with _explained(name):
        if _is_geo(source):
            return geotiff.read(Path(os.fspath(source)), max_pixels)  # type: ignore[arg-type]
        image = _load(source, name, max_pixels, upright)
        if image.mode.startswith(("I", "F")):
            return _rgb_array(_pixels(image, image.mode), name)
        return _pixels(image, "RGB")


def read_mask(
    source: Source,
    image_size: tuple[int, int],
    label: Label = None,
    max_pixels: int = MAX_PIXELS,
    *,
    may_be_empty: bool = False,
) -> Bool[np.ndarray, "H W"]:
    """A mask at its picture's size, True where the concept is.

    With two distinct values nonzero is foreground; a smooth edge between 0 and 255 counts as two values. An alpha
    channel that varies is the mask. More values are labels: `label` chooses one, "any" takes all above zero.

    Args:
        image_size: (height, width) of the picture; a mask that differs from it only in scale is resized (nearest).

    Raises:
        MaskError: unreadable, ambiguous, empty, or of another shape than the picture.
    """
    name = name_of(source)
    try:
        with _explained(name):
            values = source if isinstance(source, np.ndarray) else _mask_values(source, name, label, max_pixels)
    except ImageError as error:
        raise MaskError(f"mask {error}") from error
    mask = _foreground(values, label, name)
    if not (may_be_empty or mask.any()):
        raise MaskError(f"mask {name} is empty: mark at least one pixel of the concept")
    return _fit(mask, image_size, name)


def read_values(
    path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS, *, grey: bool = False, colours: Collection[Any] = ()
) -> Shaped[np.ndarray, "H W ..."]:
    """What a file of labels holds, in its own orientation: palette indices and numbers as stored, or grey levels.

    A palette of which only `colours` and black are used is RGB, whatever the order of its entries.

    Raises:
        ImageError: as `read_image`.
    """
    with _explained(os.fspath(path)):
        image = _load(path, os.fspath(path), max_pixels, upright=False)
        if colours and image.mode == "P" and {*map(tuple, _used_colours(image))} <= {(0, 0, 0), *colours}:
            image = image.convert("RGB")
        return _pixels(image, "L" if grey else image.mode)


def picture_size(path: str | os.PathLike[str], *, upright: bool = True) -> tuple[int, int]:
    """(height, width) of what `read_image` returns, from the file's header; ImageError if it has none."""
    with _explained(os.fspath(path)), Path(path).open("rb") as file:
        if _is_geo(path):
            return geotiff.size(Path(path))
        image = _opened(file)[0]
        turned = upright and _orientation(image) >= 5
        return (image.width, image.height) if turned else (image.height, image.width)


def is_upright(path: Path) -> bool:
    """Whether a picture is stored as it is to be shown; ImageError as `picture_size`."""
    with _explained(os.fspath(path)), path.open("rb") as file:
        return _orientation(_opened(file)[0]) == 1


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


@contextmanager
def _explained(name: str) -> Iterator[None]:
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
        detail = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise ImageError(f"{name} is damaged or cut short ({detail}): replace the file") from error


@contextmanager
def _pillow_limit(pixels: int | None) -> Iterator[int | None]:
    """Ours in the place of Pillow's process-wide limit, which warns and lives in every decoder; gives Pillow's."""
    with _lock:
        theirs, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, pixels
        try:
            yield theirs
        finally:
            Image.MAX_IMAGE_PIXELS = theirs


class _File(io.BufferedReader):
    """Asked for more bytes than are left, Python reserves memory for them all: damaged lengths ask for gigabytes."""

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, os.fstat(self.fileno()).st_size - self.tell())
        return super().read(left if size is None or size < 0 else min(size, left))


def _load(
    source: str | os.PathLike[str] | Image.Image, name: str, max_pixels: int, upright: bool = True
) -> Image.Image:
    """A decoded picture whose size was checked before."""
    if isinstance(source, Image.Image):
        _check_size(source, name, max_pixels)
        image = ImageOps.exif_transpose(source) if upright else source.copy()
        image.format = source.format
    else:
        path = Path(source)
        if path.is_dir():
            raise ImageError(f"{name} is a folder, expected a picture")
        if path.stat().st_size == 0:
            raise ImageError(f"{name} is empty (0 bytes): copy it again")
        with _File(io.FileIO(path)) as file:  # Pillow would leave files open that it refuses
            image, theirs = _opened(file)
            _check_size(image, name, max_pixels)
            allowed = theirs is not None and image.width * image.height > theirs  # what Pillow would refuse to decode
            with _pillow_limit(max_pixels) if allowed else nullcontext():
                if upright:
                    ImageOps.exif_transpose(image, in_place=True)
                image.load()
    if image.mode == "I":
        low, high = np.array(image.getextrema())
        if low >= 0 and high <= 65535:  # how Pillow hands over some 16-bit files
            image = image.convert("I;16")
    image.info.pop("transparency", None)  # of no use here, and Pillow warns of some when converting
    return image


def _opened(file: BinaryIO) -> tuple[Image.Image, int | None]:
    """A picture of which only the header was read, and Pillow's own limit of pixels."""
    with _pillow_limit(None) as theirs:
        Image.init()
        return Image.open(file, formats=[known for known in _FORMATS if known in Image.OPEN]), theirs


def _is_geo(source: str | os.PathLike[str] | Image.Image) -> bool:
    if isinstance(source, Image.Image) or Path(source).suffix.lower() not in (".tif", ".tiff"):
        return False
    with _pillow_limit(None):
        return geotiff.is_beyond_pillow(Path(source))


def _orientation(image: Image.Image) -> int:
    return int(image.getexif().get(ExifTags.Base.Orientation, 1))


def _check_size(image: Image.Image, name: str, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise ImageError(
            f"{name} has {image.width} x {image.height} pixels, the limit is {max_pixels:,} in all: "
            "raise it with max_pixels= (--max-pixels) if you trust the file"
        )
    if image.width * image.height == 0:
        raise ImageError(f"{name} has no pixels ({image.width} x {image.height})")


def _pixels(image: Image.Image, mode: str) -> Shaped[np.ndarray, "H W ..."]:
    """`np.asarray(image.convert(mode))` strip by strip: done at once, a large picture is in memory four times."""
    probe = np.asarray(image.crop((0, 0, 1, 1)).convert(mode))
    pixels = np.empty((image.height, image.width, *probe.shape[2:]), probe.dtype)
    rows = max(1, 2**20 // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        pixels[top : top + rows] = np.asarray(strip.convert(mode))
    return pixels


def _mask_values(
    source: str | os.PathLike[str] | Image.Image, name: str, label: Label, max_pixels: int
) -> Shaped[np.ndarray, "H W ..."]:
    image = _load(source, name, max_pixels)
    mode = image.mode
    if mode == "P" and not isinstance(label, int):
        used = _used_colours(image)
        if len(used) == 2 and not used[0].any():
            mode = "RGB"  # black is background, even where the palette does not begin with it
    elif mode == "PA":
        mode = "RGBA"
    elif mode not in ("1", "L", "P", "LA", "RGB", "RGBA", "I", "F") and not mode.startswith("I;"):
        mode = "RGB"
    values = _pixels(image, mode)
    if image.format in ("JPEG", "MPO"):  # rings around edges
        values[values < 32] = 0
        values[values > 223] = 255
    return values


def _used_colours(image: Image.Image) -> Shaped[np.ndarray, "k 3"]:
    """Of a palette."""
    palette = np.reshape(image.getpalette("RGB") or [], (-1, 3))
    return np.unique(palette[np.flatnonzero(image.histogram()[: len(palette)])], axis=0)


def _rgb_array(array: Shaped[np.ndarray, "..."], name: str) -> UInt8[np.ndarray, "H W 3"]:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4) or 0 in array.shape:
        raise ImageError(f"{name}: expected (height, width) or (height, width, 1 to 4 channels)")
    array = array[..., : 1 if array.shape[2] < 3 else 3]  # without alpha
    if array.dtype.newbyteorder("=") == np.uint16:
        array = (array // 257 + (array % 257 > 128)).astype(np.uint8)  # rounds to nearest without wider numbers
    if array.dtype != np.uint8:
        raise ImageError(f"{name} holds {array.dtype} values, expected 8-bit or 16-bit unsigned: convert it first")
    return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3)))


def _foreground(values: Shaped[np.ndarray, "..."], label: Label, name: str) -> Bool[np.ndarray, "H W"]:
    if values.ndim not in (2, 3) or 0 in values.shape or values.shape[2:] > (4,):
        raise MaskError(f"mask {name} has shape {values.shape}, expected (height, width)")
    if values.dtype.kind not in "biuf":
        raise MaskError(f"mask {name} holds {values.dtype} values, expected bool or numbers")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise MaskError(f"mask {name} holds values that are not finite")
    if values.ndim == 3 and values.shape[2] in (2, 4):
        alpha = values[..., -1]
        values = alpha if alpha.min() != alpha.max() else values[..., :-1]
    if values.ndim == 3:
        if not (values[..., :1] == values).all():
            return _coloured(values, label, name)
        values = values[..., 0]
    if label == "any":
        return values > 0
    distinct = np.unique(values)
    if label is not None:
        if label not in distinct:
            raise MaskError(f"mask {name} has no pixel of label {label}; its values are {_list(distinct)}")
        return values == label
    if (len(distinct) > 2 and not _smooth_edge(values, distinct)) or (len(distinct) == 2 and 0 not in distinct):
        raise MaskError(
            f"mask {name} has the values {_list(distinct)}: say which one is the concept with label= (--label N), "
            "or label='any' (--label any) for all above 0"
        )
    return values != 0


def _coloured(values: Shaped[np.ndarray, "H W 3"], label: Label, name: str) -> Bool[np.ndarray, "H W"]:
    if values.dtype != np.uint8:
        raise MaskError(f"mask {name} holds colours as {values.dtype}, expected 8-bit: convert it first")
    seen = np.zeros((256, 256, 256), bool)
    pixels = values.reshape(-1, 3)
    for some in np.array_split(pixels, 1 + len(pixels) // 2**20):
        seen[tuple(some.T)] = True
    count = np.count_nonzero(seen)
    if isinstance(label, int) or (label is None and (count > 2 or not seen[0, 0, 0])):
        raise MaskError(
            f"mask {name} has {count} colours, so which one is the concept cannot be told: save it as one "
            "channel of label numbers, or take everything that is not black with label='any' (--label any)"
        )
    return np.any(values > 0, axis=2)


def _smooth_edge(values: Shaped[np.ndarray, "H W"], distinct: Shaped[np.ndarray, "v"]) -> bool:
    """An 8-bit mask with an antialiased edge: between 0 and 255 lie ramps only, never a flat area (that is a label)."""
    if values.dtype.kind not in "iu" or distinct[0] != 0 or distinct[-1] != 255:
        return False
    low, high = (8, 247) if len(distinct) > 16 else (0, 255)  # a wide blur has flat tails
    around = np.pad(values, 1, mode="edge")
    flat = (values > low) & (values < high)
    for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
        flat &= around[dy : dy + values.shape[0], dx : dx + values.shape[1]] == values
    return not flat.any()


def _fit(mask: Bool[np.ndarray, "H W"], size: tuple[int, int], name: str) -> Bool[np.ndarray, "H2 W2"]:
    if mask.shape == size:
        return mask
    scale = max(size) / max(mask.shape)
    off = max(abs(have * scale - want) for have, want in zip(mask.shape, size, strict=True))
    if off > max(1, scale / 2):  # more than rounding the sides to whole pixels explains
        hint = "they must have the same size, or at least the same aspect ratio"
        if mask.shape == size[::-1]:
            hint = "the sides are swapped: the picture is turned by its EXIF orientation, the mask must be turned too"
        raise MaskError(
            f"mask {name} is {mask.shape[1]} x {mask.shape[0]} pixels but its picture is {size[1]} x {size[0]}: {hint}"
        )
    fitted = np.asarray(Image.fromarray(mask).resize(size[::-1], Image.Resampling.NEAREST))
    if mask.any() and not fitted.any():
        raise MaskError(f"mask {name} loses every pixel when resized to its picture's {size[1]} x {size[0]}")
    return fitted


def _list(values: Shaped[np.ndarray, "v"]) -> str:
    shown = [f"{value:g}" if value.dtype.kind == "f" else str(value) for value in values]
    return ", ".join(shown) if len(shown) <= 12 else f"{', '.join(shown[:6])}, ... {shown[-1]} ({len(shown)} of them)"

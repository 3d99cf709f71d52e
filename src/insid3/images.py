"""The only place that opens, checks, orients and resizes pictures and masks, and maps points."""

import os
import threading
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

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
_pillow_limit = threading.Lock()


def name_of(source: Source) -> str:
    """What error messages and results call a picture."""
    if isinstance(source, np.ndarray):
        return f"array of shape {source.shape}"
    if isinstance(source, Image.Image):
        return getattr(source, "filename", "") or f"{source.width} x {source.height} PIL image"
    return os.fspath(source)


def read_image(source: Source, max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "H W 3"]:
    """Any picture as upright 8-bit RGB.

    16-bit values are divided by 257, alpha is dropped, palettes and CMYK go through Pillow's conversion, EXIF
    orientation is applied. Of animations the first frame counts.

    Raises:
        ImageError: missing, damaged, larger than `max_pixels`, or of an unsupported kind.
    """
    name = name_of(source)
    if isinstance(source, np.ndarray):
        return _rgb_array(source, name)
    image = _open(source, name, max_pixels)
    try:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith(("I", "F")):
            return _rgb_array(np.asarray(image), name)
        return np.asarray(image.convert("RGB"))
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        raise _damaged(name, error) from error


def read_mask(
    source: Source, image_size: tuple[int, int], label: Label = None, max_pixels: int = MAX_PIXELS
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
    if isinstance(source, np.ndarray):
        values, lossy = source, False
    else:
        try:
            image = _open(source, name, max_pixels)
            lossy = image.format in ("JPEG", "MPO")
            image = ImageOps.exif_transpose(image)
            if image.mode not in ("1", "L", "P", "LA", "PA", "RGB", "RGBA", "I", "F") and image.mode[:2] != "I;":
                image = image.convert("RGB")
            if image.mode == "PA":
                image = image.convert("RGBA")
            values = np.asarray(image)
        except ImageError as error:
            raise MaskError(f"mask {error}") from error
        except Exception as error:  # see read_image
            raise MaskError(f"mask {_damaged(name, error)}") from error
    mask = _foreground(values, label, lossy, name)
    if not mask.any():
        raise MaskError(f"mask {name} is empty: mark at least one pixel of the concept")
    return _fit(mask, image_size, name)


def resize_image(image: UInt8[np.ndarray, "H W 3"], size: int) -> UInt8[np.ndarray, "R R 3"]:
    """To the model's square, ignoring the aspect ratio: Pillow's antialiased bilinear filter.

    Pillow rounds to 8 bits between its two passes and since version 13 takes the vertical one first where that is much
    cheaper; a grey level moves features by 0.4. So the order of Pillow 13 is spelled out here, whichever is installed.
    """
    height, width = image.shape[:2]
    vertical_first = height - size > 2 * max(width - size, 0)
    between = (width, size) if vertical_first else (size, height)
    half_way = Image.fromarray(image).resize(between, Image.Resampling.BILINEAR)
    return np.asarray(half_way.resize((size, size), Image.Resampling.BILINEAR))


def resize_mask(mask: Bool[np.ndarray, "H W"], size: int) -> Bool[np.ndarray, "R R"]:
    """To the model's square, nearest. If that loses every pixel, the one under the mask's centroid is set."""
    height, width = mask.shape
    rows, columns = np.arange(size) * height // size, np.arange(size) * width // size
    small = mask[np.ix_(rows, columns)]
    if not small.any():
        y, x = (int(np.mean(index)) for index in np.nonzero(mask))
        small[y * size // height, x * size // width] = True
    return small


def thumbnail(image: UInt8[np.ndarray, "H W 3"], side: int = 320) -> UInt8[np.ndarray, "h w 3"]:
    """A copy whose longer side is at most `side` pixels."""
    small = Image.fromarray(image)
    small.thumbnail((side, side))
    return np.asarray(small)


def points_to_grid(
    points: Float[np.ndarray, "p 2"], size: tuple[int, int], grid: tuple[int, int]
) -> Int[np.ndarray, "p 2"]:
    """(x, y) in pixels of a picture of `size` -> (x, y) of the patch: scaled, rounded half to even, clamped."""
    scale = np.array([grid[1] / size[1], grid[0] / size[0]])
    return np.clip(np.rint(points * scale), 0, [grid[1] - 1, grid[0] - 1]).astype(np.int64)


def _open(source: str | os.PathLike[str] | Image.Image, name: str, max_pixels: int) -> Image.Image:
    """An undecoded picture whose size has been checked."""
    if isinstance(source, Image.Image):
        image = source
    else:
        path = Path(source)
        if not path.exists():
            raise ImageError(f"{name}: no such file")
        if path.is_dir():
            raise ImageError(f"{name} is a folder, expected a picture")
        try:
            if path.stat().st_size == 0:
                raise ImageError(f"{name} is empty (0 bytes): copy it again")
            with _pillow_limit:  # ours replaces Pillow's process-wide limit while the header is read
                theirs, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
                try:
                    Image.init()
                    image = Image.open(path, formats=[known for known in _FORMATS if known in Image.OPEN])
                finally:
                    Image.MAX_IMAGE_PIXELS = theirs
        except ImageError:
            raise
        except UnidentifiedImageError as error:
            raise ImageError(f"{name} is not a picture of a supported format ({', '.join(_FORMATS)})") from error
        except PermissionError as error:
            raise ImageError(f"{name}: no permission to read it") from error
        except Exception as error:  # see read_image
            raise _damaged(name, error) from error
    if image.width * image.height > max_pixels:
        raise ImageError(
            f"{name} has {image.width} x {image.height} pixels, the limit is {max_pixels:,} in all: "
            "raise it with max_pixels= (--max-pixels) if you trust the file"
        )
    if image.width * image.height == 0:
        raise ImageError(f"{name} has no pixels ({image.width} x {image.height})")
    return image


def _damaged(name: str, error: Exception) -> ImageError:
    detail = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
    return ImageError(f"{name} is damaged or cut short ({detail}): replace the file")


def _rgb_array(array: Shaped[np.ndarray, "..."], name: str) -> UInt8[np.ndarray, "H W 3"]:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4) or 0 in array.shape:
        raise ImageError(f"{name}: expected (height, width) or (height, width, 1 to 4 channels)")
    array = array[..., : 1 if array.shape[2] < 3 else 3]  # without alpha
    if array.dtype == np.int32 and array.min() >= 0 and array.max() <= 65535:
        array = array.astype(np.uint16)  # how Pillow hands over some 16-bit files
    if array.dtype.newbyteorder("=") == np.uint16:
        array = ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if array.dtype != np.uint8:
        raise ImageError(f"{name} holds {array.dtype} values, expected 8-bit or 16-bit unsigned: convert it first")
    return np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3)))


def _foreground(values: Shaped[np.ndarray, "..."], label: Label, lossy: bool, name: str) -> Bool[np.ndarray, "H W"]:
    if values.ndim == 3 and values.shape[2] in (2, 4):
        alpha = values[..., -1]
        values = alpha if alpha.min() != alpha.max() else values[..., :-1]
    if values.ndim == 3 and values.shape[2] == 3:
        if not (values[..., :1] == values).all():
            return _coloured(values, label, name)
        values = values[..., 0]
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.ndim != 2 or 0 in values.shape:
        raise MaskError(f"mask {name} has shape {values.shape}, expected (height, width)")
    if values.dtype.kind not in "biuf":
        raise MaskError(f"mask {name} holds {values.dtype} values, expected bool or numbers")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise MaskError(f"mask {name} holds values that are not finite")
    if label == "any":
        return values > 0
    if lossy:  # JPEG rings around the edge
        values = np.where(values < 32, 0, np.where(values > 223, 255, values))
    distinct = np.unique(values)
    if label is not None:
        if label not in distinct:
            raise MaskError(f"mask {name} has no pixel of label {label}; its values are {_list(distinct)}")
        return values == label
    if (len(distinct) > 2 and not _smooth_edge(values, distinct)) or (len(distinct) == 2 and distinct[0] > 0):
        raise MaskError(
            f"mask {name} has the values {_list(distinct)}: say which one is the concept with label= (--label N), "
            "or label='any' (--label any) for all above 0"
        )
    return values != 0


def _coloured(values: UInt8[np.ndarray, "H W 3"], label: Label, name: str) -> Bool[np.ndarray, "H W"]:
    colours = np.unique(values.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32))
    if isinstance(label, int) or (label is None and (len(colours) > 2 or colours[0] > 0)):
        raise MaskError(
            f"mask {name} has {len(colours)} colours, so which one is the concept cannot be told: save it as one "
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
    if not fitted.any():
        raise MaskError(f"mask {name} loses every pixel when resized to its picture's {size[1]} x {size[0]}")
    return fitted


def _list(values: Shaped[np.ndarray, "v"]) -> str:
    shown = [f"{value:g}" if value.dtype.kind == "f" else str(value) for value in values]
    return ", ".join(shown) if len(shown) <= 12 else f"{', '.join(shown[:6])}, ... {shown[-1]} ({len(shown)} of them)"

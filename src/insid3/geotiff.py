"""Pictures from above: TIFFs of which Pillow knows too little, with more bands or bits than a picture to look at."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image, UnidentifiedImageError

from insid3.errors import ImageError

_GEO_KEYS, _NODATA = 34735, 42113  # tags of GeoTIFF and of GDAL
_SAMPLE = 2**20  # pixels whose percentiles stand for all


def is_beyond_pillow(path: Path) -> bool:
    """Whether a TIFF cannot be opened by Pillow, or is a GeoTIFF of more than 8 bits."""
    try:
        with Image.open(path, formats=["TIFF"]) as image:
            return image.mode.startswith(("I", "F")) and _GEO_KEYS in getattr(image, "tag_v2", {})
    except UnidentifiedImageError:
        with path.open("rb") as file:
            return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF's
    except Exception:  # whatever is wrong with it, Pillow will say it when it reads the picture
        return False


def size(path: Path) -> tuple[int, int]:
    """(height, width), from the header."""
    with _tifffile(path).TiffFile(path) as file:
        page = file.pages[0]
        return page.imagelength, page.imagewidth


def read(path: Path, max_pixels: int) -> UInt8[np.ndarray, "H W 3"]:
    """The first three bands, or the only one, as 8 bits.

    What has other than 8 bits is stretched, each band from its 2nd to its 98th percentile, as GIS programs show it;
    what is declared as nodata does not count and is black.

    Raises:
        ImageError: too large, of a kind that is no picture, or tifffile is not installed.
    """
    with _tifffile(path).TiffFile(path) as file:
        page = file.pages[0]
        height, width = page.imagelength, page.imagewidth
        if height * width > max_pixels:
            raise ImageError(
                f"{path} has {width} x {height} pixels, the limit is {max_pixels:,} in all: "
                "raise it with max_pixels= (--max-pixels) if you trust the file"
            )
        values = page.asarray()
        if values.ndim == 3 and values.shape[:2] != (height, width):
            values = np.moveaxis(values, 0, -1)  # bands one after the other
        if values.shape[:2] != (height, width) or values.ndim > 3 or values.dtype.kind not in "uifb":
            raise ImageError(f"{path} holds {values.dtype} of shape {values.shape}, which is no picture")
        nodata = page.tags.get(_NODATA)
        void = None if nodata is None else float(str(nodata.value).strip("\0 "))
    bands = values.reshape(height, width, -1)
    bands = bands[..., :3] if bands.shape[2] >= 3 else bands[..., [0, 0, 0]]
    if bands.dtype == np.uint8 and void is None:
        return np.ascontiguousarray(bands)
    result = np.empty((height, width, 3), np.uint8)
    for i in range(3):
        result[..., i] = _stretched(bands[..., i], void)
    return result


def _stretched(band: Shaped[np.ndarray, "H W"], void: float | None) -> UInt8[np.ndarray, "H W"]:
    some = band.ravel()[:: max(1, band.size // _SAMPLE)]
    some = some[np.isfinite(some) & (True if void is None else some != void)].astype(np.float64)
    low, high = (0, 255) if band.dtype == np.uint8 else np.percentile(some, (2, 98)) if len(some) else (0, 1)
    if high <= low:
        high = low + 1
    void_here = ~np.isfinite(band) if void is None else ~np.isfinite(band) | (band == void)
    scaled = (np.where(void_here, low, band).astype(np.float32) - low) * (255 / (high - low))
    return np.where(void_here, 0, np.clip(scaled.round(), 0, 255)).astype(np.uint8)


def _tifffile(path: Path) -> Any:
    try:
        import tifffile
    except ImportError as error:
        raise ImageError(f'{path} needs packages that are not installed: pip install "insid3[geo]"') from error
    return tifffile

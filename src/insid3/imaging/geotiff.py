"""Reader of TIFFs that Pillow cannot read in full: satellite and aerial pictures with more bands or bits."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Shaped

from insid3.errors import ImageError
from insid3.imaging.containers import Container
from insid3.imaging.opening import check_values

_NODATA = 42113  # a tag of GDAL


@dataclass(frozen=True)
class Bands:
    """The bands of a picture.

    Attributes:
        values: (H, W, c), all bands as stored.
        void: the value of pixels that were not measured, None if none is declared.
    """

    values: Shaped[np.ndarray, "H W c"]
    void: float | None


def read(container: Container, name: str, max_pixels: int) -> Bands:
    """Read all bands of a TIFF's first picture.

    Raises:
        ImageError: the TIFF holds no picture or one larger than `opening.check_values` allows, or tifffile is not
            installed.
    """
    whole = container.whole
    assert whole is not None
    whole.seek(0)
    with _tifffile(name).TiffFile(whole) as file:
        page = file.pages[0]
        height, width = page.imagelength, page.imagewidth
        item = max(1, page.bitspersample // 8)
        check_values(name, (height, width, page.samplesperpixel, page.imagedepth), item, max_pixels)
        values = page.asarray()
        if values.ndim == 3 and values.shape[:2] != (height, width):
            values = np.moveaxis(values, 0, -1)  # the bands were stored one after another
        if values.shape[:2] != (height, width) or values.ndim > 3 or values.dtype.kind not in "uifb":
            raise ImageError(f"{name} holds {values.dtype} of shape {values.shape}, which is no picture")
        nodata = page.tags.get(_NODATA)
        void = None if nodata is None else float(str(nodata.value).strip("\0 "))
    return Bands(values.reshape(height, width, -1), void)


def _tifffile(name: str) -> Any:
    try:
        import tifffile
    except ImportError as error:
        raise ImageError(f'{name} needs packages that are not installed: pip install "insid3[geo]"') from error
    return tifffile

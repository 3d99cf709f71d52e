"""Pictures from above: TIFFs of which Pillow knows too little, with more bands or bits than a picture to look at."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Shaped

from insid3.containers import Container
from insid3.errors import ImageError
from insid3.opening import check_values

_NODATA = 42113  # a tag of GDAL


@dataclass(frozen=True)
class Bands:
    """What tifffile reads of a picture.

    Attributes:
        values: all bands, as stored.
        void: the number of pixels that were not measured, None if none is declared.
    """

    values: Shaped[np.ndarray, "H W c"]
    void: float | None


def read(container: Container, name: str, max_pixels: int) -> Bands:
    """All bands of the first picture.

    Raises:
        ImageError: of a kind that is no picture, larger than `opening.check_values` allows, or tifffile is not
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
            values = np.moveaxis(values, 0, -1)  # bands one after the other
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

"""Draw COCO's polygons and run-length codes as masks: what a file says is checked before anything is drawn.

What pycocotools is given decides how much memory it takes, and whether the process lives.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from insid3.batch.formats.coco import unpacked
from insid3.errors import MissingExtraError
from insid3.parsing import Flaw, as_numbers, as_wholes

Size = tuple[int, int]
_FAR = 10  # sides of the picture by which a point may lie outside of it
_LONGEST = 2**22  # pixels along all outlines of an annotation; pycocotools takes some hundred bytes for each


def rasterised(segmentation: Any, size: Size) -> Bool[np.ndarray, "H W"]:
    """Return the mask of COCO's polygons or run-length code in a picture of (height, width) `size`.

    Raises:
        Flaw: it is neither, belongs to a picture of another size, or lies far outside.
        MissingExtraError: pycocotools is not installed.
    """
    if isinstance(segmentation, dict):
        return _from_code(segmentation, size)
    if not isinstance(segmentation, list | tuple) or not segmentation:
        raise Flaw("has neither polygons nor a run-length code as segmentation")
    rings = [_ring(ring) for ring in segmentation]
    if max(np.abs(ring).max() for ring in rings) > (1 + _FAR) * max(size):
        raise Flaw(f"lies far outside its picture of {size[1]} x {size[0]} pixels")
    along = sum(float(np.abs(ring - np.roll(ring, 1, axis=0)).max(1).sum()) for ring in rings)
    if along > _LONGEST:
        raise Flaw(f"has an outline of {along:,.0f} pixels, of which {_LONGEST:,} are allowed")
    try:
        from pycocotools import mask as rle
    except ImportError as error:
        raise MissingExtraError("reading this data set", "evaluate") from error
    encoded = rle.frPyObjects([ring.ravel().tolist() for ring in rings], *size)
    return rle.decode(rle.merge(encoded)).astype(bool)


def numbers(values: Any, what: str) -> Float[np.ndarray, "n"]:
    """Return a list of finite numbers; `what` is one of them.

    A pickle may hold anything in their place, such as lists of lists that are small only because they are shared.

    Raises:
        Flaw: it is something else.
    """
    if not isinstance(values, list | tuple) or not all(isinstance(value, int | float | np.number) for value in values):
        raise Flaw(f"has something that is not a number as {what}")
    return as_numbers([*values], what)


def _ring(values: Any) -> Float[np.ndarray, "n 2"]:
    """(x, y) of three points or more."""
    ring = numbers(values, "a coordinate")
    if len(ring) % 2 or len(ring) < 6:
        raise Flaw(f"has a polygon of {len(ring)} numbers, not x and y of three points or more")
    return ring.reshape(-1, 2)


def _from_code(code: dict[str, Any], size: Size) -> Bool[np.ndarray, "H W"]:
    sides, counts = numbers(code.get("size"), "side of a mask").tolist(), code.get("counts")
    if sides != [*size]:
        told = " x ".join(f"{side:g}" for side in sides[::-1])
        raise Flaw(f"has a mask of {told}, its picture has {size[1]} x {size[0]} pixels")
    if isinstance(counts, str | bytes):
        text = counts if isinstance(counts, str) else counts.decode("latin1")
        counts = unpacked(text)
    runs = as_wholes(numbers(counts, "run").tolist(), "run", size[0] * size[1])
    if runs.sum() != size[0] * size[1]:
        raise Flaw(f"has runs of {runs.sum():,} pixels, its picture has {size[1]} x {size[0]}")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size[::-1]).T  # down the columns

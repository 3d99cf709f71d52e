"""Masks drawn from COCO's polygons and run-length codes, which are checked first.

Unchecked input could make pycocotools take all memory, or crash the process.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from insid3.batch.formats.coco import ring_of, unpacked
from insid3.batch.formats.geometry import as_pycocotools, check_rings
from insid3.checks.parsing import Flaw, as_numbers, as_wholes

Size = tuple[int, int]


class Pointless(Flaw):
    """The flaw of an annotation of which no polygon has three points."""


def rasterised(segmentation: Any, size: Size, left_out: list[str] | None = None) -> Bool[np.ndarray, "H W"]:
    """Return the mask of COCO's polygons or run-length code in a picture of (height, width) `size`.

    Args:
        left_out: list to which the flaw of each polygon of fewer than three points is added; the mask lacks these.

    Raises:
        Pointless: all polygons have fewer than three points.
        Flaw: `segmentation` is neither, has another size than the picture, or lies far outside the picture.
        MissingExtraError: pycocotools is not installed.
    """
    if isinstance(segmentation, dict):
        return _from_code(segmentation, size)
    if not isinstance(segmentation, list | tuple) or not segmentation:
        raise Flaw("has neither polygons nor a run-length code as segmentation")
    rings, flaws = [], list[str]()
    for ring in [numbers(ring, "a coordinate") for ring in segmentation]:
        try:
            rings.append(ring_of(ring))
        except Flaw as flaw:
            flaws.append(str(flaw))
    if left_out is not None:
        left_out += flaws
    if not rings:
        raise Pointless(flaws[0])
    check_rings(rings, size)
    return as_pycocotools(rings, size, "evaluate")


def numbers(values: Any, what: str) -> Float[np.ndarray, "n"]:
    """Return a list of finite numbers as an array; `what` names one number in the message.

    A pickle may hold anything instead of numbers, such as nested lists that grow when they are copied.

    Raises:
        Flaw: `values` is no list of finite numbers.
    """
    if not isinstance(values, list | tuple) or not all(isinstance(value, int | float | np.number) for value in values):
        raise Flaw(f"has something that is not a number as {what}")
    return as_numbers([*values], what)


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

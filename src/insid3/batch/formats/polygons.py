"""Conversion of masks to polygons and back."""

from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image, ImageDraw
from scipy.ndimage import binary_erosion

from insid3.errors import MissingExtraError
from insid3.imaging.components import Instance

Ring = Float[np.ndarray, "n 2"]
_FAITHFUL = 0.98  # least IoU of a simplified object with itself


def check_packages() -> None:
    """Check that the packages for writing polygons are installed, before hours of work.

    Raises:
        MissingExtraError: contourpy, shapely or pycocotools is not installed.
    """
    for name in ("contourpy", "shapely", "pycocotools"):
        try:
            import_module(name)
        except ImportError as error:
            raise MissingExtraError("writing annotations as polygons or RLE", "export") from error


def polygons(instance: Instance, *, centres: bool = False, tolerance: float = 1) -> list[list[Ring]]:
    """Return the outlines of an object: [outer ring, *holes] of each of its parts, (x, y) in pixels of the picture.

    Args:
        centres: draw rings through the centres of the border's pixels, for programs that paint the border (OpenCV's
            fillPoly, Pillow); otherwise around the pixels, of which the first spans 0 to 1 (COCO, CVAT).
        tolerance: pixels by which a ring may differ from the border, unless that changes the object.

    Raises:
        MissingExtraError: see `check_packages`.
    """
    check_packages()
    from contourpy import FillType, contour_generator

    x0, y0 = instance.box[:2]
    values = np.pad(instance.mask, 1).astype(np.float64)
    generator = contour_generator(z=values, fill_type=FillType.OuterOffset)
    # Just below 1 the border runs through the centres of the outermost pixels, at 1/2 midway to the next.
    points, offsets = generator.filled(1 - 1e-6 if centres else 0.5, np.inf)
    shift = np.array([x0, y0]) - (1 if centres else 0.5)  # 1 of padding; a pixel begins 0.5 before its centre
    whole = [[ring[a:b][:-1] + shift for a, b in pairwise(ends)] for ring, ends in zip(points, offsets, strict=True)]
    exact, simple = ([[_rounded(r, centres) for r in rings] for rings in some] for some in (
        whole, [_simplified(rings, tolerance) for rings in whole]
    ))  # fmt: skip
    if centres and 2 * np.count_nonzero(binary_erosion(np.pad(instance.mask, 1), np.ones((3, 3)))) < instance.area:
        return exact  # programs paint a thin stroke differently between fewer points
    return simple if _iou(simple, instance, centres) >= _FAITHFUL else exact


def survives(shapes: Sequence[Sequence[Ring]], instance: Instance) -> bool:
    """Tell whether pycocotools, which rasterises polygons for COCO and CVAT, restores an object from its outlines.

    Holes are lost, and pixels of the smallest objects.

    Raises:
        MissingExtraError: see `check_packages`.
    """
    check_packages()
    from pycocotools import mask as rle

    if any(len(rings) > 1 or len(rings[0]) < 3 for rings in shapes):
        return False
    drawn = [(ring - instance.box[:2]).ravel().tolist() for (ring,) in shapes]
    mask = rle.decode(rle.merge(rle.frPyObjects(drawn, *instance.mask.shape))).astype(bool)
    return bool(np.count_nonzero(mask ^ instance.mask) <= (1 - _FAITHFUL) * instance.area)


def _simplified(rings: Sequence[Ring], tolerance: float) -> list[Ring]:
    from shapely import Polygon

    if not tolerance or len(rings[0]) < 4:
        return list(rings)
    shape = Polygon(rings[0], [ring for ring in rings[1:] if len(ring) > 3]).simplify(tolerance)
    if not isinstance(shape, Polygon) or shape.is_empty:
        return list(rings)
    return [np.array(ring.coords)[:-1] for ring in (shape.exterior, *shape.interiors)]


def _iou(shapes: Sequence[Sequence[Ring]], instance: Instance, centres: bool) -> float:
    corner, size = np.array(instance.box[:2]), instance.mask.shape
    masks = [filled([ring - corner for ring in rings], size, centres=centres) for rings in shapes]
    mask = np.logical_or.reduce(masks)
    return float(np.count_nonzero(mask & instance.mask) / np.count_nonzero(mask | instance.mask))


def _rounded(ring: Ring, centres: bool) -> Ring:
    """Round the points of a ring, and drop those that equal the one before."""
    ring = np.round(ring, 0 if centres else 2)
    keep = np.any(ring != np.roll(ring, 1, 0), axis=1)
    return ring[keep] if keep.any() else ring[:1]


def filled(rings: Sequence[Ring], size: tuple[int, int], *, centres: bool = False) -> Bool[np.ndarray, "H W"]:
    """Return the mask of one polygon: [outer ring, *holes]; `centres` as in `polygons`."""
    mask = np.zeros(size, bool)
    for i, ring in enumerate(rings):
        inside = _painted(ring, size, outline=i == 0) if centres else _covered(ring, size)
        mask = inside if i == 0 else mask & ~inside
    return mask


def _painted(ring: Ring, size: tuple[int, int], *, outline: bool) -> Bool[np.ndarray, "H W"]:
    canvas, points = Image.new("1", size[::-1]), [(float(x), float(y)) for x, y in ring]
    if len(points) > 1:
        ImageDraw.Draw(canvas).polygon(points, fill=1, outline=int(outline))
    elif points:
        ImageDraw.Draw(canvas).point(points, fill=1)
    return np.array(canvas)


def _covered(ring: Ring, size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    """Return the pixels whose centres lie inside a ring, by the crossings of each row's centre line (even-odd)."""
    mask = np.zeros(size, bool)
    if len(ring) < 3:
        return mask
    (x1, y1), (x2, y2) = ring.T, np.roll(ring, -1, 0).T
    flips = np.zeros((size[0], size[1] + 1), bool)
    for a, b, c, d in zip(x1, y1, x2, y2, strict=True):
        top, bottom = min(b, d), max(b, d)
        rows = np.arange(max(0, int(np.ceil(top - 0.5))), min(size[0], int(np.ceil(bottom - 0.5))))
        if len(rows):
            crossing = a + (rows + 0.5 - b) * (c - a) / (d - b)
            columns = np.clip(np.ceil(crossing - 0.5), 0, size[1]).astype(int)
            flips[rows, columns] ^= True
    return np.logical_xor.accumulate(flips[:, :-1], axis=1)

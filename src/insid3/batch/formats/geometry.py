"""Shapes in annotation files, rasterised to masks in no more memory than their own boxes take."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from jaxtyping import Bool, Float, Shaped
from PIL import Image, ImageDraw

from insid3.batch.formats.polygons import Ring, filled
from insid3.checks.parsing import Flaw
from insid3.errors import MissingExtraError

Size = tuple[int, int]
Scale = tuple[float, float]  #: (x, y): pixels of the picture for each pixel of the file
Paint = Literal["edges", "centres", "coco"]
_LONG = 5_000_000  # pixels of an outline; pycocotools takes a hundred bytes for each, and crashes without memory
_FAR = 10  # sides of its picture by which a shape may lie outside; beyond, it belongs to another picture


@dataclass(frozen=True, eq=False)
class PlacedMask:
    """Hold a mask and its place in a picture: the first pixel lies at column `left` and row `top`."""

    left: int
    top: int
    mask: Bool[np.ndarray, "h w"]

    @classmethod
    def from_runs(
        cls, counts: Shaped[np.ndarray, "n"], size: Size, *, by_columns: bool = False, at: tuple[int, int] = (0, 0)
    ) -> "PlacedMask":
        """Return the pixels that run lengths mark, in no more memory than the rows with marked pixels take.

        Args:
            counts: lengths of runs, the first one unmarked.
            size: (height, width) of the whole mask.
            by_columns: the runs go down the columns.
            at: column and row of the first pixel in the picture.

        Raises:
            Flaw: the runs do not add up to the mask, or mark nothing.
        """
        lines, wide = size[::-1] if by_columns else size
        ends, marked = np.cumsum(counts), np.flatnonzero(counts[1::2]) * 2 + 1
        if not len(marked) or ends[-1] != lines * wide:
            decode_runs(counts, (lines, wide))
            raise Flaw("covers no pixel of its picture")
        start, end = int(ends[marked[0] - 1]), int(ends[marked[-1]])
        first, last = start // wide, (end - 1) // wide + 1
        between = counts[marked[0] : marked[-1] + 1]
        runs = np.concatenate([[start - first * wide], between, [last * wide - end]])
        mask = decode_runs(runs, (last - first, wide))
        return cls(at[0] + first, at[1], mask.T) if by_columns else cls(at[0], at[1] + first, mask)

    def cropped(self) -> "PlacedMask":
        """Return a copy of the box around the marked pixels; Flaw if there are none."""
        rows, columns = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        if not len(rows):
            raise Flaw("covers no pixel of its picture")
        part = self.mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
        return PlacedMask(self.left + int(columns[0]), self.top + int(rows[0]), part)

    def rasterise(self, size: Size, scale: Scale) -> "PlacedMask":
        height, width = self.mask.shape
        corners = np.array([[self.left, self.top], [self.left + width, self.top + height]]) * scale
        left, top, right, bottom = _box(corners, size, margin=0)
        if scale == (1, 1):
            rows_and_columns = np.s_[top - self.top : bottom - self.top, left - self.left : right - self.left]
            return PlacedMask(left, top, self.mask[rows_and_columns])
        columns = np.clip(((np.arange(left, right) + 0.5) / scale[0]).astype(int) - self.left, 0, width - 1)
        rows = np.clip(((np.arange(top, bottom) + 0.5) / scale[1]).astype(int) - self.top, 0, height - 1)
        return PlacedMask(left, top, self.mask[rows[:, None], columns])


class Geometry(Protocol):
    """A shape in pixels of the file: `PlacedMask` or one of the classes below."""

    def rasterise(self, size: Size, scale: Scale) -> PlacedMask:
        """Return the mask of the shape in a picture of (height, width) `size`.

        Raises:
            Flaw: the shape cannot be rasterised.
        """
        ...


@dataclass(frozen=True, eq=False)
class Outline:
    """The union of what closed rings enclose.

    Attributes:
        rings: (n, 2) points (x, y) of each ring.
        paint: "edges": pixels whose centres lie inside (CVAT, Label Studio); "coco": the pixels that pycocotools
            sets; "centres": points are centres of pixels, and the border is painted (labelme, OpenCV).
    """

    rings: Sequence[Ring]
    paint: Paint = "edges"

    def rasterise(self, size: Size, scale: Scale) -> PlacedMask:
        rings = [ring * scale for ring in self.rings]
        check_rings(rings, size)
        left, top, right, bottom = _box(np.concatenate(rings), size)
        if self.paint == "coco":
            return PlacedMask(left, top, as_pycocotools(rings, size)[top:bottom, left:right])
        moved, local = [ring - (left, top) for ring in rings], (bottom - top, right - left)
        painted = self.paint == "centres"
        return PlacedMask(left, top, np.logical_or.reduce([filled([r], local, centres=painted) for r in moved]))


@dataclass(frozen=True, eq=False)
class Ellipse:
    """An ellipse, turned clockwise by `degrees` around its centre (x, y); `painted`: with the border, by Pillow."""

    centre: tuple[float, float]
    radii: tuple[float, float]
    degrees: float = 0
    painted: bool = False

    def rasterise(self, size: Size, scale: Scale) -> PlacedMask:
        (x, y), (a, b) = np.multiply(self.centre, scale), np.abs(self.radii)
        angle = math.radians(self.degrees)
        cos, sin = math.cos(angle), math.sin(angle)
        reach = np.multiply((math.hypot(a * cos, b * sin), math.hypot(a * sin, b * cos)), scale)
        middle = np.array([x, y])
        left, top, right, bottom = _box(np.array([middle - reach, middle + reach]), size)
        if self.painted:
            canvas = Image.new("1", (right - left, bottom - top))
            corners = [x - reach[0] - left, y - reach[1] - top, x + reach[0] - left, y + reach[1] - top]
            ImageDraw.Draw(canvas).ellipse(corners, fill=1, outline=1)
            return PlacedMask(left, top, np.array(canvas))
        u = (np.arange(left, right) + 0.5 - x) / scale[0]
        v = ((np.arange(top, bottom) + 0.5 - y) / scale[1])[:, None]
        along, across = u * cos + v * sin, v * cos - u * sin
        if not (a and b):
            raise Flaw("has a radius of 0")
        return PlacedMask(left, top, (along / a) ** 2 + (across / b) ** 2 <= 1)


@dataclass(frozen=True, eq=False)
class LazyGeometry:
    """A shape that `make` decodes when it is rasterised, so that one mask of a picture at a time is in memory."""

    make: Callable[[], Geometry]

    def rasterise(self, size: Size, scale: Scale) -> PlacedMask:
        return self.make().rasterise(size, scale)


def check_rings(rings: Sequence[Ring], size: Size) -> None:
    """Refuse rings that are costly to rasterise; Flaw if they lie far outside their picture, or are very long."""
    _check_extent(np.concatenate(rings), size)
    if not (length := sum(_length(ring) for ring in rings)) <= _LONG:
        raise Flaw(f"has an outline of {length:,.0f} pixels, which no object in a picture has")


def box_ring(left: float, top: float, right: float, bottom: float) -> Float[np.ndarray, "4 2"]:
    """Return the corners of a box."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def turned(ring: Ring, degrees: float, about: Shaped[np.ndarray, "2"]) -> Ring:
    """Turn points clockwise, as seen on a picture, around the point `about`."""
    angle = math.radians(degrees)
    matrix = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return (ring - about) @ matrix + about


def joined(parts: Iterable[PlacedMask]) -> PlacedMask:
    """Return the union of masks."""
    some = list(parts)
    if len(some) == 1:
        return some[0]
    left, top = min(part.left for part in some), min(part.top for part in some)
    right = max(part.left + part.mask.shape[1] for part in some)
    bottom = max(part.top + part.mask.shape[0] for part in some)
    mask = np.zeros((bottom - top, right - left), bool)
    for part in some:
        (y, x), (height, width) = (part.top - top, part.left - left), part.mask.shape
        mask[y : y + height, x : x + width] |= part.mask
    return PlacedMask(left, top, mask)


def decode_runs(counts: Shaped[np.ndarray, "n"], size: Size) -> Bool[np.ndarray, "H W"]:
    """Return the mask of run lengths, row by row, the first one unmarked; Flaw if they do not add up to the mask."""
    if (counts < 0).any() or counts.sum() != size[0] * size[1]:
        raise Flaw(f"has runs of {counts.sum():,} pixels, its mask has {size[1]} x {size[0]}")
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(size)


def _length(ring: Ring) -> float:
    """Return the pixels that painting a ring costs: of each segment the longer of width and height."""
    return float(np.abs(ring - np.roll(ring, 1, 0)).max(1).sum())


def _check_extent(points: Float[np.ndarray, "n 2"], size: Size) -> None:
    if not np.abs(points).max() <= (1 + _FAR) * max(size):  # so that NaN fails
        raise Flaw(f"lies far outside its picture of {size[1]} x {size[0]} pixels")


def _box(points: Float[np.ndarray, "n 2"], size: Size, margin: int = 2) -> tuple[int, int, int, int]:
    """Return the box (x0, y0, x1, y1) that holds points, with a margin for the painted border."""
    _check_extent(points, size)
    low = np.clip(np.floor(points.min(0)).astype(int) - margin, 0, None)
    high = np.clip(np.ceil(points.max(0)).astype(int) + margin, None, size[::-1])
    if (high <= low).any():
        raise Flaw("lies outside its picture")
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def as_pycocotools(rings: Sequence[Ring], size: Size, extra: str = "export") -> Bool[np.ndarray, "H W"]:
    """Return the mask that pycocotools makes of rings that pass `check_rings`.

    The mask is as large as the picture: in a smaller one, a point just between two pixels may fall to the other pixel.

    Args:
        extra: extra of this package that installs pycocotools.

    Raises:
        MissingExtraError: pycocotools is not installed.
    """
    try:
        from pycocotools import mask as rle
    except ImportError as error:
        raise MissingExtraError("reading polygons of COCO annotations", extra) from error
    encoded = rle.frPyObjects([ring.ravel().tolist() for ring in rings], *size)
    decoded: np.ndarray = rle.decode(rle.merge(encoded))
    return decoded.astype(bool)

"""What an entry of the corpus is, and masks by means that are none of ours: Pillow, pycocotools, shapely, OpenCV."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

SIZE = (60, 80)  #: (height, width) of the corpus's pictures
BOX = (10, 8, 50, 40)  #: (left, top, right, bottom), in pixels' edges
OTHER = (52, 42, 76, 56)

Mask = np.ndarray
Ring = Sequence[tuple[float, float]]


@dataclass(frozen=True, eq=False)
class Entry:
    """One file or folder as people have it, and what is right.

    Attributes:
        name: what is special about it.
        format: whose it is, as `--from` calls it.
        write: makes it in a folder and returns what is to be read; pictures lie there too.
        objects: how many objects the file has, whatever becomes of them.
        masks: for each picture's result name what it shows, in order: (label, mask). None: reading it or leaving it out
            are both right, if nothing vanishes.
        left_out: for each kind (a pattern) how many.
        notes: patterns that the reading's notes must have, one each.
        joined: how many objects are parts of others.
        repeated: how many objects more there are than the file has: regions with several labels, tracks over frames.
        pieces: how many entries are left out that are no object of their own, such as a ring of a polygon.
        images: where the pictures are, below the folder, if not beside the file.
        refused: pattern of the error, for what cannot be read at all; "" if it may be refused, or read.
        least: IoU, where the tools round differently.
        read: whether another program's reader of the format can open it too (`tests/long`).
    """

    name: str
    format: str
    write: Callable[[Path], Path]
    objects: int
    masks: Mapping[str, Sequence[tuple[str, Mask]]] | None
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()
    joined: int = 0
    repeated: int = 0
    pieces: int = 0
    images: str | None = None
    refused: str | None = None
    least: float = 1.0
    read: bool = False

    def __str__(self) -> str:
        return f"{self.format}: {self.name}"


def photo(path: Path, size: tuple[int, int] = SIZE, **options: Any) -> Path:
    """A picture of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    Image.fromarray(noise).save(path, **options)
    return path


def text(path: Path, content: str, encoding: str = "utf-8") -> Path:
    """Exactly these characters, whatever the system's line ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode(encoding))
    return path


def written(path: Path, content: Any, encoding: str = "utf-8") -> Path:
    """JSON."""
    return text(path, json.dumps(content), encoding)


def whole(box: tuple[int, int, int, int] = BOX, size: tuple[int, int] = SIZE) -> Mask:
    """The pixels between four edges."""
    mask = np.zeros(size, bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def corners(box: tuple[float, float, float, float] = BOX) -> list[tuple[float, float]]:
    """Of a box, clockwise from the top left."""
    left, top, right, bottom = box
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def turned(ring: Ring, degrees: float, about: tuple[float, float]) -> list[tuple[float, float]]:
    """Clockwise on the screen, where y points down."""
    (x0, y0), cos, sin = about, math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return [(x0 + (x - x0) * cos - (y - y0) * sin, y0 + (x - x0) * sin + (y - y0) * cos) for x, y in ring]


def inside(ring: Ring, size: tuple[int, int] = SIZE) -> Mask:
    """Pixels whose centres lie in a ring, for tools that count from pixels' edges: by shapely."""
    import shapely

    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    found: Mask = shapely.contains_xy(shapely.Polygon(ring), x, y)
    return found


def oval(
    centre: tuple[float, float], radii: tuple[float, float], degrees: float = 0, size: tuple[int, int] = SIZE
) -> Mask:
    """Pixels whose centres lie in an ellipse that is turned clockwise about its centre."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    along, across = (x - centre[0]) * cos + (y - centre[1]) * sin, -(x - centre[0]) * sin + (y - centre[1]) * cos
    found: Mask = (along / radii[0]) ** 2 + (across / radii[1]) ** 2 <= 1
    return found


def painted(kind: str, points: Ring, size: tuple[int, int] = SIZE) -> Mask:
    """As labelme.utils.shape_to_mask, which paints the border too: by Pillow."""
    canvas = Image.new("L", size[::-1])
    draw = ImageDraw.Draw(canvas)
    if kind == "circle":
        (x, y), radius = points[0], math.dist(*points)
        draw.ellipse(((x - radius, y - radius), (x + radius, y + radius)), outline=1, fill=1)
    elif kind == "rectangle":
        xs, ys = zip(*points, strict=True)
        draw.rectangle(((min(xs), min(ys)), (max(xs), max(ys))), outline=1, fill=1)
    else:
        draw.polygon([tuple(point) for point in points], outline=1, fill=1)
    return np.asarray(canvas) > 0


def floored(ring: Ring, size: tuple[int, int] = SIZE) -> Mask:
    """A ring in shares of width and height as ultralytics paints it: by OpenCV."""
    import cv2

    canvas = np.zeros(size, np.uint8)
    cv2.fillPoly(canvas, [(np.array(ring) * size[::-1]).astype(np.int32)], 1)
    return canvas > 0


def rle(mask: Mask, compressed: bool = True) -> dict[str, Any]:
    """COCO's runs, by pycocotools or counted column by column."""
    if compressed:
        from pycocotools import mask as codec

        code = codec.encode(np.asfortranarray(mask, np.uint8))
        return {"size": list(mask.shape), "counts": code["counts"].decode()}
    flat = mask.ravel(order="F")
    edges = [0, *(np.flatnonzero(np.diff(flat)) + 1).tolist(), flat.size]
    runs = np.diff(edges).tolist()
    return {"size": list(mask.shape), "counts": [0, *runs] if flat[0] else runs}


def by_coco(segmentation: Any, size: tuple[int, int] = SIZE) -> Mask:
    """By pycocotools."""
    from pycocotools import mask as codec

    found: Mask = codec.decode(codec.merge(codec.frPyObjects(segmentation, *size))).astype(bool)
    return found


def shares(ring: Ring, size: tuple[int, int] = SIZE) -> list[tuple[float, float]]:
    """Of width and height, as YOLO counts."""
    return [(x / size[1], y / size[0]) for x, y in ring]


def percent(ring: Ring, size: tuple[int, int] = SIZE) -> list[list[float]]:
    """Of width and height, as Label Studio counts."""
    return [[100 * x, 100 * y] for x, y in shares(ring, size)]


def flat(ring: Ring) -> list[float]:
    """x, y, x, y, ..."""
    return [value for point in ring for value in point]


def joined(masks: Iterable[Mask]) -> Mask:
    """What any of them marks."""
    union: Mask = np.logical_or.reduce(list(masks))
    return union

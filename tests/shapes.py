"""Objects on pictures, with everything that annotation formats stumble over."""

from pathlib import Path

import numpy as np
from PIL import Image

from insid3.batch.formats.marked import Marked
from insid3.imaging.components import Instance
from insid3.label_map import Label

LABELS = [Label("cat", 7, (230, 159, 0)), Label('two words, "quoted" & <odd>', 3, (1, 2, 250))]
SIZE = (90, 120)


def masks() -> dict[str, np.ndarray]:
    """By name; those called ring have a hole, pair is in two parts."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]

    def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
        return (y >= top) & (y < bottom) & (x >= left) & (x < right)

    def disc(cy: int, cx: int, radius: float) -> np.ndarray:
        return np.hypot(y - cy, x - cx) <= radius

    return {
        "box": box(4, 6, 44, 46),
        "disc": disc(60, 90, 24),
        "ring": disc(60, 30, 20) & ~disc(60, 30, 9),
        "square ring": box(10, 60, 40, 100) & ~box(20, 70, 30, 90),
        "pair": box(70, 70, 80, 84) | box(50, 60, 60, 66),
        "border": box(0, 0, 30, 12),
        "corner": box(84, 100, 90, 120),
        "small disc": disc(20, 110, 4),
        "three": box(50, 110, 53, 113),
        "line": box(86, 10, 87, 40),
        "column": box(46, 50, 70, 51),
        "pixel": box(88, 60, 89, 61),
        "ell": box(46, 1, 70, 5) | box(66, 1, 70, 20),
        "whole": box(0, 0, *SIZE),
    }


ROUND = ("ring", "square ring", "pair")  #: with holes, or in parts


def marked(folder: Path, *names: str) -> list[Marked]:
    """Three pictures on disk, one in a folder, one with nothing on it; each shape an object of its own picture's."""
    shapes = masks()
    chosen = names or ("box", "disc", "square ring", "small disc")
    pictures = []
    for path, name, some in (
        ("photos/a.png", "a", chosen[::2]),
        ("photos/sub/b.b.jpg", "sub/b.b", chosen[1::2]),
        ("photos/none.png", "none", ()),
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), np.uint8)
        Image.fromarray(noise).save(folder / path)
        objects = [Instance.from_mask(shapes[shape], i % 2, 0.25 * (i % 4) + 0.2) for i, shape in enumerate(some)]
        pictures.append(Marked(folder / path, name, SIZE, tuple(objects)))
    return pictures


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))

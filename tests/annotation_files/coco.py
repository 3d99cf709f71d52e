"""COCO instances, and lists of results."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from annotation_files.table import (
    BOX,
    OTHER,
    SIZE,
    Entry,
    Mask,
    by_coco,
    corners,
    flat,
    photo,
    rle,
    whole,
    written,
)

RING = flat(corners())
TRIANGLE = [60.0, 10.0, 75.0, 30.0, 55.0, 28.0]
CATEGORIES = [{"id": 1, "name": "cat", "supercategory": ""}, {"id": 2, "name": "dog", "supercategory": ""}]
IMAGE = {"id": 1, "file_name": "a.png", "height": SIZE[0], "width": SIZE[1]}


def annotation(segmentation: Any = None, category: Any = 1, image: Any = 1, **more: Any) -> dict[str, Any]:
    """A value of None that is given leaves the key out."""
    left, top, right, bottom = BOX
    head = {
        "id": 7,
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        "bbox": [left, top, right - left, bottom - top],
        "area": (right - left) * (bottom - top),
        "iscrowd": 0,
    }
    return {key: value for key, value in (head | more).items() if key not in more or more[key] is not None}


def one(
    name: str,
    annotations: Sequence[Any],
    masks: Mapping[str, Sequence[tuple[str, Mask]]] | None,
    *,
    pictures: Sequence[str] = ("a.png",),
    size: tuple[int, int] = SIZE,
    file: str = "instances.json",
    encoding: str = "utf-8",
    of_file: Mapping[str, Any] | None = None,
    **more: Any,
) -> Entry:
    def write(folder: Path) -> Path:
        for picture in pictures:
            photo(folder / picture, size)
        numbered = [
            {**entry, "id": i} if isinstance(entry, dict) and "id" in entry else entry
            for i, entry in enumerate(annotations)
        ]
        content = {"images": [IMAGE], "categories": CATEGORIES, "annotations": numbered} | dict(of_file or {})
        return written(folder / file, {key: value for key, value in content.items() if value is not None}, encoding)

    more.setdefault("objects", len(annotations))
    return Entry(name, "coco", write, masks=masks, **more)


def disc() -> Mask:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    found: Mask = np.hypot(y - 30, x - 30) < 15
    return found


GOOD = {"a": [("cat", whole())]}
BOTH = {"a": [("cat", whole()), ("dog", by_coco([TRIANGLE]))]}
FIRST, LAST = annotation([RING]), annotation([TRIANGLE], 2)
# What a segmentation can be that is none, and what that is called.
BAD: dict[str, tuple[Any, str]] = {
    "a box without a segmentation": (annotation(segmentation=[]), "box"),
    "a box, segmentation null": (annotation() | {"segmentation": None}, "box"),
    "a box, segmentation {}": (annotation({}), "box|"),
    "[[]]": (annotation([[]]), ""),
    "[[], []]": (annotation([[], []]), ""),
    "4 numbers, which pycocotools takes for a box": (annotation([[10, 8, 40, 30]]), ""),
    "2 numbers": (annotation([[10, 8]]), ""),
    "an odd number of coordinates": (annotation([[*TRIANGLE, 1]]), ""),
    "nan": (annotation([[float("nan"), *TRIANGLE[1:]]]), ""),
    "infinite": (annotation([[float("inf"), *TRIANGLE[1:]]]), ""),
    "so far that no program can draw it": (annotation([[1e30, 1e30, 2e30, 1e30, 2e30, 2e30]]), ""),
    "words": (annotation([["a", "b", "c", "d", "e", "f"]]), ""),
    "text": (annotation("[[1, 2, 3, 4, 5, 6]]"), ""),
    "a number": (annotation(3), ""),
    "runs of another size": (annotation(rle(np.ones((30, 40), bool))), ""),
    "runs that are cut short": (annotation({"size": [*SIZE], "counts": [10, 5]}), ""),
    "runs that are too many": (annotation({"size": [*SIZE], "counts": [0, 10**6]}), ""),
    "runs below 0": (annotation({"size": [*SIZE], "counts": [-1, 4801]}), ""),
    "runs that are no numbers": (annotation({"size": [*SIZE], "counts": ["a"]}), ""),
    "runs of no code": (annotation({"size": [*SIZE], "counts": "\x7f\x7fnothing"}), ""),
    "runs without counts": (annotation({"size": [*SIZE]}), ""),
    "runs without a pixel": (annotation(rle(np.zeros(SIZE, bool))), ""),
    "beyond the picture": (annotation([[200, 200, 220, 200, 220, 220]]), ""),
    "an unknown picture": (annotation([RING], image=99), "picture|image"),
    "no picture": (annotation([RING], image_id=None), ""),
    "an unknown category": (annotation([RING], 99), "annotation|object|category|class"),
    "no category": (annotation([RING], category_id=None), ""),
    "no annotation": (None, ""),
    "a list as id": (annotation([RING], [1]), ""),
}

ENTRIES = [
    one("polygon", [FIRST], GOOD, read=True),
    one("two categories, in the file's order", [LAST, FIRST], {"a": BOTH["a"][::-1]}, read=True),
    one(
        "overlaps keep the file's order",
        [FIRST, annotation([flat(corners((20, 20, 60, 50)))], 2), annotation([flat(corners((5, 5, 25, 25)))])],
        {"a": [("cat", whole()), ("dog", whole((20, 20, 60, 50))), ("cat", whole((5, 5, 25, 25)))]},
        read=True,
    ),
    one(
        "several polygons are one object",
        [annotation([RING, flat(corners(OTHER))])],
        {"a": [("cat", whole() | whole(OTHER))]},
        read=True,
    ),
    one(
        "at fractions of pixels",
        [annotation([[10.3, 8.7, 49.6, 12.2, 44.1, 39.9]])],
        {"a": [("cat", by_coco([[10.3, 8.7, 49.6, 12.2, 44.1, 39.9]]))]},
        read=True,
    ),
    one(
        "partly outside",
        [annotation([[-20, -20, 30, -20, 30, 30, -20, 30]])],
        {"a": [("cat", whole((0, 0, 30, 30)))]},
        read=True,
        least=0.9,
    ),
    one("compressed runs", [annotation(rle(disc()))], {"a": [("cat", disc())]}, read=True),
    one("runs that are not compressed", [annotation(rle(disc(), False))], {"a": [("cat", disc())]}, read=True),
    one("a ring of 4 numbers beside a polygon", [annotation([[10, 8, 40, 30], TRIANGLE])], None, pieces=1),
    one("a flat list", [FIRST, annotation(TRIANGLE, 2)], None),
    *(
        one(f"one bad annotation: {name}", [FIRST, bad, LAST], BOTH, left_out={kind: 1})
        for name, (bad, kind) in BAD.items()
    ),
    one("boxes alone", [annotation([]), annotation(segmentation=None)], {}, refused="box"),
    one("captions", [{"id": 1, "image_id": 1, "caption": "a cat"}], {}, refused=""),
    one("no annotations at all", [], {"a": []}, of_file={"annotations": None}),
    one("no categories at all", [FIRST], None, of_file={"categories": None}, refused=""),
    one("key points with segmentation", [annotation([RING], keypoints=[1, 1, 2], num_keypoints=1)], GOOD),
    one("no ids of annotations, no area, no box", [{"image_id": 1, "category_id": 1, "segmentation": [RING]}], GOOD),
    one(
        "a crowd",
        [FIRST, annotation(rle(disc(), False), iscrowd=1)],
        {"a": [("cat", whole()), ("cat", disc())]},
        read=True,
    ),
]

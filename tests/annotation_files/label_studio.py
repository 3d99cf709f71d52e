"""Label Studio: tasks with annotations, completions and predictions."""

import itertools
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from annotation_files.table import (
    OTHER,
    SIZE,
    Entry,
    Mask,
    Ring,
    corners,
    inside,
    oval,
    percent,
    photo,
    turned,
    whole,
    written,
)

TRIANGLE = [(60.0, 10.0), (75.0, 30.0), (55.0, 28.0)]
GOOD = {"a": [("cat", whole())]}
BOTH = {"a": [("cat", whole()), ("dog", inside(TRIANGLE))]}
_numbers = itertools.count(1)
NAMED = {"from_name": "tag", "to_name": "image", "image_rotation": 0, "origin": "manual"}


def code(mask: Mask) -> list[int]:
    """The brush's code in its simplest form: runs of at most 2 ** 16 equal bytes, four to a pixel.

    Its decoders are the SDK's `decode_rle`, in the long tests, and the labelling page's own.
    """
    bits = [f"{mask.size * 4:032b}", f"{7:05b}", *(f"{size - 1:04b}" for size in (3, 4, 8, 16))]
    flat = mask.ravel()
    edges = [0, *(np.flatnonzero(np.diff(flat)) + 1).tolist(), flat.size]
    for start, end in pairwise(edges):
        left = (end - start) * 4
        while left:
            run = min(left, 2**16)
            bits.append(f"111{run - 1:016b}{255 if flat[start] else 0:08b}")
            left -= run
    stream = "".join(bits)
    stream += "0" * (-len(stream) % 8)
    return [int(stream[i : i + 8], 2) for i in range(0, len(stream), 8)]


def region(kind: str, value: Mapping[str, Any], label: Any = "cat", size: tuple[int, int] = SIZE, **more: Any) -> Any:
    """A value of None that is given leaves the key out."""
    head = NAMED | {
        "id": f"region{next(_numbers)}",
        "type": f"{kind}labels",
        "original_width": size[1],
        "original_height": size[0],
    }
    labels = {} if label is None else {f"{kind}labels": label if isinstance(label, list) else [label]}
    entry = head | {"value": dict(value) | labels} | more
    return {key: content for key, content in entry.items() if content is not None}


def polygon(ring: Ring, label: Any = "cat", **more: Any) -> Any:
    return region("polygon", {"points": percent(ring), "closed": True}, label, **more)


def rectangle(edges: tuple[float, float, float, float], label: Any = "cat", rotation: float = 0, **more: Any) -> Any:
    (x, y), (right, bottom) = percent([edges[:2], edges[2:]])
    return region(
        "rectangle", {"x": x, "y": y, "width": right - x, "height": bottom - y, "rotation": rotation}, label, **more
    )


def ellipse(centre: tuple[float, float], radii: tuple[float, float], rotation: float = 0) -> Any:
    (x, y), (rx, ry) = percent([centre, radii])
    return region("ellipse", {"x": x, "y": y, "radiusX": rx, "radiusY": ry, "rotation": rotation})


def brush(mask: Mask, label: Any = "cat", **more: Any) -> Any:
    return region("brush", {"format": "rle", "rle": code(mask)}, label, **more)


def key_point(label: str = "cat") -> Any:
    return region("keypoint", {"x": 10, "y": 10, "width": 0.5}, label)


def accepted(*results: Any, **more: Any) -> dict[str, Any]:
    return {"id": 1, "completed_by": 1, "was_cancelled": False, "result": list(results)} | more


def cancelled(*results: Any) -> dict[str, Any]:
    return accepted(*results, was_cancelled=True)


def task(*annotations: Any, image: str = "a.png", predictions: Sequence[Any] = (), **more: Any) -> dict[str, Any]:
    head = {"id": 1, "annotations": list(annotations), "predictions": list(predictions), "data": {"image": image}}
    return head | more


def one(
    name: str,
    objects: int,
    tasks: Any,
    masks: Mapping[str, Sequence[tuple[str, Mask]]] | None,
    *,
    pictures: Sequence[str] = ("a.png",),
    size: tuple[int, int] = SIZE,
    file: str = "tasks.json",
    encoding: str = "utf-8",
    alone: bool = False,
    **more: Any,
) -> Entry:
    """tasks: one, or several; `alone`: one that stands in no list."""

    def write(folder: Path) -> Path:
        for picture in pictures:
            photo(folder / picture, size)
        return written(folder / file, [tasks] if isinstance(tasks, dict) and not alone else tasks, encoding)

    return Entry(name, "label-studio", write, objects, masks, **more)


DISC = oval((30, 30), (20, 12))
RECTANGLE = rectangle((10, 8, 50, 40))
LAST = polygon(TRIANGLE, "dog")
BAD = {
    "a polygon of 2 points": (polygon([(1, 1), (20, 20)]), ""),
    "a polygon without points": (region("polygon", {"points": []}), ""),
    "a polygon, points null": (region("polygon", {"points": None}), ""),
    "a polygon with half a point": (region("polygon", {"points": [[1, 1], [50, 1], [50]]}), ""),
    "nan": (region("polygon", {"points": [[float("nan"), 1], [50, 1], [50, 50]]}), ""),
    "words": (region("polygon", {"points": [["a", 1], [50, 1], [50, 50]]}), ""),
    "no label": (polygon(TRIANGLE, None), "label|"),
    "an empty list of labels": (polygon(TRIANGLE, []), "label|"),
    "a brush without a label": (brush(DISC, None), "label|"),
    "a rectangle without a width": (region("rectangle", {"x": 1, "y": 1, "height": 5}), ""),
    "a rectangle of no height": (region("rectangle", {"x": 1, "y": 1, "width": 30, "height": 0}), ""),
    "an ellipse without radii": (region("ellipse", {"x": 30, "y": 30}), ""),
    "a brush whose code is cut short": (region("brush", {"format": "rle", "rle": code(DISC)[:-9]}), ""),
    "a brush whose code is of another picture": (region("brush", {"format": "rle", "rle": code(DISC[:9])}), ""),
    "a brush whose code is no number": (region("brush", {"format": "rle", "rle": ["a"]}), ""),
    "a brush whose code goes beyond bytes": (region("brush", {"format": "rle", "rle": [999, -1, *code(DISC)]}), ""),
    "a brush without code": (region("brush", {"format": "rle", "rle": []}), ""),
    "a brush that marks nothing": (brush(np.zeros(SIZE, bool)), ""),
    "a key point": (key_point(), "point"),
    "beyond the picture": (polygon([(200, 200), (220, 200), (220, 220)]), ""),
    "no value": ({"id": "r", "type": "polygonlabels", "original_width": 80, "original_height": 60}, ""),
    "no result": (None, ""),
}


def apart(shape: str, value: Mapping[str, Any], number: str) -> list[Any]:
    """`<Labels>` beside `<Rectangle>` and the like: the shape and its label are results of one id."""
    bare = region(shape, value, None, id=number, type=shape, from_name="shape")
    return [bare, bare | {"type": "labels", "from_name": "label", "value": {**value, "labels": ["cat"]}}]


BOX_VALUE = {key: value for key, value in RECTANGLE["value"].items() if key != "rectanglelabels"}
_CHOICE = NAMED | {"id": "c", "type": "choices", "value": {"choices": ["good"]}}
_RELATION = {"type": "relation", "from_id": "r", "to_id": "s", "direction": "right"}
_TURNED = turned(corners((30, 10, 60, 30)), 30, (30, 10))

ENTRIES = [
    one("polygon", 1, task(accepted(polygon(corners()))), GOOD, read=True),
    one("rectangle", 1, task(accepted(RECTANGLE)), GOOD, notes=["rectangle|box"]),
    one(
        "rectangle that is turned about its first corner",
        1,
        task(accepted(rectangle((30, 10, 60, 30), rotation=30))),
        {"a": [("cat", inside(_TURNED))]},
        least=0.99,
        read=True,
    ),
    one("ellipse", 1, task(accepted(ellipse((30, 30), (20, 12)))), {"a": [("cat", DISC)]}, least=0.98),
    one(
        "ellipse that is turned",
        1,
        task(accepted(ellipse((36, 30), (20, 9), 40))),
        {"a": [("cat", oval((36, 30), (20, 9), 40))]},
        least=0.98,
    ),
    one("brush", 1, task(accepted(brush(DISC))), {"a": [("cat", DISC)]}, read=True),
    one(
        "all in one, in the file's order",
        4,
        task(accepted(LAST, brush(DISC), RECTANGLE, ellipse((30, 30), (20, 12)))),
        {"a": [("dog", inside(TRIANGLE)), ("cat", DISC), ("cat", whole()), ("cat", DISC)]},
        least=0.98,
    ),
    one(
        "a region with two labels is two objects",
        1,
        task(accepted(rectangle((10, 8, 50, 40), ["cat", "dog"]))),
        {"a": [("cat", whole()), ("dog", whole())]},
        repeated=1,
    ),
    one("labels apart, rectangle", 1, task(accepted(*apart("rectangle", BOX_VALUE, "x"))), GOOD),
    one("labels apart, polygon", 1, task(accepted(*apart("polygon", {"points": percent(corners())}, "x"))), GOOD),
    one(
        "labels apart, brush, label first",
        1,
        task(accepted(*apart("brush", {"format": "rle", "rle": code(whole())}, "x")[::-1])),
        GOOD,
    ),
    one(
        "two regions with labels apart",
        2,
        task(
            accepted(*apart("rectangle", BOX_VALUE, "x"), *apart("polygon", {"points": percent(corners(OTHER))}, "y"))
        ),
        {"a": [("cat", whole()), ("cat", whole(OTHER))]},
    ),
    one(
        "regions of one id, each with its own label",
        3,
        task(accepted(RECTANGLE | {"id": "x"}, LAST | {"id": "x"}, polygon(corners(OTHER), id="x"))),
        {"a": [*BOTH["a"], ("cat", whole(OTHER))]},
    ),
    one(
        "regions without ids",
        2,
        task(accepted(RECTANGLE | {"id": None}, polygon(TRIANGLE, "dog", id=None))),
        BOTH,
    ),
    one(
        "choices, texts and relations beside regions",
        1,
        task(
            accepted(RECTANGLE, _CHOICE, _RELATION, NAMED | {"id": "t", "type": "textarea", "value": {"text": ["x"]}})
        ),
        GOOD,
    ),
    one("key points alone", 1, task(accepted(key_point())), {}, refused="point"),
    *(
        one(f"one bad region: {name}", 3, task(accepted(RECTANGLE, bad, LAST)), BOTH, left_out={kind: 1})
        for name, (bad, kind) in BAD.items()
    ),
    one(
        "a mask as a picture, as newer versions have it",
        2,
        task(accepted(RECTANGLE, region("bitmask", {"imageDataURL": "data:image/png;base64,AAAA"}))),
        None,
    ),
]

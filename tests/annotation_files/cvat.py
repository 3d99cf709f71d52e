"""CVAT for images 1.1 and CVAT for video 1.1."""

from collections.abc import Mapping, Sequence
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
    photo,
    text,
    turned,
    whole,
)

TRIANGLE = [(60.0, 10.0), (75.0, 30.0), (55.0, 28.0)]
BOX = '<box label="cat" xtl="10.00" ytl="8.00" xbr="50.00" ybr="40.00"{more}/>'
LABELS = "<labels><label><name>cat</name><color>#d33</color></label><label><name>dog</name></label></labels>"


def points(ring: Ring) -> str:
    return ";".join(f"{x:.2f},{y:.2f}" for x, y in ring)


def polygon(ring: Ring, label: str = "cat", **more: Any) -> str:
    attributes = "".join(f' {key}="{value}"' for key, value in more.items())
    return f'<polygon label="{label}" source="manual" occluded="0" points="{points(ring)}"{attributes}/>'


def box(edges: tuple[float, float, float, float] = (10, 8, 50, 40), label: str = "cat", **more: Any) -> str:
    named = dict(zip(("xtl", "ytl", "xbr", "ybr"), edges, strict=True)) | more
    return f'<box label="{label}" occluded="0" ' + " ".join(f'{key}="{value}"' for key, value in named.items()) + "/>"


def mask(bitmap: Mask, left: int, top: int, **more: Any) -> str:
    """Runs as the annotation guide has it: row by row, beginning with what is not marked."""
    runs, now = [0], False
    for value in bitmap.ravel().tolist():
        if value == now:
            runs[-1] += 1
        else:
            runs.append(1)
            now = value
    height, width = bitmap.shape
    named = {"rle": ", ".join(map(str, runs)), "left": left, "top": top, "width": width, "height": height} | more
    return '<mask label="cat" ' + " ".join(f'{key}="{value}"' for key, value in named.items()) + "/>"


def one(
    name: str,
    objects: int,
    shapes: str,
    masks: Mapping[str, Sequence[tuple[str, Mask]]] | None,
    *,
    of_image: str = f'width="{SIZE[1]}" height="{SIZE[0]}"',
    image: str = "a.png",
    pictures: Sequence[str] = ("a.png",),
    size: tuple[int, int] = SIZE,
    others: str = "",
    labels: str = LABELS,
    encoding: str = "utf-8",
    file: str = "annotations.xml",
    **more: Any,
) -> Entry:
    def write(folder: Path) -> Path:
        for picture in pictures:
            photo(folder / picture, size)
        head = f"<version>1.1</version><meta><task>{labels}</task></meta>"
        body = f'<image id="0" name="{image}" {of_image}>{shapes}</image>{others}'
        declared = "utf-8" if encoding == "utf-8-sig" else encoding
        content = f'<?xml version="1.0" encoding="{declared}"?>\n<annotations>{head}{body}</annotations>\n'
        return text(folder / file, content, encoding)

    return Entry(name, "cvat", write, objects, masks, **more)


DISC = oval((20, 15), (14, 10), size=(30, 40))
PLACED = np.zeros(SIZE, bool)
PLACED[8:38, 10:50] = DISC
GOOD = {"a": [("cat", whole())]}
BOTH = {"a": [("cat", whole()), ("dog", inside(TRIANGLE))]}
B = '<image id="1" name="b.png" width="80" height="60">' + polygon(TRIANGLE, "dog") + "</image>"
ONLY_B = {"b": [("dog", inside(TRIANGLE))]}
BAD = {
    "a polygon of 2 points": (polygon([(1, 1), (20, 20)]), ""),
    "a polygon without points": ('<polygon label="cat" points=""/>', ""),
    "a polygon without the attribute": ('<polygon label="cat"/>', ""),
    "nan": ('<polygon label="cat" points="nan,1;20,5;1,20"/>', ""),
    "infinite": ('<polygon label="cat" points="inf,1;20,5;1,20"/>', ""),
    "words": ('<polygon label="cat" points="a,b;c,d;e,f"/>', ""),
    "half a point": ('<polygon label="cat" points="1,1;20,5;1"/>', ""),
    "no label": (polygon(TRIANGLE).replace('label="cat" ', ""), "label|"),
    "a box without an edge": ('<box label="cat" xtl="1" ytl="1" xbr="20"/>', ""),
    "a box without width": (box((10, 8, 10, 40)), ""),
    "a mask whose runs are too few": (mask(DISC, 10, 8, width=41), "mask"),
    "a mask whose runs are too many": (mask(DISC, 10, 8, width=10), "mask"),
    "a mask whose runs are no numbers": (mask(DISC, 10, 8, rle="a, b"), "mask"),
    "a mask with runs below 0": (mask(DISC, 10, 8, rle="-1, 1201"), "mask"),
    "a mask without a pixel": (mask(DISC, 10, 8, rle="1200"), "mask"),
    "a mask without a place": (mask(DISC, 10, 8).replace('left="10" ', ""), "mask"),
    "a mask of huge size": (mask(DISC, 10, 8, width=10**9, height=10**9), "mask"),
    "beyond the picture": (polygon([(200, 200), (220, 200), (220, 220)]), ""),
    "an ellipse without radii": ('<ellipse label="cat" cx="30" cy="30"/>', ""),
    "so far that no program can draw it": (polygon([(1e12, 1e12), (2e12, 1e12), (2e12, 2e12)]), ""),
}
SKELETON = (
    '<skeleton label="cat" z_order="0"><points label="1" outside="0" occluded="0" points="3.00,3.00"/>'
    '<points label="2" outside="0" occluded="0" points="9.00,9.00"/></skeleton>'
)
_EDGES = [f"{axis}{corner}{side}" for side in "12" for corner in ("tl", "bl", "tr", "br") for axis in "xy"]
CUBOID = '<cuboid label="cat" ' + " ".join(f'{edge}="{9 + i}"' for i, edge in enumerate(_EDGES)) + "/>"


ENTRIES = [
    one("polygon", 1, polygon(corners()), GOOD, read=True),
    one("polygon at fractions of pixels", 1, polygon(TRIANGLE), {"a": [("cat", inside(TRIANGLE))]}, least=0.99),
    one("box", 1, box(), GOOD, notes=["rectangle|box"]),
    one(
        "box that is turned",
        1,
        box((20, 20, 50, 40), rotation="30.00"),
        {"a": [("cat", inside(turned(corners((20, 20, 50, 40)), 30, (35, 30))))]},
        least=0.99,
    ),
    one(
        "ellipse",
        1,
        '<ellipse label="cat" cx="30.00" cy="30.00" rx="20.00" ry="12.00"/>',
        {"a": [("cat", oval((30, 30), (20, 12)))]},
        least=0.98,
    ),
    one(
        "ellipse that is turned",
        1,
        '<ellipse label="cat" cx="36.00" cy="30.00" rx="20.00" ry="9.00" rotation="40.00"/>',
        {"a": [("cat", oval((36, 30), (20, 9), 40))]},
        least=0.98,
    ),
    one("mask", 1, mask(DISC, 10, 8), {"a": [("cat", PLACED)]}, read=True),
    one("mask without blanks between its runs", 1, mask(DISC, 10, 8).replace(", ", ","), {"a": [("cat", PLACED)]}),
    one(
        "mask that begins with what is marked",
        1,
        mask(np.ones((32, 40), bool), 10, 8),
        GOOD,
        read=True,
    ),
    one(
        "what has no area",
        8,
        box()
        + '<polyline label="cat" points="1.00,1.00;20.00,20.00"/>'
        + '<polyline label="cat" points="1.00,1.00;20.00,20.00;5.00,5.00"/>'
        + '<points label="cat" points="3.00,3.00"/>'
        + '<points label="dog" points="3.00,3.00;9.00,9.00"/>'
        + CUBOID
        + SKELETON
        + '<heptagon label="cat" points="3.00,3.00;9.00,9.00;3.00,9.00"/>',
        GOOD,
        left_out={"line": 2, "point": 2, "": 7},
    ),
    one("lines alone", 1, '<polyline label="cat" points="1.00,1.00;20.00,20.00"/>', {}, refused="line"),
    one(
        "tags are of the whole picture",
        2,
        '<tag label="dog" source="manual"/>' + box(),
        GOOD,
        left_out={"tag": 1},
    ),
    *(
        one(f"one bad shape: {name}", 3, box() + shape + polygon(TRIANGLE, "dog"), BOTH, left_out={kind: 1}, least=0.99)
        for name, (shape, kind) in BAD.items()
    ),
    one(
        "z_order decides what lies on top",
        3,
        polygon(corners((20, 20, 60, 50)), "dog", z_order=1) + box(z_order=0) + box(OTHER, z_order=-3),
        {"a": [("cat", whole(OTHER)), ("cat", whole()), ("dog", whole((20, 20, 60, 50)))]},
    ),
    one(
        "z_order of 10 is above 9",
        2,
        polygon(corners((20, 20, 60, 50)), "dog", z_order=10) + polygon(corners(), z_order=9),
        {"a": [("cat", whole()), ("dog", whole((20, 20, 60, 50)))]},
    ),
    one(
        "groups join parts of one label",
        3,
        polygon(corners(), group_id=4) + polygon(corners(OTHER), group_id=4) + polygon(TRIANGLE, "dog", group_id=4),
        {"a": [("cat", whole() | whole(OTHER)), ("dog", inside(TRIANGLE))]},
        joined=1,
        least=0.99,
    ),
    one(
        "group 0 is no group",
        2,
        polygon(corners(), group_id=0) + polygon(corners(OTHER), group_id=0),
        {"a": [("cat", whole()), ("cat", whole(OTHER))]},
    ),
    one(
        "labels that the head does not list",
        2,
        polygon(corners(), "cow") + polygon(corners(OTHER), "pig"),
        {"a": [("cow", whole()), ("pig", whole(OTHER))]},
        labels="",
    ),
    one(
        "attributes of shapes",
        1,
        polygon(corners()).replace("/>", '><attribute name="n">5</attribute></polygon>'),
        GOOD,
    ),
    one(
        "partly outside",
        1,
        polygon([(-20, -20), (30, -20), (30, 30), (-20, 30)]),
        {"a": [("cat", whole((0, 0, 30, 30)))]},
    ),
    one("mark of byte order", 1, polygon(corners()), GOOD, encoding="utf-8-sig"),
    one("UTF-16", 1, polygon(corners()), GOOD, encoding="utf-16"),
    one("another file name", 1, polygon(corners()), GOOD, file="task_7.xml"),
    one(
        "a picture without shapes is a negative",
        1,
        "",
        {"a": [], **ONLY_B},
        others=B,
        pictures=("a.png", "b.png"),
        least=0.99,
    ),
    one("no width and height, the picture is there", 1, polygon(corners()), GOOD, of_image=""),
    one(
        "no width and height, no picture",
        2,
        polygon(corners()),
        ONLY_B,
        of_image="",
        others=B,
        pictures=("b.png",),
        left_out={"": 1},
        least=0.99,
    ),
    one(
        "size of swapped sides",
        2,
        polygon(corners()),
        ONLY_B,
        of_image='width="60" height="80"',
        others=B,
        pictures=("a.png", "b.png"),
        left_out={"": 1},
        least=0.99,
    ),
    one(
        "size of another scale",
        1,
        polygon(corners()),
        {"a": [("cat", whole((20, 16, 100, 80), (120, 160)))]},
        size=(120, 160),
        notes=["scale"],
    ),
    one(
        "size of another scale, mask",
        1,
        mask(np.ones((32, 40), bool), 10, 8),
        {"a": [("cat", whole((20, 16, 100, 80), (120, 160)))]},
        size=(120, 160),
        notes=["scale"],
        least=0.97,
    ),
    one(
        "size that no picture has",
        2,
        polygon(corners()),
        ONLY_B,
        of_image='width="1000000" height="1000000"',
        others=B,
        pictures=("b.png",),
        left_out={"": 1},
        least=0.99,
    ),
    one("picture not there", 1, polygon(corners()), GOOD, pictures=()),
    one(
        "name of Windows",
        1,
        polygon(corners()),
        GOOD,
        image="..\\photos\\a.png",
        images="pictures",
        pictures=("pictures/a.png",),
    ),
    one(
        "absolute name",
        1,
        polygon(corners()),
        GOOD,
        image="/data/photos/a.png",
        images="pictures",
        pictures=("pictures/a.png",),
    ),
    one(
        "two suffixes",
        1,
        polygon(corners()),
        {"photo.jpg": GOOD["a"]},
        image="photo.jpg.jpg",
        pictures=("photo.jpg.jpg",),
    ),
    one(
        "two pictures of one name",
        2,
        polygon(corners()),
        None,
        others='<image id="1" name="a.png" width="80" height="60">' + box() + "</image>",
        refused="",
    ),
]

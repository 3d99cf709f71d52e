"""labelme and X-AnyLabeling: a JSON file for each picture."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from annotation_files.table import (
    OTHER,
    SIZE,
    Entry,
    Mask,
    corners,
    painted,
    photo,
    turned,
    whole,
    written,
)

INNER = (10, 8, 49, 39)  #: corners of BOX, inclusive, as programs have them that paint the border
TRIANGLE = [(60.0, 10.0), (75.0, 30.0), (55.0, 28.0)]


def shape(kind: Any, points: Any, label: Any = "cat", **more: Any) -> dict[str, Any]:
    head = {"label": label, "points": points, "group_id": None, "description": "", "shape_type": kind, "flags": {}}
    return head | more


def document(*shapes: Any, **more: Any) -> dict[str, Any]:
    """As labelme 5 writes it; a value of None that is given leaves the key out."""
    head: dict[str, Any] = {
        "version": "5.5.0",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": "a.png",
        "imageData": None,
        "imageHeight": SIZE[0],
        "imageWidth": SIZE[1],
    }
    return {key: value for key, value in (head | more).items() if key not in more or more[key] is not None}


def png(values: np.ndarray, mode: str | None = None) -> str:
    image, buffer = Image.fromarray(values), io.BytesIO()
    (image if mode is None else image.convert(mode)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _oval() -> Mask:
    y, x = np.mgrid[:32, :40]
    found: Mask = ((x - 19.5) / 20) ** 2 + ((y - 15.5) / 16) ** 2 <= 1
    return found


def _placed(mask: Mask, left: int = 10, top: int = 8) -> Mask:
    canvas = np.zeros(SIZE, bool)
    canvas[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return canvas


def _palette() -> str:
    """Nonzero is mask, whatever colour the palette gives it: 1 is black here."""
    image = Image.fromarray(_oval().astype(np.uint8))
    image.putpalette([0, 0, 0, 0, 0, 0, 255, 255, 255])
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _rgba() -> str:
    values = np.zeros((32, 40, 4), np.uint8)
    values[_oval()] = (255, 0, 0, 255)
    return png(values)


MASKS = {
    "0 and 1": lambda: png(_oval().astype(np.uint8)),
    "0 and 255": lambda: png(_oval().astype(np.uint8) * 255),
    "0 and 127, below half": lambda: png(_oval().astype(np.uint8) * 127),
    "one bit": lambda: png(_oval()),
    "a palette": _palette,
    "RGBA": _rgba,
    "RGB": lambda: png(np.repeat(_oval()[..., None].astype(np.uint8), 3, 2)),
    "grey and alpha": lambda: png(np.dstack([_oval() * 1, _oval() * 255]).astype(np.uint8)),
    "16 bits": lambda: png(_oval().astype(np.uint16)),
}


def one(name: str, *shapes: Any, **more: Any) -> Entry:
    """A file a.json beside a.png; `more`: of the entry, or of the document where it is in capitals' camel."""
    of_file = {key: more.pop(key) for key in list(more) if key.startswith("image") and key != "images"}

    def write(folder: Path) -> Path:
        photo(folder / "a.png")
        return written(folder / "a.json", document(*shapes, **of_file))

    more.setdefault("objects", len(shapes))
    return Entry(name, "labelme", write, **more)


def _named(name: str, image_path: str, result: str, place: str | None = None, **more: Any) -> Entry:
    """A file x.json with that imagePath; the picture lies at `place`."""

    def write(folder: Path) -> Path:
        if place is not None:
            photo(folder / place)
        content = document(shape("rectangle", corners(INNER)[::2]), imagePath=image_path)
        return written(folder / "in" / "x.json", content).parent

    return Entry(name, "labelme", write, 1, {result: [("cat", whole())]}, **more)


def _sized(name: str, picture: tuple[int, int] | None, declared: dict[str, Any], **more: Any) -> Entry:
    def write(folder: Path) -> Path:
        if picture is not None:
            photo(folder / "a.png", picture)
        photo(folder / "b.png")
        second = document(shape("rectangle", corners(INNER)[::2]), imagePath="b.png")
        written(folder / "b.json", second)
        content = document(shape("rectangle", corners(INNER)[::2])) | declared
        written(
            folder / "a.json", {key: value for key, value in content.items() if value is not None or key == "imageData"}
        )
        return folder

    return Entry(name, "labelme", write, 2, **more)


def _exif(folder: Path) -> Path:
    """Stored on its side, annotated upright, as labelme shows it."""
    turned_by = Image.Exif()
    turned_by[0x0112] = 6
    photo(folder / "a.jpg", SIZE[::-1], exif=turned_by)
    return written(folder / "a.json", document(shape("rectangle", corners(INNER)[::2]), imagePath="a.jpg"))


def _embedded(folder: Path) -> Path:
    photo(folder / "a.png")
    data = base64.b64encode((folder / "a.png").read_bytes()).decode()
    (folder / "a.png").unlink()
    content = document(shape("polygon", TRIANGLE), imageData=data) | {"imageHeight": None, "imageWidth": None}
    return written(folder / "a.json", content)


def _many(folder: Path) -> Path:
    """A folder, files below it, other JSON among them."""
    for name, label in (("a", "cat"), ("sub/b", "dog")):
        photo(folder / f"{name}.png")
        content = document(shape("polygon", TRIANGLE, label), imagePath=f"{Path(name).name}.png")
        written(folder / f"{name}.json", content, "utf-8-sig")
    written(folder / "sub" / "package.json", {"name": "no annotations", "version": "1"})
    return folder


_TRIANGLE = painted("polygon", TRIANGLE)
_ROTATED = turned(corners((20, 20, 50, 40)), 30, (35, 30))
_RECTANGLE = shape("rectangle", [[10, 8], [49, 39]])
_BAD: dict[str, tuple[Any, str]] = {
    "2 points": ([[1, 1], [20, 20]], ""),
    "no points": ([], ""),
    "a flat list": ([1, 1, 20, 1, 20, 20], ""),
    "an empty point": ([[]], ""),
    "no number": ([["a", 1], [5, 5], [1, 5]], ""),
    "not finite": ([[float("nan"), 1], [20, 5], [1, 20]], ""),
    "infinite": ([[float("inf"), 1], [20, 5], [1, 20]], ""),
    "null": (None, ""),
    "three numbers a point": ([[1, 1, 1], [20, 5, 1], [1, 20, 1]], ""),
    "beyond the picture": ([[200, 200], [220, 200], [220, 220]], ""),
    "so far that no program can draw it": ([[1e30, 1e30], [2e30, 1e30], [2e30, 2e30]], ""),
}

ENTRIES = [
    *(
        one(
            f"mask of {name}", shape("mask", [[10, 8], [49, 39]], mask=make()), masks={"a": [("cat", _placed(_oval()))]}
        )
        for name, make in MASKS.items()
    ),
    one(
        "mask at fractions of pixels, which labelme cuts off",
        shape("mask", [[10.7, 8.9], [49.2, 39.6]], mask=MASKS["0 and 1"]()),
        masks={"a": [("cat", _placed(_oval()))]},
    ),
    one(
        "small mask",
        shape("mask", [[5, 5], [6, 6]], mask=png(np.eye(2, dtype=np.uint8))),
        masks={"a": [("cat", _placed(np.eye(2, dtype=bool), 5, 5))]},
    ),
    one(
        "mask without a pixel, and mask that is no picture",
        _RECTANGLE,
        shape("mask", [[5, 5], [6, 6]], mask=png(np.zeros((2, 2), np.uint8))),
        shape("mask", [[5, 5], [6, 6]], mask="no picture"),
        shape("mask", [[5, 5], [6, 6]], mask=None),
        masks={"a": [("cat", whole())]},
        left_out={"": 3},
    ),
    one("polygon", shape("polygon", TRIANGLE), masks={"a": [("cat", _TRIANGLE)]}, read=True),
    one("no shape_type, as labelme 3", shape(None, TRIANGLE), masks={"a": [("cat", _TRIANGLE)]}),
    one("rectangle", _RECTANGLE, masks={"a": [("cat", whole())]}, read=True),
    one(
        "rectangle drawn from below",
        shape("rectangle", [[49, 39], [10, 8]]),
        masks={"a": [("cat", whole())]},
        read=True,
    ),
    one(
        "X-AnyLabeling's rectangle of 4 points",
        shape("rectangle", corners(INNER), score=None, difficult=False, attributes={}, kie_linking=[]),
        masks={"a": [("cat", whole())]},
    ),
    one(
        "X-AnyLabeling's rotation",
        shape("rotation", _ROTATED, direction=0.52),
        masks={"a": [("cat", painted("polygon", _ROTATED))]},
    ),
    one(
        "X-AnyLabeling's quadrilateral",
        shape("quadrilateral", [[10, 8], [40, 12], [44, 30], [12, 36]]),
        masks={"a": [("cat", painted("polygon", [(10, 8), (40, 12), (44, 30), (12, 36)]))]},
    ),
    one(
        "labelme 6's oriented rectangle",
        shape("oriented_rectangle", _ROTATED),
        masks={"a": [("cat", painted("polygon", _ROTATED))]},
        read=True,
    ),
    one(
        "circle",
        shape("circle", [[30, 30], [30, 42]]),
        masks={"a": [("cat", painted("circle", [(30, 30), (30, 42)]))]},
        read=True,
    ),
    one(
        "what has no area",
        _RECTANGLE,
        shape("line", [[1, 1], [20, 20]]),
        shape("linestrip", [[1, 1], [20, 20], [40, 1]]),
        shape("point", [[3, 3]]),
        shape("points", [[3, 3], [9, 9]]),
        shape("cuboid", [[1, 1], [9, 1], [9, 9], [1, 9], [3, 3], [11, 3], [11, 11], [3, 11]]),
        shape("spline", [[1, 1], [20, 20], [40, 1]]),
        masks={"a": [("cat", whole())]},
        left_out={"line": 2, "point": 2, "": 6},
    ),
    one("no shapes, a negative", masks={"a": []}, objects=0),
    one("lines alone", shape("line", [[1, 1], [20, 20]]), masks={}, refused="line"),
    *(
        one(
            f"one bad shape: {name}",
            _RECTANGLE,
            shape("polygon", points),
            shape("polygon", TRIANGLE, "dog"),
            masks={"a": [("cat", whole()), ("dog", _TRIANGLE)]},
            left_out={kind: 1},
        )
        for name, (points, kind) in _BAD.items()
    ),
    one(
        "one bad shape: a circle of three points, a rectangle of one, no shape at all",
        _RECTANGLE,
        shape("circle", [[1, 1], [5, 5], [9, 9]]),
        shape("rectangle", [[1, 1]]),
        None,
        {"points": TRIANGLE},
        masks={"a": [("cat", whole())]},
        left_out={"": 4},
    ),
    *(
        one(
            f"one bad shape: {kind!r} as its type",
            _RECTANGLE,
            shape(kind, TRIANGLE),
            masks={"a": [("cat", whole())]},
            left_out={"": 1},
        )
        for kind in (["polygon"], {"type": "polygon"}, 7)
    ),
    one("no imagePath", _RECTANGLE, imagePath=None, masks={"a": [("cat", whole())]}),
    one("imagePath of nothing", _RECTANGLE, imagePath="", masks={"a": [("cat", whole())]}),
    one(
        "groups join parts of one label",
        shape("rectangle", [[10, 8], [49, 39]], group_id=1),
        shape("rectangle", [[52, 42], [75, 55]], group_id=1),
        shape("rectangle", [[1, 1], [5, 5]], "dog", group_id=1),
        masks={"a": [("cat", whole() | whole(OTHER)), ("dog", whole((1, 1, 6, 6)))]},
        joined=1,
        read=True,
    ),
    one(
        "groups as number and as text",
        shape("rectangle", [[10, 8], [49, 39]], group_id=1),
        shape("rectangle", [[52, 42], [75, 55]], group_id="1"),
        masks={"a": [("cat", whole() | whole(OTHER))]},
        joined=1,
    ),
    one(
        "a number as label",
        shape("rectangle", [[10, 8], [49, 39]], 7),
        masks={"a": [("7", whole())]},
    ),
    one(
        "no size, the picture is there", _RECTANGLE, imageHeight=None, imageWidth=None, masks={"a": [("cat", whole())]}
    ),
    one("size as text", _RECTANGLE, imageHeight="60", imageWidth="80", masks={"a": [("cat", whole())]}),
    Entry("no size, the picture is inside", "labelme", _embedded, 1, {"a": [("cat", _TRIANGLE)]}),
    Entry("a picture stored on its side", "labelme", _exif, 1, {"a": [("cat", whole())]}),
    _sized(
        "no size, no picture",
        None,
        {"imageHeight": None, "imageWidth": None},
        masks={"b": [("cat", whole())]},
        left_out={"": 1},
    ),
    _sized("size of swapped sides", SIZE[::-1], {}, masks={"b": [("cat", whole())]}, left_out={"": 1}),
    _sized("size of another shape", (60, 120), {}, masks={"b": [("cat", whole())]}, left_out={"": 1}),
    _sized(
        "size of another scale",
        (120, 160),
        {},
        masks={"a": [("cat", painted("rectangle", [(20, 16), (98, 78)], (120, 160)))], "b": [("cat", whole())]},
        notes=["scale"],
        least=0.95,
    ),
    _sized(
        "impossible size, no picture",
        None,
        {"imageHeight": 10**6, "imageWidth": 10**6},
        masks={"b": [("cat", whole())]},
        left_out={"": 1},
    ),
    _sized("impossible size, the picture is there", SIZE, {"imageHeight": 0, "imageWidth": -7}, masks=None),
    Entry(
        "a folder with marks of byte order",
        "labelme",
        _many,
        2,
        {"a": [("cat", _TRIANGLE)], "sub/b": [("dog", _TRIANGLE)]},
        left_out={"^file": 1},
    ),
    _named("imagePath names the picture", "photo.png", "photo", "in/photo.png"),
    _named("imagePath of Windows", "..\\pictures\\photo.png", "photo", "pictures/photo.png"),
    _named("imagePath with a drive", "C:\\Users\\me\\photo.png", "photo", "pictures/photo.png", images="pictures"),
    _named("imagePath that is absolute", "/home/me/photo.png", "photo", "pictures/photo.png", images="pictures"),
    _named("imagePath with two suffixes", "photo.jpg.jpg", "photo.jpg", "in/photo.jpg.jpg"),
    _named("imagePath in capitals", "PHOTO.PNG", "PHOTO", "in/PHOTO.PNG"),
    _named("imagePath with dots", "my.photo.v2.png", "my.photo.v2", "in/my.photo.v2.png"),
]

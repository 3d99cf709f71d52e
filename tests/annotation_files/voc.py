"""Pascal VOC: index and colour masks, CVAT's export, boxes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from annotation_files.table import OTHER, SIZE, Entry, Mask, photo, text, whole

MAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:250,50,83::\ndog:61,61,245::\n"
COLOURS = {0: (0, 0, 0), 1: (250, 50, 83), 2: (61, 61, 245), 255: (224, 224, 192)}


def colour(number: int) -> tuple[int, int, int]:
    """VOC's own palette."""
    channels = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            channels[channel] |= (number >> (3 * bit + channel) & 1) << (7 - bit)
    return channels[0], channels[1], channels[2]


def canvas(*objects: tuple[tuple[int, int, int, int], int], border: int = 0) -> np.ndarray:
    """Boxes of values, each with a border of 255 outside."""
    values = np.zeros(SIZE, np.uint8)
    for (left, top, right, bottom), value in objects:
        if border:
            values[max(0, top - border) : bottom + border, max(0, left - border) : right + border] = 255
        values[top:bottom, left:right] = value
    return values


def save(file: Path, values: np.ndarray, how: str, colours: Mapping[int, tuple[int, int, int]] | None = None) -> None:
    """how: "index" (a palette), "grey", or "rgb", as OpenCV writes what CVAT exports."""
    file.parent.mkdir(parents=True, exist_ok=True)
    table = {i: colour(i) for i in range(256)} | dict(colours or {})
    if how == "rgb":
        lookup = np.array([table[i] for i in range(256)], np.uint8)
        Image.fromarray(lookup[values]).save(file)
        return
    image = Image.fromarray(values)
    if how == "index":
        image.putpalette([channel for i in range(256) for channel in table[i]])
    image.save(file)


def one(
    name: str,
    objects: int,
    masks: Mapping[str, Sequence[tuple[str, Mask]]] | None,
    *,
    classes: np.ndarray | None = None,
    instances: np.ndarray | None = None,
    how: str = "index",
    listed: str | None = "a\n",
    list_name: str = "default.txt",
    labelmap: str | None = MAP,
    pictures: Sequence[str] = ("a.png",),
    encoding: str = "utf-8",
    xml: str | None = None,
    size: tuple[int, int] = SIZE,
    **more: Any,
) -> Entry:
    def write(folder: Path) -> Path:
        for picture in pictures:
            photo(folder / "JPEGImages" / picture, size)
        if classes is not None:
            save(folder / "SegmentationClass" / "a.png", classes, how, COLOURS if labelmap else None)
        if instances is not None:
            save(folder / "SegmentationObject" / "a.png", instances, how)
        if listed is not None:
            text(folder / "ImageSets" / "Segmentation" / list_name, listed, encoding)
        if labelmap is not None:
            text(folder / "labelmap.txt", labelmap, encoding)
        if xml is not None:
            text(folder / "Annotations" / "a.xml", xml)
        return folder

    return Entry(name, "voc", write, objects, masks, **more)


_TWO = (((10, 8, 50, 40), 1), (OTHER, 2))
CLASSES, OBJECTS = canvas(*_TWO), canvas(*_TWO)
BORDERED = canvas(*_TWO, border=2)
TWO = {"a": [("cat", whole()), ("dog", whole(OTHER))]}
# Two objects of one class that touch: only SegmentationObject tells them apart.
_LEFT, _RIGHT = (10, 8, 30, 40), (30, 8, 50, 40)
TOUCHING = canvas((_LEFT, 1), (_RIGHT, 1))
_OBJECT = (
    "<object><name>{}</name><difficult>0</difficult><bndbox><xmin>11</xmin><ymin>9</ymin><xmax>50</xmax>"
    "<ymax>40</ymax></bndbox></object>"
)
XML = (
    "<annotation><filename>a.png</filename><size><width>80</width><height>60</height><depth>3</depth></size>"
    f"<segmented>0</segmented>{_OBJECT.format('cat')}{_OBJECT.format('dog')}</annotation>"
)


def _boxes(folder: Path) -> Path:
    """Detection only, as Roboflow and LabelImg write it: XML, no masks."""
    photo(folder / "JPEGImages" / "a.png")
    text(folder / "Annotations" / "a.xml", XML)
    text(folder / "ImageSets" / "Main" / "train.txt", "a\n")
    return folder


def _sets(folder: Path) -> Path:
    """train, val and trainval, which has all of both again."""
    for name in ("a", "b"):
        photo(folder / "JPEGImages" / f"{name}.jpg")
        save(folder / "SegmentationClass" / f"{name}.png", CLASSES, "index", COLOURS)
        save(folder / "SegmentationObject" / f"{name}.png", OBJECTS, "index")
    for name, listed in (("train", "a\n"), ("val", "b\n"), ("trainval", "a\nb\n")):
        text(folder / "ImageSets" / "Segmentation" / f"{name}.txt", listed)
    text(folder / "labelmap.txt", MAP)
    return folder


def _missing(folder: Path) -> Path:
    """A list with a picture that has no masks, as CVAT writes for what nobody has marked, and one that is not there."""
    _sets(folder)
    for name in ("Class", "Object"):
        (folder / f"Segmentation{name}" / "b.png").unlink()
    return folder


def _odd_size(folder: Path) -> Path:
    """The masks of one picture have swapped sides, those of the other are right."""
    _sets(folder)
    for name in ("Class", "Object"):
        save(folder / f"Segmentation{name}" / "a.png", np.ascontiguousarray(CLASSES.T), "index", COLOURS)
    return folder


ENTRIES = [
    one("index masks", 2, TWO, classes=CLASSES, instances=OBJECTS, read=True),
    one("CVAT's masks in colours", 2, TWO, classes=CLASSES, instances=OBJECTS, how="rgb", read=True),
    one(
        "CVAT's masks, a black background listed elsewhere",
        2,
        TWO,
        classes=CLASSES,
        instances=OBJECTS,
        how="rgb",
        labelmap="cat:250,50,83::\nbackground:0,0,0::\ndog:61,61,245::\n",
        read=True,
    ),
    one(
        "CVAT's masks, objects that touch",
        2,
        {"a": [("cat", whole(_LEFT)), ("cat", whole(_RIGHT))]},
        classes=TOUCHING,
        instances=canvas((_LEFT, 1), (_RIGHT, 2)),
        how="rgb",
        read=True,
    ),
    one("a border of 255", 2, TWO, classes=BORDERED, instances=BORDERED),
    one("a border of 255 in colours", 2, TWO, classes=BORDERED, instances=BORDERED, how="rgb"),
    one("grey masks, without a palette", 2, TWO, classes=CLASSES, instances=OBJECTS, how="grey"),
    one(
        "numbers of objects with gaps",
        2,
        TWO,
        classes=CLASSES,
        instances=canvas((_TWO[0][0], 7), (OTHER, 200)),
        read=True,
    ),
    one(
        "a class that the map does not have",
        2,
        {"a": [("cat", whole())]},
        classes=canvas(_TWO[0], (OTHER, 9)),
        instances=OBJECTS,
        left_out={"": 1},
    ),
    one(
        "a colour that the map does not have",
        2,
        {"a": [("cat", whole())]},
        classes=canvas(_TWO[0], (OTHER, 9)),
        instances=OBJECTS,
        how="rgb",
        left_out={"": 1},
    ),
    one(
        "an object without a class",
        2,
        {"a": [("cat", whole())]},
        classes=canvas(_TWO[0]),
        instances=OBJECTS,
        left_out={"": 1},
    ),
    one("classes without objects", 2, TWO, classes=CLASSES, notes=["class|object"]),
    one("objects without classes", 2, None, instances=OBJECTS, refused=""),
    one(
        "no map: the twenty classes of VOC",
        2,
        {"a": [("aeroplane", whole()), ("dog", whole(OTHER))]},
        classes=canvas(_TWO[0], (OTHER, 12)),
        instances=OBJECTS,
        labelmap=None,
        read=True,
    ),
    one("a list called Train.txt", 2, TWO, classes=CLASSES, instances=OBJECTS, list_name="Train.txt", read=True),
    one(
        "a list with blank lines, blanks and other line ends",
        2,
        TWO,
        classes=CLASSES,
        instances=OBJECTS,
        listed="\r\na \r\n\r\n",
    ),
    one("no list", 2, TWO, classes=CLASSES, instances=OBJECTS, listed=None),
    one("marks of byte order", 2, TWO, classes=CLASSES, instances=OBJECTS, encoding="utf-8-sig"),
    one("no pictures", 2, TWO, classes=CLASSES, instances=OBJECTS, pictures=()),
    one("picture with a suffix in capitals", 2, TWO, classes=CLASSES, instances=OBJECTS, pictures=("a.JPG",)),
    one("boxes beside the masks are the same objects", 2, TWO, classes=CLASSES, instances=OBJECTS, xml=XML, read=True),
    Entry("several lists, one picture in two of them", "voc", _sets, 4, {"a": TWO["a"], "b": TWO["a"]}),
    Entry("a picture that nobody has marked", "voc", _missing, 2, {"a": TWO["a"], "b": []}),
    Entry("masks with swapped sides", "voc", _odd_size, 4, {"b": TWO["a"]}, left_out={"": 2}),
    one(
        "size of another scale",
        2,
        {"a": [("cat", whole((20, 16, 100, 80), (120, 160))), ("dog", whole((104, 84, 152, 112), (120, 160)))]},
        classes=CLASSES,
        instances=OBJECTS,
        size=(120, 160),
        notes=["scale"],
        least=0.97,
    ),
    Entry("boxes alone", "voc", _boxes, 2, {}, refused="box"),
]

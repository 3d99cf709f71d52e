"""YOLO segmentation, and what Roboflow, ultralytics and Label Studio lay beside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from annotation_files.table import OTHER, Entry, Mask, corners, floored, photo, shares, text, whole

TRIANGLE = shares([(60, 10), (75, 30), (55, 28)])
SECOND = shares([(52.25, 42.25), (75.25, 42.25), (75.25, 55.25), (52.25, 55.25)])
RING = shares([(10.25, 8.25), (49.25, 8.25), (49.25, 39.25), (10.25, 39.25)])
NAMES = "names: [cat, dog]\n"


def read(text: str) -> Mask:
    """A line as its digits stand: 6 of them may end just below a whole pixel."""
    values = list(map(float, text.split()[1:]))
    return floored(list(zip(values[::2], values[1::2], strict=True)))


def line(ring: Sequence[tuple[float, float]], number: Any = 0) -> str:
    return " ".join([str(number), *(f"{value:.6f}" for point in ring for value in point)])


def one(
    name: str,
    objects: int,
    labels: str | Mapping[str, str],
    masks: Mapping[str, Sequence[tuple[str, Mask]]] | None,
    *,
    pictures: Sequence[str] = ("images/a.png",),
    data: str = NAMES,
    encoding: str = "utf-8",
    others: Mapping[str, str] | None = None,
    **more: Any,
) -> Entry:
    """labels: the content of labels/a.txt, or of several files by name."""
    files = {"labels/a.txt": labels} if isinstance(labels, str) else labels

    def write(folder: Path) -> Path:
        for picture in pictures:
            photo(folder / picture)
        for file, content in (files | {"data.yaml": data} | dict(others or {})).items():  # type: ignore[operator]
            if content:
                text(folder / file, content, encoding)
        return folder

    return Entry(name, "yolo", write, objects, masks, **more)


GOOD = {"a": [("cat", whole())]}
BOTH = {"a": [("cat", whole()), ("dog", whole(OTHER))]}
_FIRST, _LAST = line(RING), line(SECOND, 1)
# What a line can be that is no polygon, and what that is called.
BAD = {
    "a box": ("0 0.5 0.5 0.25 0.25", "box"),
    "a box with its confidence": ("0 0.5 0.5 0.25 0.25 0.91", "box"),
    "2 points and a number": ("0 0.1 0.1 0.2", ""),
    "an odd number of coordinates": ("0 0.1 0.1 0.2 0.1 0.2 0.2 0.3", ""),
    "a class alone": ("0", ""),
    "a class that is not listed": ("9 0.1 0.1 0.5 0.1 0.5 0.5", ""),
    "a class below 0": ("-1 0.1 0.1 0.5 0.1 0.5 0.5", ""),
    "a class of a half": ("0.5 0.1 0.1 0.5 0.1 0.5 0.5", ""),
    "a class by name": ("cat 0.1 0.1 0.5 0.1 0.5 0.5", ""),
    "a class that is no number": ("nan 0.1 0.1 0.5 0.1 0.5 0.5", ""),
    "nan": ("0 nan 0.1 0.5 0.1 0.5 0.5", ""),
    "infinite": ("0 inf 0.1 0.5 0.1 0.5 0.5", ""),
    "words": ("0 a b c d e f", ""),
    "decimal commas": ("0 0,1 0,1 0,5 0,1 0,5 0,5", ""),
    "in pixels": ("0 200 200 400 200 400 400", ""),
    "so far that no program can draw it": ("0 1e30 1e30 2e30 1e30 2e30 2e30", ""),
}

ENTRIES = [
    one("polygon", 1, _FIRST + "\n", GOOD, read=True),
    one("two classes", 2, f"{_FIRST}\n{_LAST}\n", BOTH, read=True),
    one(
        "polygon as its numbers stand",
        1,
        line(shares(corners((10, 8, 50, 40)))),
        {"a": [("cat", read(line(shares(corners((10, 8, 50, 40))))))]},
        read=True,
    ),
    one("slanted polygon", 1, line(TRIANGLE), {"a": [("cat", read(line(TRIANGLE)))]}, least=0.95, read=True),
    one(
        "blank lines, spaces, tabs, other line ends",
        2,
        f"\r\n  {_FIRST.replace(' ', chr(9))}  \r\n\r\n{_LAST}\r\n \r\n",
        BOTH,
    ),
    one("class 0.0 and 1.0", 2, f"{line(RING, '0.0')}\n{line(SECOND, '1.000000')}\n", BOTH),
    one("mark of byte order in all", 2, f"{_FIRST}\n{_LAST}\n", BOTH, encoding="utf-8-sig"),
    one("an oriented box, which is a polygon", 1, line(RING), GOOD, read=True),
    one("parts joined by a line there and back", 1, line([*RING, RING[0]]), GOOD, read=True),
    one(
        "an empty file, a negative",
        1,
        {"labels/a.txt": " \n", "labels/b.txt": _FIRST},
        {"a": [], "b": [("cat", whole())]},
        pictures=("images/a.png", "images/b.png"),
    ),
    *(
        one(f"one bad line: {name}", 3, f"{_FIRST}\n{content}\n{_LAST}\n", BOTH, left_out={kind: 1})
        for name, (content, kind) in BAD.items()
    ),
    one("boxes alone", 2, "0 0.5 0.5 0.25 0.25\n1 0.5 0.5 0.25 0.25\n", {}, refused="box"),
    *(
        one(
            f"key points of {size} numbers behind a box, which are no polygon",
            1,
            " ".join(["0 0.5 0.5 0.25 0.25", *["0.4 0.5 2.0"[: 4 * size - 1]] * 4]) + "\n",
            {},
            data=f"kpt_shape: [4, {size}]\n{NAMES}",
            refused="left out",
        )
        for size in (2, 3)
    ),
    one("the same line twice", 2, f"{_FIRST}\n{_FIRST}\n", {"a": [("cat", whole()), ("cat", whole())]}),
    one("classes.txt among the labels", 1, {"labels/a.txt": _FIRST, "labels/classes.txt": "cat\ndog\n"}, GOOD),
    one(
        "Label Studio's export without data.yaml",
        2,
        f"{_FIRST}\n{_LAST}\n",
        BOTH,
        data="",
        others={
            "classes.txt": "cat\ndog\n",
            "notes.json": '{"categories": [{"id": 0, "name": "cat"}]}',
        },
    ),
    one(
        "a picture without labels is a negative",
        1,
        _FIRST,
        {"a": [("cat", whole())], "street": []},
        pictures=("images/a.png", "images/street.png"),
    ),
    one("labels without their picture", 2, {"labels/a.txt": _FIRST, "labels/gone.txt": _LAST}, GOOD, left_out={"": 1}),
    one(
        "a damaged picture",
        2,
        {"labels/a.txt": _FIRST, "labels/b.txt": _LAST},
        GOOD,
        others={"images/b.png": "no picture"},
        left_out={"": 1},
    ),
    one("two pictures of one stem", 1, _FIRST, None, pictures=("images/a.png", "images/a.jpg"), repeated=1, refused=""),
    one("pictures elsewhere", 1, _FIRST, GOOD, pictures=("pictures/a.png",), images="pictures"),
    one("pictures elsewhere, by base name", 1, _FIRST, GOOD, pictures=("pictures/deep/a.png",), images="pictures"),
    one("suffix in capitals", 1, _FIRST, GOOD, pictures=("images/a.JPG",)),
    one(
        "two suffixes",
        1,
        {"labels/photo.jpg.txt": _FIRST},
        {"photo.jpg": [("cat", whole())]},
        pictures=("images/photo.jpg.jpg",),
    ),
    one(
        "several dots, as Roboflow names",
        1,
        {"labels/a_jpg.rf.0f1e.txt": _FIRST},
        {"a_jpg.rf.0f1e": [("cat", whole())]},
        pictures=("images/a_jpg.rf.0f1e.jpg",),
        read=True,
    ),
    one(
        "Roboflow's splits",
        2,
        {"train/labels/a.txt": _FIRST, "valid/labels/a.txt": _LAST},
        {"train/a": [("cat", whole())], "valid/a": [("dog", whole(OTHER))]},
        pictures=("train/images/a.png", "valid/images/a.png"),
        data="train: ../train/images\nval: ../valid/images\nnc: 2\nnames: [cat, dog]\nroboflow:\n  license: Public\n",
    ),
    one(
        "ultralytics' splits",
        2,
        {"labels/train/a.txt": _FIRST, "labels/val/b.txt": _LAST},
        {"train/a": [("cat", whole())], "val/b": [("dog", whole(OTHER))]},
        pictures=("images/train/a.png", "images/val/b.png"),
        data="path: .\ntrain: images/train\nval: images/val\nnames:\n  0: cat\n  1: dog\n",
    ),
    one("names as numbers in text", 2, f"{_FIRST}\n{_LAST}\n", BOTH, data="names:\n  '0': cat\n  '1': dog\n"),
    one(
        "more names than classes, and comments",
        2,
        f"{_FIRST}\n{_LAST}\n",
        BOTH,
        data="# mine\nnc: 3\nnames: # here\n- cat\n- dog\n- cow\n",
    ),
]

_JUST = [(0.75, 0.5), (1.004, 0.5), (1.004, 1.004), (0.75, 1.004)]
ENTRIES += [
    one("outside by less than a hundredth", 1, line(_JUST), {"a": [("cat", whole((60, 30, 80, 60)))]}),
    one("partly outside, which ultralytics refuses", 2, f"{_FIRST}\n0 -0.1 -0.1 0.4 -0.1 0.4 0.5 -0.1 0.5\n", None),
    one(
        "two objects one on the other",
        2,
        f"{_FIRST}\n{line(shares(corners((20, 20, 30, 30))), 1)}\n",
        {"a": [("cat", whole()), ("dog", read(line(shares(corners((20, 20, 30, 30))))))]},
    ),
    one(
        "small, of one pixel",
        1,
        line(shares([(OTHER[0] + 0.3, OTHER[1] + 0.3)] * 3)),
        {"a": [("cat", whole((OTHER[0], OTHER[1], OTHER[0] + 1, OTHER[1] + 1)))]},
    ),
]

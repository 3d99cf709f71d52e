"""COCO instances: whose an annotation is, and which picture: ids, names, sizes; lists of results."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from annotation_files.coco import BOTH, FIRST, GOOD, IMAGE, LAST, RING, TRIANGLE, annotation, disc, one
from annotation_files.table import OTHER, Entry, by_coco, corners, flat, photo, rle, whole, written


def image(**changes: Any) -> dict[str, Any]:
    """An entry of a picture; a value of None leaves the key out."""
    return {key: value for key, value in (IMAGE | changes).items() if value is not None}


def results(name: str, entries: Sequence[Any], masks: Any, picture: str, **more: Any) -> Entry:
    """A list of results, which says of a picture only its id."""

    def write(folder: Path) -> Path:
        photo(folder / "pictures" / picture)
        return written(folder / "predictions.json", entries)

    more.setdefault("objects", len(entries))
    return Entry(name, "coco", write, masks=masks, images="pictures", **more)


ENTRIES = [
    one("ids of pictures as text and as number", [annotation([RING], image="1")], GOOD),
    one("ids of categories as text and as number", [annotation([RING], "1"), LAST], BOTH),
    one(
        "ids as text and as number, the other way",
        [FIRST, LAST],
        BOTH,
        of_file={"images": [image(id="1")], "categories": [{"id": "1", "name": "cat"}, {"id": "2", "name": "dog"}]},
    ),
    one("ids as 1.0", [annotation([RING], 1.0, 1.0)], GOOD),
    one(
        "ids that are names",
        [annotation([RING], "c", "p")],
        GOOD,
        of_file={"images": [image(id="p")], "categories": [{"id": "c", "name": "cat"}]},
    ),
    one(
        "ids from 0, as Roboflow's",
        [annotation([RING], 1, 0)],
        {"a": [("cat", whole())]},
        of_file={
            "images": [image(id=0)],
            "categories": [
                {"id": 0, "name": "animals", "supercategory": "none"},
                {"id": 1, "name": "cat", "supercategory": "animals"},
            ],
        },
        read=True,
    ),
    one(
        "two categories of one name",
        [FIRST, annotation([TRIANGLE], 2)],
        {"a": [("cat", whole()), ("cat (2)", by_coco([TRIANGLE]))]},
        of_file={"categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "cat"}]},
        notes=["name"],
    ),
    one(
        "two categories of one id",
        [FIRST],
        None,
        of_file={"categories": [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}]},
        refused="",
    ),
    one(
        "a category without a name", [FIRST, LAST], None, of_file={"categories": [{"id": 1, "name": "cat"}, {"id": 2}]}
    ),
    one(
        "two pictures of one id",
        [annotation([RING], image=5), annotation([TRIANGLE], 2)],
        {"b": [("dog", by_coco([TRIANGLE]))]},
        of_file={"images": [image(id=5), image(id=5, file_name="c.png"), image(file_name="b.png")]},
        pictures=("a.png", "b.png", "c.png"),
        left_out={"": 1},
    ),
    one("one picture twice under one id", [FIRST], None, of_file={"images": [image(), image()]}),
    one(
        "one picture under two ids",
        [FIRST, annotation([TRIANGLE], 2, 2)],
        None,
        of_file={"images": [image(), image(id=2)]},
        refused="",
    ),
    one(
        "a picture without a name",
        [FIRST, annotation([TRIANGLE], 2, 2)],
        GOOD,
        of_file={"images": [image(), image(id=2, file_name=None)]},
        left_out={"": 1},
    ),
    one(
        "a picture without annotations is a negative",
        [FIRST],
        GOOD | {"b": []},
        of_file={"images": [image(), image(id=2, file_name="b.png")]},
        pictures=("a.png", "b.png"),
        read=True,
    ),
    one(
        "no width and height, the picture is there", [FIRST], GOOD, of_file={"images": [image(height=None, width=None)]}
    ),
    one(
        "no width and height, no picture",
        [FIRST, annotation([TRIANGLE], 2, 2)],
        {"b": [("dog", by_coco([TRIANGLE]))]},
        of_file={"images": [image(height=None, width=None), image(id=2, file_name="b.png")]},
        pictures=("b.png",),
        left_out={"": 1},
    ),
    one(
        "width and height of 0, no picture",
        [FIRST, annotation([TRIANGLE], 2, 2)],
        {"b": [("dog", by_coco([TRIANGLE]))]},
        of_file={"images": [image(height=0, width=0), image(id=2, file_name="b.png")]},
        pictures=("b.png",),
        left_out={"": 1},
    ),
    one("width and height as text", [FIRST], GOOD, of_file={"images": [image(height="60", width="80")]}),
    one(
        "width and height that no picture has, none there",
        [FIRST, annotation([TRIANGLE], 2, 2)],
        {"b": [("dog", by_coco([TRIANGLE]))]},
        of_file={"images": [image(height=10**6, width=10**6), image(id=2, file_name="b.png")]},
        pictures=("b.png",),
        left_out={"": 1},
    ),
    one(
        "size of swapped sides",
        [FIRST, annotation([TRIANGLE], 2, 2)],
        {"b": [("dog", by_coco([TRIANGLE]))]},
        of_file={"images": [image(height=80, width=60), image(id=2, file_name="b.png")]},
        pictures=("a.png", "b.png"),
        left_out={"": 1},
    ),
    one(
        "size of another scale, polygons",
        [FIRST],
        {"a": [("cat", whole((20, 16, 100, 80), (120, 160)))]},
        size=(120, 160),
        notes=["scale"],
        least=0.97,
    ),
    one(
        "size of another scale, runs",
        [annotation(rle(whole()))],
        {"a": [("cat", whole((20, 16, 100, 80), (120, 160)))]},
        size=(120, 160),
        notes=["scale"],
        least=0.97,
    ),
    one("picture not there", [FIRST], GOOD, pictures=()),
    one(
        "name of Windows",
        [FIRST],
        GOOD,
        of_file={"images": [image(file_name="..\\pictures\\a.png")]},
        images="pictures",
        pictures=("pictures/a.png",),
    ),
    one(
        "name with a drive",
        [FIRST],
        GOOD,
        of_file={"images": [image(file_name="C:\\photos\\a.png")]},
        images="pictures",
        pictures=("pictures/a.png",),
    ),
    one(
        "absolute name",
        [FIRST],
        GOOD,
        of_file={"images": [image(file_name="/data/photos/a.png")]},
        images="pictures",
        pictures=("pictures/a.png",),
    ),
    one(
        "an address",
        [FIRST],
        GOOD,
        of_file={"images": [image(file_name="https://pictures.example/x/a.png?size=full")]},
        pictures=(),
    ),
    one(
        "two suffixes",
        [FIRST],
        {"photo.jpg": [("cat", whole())]},
        of_file={"images": [image(file_name="photo.jpg.jpg")]},
        pictures=("photo.jpg.jpg",),
    ),
    one(
        "a.jpg beside a.png",
        [FIRST, annotation([TRIANGLE], 2, 2)],
        {"a.png": [("cat", whole())], "a.jpg": [("dog", by_coco([TRIANGLE]))]},
        of_file={"images": [image(), image(id=2, file_name="a.jpg")]},
        pictures=("a.png", "a.jpg"),
    ),
    one(
        "found by its base name",
        [FIRST],
        GOOD,
        of_file={"images": [image(file_name="train2017/a.png", height=None, width=None)]},
        images="pictures",
        pictures=("pictures/deep/a.png",),
    ),
    one(
        "a base name that two have",
        [FIRST, annotation([TRIANGLE], 2, 2)],
        {"b": [("dog", by_coco([TRIANGLE]))]},
        of_file={"images": [image(file_name="x/a.png", height=None, width=None), image(id=2, file_name="b.png")]},
        images="pictures",
        pictures=("pictures/1/a.png", "pictures/2/a.png", "pictures/b.png"),
        left_out={"": 1},
    ),
    one(
        "a name in another Unicode form, as macOS packs it",
        [FIRST],
        {"caf\u00e9": GOOD["a"]},
        of_file={"images": [image(file_name="caf\u00e9.png", height=None, width=None)]},
        images="pictures",
        pictures=("pictures/cafe\u0301.png",),
    ),
    one("mark of byte order", [FIRST], GOOD, encoding="utf-8-sig"),
    one("Roboflow's file name", [FIRST], GOOD, file="_annotations.coco.json"),
    *(
        one(
            f"colour {json.dumps(colour)}",
            [FIRST],
            GOOD,
            of_file={"categories": [{"id": 1, "name": "cat", "color": colour}]},
        )
        for colour in ([255, 0, 17], "#d36", "#dd3366", "red", "rgb(1, 2, 3)", [1, 2], 7, "nonsense", None)
    ),
    one(
        "a score of null, of text, of more than 1",
        [
            annotation([RING], score=0.25) | {"score": None},
            annotation([TRIANGLE], 2, score="0.5"),
            annotation([flat(corners(OTHER))], 2, score=98.5),
        ],
        {"a": [*BOTH["a"], ("dog", whole(OTHER))]},
    ),
    results(
        "results",
        [{"image_id": 42, "category_id": 1, "segmentation": rle(disc()), "score": 0.5, "bbox": [1, 1, 5, 5]}],
        {"000000000042": [("", disc())]},
        "000000000042.jpg",
    ),
    results(
        "results of a picture by its name",
        [{"image_id": "street", "category_id": 3, "segmentation": rle(disc()), "score": 0.5}],
        {"street": [("", disc())]},
        "street.jpg",
    ),
    results(
        "results with boxes alone",
        [{"image_id": 42, "category_id": 1, "bbox": [1, 2, 30, 20], "score": 0.5}],
        {},
        "42.jpg",
        refused="box",
    ),
    results(
        "results of a picture that is not there",
        [
            {"image_id": 42, "category_id": 1, "segmentation": rle(disc()), "score": 0.5},
            {"image_id": 43, "category_id": 1, "segmentation": rle(disc()), "score": 0.5},
        ],
        {"42": [("", disc())]},
        "42.jpg",
        left_out={"": 1},
    ),
]

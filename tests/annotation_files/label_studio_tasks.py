"""Label Studio: which annotation of a task counts, and which picture it is about."""

from pathlib import Path

from annotation_files.label_studio import (
    BOTH,
    BOX_VALUE,
    GOOD,
    LAST,
    RECTANGLE,
    TRIANGLE,
    accepted,
    brush,
    cancelled,
    one,
    polygon,
    region,
    task,
)
from annotation_files.table import OTHER, SIZE, Entry, corners, inside, photo, whole, written

_SECOND = task(accepted(LAST), image="b.png")
_ONLY_B = {"b": [("dog", inside(TRIANGLE))]}


def _min(folder: Path) -> Path:
    """JSON-MIN: what the SDK's `convert_to_json_min` writes."""
    photo(folder / "a.png")
    value = RECTANGLE["value"] | {"original_width": SIZE[1], "original_height": SIZE[0]}
    return written(
        folder / "tasks.json", [{"image": "a.png", "id": 1, "tag": [value], "annotator": 1, "annotation_id": 1}]
    )


ENTRIES = [
    one("cancelled after accepted", 1, task(accepted(RECTANGLE), cancelled(LAST)), GOOD),
    one("cancelled before accepted", 1, task(cancelled(LAST), accepted(RECTANGLE)), GOOD),
    one("skipped, as old versions said", 1, task(accepted(RECTANGLE), accepted(LAST, skipped=True)), GOOD),
    one(
        "a broken annotation before an accepted one",
        1,
        task(accepted() | {"result": 5}, "nonsense", accepted(RECTANGLE)),
        None,
    ),
    one(
        "the last of two accepted",
        1,
        task(accepted(LAST), accepted(RECTANGLE)),
        GOOD,
        notes=["annotation|superseded"],
    ),
    one(
        "completions of old exports",
        1,
        {
            "id": 1,
            "completions": [accepted(LAST), accepted(RECTANGLE), cancelled(LAST)],
            "data": {"image": "a.png"},
        },
        GOOD,
    ),
    one("predictions where nothing was drawn", 1, task(predictions=[{"result": [RECTANGLE], "score": 0.5}]), GOOD),
    one("the last of two predictions", 1, task(predictions=[{"result": [LAST]}, {"result": [RECTANGLE]}]), GOOD),
    one("predictions where all was cancelled", 1, task(cancelled(LAST), predictions=[{"result": [RECTANGLE]}]), GOOD),
    one(
        "predictions lose against what was drawn",
        1,
        task(accepted(RECTANGLE), predictions=[{"result": [LAST]}]),
        GOOD,
    ),
    one(
        "nothing drawn, on purpose, beside predictions",
        1,
        [task(accepted(), predictions=[{"result": [RECTANGLE]}]), _SECOND],
        {"a": [], **_ONLY_B},
        pictures=("a.png", "b.png"),
    ),
    one(
        "a task that nobody has done",
        1,
        [task(), _SECOND],
        _ONLY_B,
        pictures=("a.png", "b.png"),
        left_out={"^task|^picture": 1},
    ),
    one(
        "a task that was cancelled",
        1,
        [task(cancelled(RECTANGLE)), _SECOND],
        _ONLY_B,
        pictures=("a.png", "b.png"),
        left_out={"^task|^picture": 1},
    ),
    one(
        "annotations null, predictions null",
        1,
        [task() | {"annotations": None, "predictions": None}, _SECOND],
        _ONLY_B,
        pictures=("a.png", "b.png"),
        left_out={"^task|^picture": 1},
    ),
    one("one task alone, no list", 1, task(accepted(RECTANGLE)), GOOD, alone=True),
    one("its own export name", 1, task(accepted(RECTANGLE)), GOOD, file="project-1-at-2026-03-02-10-11-ab12cd34.json"),
    one(
        "another key for the picture",
        1,
        task(accepted(RECTANGLE | {"to_name": "img"}), data={"my_picture": "a.png", "note": "text"}),
        GOOD,
    ),
    one(
        "two pictures in a task",
        2,
        task(accepted(RECTANGLE, LAST | {"item_index": 1}), data={"images": ["a.png", "b.png"]}),
        None,
        pictures=("a.png", "b.png"),
        refused="",
    ),
    one(
        "two pictures in a task, by their tags",
        2,
        task(accepted(RECTANGLE, LAST | {"to_name": "second"}), data={"image": "a.png", "second": "b.png"}),
        None,
        pictures=("a.png", "b.png"),
        refused="",
    ),
    one("an upload", 1, task(accepted(RECTANGLE), image="/data/upload/1/a.png"), GOOD),
    one(
        "local storage",
        1,
        task(accepted(RECTANGLE), image="/data/local-files/?d=sub%2Fa.png"),
        {"sub/a": GOOD["a"]},
        pictures=("sub/a.png",),
    ),
    one("an address", 1, task(accepted(RECTANGLE), image="https://pictures.example/x/a.png"), GOOD, pictures=()),
    one("an address of a store", 1, task(accepted(RECTANGLE), image="s3://bucket/x/a.png"), GOOD, pictures=()),
    one(
        "a name of Windows",
        1,
        task(accepted(RECTANGLE), image="C:\\photos\\a.png"),
        GOOD,
        images="pictures",
        pictures=("pictures/a.png",),
    ),
    one(
        "two suffixes",
        1,
        task(accepted(RECTANGLE), image="photo.jpg.jpg"),
        {"photo.jpg": GOOD["a"]},
        pictures=("photo.jpg.jpg",),
    ),
    one(
        "no size, the picture is there",
        1,
        task(accepted(region("rectangle", BOX_VALUE, original_width=None, original_height=None))),
        GOOD,
    ),
    one(
        "no size, no picture",
        2,
        [task(accepted(region("rectangle", BOX_VALUE, original_width=None, original_height=None))), _SECOND],
        _ONLY_B,
        pictures=("b.png",),
        left_out={"": 1},
    ),
    one(
        "size of swapped sides",
        2,
        [task(accepted(region("rectangle", BOX_VALUE, size=(80, 60)))), _SECOND],
        _ONLY_B,
        pictures=("a.png", "b.png"),
        left_out={"": 1},
    ),
    one(
        "size of another scale",
        1,
        task(accepted(RECTANGLE)),
        {"a": [("cat", whole((20, 16, 100, 80), (120, 160)))]},
        size=(120, 160),
        notes=["scale"],
    ),
    one(
        "size of another scale, brush",
        1,
        task(accepted(brush(whole()))),
        {"a": [("cat", whole((20, 16, 100, 80), (120, 160)))]},
        size=(120, 160),
        notes=["scale"],
        least=0.97,
    ),
    one("picture not there", 1, task(accepted(RECTANGLE)), GOOD, pictures=()),
    one("mark of byte order", 1, task(accepted(RECTANGLE)), GOOD, encoding="utf-8-sig"),
    one(
        "scores",
        3,
        task(
            predictions=[
                {"result": [RECTANGLE | {"score": None}, LAST | {"score": "0.5"}, polygon(corners(OTHER), score=0.5)]}
            ]
        ),
        {"a": [*BOTH["a"], ("cat", whole(OTHER))]},
    ),
    Entry("JSON-MIN", "label-studio", _min, 1, None, refused=""),
]

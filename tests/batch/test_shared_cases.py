"""The cases in ../shared/cases, against the results in their README."""

import json
from pathlib import Path

import numpy as np
import pytest

from annotation_files.table import floored, oval, whole
from insid3.batch.annotations import from_labelme
from insid3.batch.convert import convert, detect
from insid3.batch.formats import FORMATS
from insid3.batch.formats.marked import Marked
from insid3.batch.formats.reading import Reading
from insid3.errors import DataError
from shapes import iou

SIZE = (120, 160)
BOX = (40, 30, 100, 90)
INCLUSIVE = (40, 30, 101, 91)  # of programs that paint the border


def read(source: Path) -> tuple[list[Marked], Reading]:
    reading = Reading()
    _, pictures = FORMATS[detect(source)].read(source, reading)
    return list(pictures), reading


def alone(source: Path) -> np.ndarray:
    """Return the only mask of a file of which nothing is left out."""
    (picture,), reading = read(source)
    (instance,) = picture.instances
    assert not reading.left_out
    return instance.whole(picture.size)


def inclusive_oval() -> np.ndarray:
    """Return the ellipse in a box whose corners are pixels."""
    return oval((70.5, 60.5), (30.5, 30.5), size=SIZE)


def test_ai_masks_of_labelme(cases: Path) -> None:
    bolt = alone(cases / "labelme_ai_mask" / "bolt.json")
    assert iou(bolt, inclusive_oval()) > 0.98
    assert bolt[30:91, 40:101].sum() == bolt.sum()
    assert bolt.any(1).sum() == bolt.any(0).sum() == 61
    large = alone(cases / "labelme_ai_mask" / "b.json")
    assert large.shape == (900, 1200)
    assert large.sum() == 550_993
    for name in ("bolt", "b"):
        _, mask = from_labelme(cases / "labelme_ai_mask" / f"{name}.json")
        assert mask.sum() == (bolt if name == "bolt" else large).sum()


@pytest.mark.parametrize("name", ["polygon", "rectangle", "named"])
def test_boxes_of_label_studio(name: str, cases: Path) -> None:
    assert detect(cases / "label_studio" / name) == "label-studio"
    assert np.array_equal(alone(cases / "label_studio" / name), whole(BOX, SIZE))


def test_ellipse_of_label_studio(cases: Path) -> None:
    assert iou(alone(cases / "label_studio" / "ellipse"), oval((70, 60), (30, 30), size=SIZE)) > 0.99


@pytest.mark.parametrize("name", ["skipped-last", "completions"])
def test_what_counts_in_label_studio(name: str, cases: Path) -> None:
    mask = alone(cases / "label_studio" / name)
    y, x = np.nonzero(mask)
    radius = np.sqrt(mask.sum() / np.pi)
    distance = np.hypot(*(np.mgrid[: SIZE[0], : SIZE[1]] - np.array([y.mean(), x.mean()])[:, None, None]))
    assert iou(mask, distance <= radius) > 0.95  # a disc


def test_a_region_without_a_label(cases: Path) -> None:
    (picture,), reading = read(cases / "label_studio" / "unlabelled-region")
    assert len(picture.instances) == 1
    assert sum(map(len, reading.left_out.values())) == 1
    (place,) = next(iter(reading.left_out.values()))
    assert "tasks.json" in place


def test_boxes_and_no_masks(cases: Path, tmp_path: Path) -> None:
    source = cases / "coco" / "boxes_only" / "_annotations.coco.json"
    with pytest.raises(DataError, match=r"2 box"):
        convert(source, "coco", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    convert(source, "coco", tmp_path / "out", boxes_as_masks=True)
    written = json.loads((tmp_path / "out" / "instances.json").read_text())
    assert [annotation["bbox"] for annotation in written["annotations"]] == [[40, 30, 60, 60]] * 2
    assert sorted(image["file_name"] for image in written["images"]) == ["a_jpg.rf.0f1e.jpg", "b_jpg.rf.9a2b.jpg"]


@pytest.mark.parametrize("name", ["blank-end", "class-decimal", "classes-txt"])
def test_yolo_as_people_have_it(name: str, cases: Path) -> None:
    ring = [(0.25, 0.25), (0.625, 0.25), (0.625, 0.75), (0.25, 0.75)]
    assert np.array_equal(alone(cases / "yolo" / name), floored(ring, SIZE))
    assert np.array_equal(floored(ring, SIZE), whole(INCLUSIVE, SIZE))


def test_a_picture_without_labels_stays(cases: Path) -> None:
    pictures, reading = read(cases / "yolo" / "background")
    assert {picture.name: len(picture.instances) for picture in pictures} == {"a": 1, "empty-street": 0}
    assert not reading.left_out


def test_two_pictures_of_one_stem(cases: Path) -> None:
    pictures: list[Marked] = []
    said = ""
    try:
        pictures, _ = read(cases / "yolo" / "two-of-a-stem")
    except DataError as error:
        said = str(error)
    assert sorted(picture.path.name for picture in pictures) == ["a.jpg", "a.png"] or (
        "a.jpg" in said and "a.png" in said
    )
    assert len({picture.name for picture in pictures}) == len(pictures)
    assert all(len(picture.instances) == 1 for picture in pictures)


def test_marks_of_byte_order(cases: Path) -> None:
    assert np.array_equal(alone(cases / "bom" / "coco"), whole(BOX, SIZE))
    assert np.array_equal(alone(cases / "bom" / "lm"), whole(INCLUSIVE, SIZE))
    ring = [(0.25, 0.25), (0.62, 0.25), (0.62, 0.75), (0.25, 0.75)]
    assert np.array_equal(alone(cases / "bom" / "yolo"), floored(ring, SIZE))

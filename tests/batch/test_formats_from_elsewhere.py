"""Annotation files of other programs, damaged files, and the readers of other programs."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from insid3.batch.annotations import from_labelme
from insid3.batch.formats import FORMATS
from insid3.batch.formats.coco import Coco
from insid3.batch.formats.polygons import polygons
from insid3.batch.formats.reading import Reading
from insid3.errors import DataError
from insid3.imaging.components import Instance
from insid3.label_map import Label
from shapes import LABELS, ROUND, SIZE, iou, marked, masks


def coco(folder: Path, segmentation: Any, height: int = 9, width: int = 9, **more: Any) -> Path:
    content: dict[str, Any] = {
        "images": [{"id": 1, "file_name": "a.png", "height": height, "width": width}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": segmentation}],
    }
    (folder / "instances.json").write_text(json.dumps(content | more))
    return folder / "instances.json"


def test_runs_that_are_not_compressed(tmp_path: Path) -> None:
    (picture,) = Coco().read(coco(tmp_path, {"size": [9, 9], "counts": [10, 5, 66]}))[1]
    assert picture.instances[0].box == (1, 1, 2, 6)  # column by column
    assert picture.instances[0].area == 5


@pytest.mark.parametrize("counts", [[10, 5], [10, 500, 66], [-1, 5, 77], ["a"]])
def test_runs_of_another_picture_are_refused(counts: list[Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no object that can be read.*annotation 1 of instances\.json has"):
        list(Coco().read(coco(tmp_path, {"size": [9, 9], "counts": counts}))[1])


@pytest.mark.parametrize("size", [(0, 9), (-9, -9), (10**6, 10**6)])
def test_impossible_sizes_are_refused(size: tuple[int, int], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"image 1 of instances\.json declares a picture of"):
        list(Coco().read(coco(tmp_path, [[1, 1, 5, 1, 5, 5]], *size))[1])
    FORMATS["labelme"].write(LABELS, marked(tmp_path), tmp_path / "out")
    file = tmp_path / "out" / "none.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"imageHeight": size[0], "imageWidth": size[1]}))
    reading = Reading()
    pictures = {picture.name: picture.size for picture in FORMATS["labelme"].read(tmp_path / "out", reading)[1]}
    assert pictures["none"] == SIZE  # the picture's own
    assert "declares a picture of" in reading.notes["size that no picture has"][0]
    (tmp_path / "photos" / "none.png").unlink()
    assert len(list(FORMATS["labelme"].read(tmp_path / "out", reading)[1])) == 2
    assert "none.json has no size" in reading.left_out["picture"][0]


@pytest.mark.parametrize(
    "more",
    [
        {"annotations": [{"id": "a", "image_id": 1, "category_id": 1}]},
        {"categories": [{"id": 1}]},
        {"categories": [{"id": "x", "name": "cat"}]},
        {"categories": None},
        {"images": [{"id": 1}]},
    ],
)
def test_nothing_is_appended_to_damaged_files(more: dict[str, Any], tmp_path: Path) -> None:
    file = coco(tmp_path, None, **more)
    before = file.read_bytes()
    with pytest.raises(DataError, match=r"instances\.json is damaged"):
        Coco(append_to=file).write(LABELS, marked(tmp_path), tmp_path)
    assert file.read_bytes() == before


def test_ids_as_text_are_the_same_ids(tmp_path: Path) -> None:
    image = {"id": "1", "file_name": "a.png", "height": SIZE[0], "width": SIZE[1]}
    old = [{"id": number, "image_id": "1", "category_id": "1"} for number in ("1", "2")]
    file = coco(tmp_path, None, images=[image], annotations=old, categories=[{"id": "1", "name": "cat"}])
    Coco(append_to=file).write(LABELS, marked(tmp_path), tmp_path)
    annotations = json.loads(file.read_text())["annotations"]
    assert [annotation["id"] for annotation in annotations] == [3, 4, 5, 6]  # the picture's cats, anew
    assert [annotation["image_id"] for annotation in annotations[:2]] == [1, 1]


def yolo(folder: Path, data: str | None = None, line: str | None = None) -> Path:
    FORMATS["yolo"].write(LABELS, marked(folder), folder / "out")
    if data is not None:
        (folder / "out" / "concepts.json").unlink()
        (folder / "out" / "data.yaml").write_text(data)
    if line is not None:
        (folder / "out" / "labels" / "a.txt").write_text(f"{line}\n")
    return folder / "out"


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ("names:\n  - a\n  - b\nnc: 2\n", ["a", "b"]),
        ("names:\n- a\n- b\n", ["a", "b"]),
        ("names:\n  1: b\n  0: a\n", ["a", "b"]),
        ("names: {0: a, 1: 2}\n", ["a", "2"]),
        ("class_names: 3\nnames:\n  0: a # first\n  # the second\n  1: c#\ntrain: x\n", ["a", "c#"]),
        ("names: ['a, b', \"c]\", it]\n", ["a, b", "c]", "it"]),
        ("names:\n  0: 'it''s'\n  1: \"\\u00e9\"\n", ["it's", "é"]),
        ("nc: 2\n", ["class_0", "class_1"]),  # as ultralytics calls them
    ],
)
def test_names_of_other_data_files(data: str, names: list[str], tmp_path: Path) -> None:
    labels, _ = FORMATS["yolo"].read(yolo(tmp_path, data))
    assert [label.name for label in labels] == names


@pytest.mark.parametrize(
    "data",
    [
        "names:\n",
        "names:\n  1: a\n  2: b\n",
        "names:\n  0: a\n  odd\n",
    ],
)
def test_names_are_not_guessed(data: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.yaml is damaged"):
        FORMATS["yolo"].read(yolo(tmp_path, data))


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("0 0.5 0.5 0.2 0.2", "box"),
        ("0 nan 0.1 0.2 0.1 0.2 0.2", "object"),
        ("0 0.1 0.1 0.2 0.1 0.2", "box"),
        ("0", "object"),
        ("9 0 0 1 0 1 1", "object"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2 0.5", "object"),
        ("0 30 30 90 30 90 60", "object"),
    ],
)
def test_lines_that_are_no_polygon(line: str, kind: str, tmp_path: Path) -> None:
    reading = Reading()
    pictures = {picture.name: picture for picture in FORMATS["yolo"].read(yolo(tmp_path, line=line), reading)[1]}
    assert not pictures["a"].instances
    assert pictures["sub/b.b"].instances
    (place,) = reading.left_out[kind]
    assert place.startswith("line 1 of ")
    assert "a.txt" in place


@pytest.mark.parametrize("shape", [name for name in masks() if name not in ROUND])
def test_opencv_paints_what_was_marked(shape: str, tmp_path: Path) -> None:
    (rings,) = polygons(Instance.from_mask(masks()[shape]), centres=True)
    painted = np.zeros(SIZE, np.uint8)
    cv2.fillPoly(painted, [rings[0].astype(np.int32)], 1)
    assert iou(painted.astype(bool), masks()[shape]) >= 0.95
    FORMATS["yolo"].write(LABELS, marked(tmp_path, shape), tmp_path / "out")
    values = np.array((tmp_path / "out" / "labels" / "a.txt").read_text().split()[1:], float)
    pixels = (values.reshape(-1, 2) * SIZE[::-1]).astype(int)  # supervision cuts decimals off
    assert (pixels[: len(rings[0])] == rings[0]).all()


@pytest.mark.parametrize("name", ["yolo", "labelme", "voc", "png"])
@pytest.mark.parametrize("bad", ["../x", "a/../../x", "/x"])
def test_nothing_is_written_outside(name: str, bad: str, tmp_path: Path) -> None:
    picture = marked(tmp_path)[0]
    hostile = type(picture)(picture.path, bad, picture.size, picture.instances)
    with pytest.raises(DataError, match="is not the name of a file below"):
        FORMATS[name].write(LABELS, [hostile], tmp_path / "in" / "out")
    assert not [path for path in tmp_path.rglob("*") if path.stem == "x"]


def test_yolo_with_its_splits_on_top(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        for kind in ("images", "labels"):
            (tmp_path / split / kind).mkdir(parents=True)
        Image.new("RGB", (20, 10)).save(tmp_path / split / "images" / "a.jpg")
        (tmp_path / split / "labels" / "a.txt").write_text("0 0.1 0.1 0.6 0.1 0.6 0.9 0.1 0.9\n")
    (tmp_path / "data.yaml").write_text("names: [cat]\n")
    labels, pictures = FORMATS["yolo"].read(tmp_path)
    assert [label.name for label in labels] == ["cat"]
    found = list(pictures)
    assert [(picture.name, picture.size) for picture in found] == [("train/a", (10, 20)), ("valid/a", (10, 20))]
    assert found[0].instances[0].box == (2, 1, 13, 10)  # corners are pixels of the object
    for split in ("train", "valid"):
        (tmp_path / split / "labels").rename(tmp_path / split / "other")
    with pytest.raises(DataError, match="has no folder 'labels', nor one below train/"):
        FORMATS["yolo"].read(tmp_path)


@pytest.mark.parametrize(
    "address", ["cats/a b.jpg", "/data/local-files/?d=cats/a%20b.jpg", "/data/upload/12/cats/a%20b.jpg"]
)
def test_label_studio_and_its_own_paths(address: str, tmp_path: Path) -> None:
    task = {"data": {"image": address, "width": 20, "height": 10}, "annotations": [{"result": []}]}
    (tmp_path / "tasks.json").write_text(json.dumps([task]))
    (picture,) = FORMATS["label-studio"].read(tmp_path)[1]
    assert picture.name == "cats/a b"
    assert picture.path == tmp_path / "cats" / "a b.jpg"


@pytest.mark.parametrize("name", ["png", "voc"])
def test_more_classes_than_numbers(name: str, tmp_path: Path) -> None:
    many = [Label(str(i), i + 1, (0, 0, 0)) for i in range(256)]
    with pytest.raises(DataError, match=r"there are 256 classes, an indexed picture has room for 25[45]"):
        FORMATS[name].write(many, [], tmp_path / "out")


def test_voc_with_suffixes_as_cameras_write_them(tmp_path: Path) -> None:
    picture = replace(marked(tmp_path)[0], path=tmp_path / "a.JPG")
    Image.new("RGB", SIZE[::-1]).save(tmp_path / "a.JPG")
    FORMATS["voc"].write(LABELS, [picture], tmp_path / "voc")
    (read,) = FORMATS["voc"].read(tmp_path / "voc")[1]
    assert read.path == tmp_path / "voc" / "JPEGImages" / "a.JPG"


def test_points_and_lines_are_passed_over(tmp_path: Path) -> None:
    FORMATS["labelme"].write(LABELS, marked(tmp_path, "box"), tmp_path / "out")
    (tmp_path / "out" / "concepts.json").unlink()
    file = tmp_path / "out" / "a.json"
    content = json.loads(file.read_text())
    for kind, points in (("point", [[1, 1]]), ("line", [[1, 1], [2, 2]]), ("linestrip", [[1, 1], [2, 2], [3, 3]])):
        content["shapes"].append({"label": "tail", "shape_type": kind, "points": points})
    file.write_text(json.dumps(content))
    reading = Reading()
    labels, pictures = FORMATS["labelme"].read(tmp_path / "out", reading)
    assert [label.name for label in labels] == ["cat"]
    (found,) = next(pictures).instances
    assert reading.summary()[0] == "left out: 1 point, 2 lines"
    assert iou(found.whole(SIZE), masks()["box"]) > 0.95
    _, mask = from_labelme(file)  # one label, so it need not be chosen
    assert (mask == found.whole(SIZE)).all()

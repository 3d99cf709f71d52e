"""Examples from labelme and COCO files that are written by hand."""

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from insid3 import ImageError, MaskError
from insid3.batch.annotations import from_coco, from_labelme
from insid3.imaging.read import read_image

SQUARE = [[2.0, 1.0], [5.0, 1.0], [5.0, 4.0], [2.0, 4.0]]


def png(array: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def labelme(folder: Path, shapes: list[dict[str, Any]], **more: object) -> Path:
    Image.new("RGB", (10, 8), "red").save(folder / "a.png")
    path = folder / "a.json"
    path.write_text(json.dumps({"imagePath": "a.png", "imageWidth": 10, "imageHeight": 8, "shapes": shapes, **more}))
    return path


def shape(label: str = "cat", kind: str = "polygon", points: Any = SQUARE, **more: object) -> dict[str, Any]:
    return {"label": label, "shape_type": kind, "points": points, **more}


@pytest.mark.parametrize(
    ("given", "rows", "columns"),
    [
        (shape(), (1, 5), (2, 6)),
        (shape(kind="rectangle", points=[[5, 4], [2, 1]]), (1, 5), (2, 6)),
        (shape(kind="mask", points=[[3, 2], [5, 4]], mask=png(np.full((3, 3), 255, np.uint8))), (2, 5), (3, 6)),
    ],
    ids=["polygon", "rectangle", "mask"],
)
def test_labelme_shapes(tmp_path: Path, given: dict[str, Any], rows: tuple[int, int], columns: tuple[int, int]) -> None:
    picture, mask = from_labelme(labelme(tmp_path, [given]))
    expected = np.zeros((8, 10), bool)
    expected[slice(*rows), slice(*columns)] = True
    assert picture == tmp_path / "a.png"
    assert np.array_equal(mask, expected)


def test_labelme_circle_and_union(tmp_path: Path) -> None:
    _, mask = from_labelme(labelme(tmp_path, [shape(kind="circle", points=[[4, 4], [4, 6]]), shape(points=SQUARE)]))
    assert mask[4, 4]
    assert mask[1, 2]
    assert not mask[0, 0]


def test_labelme_chooses_by_label(tmp_path: Path) -> None:
    path = labelme(tmp_path, [shape("cat"), shape("dog", "rectangle", [[7, 6], [9, 7]])])
    assert from_labelme(path, "dog")[1].sum() == 6
    with pytest.raises(MaskError, match=r"a\.json has the labels cat, dog: choose one with --category"):
        from_labelme(path)
    with pytest.raises(MaskError, match="choose one"):
        from_labelme(path, "cow")


def test_labelme_embedded_picture(tmp_path: Path) -> None:
    path = labelme(tmp_path, [shape()], imagePath="elsewhere/b.png", imageData=png(np.full((8, 10, 3), 7, np.uint8)))
    assert (read_image(from_labelme(path)[0]) == 7).all()
    path = labelme(tmp_path, [shape()], imagePath="elsewhere/b.png", imageData=None)
    with pytest.raises(ImageError, match=r"b\.png, which .*a\.json annotates, is not there.*--reference"):
        from_labelme(path)
    picture, _ = from_labelme(path, picture="mine.png")
    assert picture == "mine.png"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "it is not JSON .line 1, column 2"),
        ("[]", "it has a list of 0 as content, not an object"),
        ('{"shapes": 3}', "no labelme file: it has 3 as shapes, not a list"),
        ('{"imagePath": "a", "imageWidth": 5, "imageHeight": 5, "shapes": []}', "has no object that can be an example"),
        ('{"imagePath": "a", "shapes": [{"label": "x", "points": []}]}', "has no size, and its picture is not there"),
        (
            '{"imagePath": "a", "imageWidth": 5, "imageHeight": 5, "shapes": [{"label": "x", "points": "no"}]}',
            "left out: 1 shape.*shape 1 of .*bad.json has .no. as points, not a list",
        ),
        (
            '{"imagePath": "a", "imageWidth": 5, "imageHeight": 5, '
            '"shapes": [{"label": "x", "shape_type": "line", "points": [[1, 1], [2, 2]]}]}',
            "has no object that can be an example: left out: 1 line",
        ),
    ],
)
def test_labelme_refusals(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(MaskError, match=message):
        from_labelme(path)


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    (tmp_path / "val").mkdir()
    (tmp_path / "annotations").mkdir()
    Image.new("RGB", (10, 8), "red").save(tmp_path / "val" / "7.png")
    block = np.zeros((8, 10), np.uint8, order="F")
    block[6:8, 8:10] = 1
    packed = rle.encode(block)
    path = tmp_path / "annotations" / "instances.json"
    path.write_text(
        json.dumps(
            {
                "images": [{"id": 7, "file_name": "7.png", "height": 8, "width": 10}],
                "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 3, "name": "cow"}],
                "annotations": [
                    {"image_id": 7, "category_id": 1, "segmentation": [[2, 1, 6, 1, 6, 5, 2, 5]]},
                    {
                        "image_id": 7,
                        "category_id": 1,
                        "segmentation": {"size": [8, 10], "counts": packed["counts"].decode()},
                    },
                    {"image_id": 7, "category_id": 2, "segmentation": {"size": [8, 10], "counts": [0, 8, 72]}},
                    {"image_id": 8, "category_id": 3, "segmentation": []},
                ],
            }
        )
    )
    return path


def test_coco_polygons_and_both_rles(coco: Path) -> None:
    picture, mask = from_coco(coco, 7, "cat")
    assert picture == coco.parent.parent / "val" / "7.png"
    expected = np.zeros((8, 10), bool)
    expected[1:5, 2:6] = expected[6:8, 8:10] = True
    assert np.array_equal(mask, expected)
    _, mask = from_coco(coco, "7.png", "dog")
    assert np.array_equal(mask.any(0), np.arange(10) == 0)


def test_coco_refusals(coco: Path, tmp_path: Path) -> None:
    with pytest.raises(MaskError, match="has no image 9 among its 1: give an id or a file name"):
        from_coco(coco, 9, "cat")
    with pytest.raises(MaskError, match="has the categories cat, dog: choose one with --category"):
        from_coco(coco, 7, "cow")
    (tmp_path / "val" / "7.png").unlink()
    with pytest.raises(ImageError, match=r"7\.png, which .* annotates, is not there: .* name it .--reference."):
        from_coco(coco, 7, "cat")
    assert from_coco(coco, 7, "cat", "x.png")[0] == "x.png"
    (tmp_path / "other.json").write_text('{"pictures": []}')
    with pytest.raises(MaskError, match="no COCO instances file: it has nothing as list of images, not a list"):
        from_coco(tmp_path / "other.json", 7)


@pytest.mark.parametrize(
    "change",
    [
        {"shapes": [shape(points=[[float("nan"), 1], [5, 5], [1, 5]])]}, {"shapes": [shape(points=None)]},
        {"shapes": [shape(kind="mask", points=[[0, 0]], mask="!!")]}, {"shapes": 3},
    ],
)  # fmt: skip
def test_labelme_files_of_any_kind_raise_our_errors_only(tmp_path: Path, change: dict[str, Any]) -> None:
    path = labelme(tmp_path, [shape()])
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(MaskError, match=re.escape(path.name)):
        from_labelme(path)


@pytest.mark.parametrize(
    "change",
    [
        {"imageWidth": 10**6, "imageHeight": 10**6}, {"imageWidth": 10**12}, {"imageHeight": 0}, {"imageWidth": "wide"},
        {"imageHeight": None}, {"imageWidth": float("inf")},
    ],
)  # fmt: skip
def test_the_pictures_own_size_decides_over_one_that_no_picture_has(tmp_path: Path, change: dict[str, Any]) -> None:
    path = labelme(tmp_path, [shape()])
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert from_labelme(path)[1].shape == (8, 10)
    (tmp_path / "a.png").unlink()
    with pytest.raises(MaskError, match="has no size, and its picture is not there"):
        from_labelme(path)


@pytest.mark.parametrize("data", [7, "é", "AAAA", ""])
def test_labelme_pictures_that_are_none(tmp_path: Path, data: object) -> None:
    path = labelme(tmp_path, [shape()])
    path.write_text(json.dumps({**json.loads(path.read_text()), "imagePath": "gone.png", "imageData": data}))
    with pytest.raises(ImageError, match="is not there: put it there"):
        from_labelme(path)


@pytest.mark.parametrize("segmentation", [[], None, "x", [[1, 2]], {"size": [8, 10], "counts": 3}])
def test_coco_segmentations_of_any_kind_raise_our_errors_only(coco: Path, segmentation: object) -> None:
    data = json.loads(coco.read_text())
    data["annotations"] = [{"image_id": 7, "category_id": 1, "segmentation": segmentation}]
    coco.write_text(json.dumps(data))
    with pytest.raises(MaskError, match="instances"):
        from_coco(coco, 7)


def test_coco_boxes_beside_masks_do_not_matter(coco: Path) -> None:
    data = json.loads(coco.read_text())
    data["annotations"].append({"image_id": 7, "category_id": 1, "bbox": [0, 0, 3, 3]})
    expected = from_coco(coco, 7, "cat")[1]
    coco.write_text(json.dumps(data))
    assert np.array_equal(from_coco(coco, 7, "cat")[1], expected)


def test_coco_names_that_repeat(coco: Path) -> None:
    data = json.loads(coco.read_text())
    for number, folder in ((8, "a"), (9, "b")):
        data["images"].append({"id": number, "file_name": f"{folder}/7.png", "height": 8, "width": 10})
    coco.write_text(json.dumps(data))
    assert from_coco(coco, "7.png", "cat")[1].any()  # the exact name comes first
    with pytest.raises(MaskError, match=r"has no object that can be an example: left out: 1 annotation"):
        from_coco(coco, "a/7.png")
    data["images"] = data["images"][1:]
    coco.write_text(json.dumps(data))
    with pytest.raises(MaskError, match=r"has 2 images '7.png': a/7.png \(id 8\), b/7.png \(id 9\); give the id"):
        from_coco(coco, "7.png")

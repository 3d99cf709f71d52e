"""Every annotation format: written pictures are read back, and errors name the damage."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from insid3.batch.convert import convert, detect
from insid3.batch.formats import FORMATS
from insid3.batch.formats import cvat as cvat_format
from insid3.batch.formats.base import below, link_picture, parse_colour
from insid3.batch.formats.coco import Coco
from insid3.batch.formats.geometry import decode_runs
from insid3.batch.formats.label_studio import decode_brush, encode_brush
from insid3.batch.formats.marked import Marked
from insid3.batch.formats.polygons import filled, polygons
from insid3.batch.formats.reading import Reading
from insid3.checks.parsing import Flaw
from insid3.errors import ConfigError, DataError, OutputError
from insid3.imaging.components import Instance
from insid3.label_map import Label
from shapes import LABELS, ROUND, SIZE, iou, marked, masks

EXACT = ("png", "coco", "voc", "label-studio")


def back(name: str, folder: Path) -> tuple[list[Label], dict[str, Marked]]:
    labels, pictures = FORMATS[name].read(folder)
    return labels, {picture.name: picture for picture in pictures}


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_written_comes_back(name: str, tmp_path: Path) -> None:
    before = marked(tmp_path, *("box", "disc", "small disc", "ell"))
    FORMATS[name].write(LABELS, iter(before), tmp_path / "out")
    assert detect(tmp_path / "out") == name.removesuffix("-polygon")
    labels, pictures = back(name, tmp_path / "out")
    assert labels == LABELS
    assert set(pictures) == {"a", "sub/b.b", "none"}
    for picture in before:
        found = pictures[picture.name]
        assert found.size == (SIZE if found.instances or name != "png" else found.size)
        mine, theirs = (sorted(p.instances, key=lambda i: (i.concept, i.box)) for p in (picture, found))
        assert [i.concept for i in mine] == [i.concept for i in theirs]
        for a, b in zip(mine, theirs, strict=True):
            overlap = iou(a.whole(SIZE), b.whole(SIZE))
            assert overlap == 1 if name in EXACT else overlap > 0.97
            if name in ("png", "coco", "coco-polygon", "label-studio"):
                assert b.score == pytest.approx(a.score)
            else:
                assert b.score == 1


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("shape", masks())
def test_every_shape_survives(name: str, shape: str, tmp_path: Path) -> None:
    picture = marked(tmp_path, shape)[0]
    notes = FORMATS[name].write(LABELS, [picture], tmp_path / "out")
    _, pictures = back(name, tmp_path / "out")
    union = np.any([instance.whole(SIZE) for instance in pictures["a"].instances], axis=0)
    mask = masks()[shape]
    if name == "yolo" and "ring" in shape:
        assert any("1 objects had holes, which YOLO cannot keep: they are filled" in note for note in notes)
        assert union.sum() > mask.sum() + 50
    else:
        assert iou(union, mask) >= (1 if name in EXACT else 0.95)
    if name not in ("png", "yolo"):
        assert len(pictures["a"].instances) == 1  # the parts of an object stay one
    elif name == "yolo" and shape == "pair":
        assert any("1 objects had several parts" in note for note in notes)


@pytest.mark.parametrize("centres", [False, True])
@pytest.mark.parametrize("shape", [name for name in masks() if name not in ROUND])
def test_polygons_of_shapes_without_holes(shape: str, centres: bool) -> None:
    mask = masks()[shape]
    (rings,) = polygons(Instance.from_mask(mask), centres=centres)
    assert len(rings) == 1
    assert iou(filled(rings, SIZE, centres=centres), mask) >= 0.97


def test_polygons_keep_holes_and_parts() -> None:
    for shape in ("ring", "square ring"):
        (rings,) = polygons(Instance.from_mask(masks()[shape]))
        assert len(rings) == 2
        assert iou(filled(rings, SIZE), masks()[shape]) > 0.99
    assert len(polygons(Instance.from_mask(masks()["pair"]))) == 2


def test_large_outlines_have_few_points() -> None:
    y, x = np.mgrid[:1000, :1000]
    disc = Instance.from_mask(np.hypot(y - 500, x - 500) < 480)
    (rings,) = polygons(disc)
    assert len(rings[0]) < 200
    assert iou(filled(rings, (1000, 1000)), disc.whole((1000, 1000))) > 0.99
    assert len(polygons(disc, tolerance=0)[0][0]) > 1000


def test_polygons_drawn_by_hand() -> None:
    square = np.array([[1.0, 1.0], [4.0, 1.0], [4.0, 3.0], [1.0, 3.0]])
    expected = np.zeros((5, 6), bool)
    expected[1:3, 1:4] = True
    assert (filled([square], (5, 6)) == expected).all()
    assert (filled([square[::-1]], (5, 6)) == expected).all()
    assert not filled([square[:2]], (5, 6)).any()
    outside = square - (10, 0)
    assert not filled([outside], (5, 6)).any()
    assert filled([square - 2], (5, 6)).sum() == 2  # cut at the picture's corner
    assert filled([square[:1]], (5, 6), centres=True).sum() == 1


@pytest.mark.parametrize(
    ("rows", "runs"),
    [([[0, 1, 1], [1, 0, 0]], [1, 3, 2]), ([[1, 1]], [0, 2]), ([[0, 0]], [2]), ([[1, 0, 1]], [0, 1, 1, 1])],
)
def test_cvats_runs(rows: list[list[int]], runs: list[int]) -> None:
    mask = np.array(rows, bool)
    assert cvat_format.run_lengths(mask) == runs
    assert (decode_runs(np.array(runs), (mask.shape[0], mask.shape[1])) == mask).all()
    with pytest.raises(Flaw, match=r"has runs of .* pixels, its mask has"):
        decode_runs(np.array([*runs, 1]), (mask.shape[0], mask.shape[1]))


def test_label_studios_code() -> None:
    for mask in (*masks().values(), np.zeros((3, 5), bool), np.ones((300, 500), bool), np.eye(7, dtype=bool)):
        assert (decode_brush(encode_brush(mask), mask.shape) == mask).all()
    code = encode_brush(np.array([[False, True]]))
    stream = "".join(f"{byte:08b}" for byte in code)
    assert int(stream[:32], 2) == 8
    assert stream[32:53] == "00111" + "0010" + "0011" + "0111" + "1111"
    assert stream[53:67] == "1" + "00" + "011" + "00000000"  # four bytes of nothing
    for bad, message in (
        (code[:-2], "cut short"),
        (encode_brush(np.ones((1, 1), bool)), "1 pixels, its picture 2 x 1"),
    ):
        with pytest.raises(Flaw, match=message):
            decode_brush(bad, (1, 2))
    mixed = "0" + "00" + "111" + "".join(f"{value:08b}" for value in (9, 9, 9, 0, 8, 8, 8, 200))  # different values
    bits = stream[:53] + mixed
    bits += "0" * (-len(bits) % 8)
    assert decode_brush([int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)], (1, 2)).tolist() == [[False, True]]


def test_label_studios_annotations_win_over_predictions(tmp_path: Path) -> None:
    FORMATS["label-studio"].write(LABELS, marked(tmp_path, "box"), tmp_path)
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    drawn = json.loads(json.dumps(tasks[0]["predictions"][0]))
    drawn["result"][0]["value"]["rle"] = encode_brush(masks()["disc"])
    tasks[0]["annotations"] = [drawn]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    _, pictures = FORMATS["label-studio"].read(tmp_path / "export.json")
    assert iou(next(pictures).instances[0].whole(SIZE), masks()["disc"]) == 1


def test_coco_opens_in_pycocotools(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pycocotools.coco import COCO

    for name in ("coco", "coco-polygon"):
        FORMATS[name].write(LABELS, marked(tmp_path), tmp_path / name)
        coco = COCO(tmp_path / name / "instances.json")
        capsys.readouterr()
        assert {c["id"]: c["name"] for c in coco.loadCats(coco.getCatIds())} == {x.id: x.name for x in LABELS}
        (image,) = (i for i in coco.imgs.values() if i["file_name"] == "a.png")
        assert (image["height"], image["width"]) == SIZE
        annotations = coco.loadAnns(coco.getAnnIds(image["id"]))
        for annotation, shape in zip(annotations, ("box", "square ring"), strict=True):
            assert iou(coco.annToMask(annotation).astype(bool), masks()[shape]) > 0.99
            assert annotation["area"] == masks()[shape].sum()
        assert annotations[0]["bbox"] == [6, 4, 40, 40]
        assert isinstance(annotations[0]["segmentation"], list) == (name == "coco-polygon")
        assert isinstance(annotations[1]["segmentation"], dict)  # its hole


def test_coco_adds_to_what_is_there(tmp_path: Path) -> None:
    theirs = {
        "info": {"year": 2020},
        "images": [{"id": 5, "file_name": "a.png", "height": 90, "width": 120}, {"id": 9, "file_name": "z.jpg"}],
        "categories": [{"id": 3, "name": "dog"}, {"id": 8, "name": "cat"}],
        "annotations": [
            {"id": 40, "image_id": 5, "category_id": 3, "bbox": [0, 0, 2, 2]},
            {"id": 41, "image_id": 5, "category_id": 8, "bbox": [1, 1, 2, 2]},
            {"id": 42, "image_id": 9, "category_id": 8, "bbox": [1, 1, 2, 2]},
        ],
    }
    file = tmp_path / "instances.json"
    file.write_text(json.dumps(theirs))
    Coco(append_to=file).write(LABELS, marked(tmp_path), tmp_path)
    data = json.loads(file.read_text())
    assert data["info"] == {"year": 2020}
    assert [(c["id"], c["name"]) for c in data["categories"]] == [(3, "dog"), (8, "cat"), (9, LABELS[1].name)]
    assert [image["file_name"] for image in data["images"]] == ["a.png", "z.jpg", "sub/b.b.jpg", "none.png"]
    assert [image["id"] for image in data["images"]] == [5, 9, 10, 11]
    assert [a["id"] for a in data["annotations"]] == [40, 42, 43, 44, 45, 46]  # 41 was the picture's cat, now anew
    assert {a["category_id"] for a in data["annotations"][2:]} == {8, 9}
    file.write_text('{"images": [1]}')
    with pytest.raises(DataError, match=r"instances\.json is damaged, or no COCO instances file"):
        Coco(append_to=file).write(LABELS, marked(tmp_path), tmp_path)


def test_yolo_lies_as_its_trainers_want_it(tmp_path: Path) -> None:
    FORMATS["yolo"].write(LABELS, marked(tmp_path), tmp_path / "out")
    out = tmp_path / "out"
    lines = (out / "labels" / "a.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1"]
    numbers = np.array(lines[0].split()[1:], float)
    assert numbers.min() >= 0
    assert numbers.max() <= 1
    assert (out / "labels" / "none.txt").read_text() == ""
    with Image.open(out / "images" / "sub" / "b.b.jpg") as image:
        assert image.size == SIZE[::-1]
    assert '0: "cat"' in (out / "data.yaml").read_text()
    (out / "concepts.json").unlink()
    labels, _ = FORMATS["yolo"].read(out)
    assert [label.name for label in labels] == [label.name for label in LABELS]
    (out / "data.yaml").write_text("names: ['a b', c]\n")
    assert [label.name for label in FORMATS["yolo"].read(out)[0]] == ["a b", "c"]


def test_labelme_finds_its_picture(tmp_path: Path) -> None:
    from insid3.batch.annotations import from_labelme

    FORMATS["labelme"].write(LABELS, marked(tmp_path), tmp_path / "out")
    content = json.loads((tmp_path / "out" / "sub" / "b.b.json").read_text())
    assert content["imagePath"] == "../../photos/sub/b.b.jpg"
    picture, mask = from_labelme(tmp_path / "out" / "sub" / "b.b.json", "cat")  # our own reader of references
    assert Path(str(picture)).resolve() == (tmp_path / "photos/sub/b.b.jpg").resolve()
    assert iou(mask, masks()["disc"]) > 0.97


def test_png_says_what_it_cannot_keep(tmp_path: Path) -> None:
    picture = marked(tmp_path, "box")[0]
    over = Instance.from_mask(masks()["border"], 1)
    touching = Marked(picture.path, "a", SIZE, (*picture.instances, over))
    notes = FORMATS["png"].write(LABELS, [touching], tmp_path / "out")
    assert notes == [
        f"{(masks()['border'] & masks()['box']).sum()} pixels belong to several concepts: they are the last one's"
    ]
    beside = Marked(picture.path, "a", SIZE, tuple(Instance.from_mask(masks()[name], 0) for name in ("border", "box")))
    assert "are joined or split" in FORMATS["png"].write(LABELS, [beside], tmp_path / "out")[0]
    with Image.open(tmp_path / "out" / "a.png") as image:
        assert image.mode == "P"
        assert image.getpalette("RGB")[3:6] == list(LABELS[0].colour)  # type: ignore[index]


FILES = {
    "png": "results.jsonl", "coco": "instances.json", "yolo": "labels/a.txt", "labelme": "a.json",
    "label-studio": "tasks.json", "cvat": "annotations.xml", "voc": "SegmentationClass/a.png",
}  # fmt: skip


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"{}", b"[1]", b"null\n", b"<annotations><image/></annotations>"]
)
@pytest.mark.parametrize("name", FILES)
def test_damaged_files_are_named(name: str, content: bytes, tmp_path: Path) -> None:
    FORMATS[name].write(LABELS, marked(tmp_path), tmp_path / "out")
    file = tmp_path / "out" / FILES[name]
    if content in (b"", b"\xff\xfe") and name in ("png", "yolo", "voc"):
        content = b"x"  # of these an empty file, or none, is nothing out of order
    file.write_bytes(content + (b"\n" if name == "png" else b""))
    if name in ("yolo", "labelme", "voc"):  # a file for each picture: the others are read
        reading = Reading()
        assert len(list(FORMATS[name].read(tmp_path / "out", reading)[1])) >= 2
        assert any(file.name in place for places in reading.left_out.values() for place in places)
        with pytest.raises(DataError, match=re.escape(file.name)):
            list(FORMATS[name].read(tmp_path / "out", Reading(strict=True))[1])
    else:
        with pytest.raises(DataError, match=re.escape(file.name)):
            list(FORMATS[name].read(tmp_path / "out")[1])


@pytest.mark.parametrize("name", ["coco", "cvat", "label-studio"])
@pytest.mark.parametrize("to", ["png", "yolo", "labelme", "voc"])
def test_names_of_others_stay_below_the_output(name: str, to: str, tmp_path: Path) -> None:
    FORMATS[name].write(LABELS, marked(tmp_path), tmp_path / "in")
    file = tmp_path / "in" / FILES[name]
    file.write_text(file.read_text().replace("sub/b.b.jpg", "../../evil.jpg"))
    convert(tmp_path / "in", to, tmp_path / "out")
    written = list(tmp_path.rglob("*evil*"))
    assert written or to == "voc"
    assert all(path.is_relative_to(tmp_path / "out") for path in written)
    for bad in ("/etc/x", "a/../../b", ".."):
        with pytest.raises(DataError):
            below(tmp_path, bad)


def test_entities_are_refused(tmp_path: Path) -> None:
    (tmp_path / "annotations.xml").write_text('<!DOCTYPE x [<!ENTITY a "aa">]><annotations/>')
    with pytest.raises(DataError, match="declares a document type or entities"):
        FORMATS["cvat"].read(tmp_path)


@pytest.mark.parametrize("first", FORMATS)
@pytest.mark.parametrize("second", FORMATS)
def test_from_any_format_to_any(first: str, second: str, tmp_path: Path) -> None:
    FORMATS[first].write(LABELS, marked(tmp_path, "box", "disc", "ell", "corner"), tmp_path / "one")
    convert(tmp_path / "one", second, tmp_path / "two", first, tmp_path / "photos")
    labels, pictures = back(second, tmp_path / "two")
    assert labels == LABELS
    assert set(pictures) == {"a", "sub/b.b", "none"}
    assert iou(pictures["a"].instances[0].whole(SIZE), masks()["box"]) > 0.95


def test_convert_is_told_what_it_cannot_know(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(ConfigError, match="no annotation format's file or folder: say which"):
        convert(tmp_path / "in", "coco", tmp_path / "out")
    (tmp_path / "export.zip").write_bytes(b"PK")
    with pytest.raises(ConfigError, match=r"export\.zip is an archive: unpack it"):
        convert(tmp_path / "export.zip", "coco", tmp_path / "out")
    with pytest.raises(ConfigError, match="unknown format 'pdf'; known: png, yolo"):
        convert(tmp_path / "in", "pdf", tmp_path / "out")
    with pytest.raises(DataError, match="no such file or folder"):
        convert(tmp_path / "gone", "coco", tmp_path / "out", "coco")
    FORMATS["coco"].write(LABELS, marked(tmp_path), tmp_path / "in")
    with pytest.raises(OutputError, match="where the annotations come from"):
        convert(tmp_path / "in" / "instances.json", "yolo", tmp_path / "in")


def test_pictures_are_linked_or_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = marked(tmp_path)[0].path
    link_picture(picture, tmp_path / "x" / "a.png")
    assert (tmp_path / "x" / "a.png").samefile(picture)

    def never(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", never)
    link_picture(picture, tmp_path / "y" / "a.png")
    assert (tmp_path / "y" / "a.png").read_bytes() == picture.read_bytes()
    (tmp_path / "secret.txt").write_text("x")
    assert not link_picture(tmp_path / "secret.txt", tmp_path / "z" / "a.txt")
    assert not link_picture(tmp_path / "gone.png", tmp_path / "z" / "gone.png")
    assert not (tmp_path / "z").exists()


def test_colours() -> None:
    assert parse_colour("#ff8000") == parse_colour("ff8000") == (255, 128, 0)
    assert parse_colour("#f80") == parse_colour("rgb(255, 136, 0)") == (255, 136, 0)
    assert parse_colour("orange") == (255, 165, 0)
    for bad in ("#ff", "no colour", "#gg0000"):
        with pytest.raises(Flaw, match="looks like #ff8000"):
            parse_colour(bad)

"""Every file of the corpus (tests/annotation_files): the right masks, and a report of all that is left out."""

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from annotation_files import ENTRIES, Entry
from annotation_files.table import photo
from insid3.batch.annotations import from_coco, from_labelme
from insid3.batch.convert import convert, detect
from insid3.batch.formats import FORMATS
from insid3.batch.formats.marked import Marked
from insid3.batch.formats.reading import Reading
from insid3.errors import DataError, ImageError
from shapes import iou

# What a person who does not program in Python cannot know.
PYTHON = re.compile(
    r"\b[A-Z]\w*(Error|Exception|Warning)\b|Traceback|NoneType|object has no|has no attribute|reshape|broadcast"
    r"|invalid literal|could not convert|not subscriptable|not iterable|unpack|dtype|ndarray|0x[0-9a-f]{6}|np\.|<class"
)
READ = [entry for entry in ENTRIES if entry.refused is None]
REFUSED = [entry for entry in ENTRIES if entry.refused]
by_name = pytest.mark.parametrize("entry", ENTRIES, ids=str)


def objects(left_out: dict[str, list[str]]) -> dict[str, list[str]]:
    """Count the objects in an account, without pictures, tasks and files."""
    return {kind: places for kind, places in left_out.items() if not re.match("picture|task|file", kind)}


def read(
    entry: Entry, folder: Path, *, boxes_as_masks: bool = False, strict: bool = False
) -> tuple[list[str], dict[str, Marked], Reading, Path]:
    """Read a file: labels, pictures by the names of their results, the account, and the reading."""
    source = entry.write(folder / "in")  # beside it lies nothing
    reading = Reading(
        images=folder / "in" / entry.images if entry.images else None, boxes_as_masks=boxes_as_masks, strict=strict
    )
    labels, pictures = FORMATS[entry.format].read(source, reading)
    found = list(pictures)
    names = [picture.name for picture in found]
    assert len(set(names)) == len(names)
    return [label.name for label in labels], dict(zip(names, found, strict=True)), reading, source


def of(pictures: dict[str, Marked], name: str) -> Marked:
    """Find a picture by its name, by its base name, or by the number of a video's frame."""
    if name in pictures:
        return pictures[name]
    kept = [picture for key, picture in pictures.items() if key.rpartition("/")[2] == name]
    if name.startswith("frame_"):
        numbers = {int(re.findall(r"\d+", key)[-1]): picture for key, picture in pictures.items()}
        kept = [numbers[int(name.removeprefix("frame_"))]]
    assert len(kept) == 1, (name, sorted(pictures))
    return kept[0]


@pytest.mark.parametrize("entry", READ, ids=str)
def test_masks_are_those_of_the_formats_own_tools(entry: Entry, tmp_path: Path) -> None:
    labels, pictures, reading, _ = read(entry, tmp_path)
    if entry.masks is None:
        return
    seen = set()
    for name, expected in entry.masks.items():
        if name.startswith("frame_") and not expected and not any(re.search(r"0*" + name[6:], key) for key in pictures):
            continue  # whether frames without an object are pictures is open
        picture = of(pictures, name)
        seen.add(picture.name)
        shown = [(labels[instance.concept], instance.whole(picture.size)) for instance in picture.instances]
        wanted = [label or found for (label, _), (found, _) in zip(expected, shown, strict=False)]
        assert [label for label, _ in shown] == [*wanted, *(label for label, _ in expected[len(shown) :])]
        for (_, found), (_, mask) in zip(shown, expected, strict=True):
            assert found.shape == mask.shape
            assert np.array_equal(found, mask) if entry.least == 1 else iou(found, mask) >= entry.least, (
                f"{name}: {found.sum()} pixels instead of {mask.sum()}, IoU {iou(found, mask):.3f}"
            )
    for key, picture in pictures.items():
        assert key in seen or (entry.format in ("cvat", "voc", "coco") and not picture.instances), f"{key} is invented"
    for pattern, count in entry.left_out.items():
        kinds = reading.left_out if pattern.startswith("^") else objects(reading.left_out)
        assert sum(len(kinds[kind]) for kind in kinds if re.search(pattern, kind)) == count, (pattern, reading.left_out)
    assert bool(reading.left_out) == bool(entry.left_out), reading.left_out
    for pattern in entry.notes:
        assert any(re.search(pattern, kind) for kind in reading.notes), (pattern, reading.notes)


@by_name
def test_as_many_objects_come_out_as_went_in(entry: Entry, tmp_path: Path) -> None:
    if entry.refused:
        with pytest.raises(DataError, match=entry.refused):
            read(entry, tmp_path)
        return
    try:
        _, pictures, reading, source = read(entry, tmp_path)
    except DataError:
        if entry.refused is None:
            raise
        return
    came = sum(len(picture.instances) for picture in pictures.values())
    lost = sum(len(places) for places in objects(reading.left_out).values())
    if entry.masks is None:
        assert came + lost >= entry.objects - entry.joined, reading.left_out
    else:
        assert came + lost == entry.objects - entry.joined + entry.repeated + entry.pieces, reading.left_out
    files = {file.name for file in (source.rglob("*") if source.is_dir() else [source])}
    for account in (reading.left_out, reading.notes):
        for kind, places in account.items():
            assert kind == kind.strip()
            assert places
            for place in places:
                assert not PYTHON.search(f"{kind} {place}"), place
    for places in reading.left_out.values():
        for place in places:
            assert any(file in place for file in files), f"{place} names no file"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run the command line in this process; return its exit status and its output."""
    from insid3.cli import main

    def run(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["insid3", *map(str, words)])
        capsys.readouterr()
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0), capsys.readouterr().err
        return 0, capsys.readouterr().err

    return run


@by_name
def test_the_command_says_what_it_leaves_out(
    entry: Entry, tmp_path: Path, command: Callable[..., tuple[int, str]]
) -> None:
    source, out = entry.write(tmp_path / "in"), tmp_path / "out"
    words = ["convert", source, "--from", entry.format, "--to", "coco", "-o", out]
    words += ["--images", tmp_path / "in" / entry.images] if entry.images else []
    status, said = command(*words)
    assert not PYTHON.search(said), said
    if status:
        assert status == 2
        assert entry.refused is not None, said
        assert re.fullmatch(r"insid3: [^\n]+\n", said), said
        assert re.search(entry.refused, said)
        assert not out.exists() or not list(out.iterdir())
        return
    assert not entry.refused
    came = len(json.loads((out / "instances.json").read_text())["annotations"])
    lost = [int(count.replace(",", "")) for line in re.findall("left out: (.*)", said) for count in counts(line)]
    if entry.masks is not None:
        expected = entry.objects - entry.joined + entry.repeated + entry.pieces - came
        assert (sum(lost) >= expected) if expected else True, said
        assert bool(entry.left_out) == bool(lost), said
    elif came < entry.objects - entry.joined:
        assert lost, said


def counts(line: str) -> Iterator[str]:
    """Return the counts in "3 boxes, 1,204 lines"."""
    return (found[1] for found in re.finditer(r"(?:^|, )([\d,]+) [a-z]", line))


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if entry.left_out or entry.refused], ids=str)
def test_strict_reading_leaves_nothing_out(
    entry: Entry, tmp_path: Path, command: Callable[..., tuple[int, str]]
) -> None:
    source, out = entry.write(tmp_path / "in"), tmp_path / "out"
    words = ["convert", source, "--from", entry.format, "--to", "labelme", "--strict", "-o", out]
    words += ["--images", tmp_path / "in" / entry.images] if entry.images else []
    status, said = command(*words)
    assert status == 2, said
    assert re.fullmatch(r"insid3: [^\n]+\n", said), said
    assert not PYTHON.search(said), said
    assert not out.exists() or not list(out.rglob("*.json"))


@pytest.mark.parametrize("entry", [entry for entry in READ if not entry.left_out and entry.masks], ids=str)
def test_strict_reading_takes_what_is_right(entry: Entry, tmp_path: Path) -> None:
    _, pictures, reading, _ = read(entry, tmp_path, strict=True)
    assert pictures
    assert not reading.left_out


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if "boxes alone" not in entry.name], ids=str)
def test_the_format_is_told_by_what_lies_there(entry: Entry, tmp_path: Path) -> None:
    assert detect(entry.write(tmp_path)) == entry.format


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if entry.refused == "box"], ids=str)
def test_boxes_as_masks(entry: Entry, tmp_path: Path) -> None:
    _, pictures, reading, _ = read(entry, tmp_path, boxes_as_masks=True)
    (picture,) = [picture for picture in pictures.values() if picture.instances]
    assert len(picture.instances) == entry.objects
    for instance in picture.instances:
        assert instance.mask.all()
    assert not reading.left_out
    assert any("box" in kind for kind in reading.notes)


BOXES = {  # what --boxes-as-masks marks: (left, top, right, bottom)
    "coco: boxes alone": (10, 8, 50, 40),
    "voc: boxes alone": (10, 8, 50, 40),  # counted from 1, both ends inclusive
    "coco: results with boxes alone": (1, 2, 31, 22),
}


@pytest.mark.parametrize("name", BOXES)
def test_boxes_where_they_stand(name: str, tmp_path: Path) -> None:
    (entry,) = [entry for entry in ENTRIES if str(entry) == name]
    _, pictures, _, _ = read(entry, tmp_path, boxes_as_masks=True)
    assert {instance.box for picture in pictures.values() for instance in picture.instances} == {BOXES[name]}


@pytest.mark.parametrize("to", FORMATS)
def test_every_format_of_ours_takes_what_was_read(to: str, tmp_path: Path) -> None:
    """Convert one file of each format, in which something is left out."""
    chosen = {e.format: e for e in READ if re.match("one bad|a class that the map", e.name)}
    assert len(chosen) == 6
    for entry in chosen.values():
        source = entry.write(tmp_path / entry.format)
        notes = convert(source, to, tmp_path / f"{entry.format}-out", entry.format)
        assert any(note.startswith("left out: ") for note in notes)
        labels, found = FORMATS[to].read(tmp_path / f"{entry.format}-out")
        for picture in found:
            expected = (entry.masks or {})[picture.name]
            union = np.logical_or.reduce([instance.whole(picture.size) for instance in picture.instances])
            assert iou(union, np.logical_or.reduce([mask for _, mask in expected])) >= 0.95
            assert {labels[i.concept].name for i in picture.instances} == {label for label, _ in expected}


LABELME = [e for e in READ if e.format == "labelme" and e.masks and len(e.masks) == 1 and not e.images]
COCO = [e for e in READ if e.format == "coco" and e.masks and not e.images and "result" not in e.name]


@pytest.mark.parametrize("entry", LABELME, ids=str)
def test_references_out_of_labelme_are_read_the_same_way(entry: Entry, tmp_path: Path) -> None:
    source = entry.write(tmp_path / "in")
    (name,) = entry.masks or {}
    files = sorted(source.rglob("*.json")) if source.is_dir() else [source]
    file = files[0] if len(files) == 1 else source / f"{name}.json"
    for label, expected in by_label(entry, name).items():
        _, mask = from_labelme(file, label)
        assert np.array_equal(mask, expected) if entry.least == 1 else iou(mask, expected) >= entry.least


@pytest.mark.parametrize("entry", COCO, ids=str)
def test_references_out_of_coco_are_read_the_same_way(entry: Entry, tmp_path: Path) -> None:
    source = entry.write(tmp_path / "in")
    content = json.loads(source.read_text("utf-8-sig"))
    for name in entry.masks or {}:
        crowd = "crowd" in entry.name  # never an example's object
        for label, expected in by_label(entry, name, 1 if crowd else None).items():
            ids = [image.get("id") for image in content["images"] if name in str(image.get("file_name"))]
            try:
                _, mask = from_coco(
                    source, ids[0], label, picture="elsewhere.png" if "not there" in entry.name else None
                )
            except ImageError:
                if not re.search("picture|address", entry.name):
                    raise
                continue
            assert np.array_equal(mask, expected) if entry.least == 1 else iou(mask, expected) >= entry.least


def by_label(entry: Entry, name: str, most: int | None = None) -> dict[str, np.ndarray]:
    union: dict[str, np.ndarray] = {}
    for label, mask in list((entry.masks or {})[name])[:most]:
        union[label] = union[label] | mask if label in union else mask
    return union


def test_a_crowd_stays_a_crowd(tmp_path: Path) -> None:
    (entry,) = [entry for entry in ENTRIES if entry.name == "a crowd"]
    source = entry.write(tmp_path / "in")
    _, pictures, _, _ = read(entry, tmp_path)
    assert [instance.crowd for instance in pictures["a"].instances] == [False, True]
    convert(source, "coco", tmp_path / "again", "coco")
    written = json.loads((tmp_path / "again" / "instances.json").read_text())["annotations"]
    assert [annotation["iscrowd"] for annotation in written] == [0, 1]
    _, again = FORMATS["coco"].read(tmp_path / "again")
    assert [instance.crowd for instance in next(again).instances] == [False, True]
    for to in ("labelme", "cvat", "label-studio", "yolo", "voc", "png"):
        notes = convert(source, to, tmp_path / to, "coco")
        assert any("crowd" in note for note in notes), to
        _, others = FORMATS[to].read(tmp_path / to)
        assert [len(picture.instances) for picture in others] == [1]


NAMED = {
    "coco: an address": "https://pictures.example/x/a.png?size=full",
    "coco: two suffixes": "photo.jpg.jpg",
    "cvat: two suffixes": "photo.jpg.jpg",
    "label-studio: two suffixes": "photo.jpg.jpg",
    "label-studio: an address": "https://pictures.example/x/a.png",
    "label-studio: an address of a store": "s3://bucket/x/a.png",
}


@pytest.mark.parametrize("to", ["coco", "cvat", "label-studio"])
@pytest.mark.parametrize("name", NAMED)
def test_pictures_keep_their_own_names(name: str, to: str, tmp_path: Path) -> None:
    (entry,) = [entry for entry in ENTRIES if str(entry) == name]
    convert(entry.write(tmp_path / "in"), to, tmp_path / "out", entry.format)
    if to == "cvat":
        found = re.findall(r'<image [^>]*?name="([^"]+)"', (tmp_path / "out" / "annotations.xml").read_text())
    elif to == "coco":
        found = [
            image["file_name"] for image in json.loads((tmp_path / "out" / "instances.json").read_text())["images"]
        ]
    else:
        found = [task["data"]["image"] for task in json.loads((tmp_path / "out" / "tasks.json").read_text())]
    assert found == [NAMED[name]]


@pytest.mark.parametrize(
    "entry", [e for e in READ if re.search("Windows|drive|absolute|address|upload", e.name)], ids=str
)
@pytest.mark.parametrize("to", ["png", "yolo", "labelme", "voc"])
def test_nothing_is_written_beside_the_output(entry: Entry, to: str, tmp_path: Path) -> None:
    source = entry.write(tmp_path / "in")
    before = sorted(tmp_path.rglob("*"))
    images = tmp_path / "in" / entry.images if entry.images else None
    convert(source, to, tmp_path / "deep" / "out", entry.format, images)
    made = set(tmp_path.rglob("*")) - set(before)
    assert all(path == tmp_path / "deep" or tmp_path / "deep" / "out" in (path, *path.parents) for path in made)
    if to == "yolo" and not entry.images:
        return  # only the picture knows the size
    _, pictures = FORMATS[to].read(tmp_path / "deep" / "out")
    assert [len(picture.instances) for picture in pictures] == [1]


def test_pictures_found_by_base_name_are_the_right_ones(tmp_path: Path) -> None:
    for name, folder in (("found by its base name", "deep"), ("name of Windows", ".")):
        entry = next(entry for entry in ENTRIES if str(entry) == f"coco: {name}")
        shutil.rmtree(tmp_path / "in", ignore_errors=True)
        _, pictures, _, _ = read(entry, tmp_path)
        assert pictures[next(iter(pictures))].path.resolve() == (tmp_path / "in/pictures" / folder / "a.png").resolve()


@pytest.mark.parametrize("to", FORMATS)
def test_names_that_no_disk_takes_are_written(to: str, tmp_path: Path) -> None:
    (entry,) = [entry for entry in ENTRIES if str(entry) == "coco: picture not there"]
    source = entry.write(tmp_path / "in")
    content = json.loads(source.read_text())
    content["images"] = [
        {"id": i, "file_name": name, "width": 80, "height": 60}
        for i, name in enumerate(
            ("n" * 300 + ".png", "x\n\x1b[31m.png", "NUL.png", "caf\udce9.png", "a/" + "d" * 300 + "/b.png")
        )
    ]
    content["annotations"] = [content["annotations"][0] | {"image_id": i} for i in range(5)]
    source.write_text(json.dumps(content))
    convert(source, to, tmp_path / "out", "coco")
    if to != "yolo":  # only the picture knows the size
        _, pictures = FORMATS[to].read(tmp_path / "out")
        assert sum(len(picture.instances) for picture in pictures) == 5


@pytest.mark.parametrize("entry", [e for e in ENTRIES if "two pictures in a task" in e.name], ids=str)
def test_no_region_lies_on_another_picture(entry: Entry, tmp_path: Path) -> None:
    try:
        labels, pictures, _, _ = read(entry, tmp_path)
    except DataError:
        return
    for name, allowed in (("a", "cat"), ("b", "dog")):
        for key, picture in pictures.items():
            if key.rpartition("/")[2] == name:
                assert all(labels[instance.concept] == allowed for instance in picture.instances)


def test_two_of_a_base_name_are_told(tmp_path: Path) -> None:
    (entry,) = [entry for entry in ENTRIES if entry.name == "a base name that two have"]
    _, _, reading, _ = read(entry, tmp_path)
    told = " ".join(
        place for kinds in (reading.left_out, reading.notes) for places in kinds.values() for place in places
    )
    assert "1/a.png" in told.replace("\\", "/")
    assert "2/a.png" in told.replace("\\", "/")


def test_the_picture_inside_a_file_is_its_own(tmp_path: Path) -> None:
    (entry,) = [entry for entry in ENTRIES if entry.name == "no size, the picture is inside"]
    for neighbour in ("dogs", "birds"):
        photo(tmp_path / neighbour / "a.png", (90, 40))
    source = entry.write(tmp_path / "cats")
    (picture,) = FORMATS["labelme"].read(source)[1]
    assert picture.size == (60, 80)
    _, mask = from_labelme(source)
    assert np.array_equal(mask, picture.instances[0].whole((60, 80)))


@pytest.mark.parametrize("declared", [{}, {"height": None, "width": None}])
def test_pictures_of_other_projects_are_left_alone(declared: dict[str, None], tmp_path: Path) -> None:
    """Two projects side by side may both have an a.png."""
    (entry,) = [entry for entry in ENTRIES if str(entry) == "coco: picture not there"]
    source = entry.write(tmp_path / "cats")
    content = json.loads(source.read_text())
    content["images"][0] |= declared
    source.write_text(json.dumps(content))
    photo(tmp_path / "dogs" / "a.png", (90, 40))
    _, pictures = FORMATS["coco"].read(source)
    if declared:
        with pytest.raises(DataError, match="no size"):
            list(pictures)
    else:
        (picture,) = pictures
        assert (picture.size, len(picture.instances)) == ((60, 80), 1)

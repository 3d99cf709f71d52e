"""Names of classes and pictures that have a meaning in some format, written to every format and read back."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from insid3.batch.convert import convert, detect
from insid3.batch.formats import FORMATS
from insid3.batch.formats.base import plain_labels
from insid3.batch.formats.marked import Marked
from insid3.batch.formats.reading import Reading
from insid3.imaging.components import Instance
from insid3.label_map import Label

CLASSES = [
    "background", "Background", "# no", "a\nb", "a b", "a\tb", 'say "x"', "it's", "a,b", "a:b", "a_b", "\x1b[31mred",
    "a\0b", "<b>&amp;</b>", " lead", "trail ", "nul", "Ä猫", "\u202eabc", "a|b", "{x}: [y", "%s", "- a", "null", "true",
    "7", "1e5", "~", "!tag", "*alias", "&anchor", "concepts", "__ignore__", "\u2028x", "\ud800x", "x" * 300, "unnamed",
    "a/b", "\\", "…",
]  # fmt: skip
PICTURES = [
    "concepts", "run", "sub/run", "sub/concepts", "tasks", "instances", "annotations", "classes", "sub/classes", "data",
    "results", "default", "labels", "images", "labelmap", "obj.names", "run.jpg", "# c", "a#b", "a'b", "a,b",
    "background", "-x", "config", "sub/tasks", "notes", "README",
]  # fmt: skip
LABELS = [Label(name, i + 1, (i, 7, 9)) for i, name in enumerate(CLASSES)]


def objects(count: int) -> tuple[Instance, ...]:
    """Make a box of 5 x (i + 5) pixels for class i; boxes do not touch."""
    mask = np.ones((5, count + 5), bool)
    return tuple(Instance.from_mask_at(0, 7 * i, mask[:, : i + 5], i, 1.0) for i in range(count))


def read(name: str, folder: Path, images: Path) -> list[tuple[str, str, int]]:
    """Read the picture, class and area of every object."""
    labels, pictures = FORMATS[name].read(folder, Reading(images))
    return [(p.name, labels[i.concept].name, i.area) for p in pictures for i in p.instances]


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "png"])
def test_classes_of_any_name(tmp_path: Path, name: str, alone: bool) -> None:
    Image.fromarray(np.zeros((300, 60, 3), np.uint8)).save(tmp_path / "p.png")
    picture = Marked(tmp_path / "p.png", "p", (300, 60), objects(len(CLASSES)))
    notes = FORMATS[name].write(LABELS, [picture], tmp_path / "out")
    if alone:  # as another tool writes it
        (tmp_path / "out" / "concepts.json").unlink()
    found = sorted((area, label) for _, label, area in read(name, tmp_path / "out", tmp_path))
    assert [area for area, _ in found] == [5 * (i + 5) for i in range(len(CLASSES))]
    labels = [label for _, label in found]
    assert len({*labels}) == len(CLASSES)
    whole = name in ("labelme", "yolo", "voc") and not alone  # where our own file tells the names
    for label, given in zip(labels, CLASSES, strict=True):
        if whole:
            assert label == given
        elif given.isprintable() and given == given.strip() and given not in ("a b", "a_b", "unnamed"):
            reserved = name == "voc" and (given.lower() == "background" or "#" in given or ":" in given)
            assert label == given or reserved
        else:
            assert label.isprintable()
    if name in ("yolo", "voc", "cvat", "label-studio"):
        assert any("names of classes changed" in note for note in notes)
    for file in (tmp_path / "out").rglob("*.xml"):
        ElementTree.parse(file)


def test_a_class_that_is_written_as_it_is_called_is_not_told() -> None:
    plain, notes = plain_labels([Label("cat", 1, (0, 0, 0)), Label("猫, #1", 2, (0, 0, 0))])
    assert ([label.name for label in plain], notes) == (["cat", "猫, #1"], [])
    plain, notes = plain_labels([Label("cat", 1, (0, 0, 0)), Label("\x1bcat\n", 2, (0, 0, 0))])
    assert [label.name for label in plain] == ["cat", "cat (2)"]
    assert notes == [r"1 names of classes changed: '\x1bcat\n' is 'cat (2)'"]


@pytest.mark.parametrize("name", [*FORMATS])
def test_pictures_of_any_name(tmp_path: Path, name: str) -> None:
    """No picture vanishes, replaces another one, or makes a folder look like another format."""
    pictures = []
    for i, stem in enumerate(PICTURES):
        path = tmp_path / "p" / f"{stem}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(path)
        pictures.append(Marked(path, stem, (40, 60), (Instance.from_mask(np.eye(40, 60, i, dtype=bool), 0),)))
    out = tmp_path / "out"
    FORMATS[name].write([Label("x", 1, (1, 2, 3))], pictures, out)
    assert detect(out) == name or (name, detect(out)) == ("coco-polygon", "coco")
    found = {picture for picture, _, _ in read(name, out, tmp_path / "p")}
    assert len(found) == len(PICTURES), sorted({*PICTURES} - found)
    convert(out, "png", tmp_path / "back", images=tmp_path / "p")
    lines = (tmp_path / "back" / "results.jsonl").read_text().splitlines()
    assert sum(json.loads(line)["area"] > 0 for line in lines) == len(PICTURES)


def test_a_killed_conversion_leaves_nothing_behind(tmp_path: Path) -> None:
    """The next conversion sweeps the temporary file; no file had its final name yet."""
    Image.fromarray(np.zeros((300, 60, 3), np.uint8)).save(tmp_path / "p.png")
    FORMATS["labelme"].write(
        [Label("x", 1, (0, 0, 0))], [Marked(tmp_path / "p.png", "p", (300, 60), ())], tmp_path / "a"
    )
    code = (
        "import sys, time; from pathlib import Path; import insid3.batch.formats.cvat as cvat\n"
        "cvat._image = lambda *_: time.sleep(60)\n"
        "from insid3.batch.convert import convert; convert(Path(sys.argv[1]), 'cvat', Path(sys.argv[2]))"
    )
    out = tmp_path / "out"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "a"), str(out)]) as other:
        for _ in range(600):
            if out.is_dir() and [file for file in out.iterdir() if file.suffix == ".xml"]:
                break
            time.sleep(0.1)
        os.kill(other.pid, signal.SIGKILL)
    assert [file.name[0] for file in out.iterdir() if file.suffix == ".xml"] == ["."]
    convert(tmp_path / "a", "cvat", out)
    assert sorted(file.name for file in out.iterdir()) == ["annotations.xml", "concepts.json"]

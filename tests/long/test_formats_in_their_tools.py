"""Every format opened with its own tool, in the environment that `make test-long` makes for them."""

import os
import random
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from annotation_files import ENTRIES
from annotation_files.drawn import any_masks
from annotation_files.table import SIZE, photo
from insid3.batch.formats import FORMATS
from insid3.batch.formats.base import link_picture
from insid3.batch.formats.marked import Marked
from insid3.imaging.components import Instance
from shapes import LABELS, ROUND, iou, marked, masks

pytestmark = pytest.mark.long

READER = Path(__file__).parents[2] / ".venv-readers" / "bin" / "python"
LEAST = dict.fromkeys(FORMATS, 0.99) | dict.fromkeys(("yolo", "labelme", "cvat", "coco-polygon"), 0.95)
READ = [kind for kind in FORMATS if any(entry.format == kind and entry.read for entry in ENTRIES)]

Seen = list[tuple[str, str, np.ndarray]]  #: picture, label, mask


def read(kind: str, folders: Sequence[Path], out: Path) -> list[Seen]:
    """What the tool sees in each folder."""
    if not READER.exists():
        pytest.skip("the tools are not installed: make test-long does it")
    command = [str(READER), str(Path(__file__).with_name("read_formats.py")), kind, str(out), *map(str, folders)]
    quiet = os.environ | {"QT_QPA_PLATFORM": "offscreen"}  # labelme
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False, env=quiet)
    assert done.returncode == 0, done.stderr[-2000:]
    seen: list[Seen] = [[] for _ in folders]
    with np.load(out) as found:
        for name in found.files:
            number, picture, label, _ = name.split("|")
            seen[int(number)].append((picture, label, found[name]))
    return seen


@pytest.mark.parametrize("kind", FORMATS)
def test_what_the_tool_sees(kind: str, tmp_path: Path) -> None:
    shapes = [name for name in masks() if not (kind == "yolo" and name in ROUND)]  # it has neither holes nor parts
    pictures = [one(tmp_path, name) for name in shapes]
    write(kind, pictures, tmp_path / "out")
    (found,) = read(kind, [tmp_path / "out"], tmp_path / "seen.npz")
    assert len(found) == len(shapes)
    seen = {Path(picture).name.split(".")[0]: (label, mask) for picture, label, mask in found}
    for name, picture in zip(shapes, pictures, strict=True):
        label, mask = seen[picture.name]
        assert label == LABELS[picture.instances[0].concept].name
        assert iou(mask, masks()[name]) >= LEAST[kind], (kind, name)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_tool_sees_any_shapes(kind: str, tmp_path: Path) -> None:
    rng, pictures = random.Random(7), []
    for i in range(60):
        objects = [Instance.from_mask(mask, j % 2) for j, mask in enumerate(any_masks(rng.randint))]
        pictures.append(Marked(photo(tmp_path / "photos" / f"p{i}.png"), f"p{i}", SIZE, tuple(objects)))
    write(kind, pictures, tmp_path / "out")
    (found,) = read(kind, [tmp_path / "out"], tmp_path / "seen.npz")
    for picture in pictures:
        seen = [(label, mask) for name, label, mask in found if Path(name).name.split(".")[0] == picture.name]
        if kind not in ("png", "yolo"):  # these join what touches, or split what is in parts
            assert Counter(label for label, _ in seen) == Counter(LABELS[o.concept].name for o in picture.instances)
        for i, label in enumerate(LABELS):
            mine = [o.whole(SIZE) for o in picture.instances if o.concept == i]
            mine = [ndimage.binary_fill_holes(mask) for mask in mine] if kind == "yolo" else mine
            theirs = [mask for name, mask in seen if name == label.name]
            assert bool(mine) == bool(theirs)
            if mine:
                union = np.logical_or.reduce(mine), np.logical_or.reduce(theirs)
                assert iou(*union) >= LEAST[kind], (kind, picture.name)


@pytest.mark.parametrize("kind", READ)
def test_the_corpus_says_what_the_tools_say(kind: str, tmp_path: Path) -> None:
    """Whether what the corpus calls right is what the format's own tool sees: our readers have no part in it."""
    entries = [entry for entry in ENTRIES if entry.format == kind and entry.read]
    folders = [tmp_path / str(i) for i in range(len(entries))]
    for entry, folder in zip(entries, folders, strict=True):
        entry.write(folder)
        if kind == "cvat":
            for picture in list(folder.glob("*.png")):
                link_picture(picture, folder / "images" / picture.name)
    for entry, seen in zip(entries, read(kind, folders, tmp_path / "seen.npz"), strict=True):
        expected = [(label, mask) for shown in (entry.masks or {}).values() for label, mask in shown]
        assert Counter(label for _, label, _ in seen) == Counter(label for label, _ in expected), entry
        for label, mask in expected:
            best = max(iou(mask, other) for _, name, other in seen if name == label)
            assert best >= (0.999 if kind in ("coco", "voc") else 0.97), f"{entry}: IoU {best:.3f}"


def write(kind: str, pictures: list[Marked], out: Path) -> None:
    FORMATS[kind].write(LABELS, pictures, out)
    if kind == "cvat":  # datumaro, other than CVAT, wants the pictures beside the annotations
        for picture in pictures:
            link_picture(picture.path, out / "images" / picture.file)


def one(folder: Path, name: str) -> Marked:
    """A picture of that name with that shape on it."""
    stem = name.replace(" ", "_")
    picture = marked(folder / stem, name)[0]
    path = picture.path.rename(picture.path.with_name(f"{stem}.png"))
    concept = list(masks()).index(name) % 2
    return replace(picture, path=path, name=stem, instances=(Instance.from_mask(masks()[name], concept),))

"""Every format opened with its own tool, in the environment that `make test-long` makes for them."""

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from insid3.batch.formats import FORMATS
from insid3.batch.formats.base import Marked, link_picture
from insid3.instances import Instance
from shapes import LABELS, ROUND, iou, marked, masks

pytestmark = pytest.mark.long

READER = Path(__file__).parents[2] / ".venv-readers" / "bin" / "python"
LEAST = dict.fromkeys(FORMATS, 0.99) | dict.fromkeys(("yolo", "labelme", "cvat", "coco-polygon"), 0.95)


def read(kind: str, folder: Path) -> list[tuple[str, str, np.ndarray]]:
    if not READER.exists():
        pytest.skip("the tools are not installed: make test-long does it")
    script, out = Path(__file__).with_name("read_formats.py"), folder.with_suffix(".npz")
    done = subprocess.run([READER, script, kind, folder, out], capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(out) as found:
        return [(*name.split("|")[:2], found[name]) for name in found.files]


@pytest.mark.parametrize("kind", FORMATS)
def test_what_the_tool_sees(kind: str, tmp_path: Path) -> None:
    shapes = [name for name in masks() if not (kind == "yolo" and name in ROUND)]  # it has neither holes nor parts
    pictures = [one(tmp_path, name) for name in shapes]
    FORMATS[kind].write(LABELS, pictures, tmp_path / "out")
    if kind == "cvat":  # datumaro, other than CVAT, wants the pictures beside the annotations
        for picture in pictures:
            link_picture(picture.path, tmp_path / "out" / "images" / picture.file)
    found = read(kind, tmp_path / "out")
    assert len(found) == len(shapes)
    seen = {Path(picture).name.split(".")[0]: (label, mask) for picture, label, mask in found}
    for name, picture in zip(shapes, pictures, strict=True):
        label, mask = seen[picture.name]
        assert label == LABELS[picture.instances[0].concept].name
        assert iou(mask, masks()[name]) >= LEAST[kind], (kind, name)


def one(folder: Path, name: str) -> Marked:
    """A picture of that name with that shape on it."""
    stem = name.replace(" ", "_")
    picture = marked(folder / stem, name)[0]
    path = picture.path.rename(picture.path.with_name(f"{stem}.png"))
    concept = list(masks()).index(name) % 2
    return replace(picture, path=path, name=stem, instances=(Instance.of(masks()[name], concept),))

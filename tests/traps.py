"""Small files that ask for much, read in a process of their own: `python traps.py FOLDER` says what came of each."""

import base64
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from crafted import encoded
from hostile import pictures
from hostile.worker import limit_memory, outcome
from insid3.batch.formats import FORMATS
from insid3.batch.formats import cvat as cvat_format
from insid3.batch.formats.marked import Marked
from insid3.imaging.components import Instance
from insid3.imaging.read import picture_size, read_image
from insid3.label_map import Label

SIDE, OBJECTS = 9000, 15  #: of a declared picture; canvases of so many objects are more than GROWTH
GROWTH = 2**30


def mask(number: int) -> np.ndarray:
    """The picture's mask of a small object."""
    found = np.zeros((SIDE, SIDE), bool)
    found[100 * number : 100 * number + 20, 4000:4030] = True
    return found


def runs(found: np.ndarray) -> list[int]:
    return cvat_format.run_lengths(found)


def coco(folder: Path) -> Path:
    annotations = [
        {"id": i, "image_id": 1, "category_id": 1, "segmentation": {"size": [SIDE] * 2, "counts": runs(mask(i).T)}}
        for i in range(1, OBJECTS + 1)
    ]
    image = {"id": 1, "file_name": "a.png", "height": SIDE, "width": SIDE}
    content = {"images": [image], "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
    file = folder / "instances.json"
    file.write_text(json.dumps(content))
    return file


def labelme(folder: Path) -> Path:
    carried = [base64.b64encode(encoded(mask(i), "PNG")).decode() for i in range(OBJECTS)]
    shapes = [{"label": "cat", "shape_type": "mask", "points": [[0, 0]], "mask": one} for one in carried]
    content = {"shapes": shapes, "imagePath": "a.png", "imageHeight": SIDE, "imageWidth": SIDE}
    (folder / "a.json").write_text(json.dumps(content))
    return folder / "a.json"


def cvat(folder: Path) -> Path:
    codes = [", ".join(map(str, runs(mask(i)))) for i in range(OBJECTS)]
    box = f'left="0" top="0" width="{SIDE}" height="{SIDE}"'
    shapes = "".join(f'<mask label="cat" {box} rle="{code}"/>' for code in codes)
    image = f'<image id="0" name="a.png" width="{SIDE}" height="{SIDE}">{shapes}</image>'
    (folder / "annotations.xml").write_text(f"<annotations>{image}</annotations>")
    return folder / "annotations.xml"


def voc(folder: Path) -> Path:
    classes, objects = np.zeros((2, SIDE, SIDE), np.uint8)
    for i in range(OBJECTS):
        objects[mask(i)], classes[mask(i)] = i + 1, 1
    for name, values in (("Class", classes), ("Object", objects)):
        (folder / f"Segmentation{name}").mkdir(parents=True)
        Image.fromarray(values).save(folder / f"Segmentation{name}" / "a.png")
    return folder


def written(name: str) -> Callable[[Path], Path]:
    """By our own writer of a format."""

    def write(folder: Path) -> Path:
        boxes = [(4000, 100 * i, 4030, 100 * i + 20) for i in range(OBJECTS)]
        parts = tuple(Instance(i, box, np.ones((20, 30), bool), 1.0) for i, box in enumerate(boxes))
        labels = [Label(f"cat{i}", i + 1, (i, 0, 9)) for i in range(OBJECTS)]
        FORMATS[name].write(labels, [Marked(folder / "a.png", "a", (SIDE, SIDE), parts)], folder)
        return folder

    return write


FILES: dict[str, Callable[[Path], Path]] = {
    "coco": coco, "labelme": labelme, "cvat": cvat, "voc": voc,
    "png": written("png"), "label-studio": written("label-studio"),
}  # fmt: skip


def _objects(name: str, source: Path) -> None:
    _, marked = FORMATS[name].read(source)
    (picture,) = marked
    assert len(picture.instances) == OBJECTS, len(picture.instances)
    assert all(instance.mask.shape == (20, 30) for instance in picture.instances)


def _main(folder: Path) -> None:
    sources = {name: write(_empty(folder / name)) for name, write in FILES.items()}
    traps = {trap.__name__: [trap(random.Random(seed)) for seed in range(3)] for trap in pictures.TRAPS}
    for index, data in enumerate(pictures.files().values()):  # loads every decoder
        (folder / f"sound-{index}").write_bytes(data)
        read_image(folder / f"sound-{index}", told=[])
    limit_memory(GROWTH)
    told = dict[str, tuple[str, float]]()
    for name, files in traps.items():
        for number, data in enumerate(files):
            file = folder / f"{name}-{number}"
            file.write_bytes(data)
            for read in (picture_size, lambda path: read_image(path, told=[])):
                start = time.perf_counter()
                told[f"{file.name}, {len(told)}"] = (outcome(lambda: read(file)), time.perf_counter() - start)  # noqa: B023
    for name, source in sources.items():
        start = time.perf_counter()
        told[name] = (outcome(lambda: _objects(name, source)), time.perf_counter() - start)  # noqa: B023
    json.dump(told, sys.stdout)


def _empty(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


if __name__ == "__main__":
    _main(Path(sys.argv[1]))

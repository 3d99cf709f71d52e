"""YOLO segmentation: a text file for each picture, data.yaml."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from insid3.batch.formats.base import (
    Marked,
    below,
    label_of,
    link_picture,
    read_labels,
    reading,
    without_suffix,
    write_labels,
)
from insid3.batch.formats.polygons import filled, polygons
from insid3.errors import DataError
from insid3.images import SUFFIXES, picture_size
from insid3.instances import Instance
from insid3.labels import Label
from insid3.storage import write_text

_DATA = "data.yaml"


class Yolo:
    """Polygons through the centres of the border's pixels: those who read them paint the border (OpenCV)."""

    title = "YOLO segmentation: labels/, images/, data.yaml"

    def is_at(self, source: Path) -> bool:
        return (source / _DATA).exists()

    def write(self, labels: Sequence[Label], pictures: Iterable[Marked], output: Path) -> list[str]:
        holed = parted = scored = absent = 0
        for picture in pictures:
            lines = []
            scored += any(instance.score != 1 for instance in picture.instances)
            for instance in picture.instances:
                shapes = polygons(instance, centres=True)
                holed += any(len(rings) > 1 for rings in shapes)
                parted += len(shapes) > 1
                for outer, *_ in shapes:
                    # A quarter of a pixel, so that those who cut decimals off end up where we began.
                    points = (np.pad(outer, ((0, max(0, 3 - len(outer))), (0, 0)), "edge") + 0.25) / picture.size[::-1]
                    lines.append(" ".join([str(instance.concept), *(f"{value:.6f}" for value in points.ravel())]))
            write_text(below(output / "labels", f"{picture.name}.txt"), "".join(f"{line}\n" for line in lines))
            absent += not link_picture(picture.path, below(output / "images", f"{picture.name}{picture.path.suffix}"))
        names = "".join(f"  {i}: {json.dumps(label.name, ensure_ascii=False)}\n" for i, label in enumerate(labels))
        write_text(output / _DATA, f"path: .\ntrain: images\nval: images\nnames:\n{names}")
        write_labels(output, labels)
        notes = {
            f"{holed} objects had holes, which YOLO cannot keep: they are filled": holed,
            f"{parted} objects had several parts, which YOLO cannot join: each is an object now": parted,
            f"scores of objects in {scored} pictures, for which YOLO has no place": scored,
        }
        notes[f"{absent} pictures are not where the annotations say (--images): put them into {output / 'images'}"] = (
            absent
        )
        return [note for note, happened in notes.items() if happened]

    def read(self, source: Path) -> tuple[list[Label], Iterator[Marked]]:
        folder = source if source.is_dir() else source.parent
        labels = read_labels(folder)
        if labels is None:
            with reading(folder / _DATA, "YOLO data"):
                names = _names((folder / _DATA).read_text("utf-8"))
                labels = [label_of(name, i) for i, name in enumerate(names)]
        if (folder / "labels").is_dir():
            return labels, _pictures(folder, len(labels))
        splits = sorted(file.parent for file in folder.glob("*/labels"))  # train/labels, valid/labels, ...
        if not splits:
            raise DataError(f"{folder} has no folder 'labels', nor one below train/, valid/ and the like")
        every = ((split.name, picture) for split in splits for picture in _pictures(split, len(labels)))
        return labels, (replace(picture, name=f"{split}/{picture.name}") for split, picture in every)


def _pictures(folder: Path, classes: int) -> Iterator[Marked]:
    images = {
        without_suffix(file.relative_to(folder / "images").as_posix()): file
        for file in sorted((folder / "images").rglob("*"))
        if file.suffix.lower() in SUFFIXES
    }
    for file in sorted((folder / "labels").rglob("*.txt")):
        name = file.relative_to(folder / "labels").as_posix().removesuffix(".txt")
        if name not in images:
            raise DataError(f"{file} has no picture in {folder / 'images'}: it tells how large the masks are")
        with reading(file, "YOLO segmentation"):
            size, found = picture_size(images[name]), []
            for line in file.read_text("utf-8").splitlines():
                number, *values = line.split()
                if not 0 <= int(number) < classes:
                    raise ValueError(f"class {number} of {classes}")
                points = np.array(values, float)
                if len(points) < 6 or not np.isfinite(points).all():  # four are a box, of which the outline is unknown
                    raise ValueError(f"{len(points)} numbers, which are no polygon")
                ring = np.floor(points.reshape(-1, 2) * size[::-1])
                found.append(Instance.of(filled([ring], size, centres=True), int(number)))
        yield Marked(images[name].resolve(), name, size, tuple(found))


def _names(text: str) -> list[str]:
    """Of data.yaml: a list, or numbered from 0; ValueError, KeyError or YAML's own error for anything else."""
    import yaml

    names = yaml.safe_load(text)["names"]
    if isinstance(names, dict):
        names = [names[i] for i in range(len(names))]
    if not names or not isinstance(names, list):
        raise ValueError("no names")
    return [str(name) for name in names]

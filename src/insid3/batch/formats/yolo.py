"""YOLO segmentation: a text file for each picture, and data.yaml."""

import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from insid3.batch.formats.base import below, link_picture, loss_notes, plain_labels, read_labels, write_labels
from insid3.batch.formats.geometry import Outline, Paint, PlacedMask, Scale, Size, box_ring
from insid3.batch.formats.marked import Marked
from insid3.batch.formats.pictures import PictureName
from insid3.batch.formats.polygons import Ring, polygons
from insid3.batch.formats.reading import Draft, Parsed, Readable, Reading, Shape
from insid3.batch.names import exists, safe_name
from insid3.checks.parsing import Flaw, as_dict, as_numbers, as_whole, parsing, read_text, shown
from insid3.errors import DataError, MissingExtraError
from insid3.imaging.read import SUFFIXES
from insid3.label_map import Label
from insid3.storage import write_text

_DATA = "data.yaml"
_CLASS_LISTS = ("classes.txt", "obj.names")
_LONG = 2**21  # characters of data.yaml; parsing takes a second for each hundred thousand
_SLACK = 0.01  # share by which a coordinate may lie outside, as in ultralytics


class Yolo(Readable):
    """YOLO polygons through the centres of the border's pixels, since readers paint the border (OpenCV)."""

    def is_at(self, source: Path) -> bool:
        folder = source if source.is_dir() else source.parent
        return _data_file(folder) is not None if source.is_dir() else source == _data_file(folder)

    def write(self, labels: Sequence[Label], pictures: Iterable[Marked], output: Path) -> list[str]:
        holed = parted = scored = absent = 0
        plain, changed = plain_labels(labels)
        for picture in pictures:
            lines = []
            scored += picture.is_scored
            for instance in picture.instances:
                shapes = polygons(instance, centres=True)
                holed += any(len(rings) > 1 for rings in shapes)
                parted += len(shapes) > 1
                for outer, *_ in shapes:
                    # A quarter of a pixel more, so that readers that cut decimals off restore the same pixels.
                    points = (np.pad(outer, ((0, max(0, 3 - len(outer))), (0, 0)), "edge") + 0.25) / picture.size[::-1]
                    lines.append(" ".join([str(instance.concept), *(f"{value:.6f}" for value in points.ravel())]))
            write_text(below(output / "labels", f"{picture.name}.txt"), "".join(f"{line}\n" for line in lines))
            absent += not link_picture(picture.path, below(output / "images", f"{picture.name}{picture.path.suffix}"))
        names = "".join(f"  {i}: {json.dumps(label.name, ensure_ascii=False)}\n" for i, label in enumerate(plain))
        write_text(output / _DATA, f"path: .\ntrain: images\nval: images\nnames:\n{names}")
        write_labels(output, labels)
        notes = {
            f"{holed} objects had holes, which YOLO cannot keep: they are filled": holed,
            f"{parted} objects had several parts, which YOLO cannot join: each is an object now": parted,
        }
        return changed + loss_notes("YOLO", notes, scored, absent, str(output / "images"))

    def parse(self, source: Path, reading: Reading) -> Parsed:
        folder = source if source.is_dir() else source.parent
        if not folder.is_dir():
            raise DataError(f"{source}: no such file or folder")
        labels, has_points = _labels(folder, reading)
        pairs = _folders(folder)
        if reading.images is not None:
            pairs = [(_first_folder(reading.images, split), texts, split) for _, texts, split in pairs]
        if not pairs:
            told = f"{folder} has no folder 'labels', nor one below train/, valid/ and the like"
            raise DataError(f"{told}: give the folder that holds one")
        named: dict[Path, PictureName] = {}
        files: dict[Path, Path] = {}  # picture -> label file
        for images, texts, above in pairs:
            for picture in _pictures(images):
                below = picture.relative_to(images).as_posix()
                named[picture] = PictureName(below, above)
                files[picture] = (texts / below).with_suffix(".txt")
            if reading.images is not None:
                _match_by_name(files, texts, reading)
            _account_for(texts, set(files.values()), reading)
        for file, twins in _twins(files).items():
            reading.note("label file of several pictures", f"{file}: {', '.join(picture.name for picture in twins)}")
        drafts = (
            Draft(str(picture), None, partial(_shapes, files[picture], len(labels), has_points, reading), picture)
            for picture in named
        )
        return Parsed(source, folder, labels, list(named.values()), drafts)


def _data_file(folder: Path) -> Path | None:
    """Find the file that names the classes: data.yaml, else another YAML file, else classes.txt or obj.names."""
    if (folder / _DATA).is_file():
        return folder / _DATA
    for file in sorted((*folder.glob("*.yaml"), *folder.glob("*.yml"))):
        with suppress(OSError, Flaw):
            if re.search(r"^names\s*:", read_text(file), re.MULTILINE):
                return file
    lists = (where / name for where in (folder, folder / "labels") for name in _CLASS_LISTS)
    return next((file for file in lists if file.is_file()), None)


def _labels(folder: Path, reading: Reading) -> tuple[list[Label], bool]:
    """Return the labels of the classes, and whether the lines hold key points after a box."""
    file = _data_file(folder)
    if (kept := read_labels(folder)) is not None:
        return kept, False
    if file is None:
        raise DataError(f"{folder} has no {_DATA}, which names the classes: put it there, or a classes.txt")
    with parsing(file, "YOLO data"):
        if file.suffix not in (".yaml", ".yml"):
            names, data = [line.strip() for line in read_text(file).splitlines() if line.strip()], {}
        else:
            data = as_dict(_yaml(file), "content")
            names = _names(data)
        return reading.labels((name, None, None) for name in names), "kpt_shape" in data


def _yaml(file: Path) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError("reading YOLO's data.yaml", "export") from error

    class Plain(yaml.SafeLoader):
        """A loader that refuses aliases, with which a few lines can fill all memory."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise Flaw("has aliases (*name), which no list of classes needs: write out what they stand for")
            return super().compose_node(parent, index)

    text = read_text(file)
    if len(text) > _LONG:
        raise Flaw(f"has {len(text):,} characters; a list of classes has less than {_LONG:,}")
    try:
        return yaml.load(text, Plain)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise Flaw(f"is not YAML{f' (line {mark.line + 1})' if mark else ''}") from error


def _names(data: dict[str, Any]) -> list[str]:
    """Return the names of the classes, a list or numbered from 0; for a mere count, ultralytics' own names."""
    names = data.get("names")
    if names is None and isinstance(data.get("nc"), int):
        names = [f"class_{number}" for number in range(min(data["nc"], 10_000))]
    if isinstance(names, dict):
        numbers = {as_whole(key, "number of a class"): name for key, name in names.items()}
        if sorted(numbers) != list(range(len(numbers))):
            raise Flaw(f"numbers its classes {', '.join(map(str, sorted(numbers)[:5]))}, not from 0 on")
        names = [numbers[i] for i in range(len(numbers))]
    if not names or not isinstance(names, list):
        raise Flaw("has no names of classes: names: [cat, dog]")
    if bad := [name for name in names if isinstance(name, dict | list | None)]:
        raise Flaw(f"has {shown(bad[0])} as name of a class")
    return [str(name) for name in names]


def _folders(folder: Path) -> list[tuple[Path, Path, str]]:
    """Return the folders of pictures and of labels, each pair with the folder of its results."""
    if (folder / "labels").is_dir():
        return [(folder / "images", folder / "labels", "")]
    splits = sorted(labels.parent for labels in folder.glob("*/labels") if labels.is_dir())  # train/labels, ...
    if splits:
        return [(split / "images", split / "labels", split.name) for split in splits]
    return [(folder, folder, "")] if any(folder.glob("*.txt")) and any(_pictures(folder)) else []


def _first_folder(images: Path, split: str) -> Path:
    return next((f for f in (images / split / "images", images / split) if split and f.is_dir()), images)


def _pictures(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.rglob("*")) if file.suffix.lower() in SUFFIXES and file.is_file()]


def _match_by_name(files: dict[Path, Path], texts: Path, reading: Reading) -> None:
    """Assign each label file without a picture at its own path to the only picture of its name."""
    for file in sorted({file for file in texts.rglob("*.txt") if file.is_file()} - set(files.values())):
        free = [picture for picture, own in files.items() if not exists(own)]
        fitting = [picture for picture in free if file.stem in (picture.stem, safe_name(picture.stem))]
        if len(fitting) == 1:
            files[fitting[0]] = file
        elif fitting:
            reading.note("picture that cannot be told", f"{file} may be any of {', '.join(map(str, fitting[:4]))}")


def _account_for(folder: Path, used: set[Path], reading: Reading) -> None:
    """Note the pictures without a label file, and leave out the objects in label files without a picture."""
    there = {file for file in folder.rglob("*.txt") if file.is_file()}
    for file in sorted(used - there):
        if file.is_relative_to(folder):
            reading.note("background, a picture without a label file", str(file))
    for file in sorted(there - used):
        if file.name.lower() in _CLASS_LISTS:
            continue
        with reading.entry("file", str(file)):
            lines = [line for line in read_text(file).splitlines() if len(line.split()) > 4]
            if not all(re.match(r"[\d.\s-]+$", line) for line in lines) or not lines:
                reading.note("file that holds no labels", str(file))
                continue
            for number in range(len(lines)):
                reading.leave_out("object without a picture", f"line {number + 1} of {file}")


def _twins(files: dict[Path, Path]) -> dict[Path, list[Path]]:
    pictures: dict[Path, list[Path]] = {}
    for picture, file in files.items():
        pictures.setdefault(file, []).append(picture)
    return {file: twins for file, twins in pictures.items() if len(twins) > 1 and exists(file)}


def _shapes(file: Path, classes: int, has_points: bool, reading: Reading) -> list[Shape]:
    found: list[Shape] = []
    if not exists(file):
        return found
    with reading.entry("file", str(file)):
        for number, line in enumerate(read_text(file).splitlines(), 1):
            place = f"line {number} of {file}"
            with reading.entry("object", place):
                if line.strip() and (shape := _shape(line.split(), place, classes, has_points, reading)):
                    found.append(shape)
    return found


def _shape(words: Sequence[str], place: str, classes: int, has_points: bool, reading: Reading) -> Shape | None:
    concept = as_whole(words[0], "class")
    numbers = as_numbers(list(words[1:]), "a coordinate")
    if not 0 <= concept < classes:
        raise Flaw(f"has the class {concept}, there are {classes}, numbered from 0")
    shares = numbers[:4] if has_points else numbers
    if not ((shares >= -_SLACK) & (shares <= 1 + _SLACK)).all():
        raise Flaw("has coordinates outside 0 to 1: YOLO gives them as shares of the picture's sides")
    if len(numbers) in (4, 5) or (has_points and len(numbers) > 5):  # the fifth is a detector's confidence
        if not reading.takes_box(f"{place} has a box only"):
            return None
        x, y, width, height = numbers[:4]
        ring = box_ring(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        return Shape(concept, _Share(ring, "edges"), place, "box")
    if len(numbers) < 6 or len(numbers) % 2:
        raise Flaw(f"has {len(numbers)} coordinates, a polygon has three pairs or more")
    return Shape(concept, _Share(np.reshape(numbers, (-1, 2)), "centres"), place, "polygon")


@dataclass(frozen=True, eq=False)
class _Share:
    """A polygon in fractions of the picture's sides."""

    ring: Ring
    paint: Paint

    def rasterise(self, size: Size, scale: Scale) -> PlacedMask:
        ring = self.ring * size[::-1]
        return Outline([np.floor(ring) if self.paint == "centres" else ring], self.paint).rasterise(size, (1, 1))

"""Pascal VOC: masks as palette pictures, boxes as XML."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np
from scipy.ndimage import find_objects

from insid3.batch.formats.base import (
    below,
    check_count,
    link_picture,
    loss_notes,
    plain_labels,
    read_labels,
    write_labels,
)
from insid3.batch.formats.geometry import LazyGeometry, Outline, PlacedMask, box_ring
from insid3.batch.formats.marked import Marked
from insid3.batch.formats.pictures import PictureName
from insid3.batch.formats.reading import Draft, Parsed, Readable, Reading, Shape
from insid3.batch.formats.values import as_colour
from insid3.batch.names import exists
from insid3.batch.writers import write_index
from insid3.checks.parsing import Flaw, as_number, as_text, parsing, read_text, read_xml, shown
from insid3.errors import DataError, ImageError
from insid3.imaging.colours import Colour
from insid3.imaging.components import Instance
from insid3.imaging.opening import MAX_PIXELS
from insid3.imaging.read import SUFFIXES, picture_size, read_values
from insid3.label_map import Label
from insid3.storage import write_bytes, write_text

_LIST = Path("ImageSets", "Segmentation", "default.txt")
_MOST, _VOID = 254, 255  # largest number of an object or class; number of the void pixels on borders
_OBJECTS, _TABLE = 10_000, 2**24  # most objects in a picture; limit of their numbers
_BORDER: Colour = (224, 224, 192)  # colour of void pixels
_CHALLENGE = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


class Voc(Readable):
    """Pascal VOC: palette pictures of classes and of objects, and boxes in XML."""

    def is_at(self, source: Path) -> bool:
        masks = any((source / f"Segmentation{kind}").is_dir() for kind in ("Class", "Object"))
        return masks or any((source / "Annotations").glob("*.xml"))

    def write(self, labels: Sequence[Label], pictures: Iterable[Marked], output: Path) -> list[str]:
        check_count(labels, _MOST)
        lost = crowded = scored = absent = 0
        plain, changed = plain_labels(labels, _plain)
        colours, many = [label.colour for label in labels], [_voc_colour(i) for i in range(1, _MOST + 1)]
        names: list[str] = []
        for picture in pictures:
            classes, objects = np.zeros((2, *picture.size), np.uint8)
            crowded += max(0, len(picture.instances) - _MOST)
            scored += picture.is_scored
            instances = picture.instances[:_MOST]
            for number, instance in enumerate(instances, 1):
                x0, y0, x1, y1 = instance.box
                lost += int(np.count_nonzero(objects[y0:y1, x0:x1][instance.mask]))
                classes[y0:y1, x0:x1][instance.mask] = instance.concept + 1
                objects[y0:y1, x0:x1][instance.mask] = number
            for kind, values, palette in (("Class", classes, colours), ("Object", objects, many)):
                write_index(below(output / f"Segmentation{kind}", f"{picture.name}.png"), values, palette)
            root = _annotation(picture, instances, plain)
            write_bytes(below(output / "Annotations", f"{picture.name}.xml"), tostring(root, "utf-8"))
            absent += not link_picture(
                picture.path, below(output / "JPEGImages", f"{picture.name}{picture.path.suffix}")
            )
            names.append(picture.name)
        for kind in ("Segmentation", "Main"):  # readers of boxes use the second list
            write_text(output / "ImageSets" / kind / _LIST.name, "".join(f"{name}\n" for name in names))
        colour_lines = [f"{label.name}:{','.join(map(str, label.colour))}::" for label in plain]
        write_text(output / "labelmap.txt", "\n".join(["background:0,0,0::", *colour_lines]) + "\n")
        write_labels(output, labels)
        notes = {
            f"{lost} pixels belong to several objects: they are the last one's": lost,
            f"{crowded} objects are left out: VOC has room for {_MOST} in a picture": crowded,
        }
        return changed + loss_notes("VOC", notes, scored, absent, str(output / "JPEGImages"))

    def parse(self, source: Path, reading: Reading) -> Parsed:
        if not source.is_dir():
            raise DataError(f"{source} is no folder of Pascal VOC: give the one that holds SegmentationClass")
        boxes = {file: file for file in (source / "Annotations").rglob("*.xml")}
        names = _listed(source)
        classes = _classes(source, boxes, reading)
        drafts, pictures = [], []
        for name in names:
            path = _picture(reading.images or source / "JPEGImages", name, reading)
            pictures.append(PictureName(f"{name}{path.suffix if path else '.jpg'}"))
            file = below(source / "SegmentationClass", f"{name}.png")
            if not exists(file) and exists(below(source / "SegmentationObject", f"{name}.png")):
                reading.leave_out(
                    "mask", f"{name} has objects in SegmentationObject, and no classes: {file} is missing"
                )
            if exists(file):
                shapes = partial(_from_masks, source, name, classes, reading)
                drafts.append(partial(_draft_of_mask, file, shapes, path, name))
            else:
                file = below(source / "Annotations", f"{name}.xml")
                drafts.append(partial(_draft_of_boxes, file, classes, path, name, reading))
        return Parsed(source, source / "JPEGImages", classes.labels, pictures, (draft() for draft in drafts))


@dataclass(frozen=True, eq=False)
class _Classes:
    """Hold labels, and map the values or colours of a mask to them.

    Attributes:
        by_value: value -> index of the label; None for the background.
    """

    labels: list[Label]
    by_value: dict[int, int | None]

    @cached_property
    def _of_values(self) -> np.ndarray:
        return _table(2**16, _VOID, self.by_value)

    @cached_property
    def _of_colours(self) -> np.ndarray:
        return _table(_TABLE, _packed(_BORDER), {_packed(label.colour): i for i, label in enumerate(self.labels)})

    @property
    def colours(self) -> tuple[Colour, ...]:
        """The colours that identify classes in a palette; empty if two classes share one."""
        colours = [label.colour for label in self.labels]
        return (*colours, _BORDER) if len({*colours}) == len(colours) else ()

    def numbers(self, file: Path) -> np.ndarray:
        """Read the class of each pixel: the index of its label + 1, 0 for background and border, -1 for no class."""
        values = read_values(file, MAX_PIXELS, colours=self.colours)
        found: np.ndarray = self._of_values[values] if values.ndim == 2 else self._of_colours[_packed(values)]
        return found


def _table(size: int, void: int, known: Mapping[int, int | None]) -> np.ndarray:
    """Return the table that maps each value to a number of `_Classes.numbers`."""
    table = np.full(size, -1, np.int16)
    table[[0, void]] = 0
    for value, label in known.items():
        table[value] = 0 if label is None else label + 1
    return table


def _classes(source: Path, boxes: Iterable[Path], reading: Reading) -> _Classes:
    """Return the classes of concepts.json, labelmap.txt, the names of the boxes, or the VOC challenge."""
    told: list[tuple[str, int | None, object]] = []
    lines: list[str] = []
    if (source / "labelmap.txt").is_file():
        with parsing(source / "labelmap.txt", "VOC labelmap"):
            for line in read_text(source / "labelmap.txt").splitlines():
                if line.strip() and line[0] != "#":
                    name, _, colour = line.rpartition(":")[0].rpartition(":")[0].rpartition(":")
                    if as_colour(colour.split(",")) is None:
                        raise Flaw(f"has the line {shown(line)}, which should be name:red,green,blue::")
                    lines.append(name)
                    if name != "background":
                        told.append((name, None, colour.split(",")))
    elif not (source / "SegmentationClass").is_dir():
        told = [(name, None, None) for name in sorted({name for file in boxes for name in _names(file)})]
    else:
        told = [(name, None, _voc_colour(i)) for i, name in enumerate(_CHALLENGE, 1)]
    kept = read_labels(source)
    if kept is None and lines == [] and (source / "SegmentationClass").is_dir():
        reading.note("file without names of classes", f"{source}: they are called as in the VOC challenge")
    labels = kept if kept is not None else reading.labels(told)
    by_value: dict[int, int | None] = {i + 1: i for i in range(len(labels))}
    if kept is None and "background" in lines[1:]:  # then values are line numbers
        order = iter(range(len(labels)))
        by_value = {i: None if name == "background" else next(order) for i, name in enumerate(lines)}
    return _Classes(labels, by_value)


def _listed(source: Path) -> list[str]:
    """Return the names of the pictures in all lists; without a list, of those with masks, else with boxes."""
    names: dict[str, None] = {}
    lists = sorted((source / "ImageSets" / "Segmentation").glob("*.txt"))
    for file in lists or sorted((source / "ImageSets" / "Main").glob("*.txt")):
        with parsing(file, "VOC list"):
            lines = read_text(file).split("\n")
            names |= dict.fromkeys(line.strip() for line in lines if line.strip())
    for folder, suffix in (("SegmentationClass", ".png"), ("Annotations", ".xml")):
        if not names:
            files = sorted((source / folder).rglob(f"*{suffix}"))
            names |= {file.relative_to(source / folder).as_posix().removesuffix(suffix): None for file in files}
    return list(names)


def _picture(folder: Path, name: str, reading: Reading) -> Path | None:
    either = [case for suffix in sorted(SUFFIXES) for case in (suffix, suffix.upper())]
    found = [path for suffix in either if exists(path := below(folder, f"{name}{suffix}"))]
    if len(found) > 1:
        reading.note("mask of several pictures", f"{name}: {', '.join(path.name for path in found)}; the first counts")
    return found[0].resolve() if found else None


def _draft_of_mask(file: Path, shapes: Callable[[], list[Shape]], path: Path | None, name: str) -> Draft:
    size = None
    with suppress(ImageError):  # reported when its objects are read
        size = picture_size(file, upright=False)
    return Draft(str(file), size, shapes, path, name)


def _from_masks(source: Path, name: str, known: _Classes, reading: Reading) -> list[Shape]:
    """Return an object for each value of SegmentationObject, and one for each class without an object there."""
    found: list[Shape] = []
    file = below(source / "SegmentationClass", f"{name}.png")
    with reading.entry("mask", str(file)):
        classes = known.numbers(file)
        objects, beside = np.zeros(classes.shape, np.int32), below(source / "SegmentationObject", f"{name}.png")
        if exists(beside):
            objects = _numbered(read_values(beside, MAX_PIXELS))
            if objects.shape != classes.shape:
                raise Flaw("is not as large as its SegmentationObject")
        numbers, compact = _in_order(objects)
        for number, box in zip(numbers, find_objects(compact), strict=True):
            place = f"object {number} of {beside}"
            with reading.entry("object", place):
                mine = classes[box][objects[box] == number]
                counts = np.bincount(mine[mine > 0])
                if not len(counts):
                    raise Flaw("has no class: labelmap.txt does not have its value or colour in SegmentationClass")
                if np.count_nonzero(counts) > 1:
                    reading.note("object of several classes, the most frequent one counts", place)
                found.append(Shape(int(counts.argmax()) - 1, _part(objects, box, number), place))
        having = {shape.concept for shape in found}
        left, place = np.where(objects == 0, classes, 0), str(file)
        if strange := np.count_nonzero(left < 0):
            colour = f"{strange:,} pixels have a value or colour that labelmap.txt does not list"
            reading.leave_out("region of no class", f"{place}: {colour}")
        for concept, box in enumerate(find_objects(left.clip(0))):
            if box is not None and concept in having:
                pixels = np.count_nonzero(left[box] == concept + 1)
                reading.leave_out("region of no object", f"{place}: {pixels:,} pixels of a class")
            elif box is not None:
                reading.note("class without objects, all its pixels are one", f"{known.labels[concept].name}: {place}")
                found.append(Shape(concept, _part(left, box, concept + 1), place))
    return found


def _draft_of_boxes(file: Path, known: _Classes, path: Path | None, name: str, reading: Reading) -> Draft:
    size, index = None, {label.name: i for i, label in enumerate(known.labels)}
    if exists(file):
        with parsing(file, "VOC annotation"):
            root = _root(file)
            size = reading.declared(root.findtext("size/height"), root.findtext("size/width"), str(file))

    def shapes() -> list[Shape]:
        found = []
        for number, entry in enumerate(root.iter("object") if exists(file) else (), 1):
            place = f"object {number} of {file}"
            with reading.entry("box", place):
                if reading.takes_box(place):
                    label = as_text(entry.findtext("name"), "name")
                    sides = (
                        as_number(entry.findtext(f"bndbox/{side}"), side) for side in ("xmin", "ymin", "xmax", "ymax")
                    )
                    x0, y0, x1, y1 = sides
                    found.append(Shape(index[label], Outline([box_ring(x0 - 1, y0 - 1, x1, y1)]), place, "box"))
        return found

    return Draft(str(file), size, shapes, path, name)


def _names(file: Path) -> list[str]:
    try:
        with parsing(file, "VOC annotation"):
            return [name for entry in _root(file).iter("object") if (name := entry.findtext("name"))]
    except DataError:  # reported when its picture is read
        return []


def _root(file: Path) -> Element:
    *_, root = read_xml(file)
    return root


def _part(values: np.ndarray, box: tuple[slice, slice], number: int) -> LazyGeometry:
    """Return the pixels that have the value `number`, all of which lie in `box`."""
    return LazyGeometry(lambda: PlacedMask(box[1].start, box[0].start, values[box] == number))


def _numbered(values: np.ndarray) -> np.ndarray:
    """Return the number of each pixel's object: as stored, by VOC's palette, or above 255 for other colours."""
    if values.ndim == 2:
        if values.dtype.kind not in "iub" or values.min() < 0 or values.max() >= _TABLE:
            raise Flaw("has a SegmentationObject whose values number no objects")
        objects = values.astype(np.int32)
    else:
        known, packed = {_packed(_voc_colour(i)): i for i in range(_VOID + 1)}, _packed(values)
        seen, table = np.zeros(_TABLE, bool), np.zeros(_TABLE, np.int32)
        seen[packed.ravel()] = True
        for i, colour in enumerate(np.flatnonzero(seen)[: _OBJECTS + 1]):  # `_in_order` refuses more
            table[colour] = known.get(int(colour), _VOID + 1 + i)
        objects = table[packed]
    objects[objects == _VOID] = 0
    return objects


def _in_order(objects: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Return the numbers of the objects in order, and the picture with numbers replaced by 1, 2, 3, ..."""
    seen = np.zeros(int(objects.max(initial=0)) + 1, bool)
    seen[objects.ravel()] = True
    seen[0] = False
    numbers, table = np.flatnonzero(seen), np.zeros(len(seen), np.int32)
    if len(numbers) > _OBJECTS:
        raise Flaw(f"has more than {_OBJECTS:,} objects in SegmentationObject")
    table[numbers] = np.arange(1, len(numbers) + 1)
    return numbers.tolist(), table[objects]


def _packed(colours: Any) -> Any:
    """Pack each RGB colour into one number."""
    values = np.asarray(colours)
    if values.max(initial=0) > 255:
        raise Flaw("has colours of more than 8 bits")
    one = values[..., 0].astype(np.int32)
    for channel in (1, 2):
        one = (one << 8) | values[..., channel]
    return int(one) if one.ndim == 0 else one


def _annotation(picture: Marked, instances: Sequence[Instance], labels: Sequence[Label]) -> Element:
    root = Element("annotation")
    SubElement(root, "folder").text = "JPEGImages"
    SubElement(root, "filename").text = f"{picture.name}{picture.path.suffix}"
    size = SubElement(root, "size")
    for tag, value in (("width", picture.size[1]), ("height", picture.size[0]), ("depth", 3)):
        SubElement(size, tag).text = str(value)
    SubElement(root, "segmented").text = "1"
    for instance in instances:
        entry = SubElement(root, "object")
        SubElement(entry, "name").text = labels[instance.concept].name
        for tag, text in (("pose", "Unspecified"), ("truncated", "0"), ("difficult", "0")):
            SubElement(entry, tag).text = text
        box = SubElement(entry, "bndbox")
        x0, y0, x1, y1 = instance.box
        for tag, value in (("xmin", x0 + 1), ("ymin", y0 + 1), ("xmax", x1), ("ymax", y1)):  # VOC counts from 1
            SubElement(box, tag).text = str(value)
    indent(root)
    return root


def _plain(name: str) -> str:
    """Change a name that labelmap.txt would read as a comment, as several columns or as the background."""
    name = name.replace(":", "_")
    return f"_{name[1:]}" if name.startswith("#") else f"{name}_" if name.casefold() == "background" else name


def _voc_colour(number: int) -> Colour:
    """Return a colour of VOC's palette: the bits of a number, dealt to red, green and blue in turn."""
    red = green = blue = 0
    for shift in range(8):
        red |= (number >> (3 * shift) & 1) << (7 - shift)
        green |= (number >> (3 * shift + 1) & 1) << (7 - shift)
        blue |= (number >> (3 * shift + 2) & 1) << (7 - shift)
    return red, green, blue

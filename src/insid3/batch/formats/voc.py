"""Pascal VOC: masks as palette pictures, boxes as XML."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

import numpy as np

from insid3.batch.formats.base import (
    Marked,
    below,
    check_count,
    label_of,
    link_picture,
    read_labels,
    reading,
    write_labels,
)
from insid3.batch.writers import write_index
from insid3.images import SUFFIXES, read_values
from insid3.instances import Instance
from insid3.labels import Colour, Label
from insid3.storage import write_atomically, write_text, writing

_LIST = Path("ImageSets", "Segmentation", "default.txt")
_MOST = 255


class Voc:
    """`SegmentationClass` has the concepts' colours and numbers, `SegmentationObject` those of the objects."""

    title = "Pascal VOC, segmentation and boxes"

    def is_at(self, source: Path) -> bool:
        return (source / "SegmentationClass").is_dir()

    def write(self, labels: Sequence[Label], pictures: Iterable[Marked], output: Path) -> list[str]:
        check_count(labels)
        lost = crowded = scored = absent = 0
        colours, many = [label.colour for label in labels], [_voc_colour(i) for i in range(1, _MOST + 1)]
        names: list[str] = []
        for picture in pictures:
            classes, objects = np.zeros((2, *picture.size), np.uint8)
            crowded += max(0, len(picture.instances) - _MOST)
            scored += any(instance.score != 1 for instance in picture.instances)
            instances = picture.instances[:_MOST]
            for number, instance in enumerate(instances, 1):
                x0, y0, x1, y1 = instance.box
                lost += int(np.count_nonzero(objects[y0:y1, x0:x1][instance.mask]))
                classes[y0:y1, x0:x1][instance.mask] = instance.concept + 1
                objects[y0:y1, x0:x1][instance.mask] = number
            for kind, values, palette in (("Class", classes, colours), ("Object", objects, many)):
                file = below(output / f"Segmentation{kind}", f"{picture.name}.png")
                writing(partial(write_index, file, values, palette))
            tree = _annotation(picture, instances, labels)
            file = below(output / "Annotations", f"{picture.name}.xml")
            writing(partial(write_atomically, file, partial(tree.write, encoding="utf-8")))
            absent += not link_picture(
                picture.path, below(output / "JPEGImages", f"{picture.name}{picture.path.suffix}")
            )
            names.append(picture.name)
        for kind in ("Segmentation", "Main"):  # those who look for boxes look in the other
            write_text(output / "ImageSets" / kind / _LIST.name, "".join(f"{name}\n" for name in names))
        colour_lines = [f"{label.name.replace(':', '_')}:{','.join(map(str, label.colour))}::" for label in labels]
        write_text(output / "labelmap.txt", "\n".join(["background:0,0,0::", *colour_lines]) + "\n")
        write_labels(output, labels)
        notes = {
            f"{lost} pixels belong to several objects: they are the last one's": lost,
            f"{crowded} objects are left out: VOC has room for {_MOST} in a picture": crowded,
            f"scores of objects in {scored} pictures, for which VOC has no place": scored,
        }
        notes[
            f"{absent} pictures are not where the annotations say (--images): put them into {output / 'JPEGImages'}"
        ] = absent
        return [note for note, happened in notes.items() if happened]

    def read(self, source: Path) -> tuple[list[Label], Iterator[Marked]]:
        labels = read_labels(source)
        if labels is None:
            with reading(source / "labelmap.txt", "VOC labelmap"):
                lines = (source / "labelmap.txt").read_text("utf-8").splitlines()
                entries = [line.rsplit(":", 3)[:2] for line in lines if line and line[0] != "#"]
                told = [(name, tuple(map(int, colour.split(",")))) for name, colour in entries if name != "background"]
                labels = [label_of(name, i, None, bytes(colour).hex()) for i, (name, colour) in enumerate(told)]
        with reading(source / _LIST, "VOC list"):
            names = (source / _LIST).read_text("utf-8").split("\n")
        return labels, _pictures(source, [name for name in names if name], len(labels))


def _pictures(source: Path, names: Sequence[str], concepts: int) -> Iterator[Marked]:
    for name in names:
        file = below(source / "SegmentationObject", f"{name}.png")
        with reading(file, "VOC mask"):
            objects = read_values(file)
            classes = read_values(below(source / "SegmentationClass", f"{name}.png"))
            found = []
            for number in np.unique(objects[objects > 0]):
                mask = objects == number
                concept = int(classes[mask][0]) - 1
                if not 0 <= concept < concepts:
                    raise ValueError(f"class {concept + 1} of {concepts}")
                found.append(Instance.of(mask, concept))
            images = below(source / "JPEGImages", name)
            either = [case for suffix in sorted(SUFFIXES) for case in (suffix, suffix.upper())]
            beside = [images.with_name(images.name + suffix) for suffix in either]
            picture = next((path.resolve() for path in beside if path.exists()), images.with_name(f"{images.name}.jpg"))
        yield Marked(picture, name, objects.shape, tuple(found))


def _annotation(picture: Marked, instances: Sequence[Instance], labels: Sequence[Label]) -> "ElementTree[Element]":
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
    return ElementTree(root)


def _voc_colour(number: int) -> Colour:
    """VOC's palette: the bits of a number, dealt to red, green and blue from the top."""
    red = green = blue = 0
    for shift in range(8):
        red |= (number >> (3 * shift) & 1) << (7 - shift)
        green |= (number >> (3 * shift + 1) & 1) << (7 - shift)
        blue |= (number >> (3 * shift + 2) & 1) << (7 - shift)
    return red, green, blue

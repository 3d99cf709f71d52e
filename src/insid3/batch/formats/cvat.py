"""CVAT for images 1.1: one XML file."""

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, iterparse
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from jaxtyping import Bool

from insid3.batch.formats.base import (
    LABELS,
    Marked,
    file_within,
    label_of,
    read_labels,
    reading,
    without_suffix,
    write_labels,
)
from insid3.batch.formats.polygons import filled, polygons, survives
from insid3.errors import DataError
from insid3.images import MAX_PIXELS
from insid3.instances import Instance
from insid3.labels import Label
from insid3.storage import write_atomically, writing

FILE = "annotations.xml"


class Cvat:
    """Polygons, or masks where these would lose something; an object's parts share a group."""

    title = "CVAT for images 1.1, XML"

    def is_at(self, source: Path) -> bool:
        return (source / FILE).exists() or source.name == FILE

    def write(self, labels: Sequence[Label], pictures: Iterable[Marked], output: Path) -> list[str]:
        scored = 0

        def write(file: Path) -> None:
            nonlocal scored
            with file.open("w", encoding="utf-8") as out:
                out.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n')
                out.write("  <meta>\n    <task>\n      <labels>\n")
                for label in labels:
                    colour = f"#{bytes(label.colour).hex()}"
                    told = f"<name>{escape(label.name)}</name><color>{colour}</color><type>any</type><attributes/>"
                    out.write(f"        <label>{told}</label>\n")
                out.write("      </labels>\n    </task>\n  </meta>\n")
                for number, picture in enumerate(pictures):
                    scored += any(instance.score != 1 for instance in picture.instances)
                    out.write(_image(number, picture, labels))
                out.write("</annotations>\n")

        writing(lambda: write_atomically(output / FILE, write))
        write_labels(output, labels)
        return [f"scores of objects in {scored} pictures, for which CVAT has no place"] if scored else []

    def read(self, source: Path) -> tuple[list[Label], Iterator[Marked]]:
        file = file_within(source, FILE, "*.xml", LABELS)
        with reading(file, "CVAT"):
            labels = [
                label_of(str(element.findtext("name")), i, None, element.findtext("color"))
                for i, element in enumerate(_elements(file, "label"))
            ]
        known = {label.name: label for label in read_labels(file.parent) or ()}
        labels = [known.get(label.name, label) for label in labels]  # in the order of this file
        return labels, _pictures(file, {label.name: i for i, label in enumerate(labels)})


def _image(number: int, picture: Marked, labels: Sequence[Label]) -> str:
    height, width = picture.size
    lines = [f'  <image id="{number}" name={quoteattr(picture.file)} width="{width}" height="{height}">']
    for group, instance in enumerate(picture.instances, 1):
        shapes = polygons(instance)
        parts = f' group_id="{group}"' if len(shapes) > 1 else ""
        head = f'label={quoteattr(labels[instance.concept].name)} source="auto" occluded="0" z_order="0"'
        if not survives(shapes, instance):
            x0, y0, x1, y1 = instance.box
            runs = ", ".join(map(str, encoded(instance.mask)))
            box = f'left="{x0}" top="{y0}" width="{x1 - x0}" height="{y1 - y0}"'
            lines.append(f'    <mask {head} rle="{runs}" {box}/>')
        else:
            for (ring,) in shapes:
                points = ";".join(f"{x:.2f},{y:.2f}" for x, y in ring)
                lines.append(f'    <polygon {head} points="{points}"{parts}/>')
    return "\n".join([*lines, "  </image>\n"])


def encoded(mask: Bool[np.ndarray, "h w"]) -> list[int]:
    """Lengths of runs, row by row, the first of what is not marked."""
    flat = mask.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=False))
    return np.diff(starts, prepend=0, append=len(flat)).tolist()


def decoded(runs: Sequence[int], size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """What `encoded` wrote; ValueError: another number of pixels."""
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(size)


def _pictures(file: Path, index: dict[str, int]) -> Iterator[Marked]:
    with reading(file, "CVAT"):
        for image in _elements(file, "image"):
            size = int(image.get("height", 0)), int(image.get("width", 0))
            if not 0 < size[0] * size[1] <= MAX_PIXELS:
                raise ValueError(f"a picture of {size[1]} x {size[0]} pixels")
            whole: dict[str, tuple[int, Bool[np.ndarray, "H W"]]] = {}
            for number, shape in enumerate(image):
                if shape.tag not in ("polygon", "mask"):
                    continue
                group = shape.get("group_id", "0")
                key = f"alone {number}" if group == "0" else f"{group} {shape.get('label')}"
                _, mask = whole.setdefault(key, (index[str(shape.get("label"))], np.zeros(size, bool)))
                mask |= _shape(shape, size)
            found = tuple(Instance.of(mask, concept) for concept, mask in whole.values())
            name = str(image.get("name"))
            yield Marked(file.parent / name, without_suffix(name), size, found)


def _shape(shape: Element, size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    if shape.tag == "polygon":
        points = [pair.split(",") for pair in str(shape.get("points")).split(";")]
        return filled([np.array(points, float)], size)
    left, top, width, height = (int(float(str(shape.get(key)))) for key in ("left", "top", "width", "height"))
    mask = np.zeros(size, bool)
    if not (0 <= left <= left + width <= size[1] and 0 <= top <= top + height <= size[0]):
        raise ValueError("a mask lies outside its picture")
    mask[top : top + height, left : left + width] = decoded(
        [int(run) for run in str(shape.get("rle")).split(",")], (height, width)
    )
    return mask


def _elements(file: Path, tag: str) -> Iterator[Element]:
    """One after the other; documents that declare entities are refused, which could grow beyond all memory."""
    content = file.read_bytes()
    plain = content.replace(b"\0", b"")  # of UTF-16 too
    if b"<!DOCTYPE" in plain or b"<!ENTITY" in plain:
        raise DataError(f"{file} declares a document type or entities, which no annotations need")
    for _, element in iterparse(io.BytesIO(content)):
        if element.tag == tag:
            yield element
            element.clear()

"""CVAT for images 1.1: one XML file."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from jaxtyping import Bool

from insid3.batch.formats.base import file_within, loss_notes, plain_labels, read_labels, write_labels
from insid3.batch.formats.cvat_tracks import Track, frames_of, shapes_at, tracks_of
from insid3.batch.formats.geometry import Ellipse, Geometry, LazyGeometry, Outline, PlacedMask, Size, box_ring, turned
from insid3.batch.formats.marked import Marked
from insid3.batch.formats.pictures import PictureName
from insid3.batch.formats.polygons import polygons, survives
from insid3.batch.formats.reading import Draft, Parsed, Readable, Reading, Shape
from insid3.batch.formats.values import hex_colour
from insid3.checks.parsing import (
    Flaw,
    as_number,
    as_points,
    as_text,
    as_whole,
    as_wholes,
    check_ends,
    parsing,
    read_xml,
)
from insid3.imaging.opening import MAX_PIXELS
from insid3.label_map import Label
from insid3.storage import text_stream

FILE = "annotations.xml"
# Shapes without an area, and their everyday names.
_NO_AREA = {"polyline": "line", "points": "point", "cuboid": "cuboid", "skeleton": "skeleton", "tag": "tag"}


class Cvat(Readable):
    """CVAT polygons, or masks for objects that polygons do not keep; the parts of an object share a group."""

    def is_at(self, source: Path) -> bool:
        return (source / FILE).exists() or (source.is_dir() and any(map(_fits, source.glob("*.xml")))) or _fits(source)

    def write(self, labels: Sequence[Label], pictures: Iterable[Marked], output: Path) -> list[str]:
        scored, (names, notes) = 0, plain_labels(labels)
        with text_stream(output / FILE) as out:
            out.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n')
            out.write("  <meta>\n    <task>\n      <labels>\n")
            for label in names:
                head = f"<name>{escape(label.name)}</name><color>{hex_colour(label.colour)}</color>"
                out.write(f"        <label>{head}<type>any</type><attributes/></label>\n")
            out.write("      </labels>\n    </task>\n  </meta>\n")
            for number, picture in enumerate(pictures):
                scored += picture.is_scored
                out.write(_image(number, picture, names))
            out.write("</annotations>\n")
        write_labels(output, labels)
        return notes + loss_notes("CVAT", {}, scored)

    def parse(self, source: Path, reading: Reading) -> Parsed:
        file = file_within(source, FILE, "*.xml", _fits)
        names: list[PictureName] = []
        told: dict[str, str | None] = {}
        used: dict[str, None] = {}
        elements: list[Element] = []
        frames, size = 0, None
        with parsing(file, "CVAT"):
            for element in _elements(file, ("label", "image", "track", "task", "job", "original_size")):
                if element.tag == "label":
                    name = element.findtext("name")
                    if name and element.find("parent") is None:  # parts of a skeleton have a parent
                        told[name] = element.findtext("color")
                elif element.tag == "image":
                    task = element.get("task_id")
                    names.append(PictureName(_get(element, "name"), more=(f"task_{task}",) if task else ()))
                    used |= dict.fromkeys(label for shape in element if (label := shape.get("label")))
                elif element.tag == "track":
                    elements.append(_copy(element))
                    used |= dict.fromkeys(label for label in (element.get("label"),) if label)
                elif element.tag == "original_size":
                    size = reading.declared(element.findtext("height"), element.findtext("width"), str(file))
                else:
                    frames = max(frames, as_whole(element.findtext("size") or 0, "size of a task"))
            for name in used.keys() - told.keys():
                reading.note("label that the file does not declare", f"{name} in {file}")
            told |= {name: None for name in used if name not in told}
            known = {label.name: label for label in read_labels(file.parent) or ()}
            labels = [known.get(label.name, label) for label in reading.labels((n, None, c) for n, c in told.items())]
            index = {name: i for i, name in enumerate(told)}
            tracks = tracks_of(elements, reading, file)
            film = range(frames_of(tracks, frames) if tracks else 0)
            names += [PictureName(f"frame_{frame:06d}") for frame in film]
        return Parsed(
            file, file.parent, labels, names,
            chain(_pictures(file, index, reading), (_frame(file, tracks, f, size, index, reading) for f in film)),
        )  # fmt: skip


def _image(number: int, picture: Marked, labels: Sequence[Label]) -> str:
    height, width = picture.size
    lines = [f'  <image id="{number}" name={quoteattr(picture.file)} width="{width}" height="{height}">']
    for group, instance in enumerate(picture.instances, 1):
        shapes = polygons(instance)
        parts = f' group_id="{group}"' if len(shapes) > 1 else ""
        head = f'label={quoteattr(labels[instance.concept].name)} source="auto" occluded="0" z_order="0"'
        if not survives(shapes, instance):
            x0, y0, x1, y1 = instance.box
            runs = ", ".join(map(str, run_lengths(instance.mask)))
            box = f'left="{x0}" top="{y0}" width="{x1 - x0}" height="{y1 - y0}"'
            lines.append(f'    <mask {head} rle="{runs}" {box}/>')
        else:
            for (ring,) in shapes:
                points = ";".join(f"{x:.2f},{y:.2f}" for x, y in ring)
                lines.append(f'    <polygon {head} points="{points}"{parts}/>')
    return "\n".join([*lines, "  </image>\n"])


def run_lengths(mask: Bool[np.ndarray, "h w"]) -> list[int]:
    """Return the lengths of a mask's runs, row by row, the first one unmarked."""
    flat = mask.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=False))
    return np.diff(starts, prepend=0, append=len(flat)).tolist()


def _pictures(file: Path, index: dict[str, int], reading: Reading) -> Iterator[Draft]:
    with parsing(file, "CVAT"):
        for image in _elements(file, ("image",)):
            place = f"image {image.get('id', '?')} of {file.name} ({image.get('name')})"
            size = reading.declared(image.get("height"), image.get("width"), place)
            shapes = [(f"{shape.tag} {number} of {place}", shape) for number, shape in enumerate(image, 1)]
            yield Draft(place, size, partial(_shapes, shapes, index, reading), id=image.get("id", ""))


def _frame(
    file: Path, tracks: Sequence[Track], frame: int, size: Size | None, index: dict[str, int], reading: Reading
) -> Draft:
    def shapes() -> list[Shape]:
        return _shapes(list(shapes_at(tracks, frame, reading)), index, reading)

    return Draft(f"frame {frame} of {file.name}", size, shapes, id=str(frame))


def _shapes(entries: Sequence[tuple[str, Element]], index: dict[str, int], reading: Reading) -> list[Shape]:
    found = []
    for place, entry in entries:
        with reading.entry(entry.tag, place):
            if entry.tag in _NO_AREA:
                reading.leave_out(_NO_AREA[entry.tag], place)
                continue
            concept = index[_get(entry, "label")]
            if entry.tag == "box":
                reading.note("rectangle read as a mask", place)
            group, layer = (as_whole(entry.get(name) or 0, name) for name in ("group_id", "z_order"))
            geometry = LazyGeometry(partial(_geometry, entry)) if entry.tag == "mask" else _geometry(entry)
            found.append(Shape(concept, geometry, place, entry.tag, group or None, layer=layer))
    return found


def _geometry(shape: Element) -> Geometry:
    def number(name: str) -> float:
        return as_number(shape.get(name), name)

    degrees = as_number(shape.get("rotation") or 0, "rotation")
    if shape.tag == "polygon":
        points = as_points([pair.split(",") for pair in _get(shape, "points").split(";")])
        if len(points) < 3:
            raise Flaw(f"is a polygon of {len(points)} points")
        return Outline([points])
    if shape.tag == "box":
        ring = box_ring(number("xtl"), number("ytl"), number("xbr"), number("ybr"))
        return Outline([turned(ring, degrees, ring.mean(0))])
    if shape.tag == "ellipse":
        return Ellipse((number("cx"), number("cy")), (number("rx"), number("ry")), degrees)
    if shape.tag == "mask":
        left, top, width, height = (int(number(name)) for name in ("left", "top", "width", "height"))
        if min(left, top) < 0 or min(width, height) < 1 or width * height > MAX_PIXELS:
            raise Flaw(f"is a mask of {width} x {height} pixels at {left}, {top}")
        runs = as_wholes(_get(shape, "rle").split(","), "run", MAX_PIXELS)
        return PlacedMask.from_runs(runs, (height, width), at=(left, top))
    raise Flaw(f"is a {shape.tag}, which has no area")


def _get(element: Element, name: str) -> str:
    return as_text(element.get(name), name)


def _copy(element: Element) -> Element:
    """Copy a track, since `_elements` clears it when the next element comes."""
    copy = Element(element.tag, element.attrib)
    copy.extend(list(element))
    return copy


def _fits(file: Path) -> bool:
    if file.name == FILE:
        return True
    try:
        check_ends(file)
        with file.open("rb") as opened:
            return file.suffix.lower() == ".xml" and re.search(rb"<annotations\b", opened.read(4096)) is not None
    except (OSError, ValueError):
        return False


def _elements(file: Path, tags: Collection[str]) -> Iterator[Element]:
    """Yield the elements with some tags; pictures and tracks are cleared when the next element comes."""
    for element in read_xml(file):
        if element.tag in tags:
            yield element
            if element.tag in ("image", "track"):
                element.clear()

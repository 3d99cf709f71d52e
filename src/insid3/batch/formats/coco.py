"""COCO instances: one JSON file."""

import json
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
from jaxtyping import Float

from insid3.batch.formats.base import file_within, json_kind, write_labels
from insid3.batch.formats.geometry import Geometry, LazyGeometry, Outline, PlacedMask, Size, box_ring
from insid3.batch.formats.marked import Marked
from insid3.batch.formats.pictures import PictureName
from insid3.batch.formats.polygons import polygons, survives
from insid3.batch.formats.reading import Draft, Parsed, Readable, Reading, Shape
from insid3.batch.formats.values import hex_colour
from insid3.checks.parsing import (
    Flaw,
    as_dict,
    as_id,
    as_list,
    as_number,
    as_numbers,
    as_text,
    as_whole,
    as_wholes,
    parsing,
    read_json,
    shown,
)
from insid3.errors import MissingExtraError
from insid3.imaging.components import Instance
from insid3.imaging.opening import MAX_PIXELS
from insid3.imaging.read import SUFFIXES
from insid3.label_map import Label
from insid3.storage import output_errors, text_stream

FILE = "instances.json"


class Coco(Readable):
    """COCO instances, one annotation for each object: compressed RLE, or polygons.

    Args:
        polygons: write polygons for objects that polygons keep, which they do not if there are holes.
        append_to: instances file to which pictures and annotations are added. Categories of one name are the same. In
            a picture that the file already has, new annotations of a category replace the old ones.
    """

    def __init__(self, polygons: bool = False, append_to: Path | None = None) -> None:
        self.polygons, self.append_to = polygons, append_to

    def is_at(self, source: Path) -> bool:
        own = (source / FILE).exists() and json_kind(source / FILE) in (None, "coco")
        return own or (source.is_dir() and any(map(_fits, source.glob("*.json")))) or _fits(source)

    def write(self, labels: Sequence[Label], pictures: Iterable[Marked], output: Path) -> list[str]:
        _rle()
        before = self._before()
        images: list[dict[str, Any]] = before.setdefault("images", [])
        categories, ids = _categories(before.setdefault("categories", []), labels)
        known = {image["file_name"]: image["id"] for image in images}
        next_image = max((image["id"] for image in images), default=0) + 1
        old: list[dict[str, Any]] = before.setdefault("annotations", [])
        number = max((annotation["id"] for annotation in old), default=0) + 1
        replaced: set[int] = set()
        with output_errors(output / FILE), TemporaryFile("w+") as new:  # may be larger than memory
            for picture in pictures:
                image = known.get(picture.file)
                if image is None:
                    image, next_image = next_image, next_image + 1
                    height, width = picture.size
                    images.append({"id": image, "file_name": picture.file, "width": width, "height": height})
                replaced.add(image)
                for instance in picture.instances:
                    annotation = self._annotation(instance, picture.size)
                    head = {"id": number, "image_id": image, "category_id": ids[instance.concept]}
                    new.write(json.dumps(head | annotation) + "\n")
                    number += 1
            kept = [a for a in old if not (a["image_id"] in replaced and a["category_id"] in ids)]
            rest = {key: value for key, value in before.items() if key != "annotations"} | {"categories": categories}
            with text_stream(output / FILE) as out:
                _dump(out, rest, kept, new)
        write_labels(output, labels)
        return []

    def parse(self, source: Path, reading: Reading) -> Parsed:
        file = file_within(source, FILE, "*.json", _fits)
        with parsing(file, "COCO instances"):
            content = read_json(file)
            data = _of_results(content, file, reading) if isinstance(content, list) else as_dict(content, "content")
            images = as_list(data.get("images"), "list of images")
            annotations = _Annotations(file, as_list(data.get("annotations", []), "annotations"), reading)
            labels = annotations.name_categories(data.get("categories"))
            known: dict[str, tuple[PictureName, Size | None, str]] = {}
            for number, image in enumerate(images):
                place = f"image {number + 1} of {file.name}"
                with reading.entry("picture", place):
                    entry = as_dict(image, "entry")
                    key = as_id(entry.get("id"), "id")
                    place = f"image {key} of {file.name}"
                    name = PictureName(as_text(entry.get("file_name"), "file_name"))
                    size = reading.declared(entry.get("height"), entry.get("width"), place)
                    if key in known and known[key][0] != name:
                        annotations.doubt(key, known[key][0].text)
                        raise Flaw(f"has the id of another picture: {name.text} and {known[key][0].text}")
                    if key in known:
                        reading.note("picture listed twice", f"{place}: {name.text}")
                        continue
                    known[key] = name, size, place
            for key in annotations.doubted:
                known.pop(key, None)
            annotations.leave_out_those_of_others(known)
        drafts = (
            Draft(place, size or annotations.declared_size(key), partial(annotations.shapes, key, size), id=key)
            for key, (_, size, place) in known.items()
        )
        return Parsed(file, file.parent, labels, [name for name, _, _ in known.values()], drafts)

    def _before(self) -> dict[str, Any]:
        if self.append_to is None:
            return {}
        with parsing(self.append_to, "COCO instances"):
            data = as_dict(read_json(self.append_to), "content")
            for image in as_list(data.get("images"), "list of images"):
                image["file_name"] = as_text(image.get("file_name"), "file_name of an image")
                image["id"] = as_whole(image.get("id"), "id of an image")
            for annotation in as_list(data.get("annotations"), "annotations"):
                for key in ("id", "image_id", "category_id"):
                    annotation[key] = as_whole(annotation.get(key), f"{key} of an annotation")
            for category in as_list(data.get("categories"), "categories"):
                category["name"] = as_text(category.get("name"), "name of a category")
                category["id"] = as_whole(category.get("id"), "id of a category")
            return data

    def _annotation(self, instance: Instance, size: tuple[int, int]) -> dict[str, Any]:
        x0, y0, x1, y1 = instance.box
        segmentation: Any = None
        if self.polygons and not instance.crowd:
            shapes = polygons(instance)
            if survives(shapes, instance):
                segmentation = [ring.ravel().tolist() for (ring,) in shapes]
        if segmentation is None:
            encoded = _rle().encode(np.asfortranarray(instance.whole(size), np.uint8))
            segmentation = {"size": list(size), "counts": encoded["counts"].decode()}
        return {
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": instance.area,
            "iscrowd": int(instance.crowd),
            "segmentation": segmentation,
            "score": round(instance.score, 4),
        }


def _rle() -> Any:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise MissingExtraError("COCO annotations", "export") from error
    return mask


def _categories(before: list[dict[str, Any]], labels: Sequence[Label]) -> tuple[list[dict[str, Any]], list[int]]:
    """Return all categories, and the category id of each label: of its name, else its own id, else a free one."""
    result, ids = list(before), {str(category["name"]): int(category["id"]) for category in before}
    for label in labels:
        if label.name not in ids:
            ids[label.name] = label.id if label.id not in ids.values() else max(ids.values()) + 1
            colour = hex_colour(label.colour)
            result.append({"id": ids[label.name], "name": label.name, "supercategory": "", "color": colour})
    return result, [ids[label.name] for label in labels]


def _dump(out: IO[str], rest: dict[str, Any], kept: list[dict[str, Any]], new: IO[str]) -> None:
    out.write(json.dumps(rest)[:-1] + ', "annotations": [\n')
    comma = ""
    for annotation in kept:
        out.write(comma + json.dumps(annotation))
        comma = ",\n"
    new.seek(0)
    for line in new:
        out.write(comma + line.rstrip("\n"))
        comma = ",\n"
    out.write("\n]}\n")


class _Annotations:
    """Hold the annotations of a file by the ids of their pictures."""

    def __init__(self, file: Path, entries: list[Any], reading: Reading) -> None:
        self.file, self.reading = file, reading
        self.categories: dict[str, int] = {}  # id -> index of the label
        self.doubted: set[str] = set()  # ids that several pictures share
        self._twice: set[str] = set()  # ids that several categories share
        self._of_image: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        for number, entry in enumerate(entries):
            place = f"annotation {number + 1} of {file.name}"
            with reading.entry("annotation", place):
                annotation = as_dict(entry, "entry")
                if isinstance(annotation.get("id"), str | int):
                    place = f"annotation {annotation['id']} of {file.name}"
                key = as_id(annotation.get("image_id"), "image_id")
                self._of_image.setdefault(key, []).append((place, annotation))

    def name_categories(self, listed: Any) -> list[Label]:
        """Return the labels of the categories; without categories, of the numbers that the annotations use."""
        told: list[tuple[str, int | None, object]] = []
        if listed is None:
            ids = {str(a.get("category_id")).strip() for mine in self._of_image.values() for _, a in mine}
            listed = [{"id": key, "name": f"category {key}"} for key in sorted(ids, key=lambda k: (len(k), k))]
            self.reading.note("file without names of categories", f"{self.file}: they are called by their numbers")
        for number, category in enumerate(as_list(listed, "categories")):
            with self.reading.entry("category", f"category {number + 1} of {self.file.name}"):
                entry = as_dict(category, "entry")
                key, name = as_id(entry.get("id"), "id"), as_text(entry.get("name"), "name")
                if key in self.categories:
                    self._twice.add(key)
                    raise Flaw(f"has the id of another category: {name}")
                self.categories[key] = len(told)
                told.append((name, int(key) if key.isdecimal() and len(key) < 10 else None, entry.get("color")))
        return self.reading.labels(told)

    def doubt(self, key: str, name: str) -> None:
        """Record an id that several pictures share."""
        if key not in self.doubted:
            self.doubted.add(key)
            self.reading.leave_out("picture", f"image {key} of {self.file.name} has the id of another picture: {name}")

    def leave_out_those_of_others(self, known: Collection[str]) -> None:
        """Leave out the annotations of all pictures but the known ones."""
        for key in [key for key in self._of_image if key not in known]:
            why = f"names image {key}, which " + ("is several" if key in self.doubted else "the file does not list")
            for place, _ in self._of_image.pop(key):
                self.reading.leave_out("annotation of an unknown picture", f"{place} {why}")

    def declared_size(self, image: str) -> Size | None:
        """Return the size of a picture that its run-length codes declare, for an entry without a size."""
        for _, annotation in self._of_image.get(image, []):
            shape = annotation.get("segmentation")
            size = shape.get("size") if isinstance(shape, dict) else None
            if isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size):
                return (size[0], size[1]) if size[0] * size[1] <= MAX_PIXELS else None
        return None

    def shapes(self, image: str, size: Size | None) -> list[Shape]:
        """Return the objects of a picture, in the order of the file."""
        found = []
        size = size or self.declared_size(image)
        for place, annotation in self._of_image.get(image, []):
            with self.reading.entry("annotation", place):
                key = as_id(annotation.get("category_id"), "category_id")
                if key not in self.categories or key in self._twice:
                    why = "is several" if key in self._twice else "the file does not list"
                    where = f"{place} names category {key}, which {why}"
                    self.reading.leave_out("annotation of an unknown category", where)
                    continue
                geometry = self._geometry(annotation, size, place)
                if geometry is not None:
                    score = 1.0 if annotation.get("score") is None else as_number(annotation["score"], "score")
                    crowd = annotation.get("iscrowd") not in (None, 0, "0", False)
                    found.append(Shape(self.categories[key], geometry, place, "annotation", None, score, crowd))
        return found

    def _geometry(self, annotation: dict[str, Any], size: Size | None, place: str) -> Geometry | None:
        shape = annotation.get("segmentation")
        if isinstance(shape, dict):
            return LazyGeometry(partial(_from_code, shape, size))
        if not isinstance(shape, list | None):
            raise Flaw(f"has {shown(shape)} as segmentation")
        if not any(shape or ()):  # a detection data set, or an empty list such as [[]]
            if not (box := annotation.get("bbox")):
                raise Flaw("has neither a segmentation nor a box")
            left, top, width, height = (as_number(value, "bbox") for value in _four(box))
            if not self.reading.takes_box(f"{place} has a box only"):
                return None
            return Outline([box_ring(left, top, left + width, top + height)], "coco")
        rings, flaws = [], []
        for ring in shape or ():
            try:
                rings.append(_ring(ring))
            except Flaw as flaw:
                flaws.append(flaw)
        if not rings:
            raise flaws[0]
        for bad in flaws:
            self.reading.leave_out("part of an annotation", f"{place} {bad}")
        return Outline(rings, "coco")


def _ring(ring: Any) -> np.ndarray:
    if not isinstance(ring, list):
        raise Flaw("has a flat list as segmentation, not a list of polygons")
    return ring_of(as_numbers(ring, "a coordinate"))


def ring_of(numbers: Float[np.ndarray, "n"]) -> Float[np.ndarray, "m 2"]:
    """Return the points (x, y) of a polygon; Flaw if there are fewer than three, or an odd count of numbers."""
    if len(numbers) < 6 or len(numbers) % 2:
        raise Flaw(f"has a polygon of {len(numbers)} numbers, which needs three points or more")
    return np.reshape(numbers, (-1, 2))


def _four(box: Any) -> list[Any]:
    if not isinstance(box, list) or len(box) != 4:
        raise Flaw(f"has {shown(box)} as bbox, not x, y, width and height")
    return box


def _from_code(shape: dict[str, Any], size: Size | None) -> PlacedMask:
    """Decode a mask from run lengths, which are numbers or text as pycocotools packs it."""
    sides = [as_whole(side, "size of a mask") for side in as_list(shape.get("size"), "size of a mask")]
    counts = shape.get("counts")
    if len(sides) != 2 or (size is not None and tuple(sides) != size):
        told = f"{size[1]} x {size[0]}" if size else "two numbers"
        raise Flaw(f"has a mask of {' x '.join(map(str, sides[::-1]))}, its picture {told}")
    runs = as_wholes(counts if isinstance(counts, list) else unpacked(as_text(counts, "counts")), "run", MAX_PIXELS)
    return PlacedMask.from_runs(runs, (sides[0], sides[1]), by_columns=True)


def unpacked(code: str) -> list[int]:
    """Return the run lengths that pycocotools packs into text.

    Each character holds 5 bits, the lowest first, and a sixth one that says whether more follow. From the third run
    on, the text holds the difference to the run before the last one.

    Raises:
        Flaw: the text is no such code, or is cut short.
    """
    runs: list[int] = []
    value = shift = 0
    for letter in code:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 30:
            raise Flaw("has counts that are no run-length code")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise Flaw("has counts that are cut short")
    return runs


def _of_results(entries: list[Any], file: Path, reading: Reading) -> dict[str, Any]:
    """Turn a detector's list of results into an instances file; Flaw without a folder of pictures to look up ids."""
    if reading.images is None:
        raise Flaw("is a list of results, which does not name pictures: say where they are with --images")
    found: dict[str, set[Path]] = {}
    for path in reading.images.rglob("*"):
        if path.suffix.lower() in SUFFIXES:
            for name in (path.name, path.stem, path.stem.lstrip("0") or "0"):
                found.setdefault(name, set()).add(path)
    told = [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("image_id"), str | int)]
    images = []
    for key, entry in {str(entry["image_id"]): entry for entry in told}.items():
        fitting = found.get(str(entry.get("file_name"))) or found.get(key, set())
        if len(fitting) == 1:
            (path,) = fitting
            images.append({"id": key, "file_name": path.relative_to(reading.images).as_posix()})
    return {"images": images, "annotations": entries}


def _fits(file: Path) -> bool:
    return file.is_file() and json_kind(file) == "coco"

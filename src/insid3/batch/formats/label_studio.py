"""Label Studio: tasks with brush masks as predictions, and the labelling interface for them."""

import base64
import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import uuid4
from xml.sax.saxutils import quoteattr

import numpy as np
from jaxtyping import Bool

from insid3.batch.formats.base import file_within, json_kind, plain_labels, read_labels, write_labels
from insid3.batch.formats.geometry import Ellipse, Geometry, Outline, PlacedMask, Scale, Size, box_ring, turned
from insid3.batch.formats.marked import Marked
from insid3.batch.formats.pictures import PictureName
from insid3.batch.formats.reading import Draft, Parsed, Readable, Reading, Shape, counted
from insid3.batch.formats.values import as_size, hex_colour
from insid3.checks.parsing import Flaw, as_dict, as_list, as_number, as_points, as_text, as_wholes, parsing, read_json
from insid3.imaging.masks import read_patch
from insid3.imaging.opening import MAX_PIXELS
from insid3.imaging.read import SUFFIXES
from insid3.label_map import Label
from insid3.storage import text_stream, write_text

FILE = "tasks.json"
_SIZES = (3, 4, 8, 16)  # bits for the length of a run, smallest first
# Results that describe a picture or a region without an area.
_NO_REGIONS = ("choices", "textarea", "rating", "number", "taxonomy", "datetime", "relation", "pairwise", "ranker")
_SHAPES = ("brush", "bitmask", "polygon", "rectangle", "ellipse")
# Regions without an area, and their everyday names.
_NO_AREA = {"keypoint": "point", "vector": "line", "line": "line", "videorectangle": "box", "timeline": "range"}


class LabelStudio(Readable):
    """Label Studio tasks with brush masks, and the labelling interface as config.xml."""

    def is_at(self, source: Path) -> bool:
        own = (source / FILE).exists() and json_kind(source / FILE) in (None, "label-studio")
        return own or (source.is_dir() and any(map(_fits, source.glob("*.json")))) or _fits(source)

    def write(self, labels: Sequence[Label], pictures: Iterable[Marked], output: Path) -> list[str]:
        names, notes = plain_labels(labels)
        with text_stream(output / FILE) as out:
            before = "[\n"
            for picture in pictures:
                out.write(before + json.dumps(_task(picture, names)))
                before = ",\n"
            out.write("[]\n" if before == "[\n" else "\n]\n")
        lines = [f"    <Label value={quoteattr(x.name)} background='{hex_colour(x.colour)}'/>" for x in names]
        brush = ['  <BrushLabels name="tag" toName="image">', *lines, "  </BrushLabels>"]
        view = ["<View>", '  <Image name="image" value="$image"/>', *brush, "</View>"]
        write_text(output / "config.xml", "\n".join(view) + "\n")
        write_labels(output, labels)
        return notes

    def parse(self, source: Path, reading: Reading) -> Parsed:
        file = file_within(source, FILE, "*.json", _fits)
        tasks: list[_Task] = []
        with parsing(file, "Label Studio"):
            content = read_json(file)
            for number, entry in enumerate(as_list(content if isinstance(content, list) else [content], "tasks"), 1):
                with reading.entry("task", f"task {number} of {file.name}"):
                    if (task := _task_of(as_dict(entry, "entry"), number, file, reading)) is not None:
                        tasks.append(task)
        told = sorted({name for task in tasks for region in task.regions for name in region.labels})
        labels = read_labels(file.parent) or []
        if not set(told) <= {label.name for label in labels}:
            labels = reading.labels((name, None, None) for name in told)
            index = {name: i for i, name in enumerate(told)}
        else:
            index = {label.name: i for i, label in enumerate(labels)}
        drafts = (Draft(t.place, t.size, partial(_shapes, t, index, reading), id=t.id) for t in tasks)
        return Parsed(file, file.parent, labels, [task.name for task in tasks], drafts)


@dataclass(frozen=True, eq=False)
class _Region:
    """Hold one region, joined from all results with its id."""

    kind: str
    value: dict[str, Any]
    labels: tuple[str, ...]
    size: Size | None
    score: object
    place: str
    picture: tuple[str, str]  # name of the picture's tag, and number of its page


@dataclass(frozen=True, eq=False)
class _Task:
    """Hold a task, and the regions of its valid annotation."""

    place: str
    id: str
    name: PictureName
    size: Size | None
    regions: list[_Region]


def _task_of(task: dict[str, Any], number: int, file: Path, reading: Reading) -> _Task | None:
    key = str(task.get("id", number))
    place = f"task {key} of {file.name}"
    if "data" not in task:
        raise Flaw("has no data: export the project as JSON, not as JSON-MIN")
    data = as_dict(task["data"], "data")
    results = _results(task, place, reading)
    if results is None:
        reading.leave_out("task that nobody has annotated", place)
        return None
    regions = _regions(results, place, reading)
    sizes = {region.size for region in regions if region.size is not None}
    if len(sizes) > 1:
        raise Flaw("has regions of pictures of several sizes: a task must have one picture")
    size = sizes.pop() if sizes else None
    if size is None:
        with suppress(Flaw):  # in foreign tasks these may be anything
            size = as_size(data.get("height"), data.get("width"), MAX_PIXELS)
    if len({region.picture for region in regions}) > 1:
        raise Flaw("has regions on several pictures: a task must have one")
    return _Task(place, key, PictureName(_picture(data, regions)), size, regions)


def _results(task: dict[str, Any], place: str, reading: Reading) -> list[Any] | None:
    """Return the results of the last annotation that was not cancelled, else of the last prediction, else None."""
    made = as_list(task.get("annotations") or task.get("completions") or [], "annotations")
    valid = [one for one in made if isinstance(one, dict)]
    for _ in made[len(valid) :]:
        reading.leave_out("annotation", f"{place} has an annotation that is no object")
    accepted = [one for one in valid if not _is_cancelled(one)]
    for one in valid:
        if _is_cancelled(one):
            reading.note("annotation that was cancelled", f"annotation {one.get('id', '?')} of {place}")
    for one in accepted[:-1]:
        results = one.get("result")
        count = counted(len(results), "result") if isinstance(results, list) else "no results"
        where = f"annotation {one.get('id', '?')} of {place}, {count}"
        reading.note("annotation that a later one replaces", where)
    if accepted:
        return as_list(accepted[-1].get("result") or [], "result")
    predictions = [as_dict(one, "prediction") for one in as_list(task.get("predictions") or [], "predictions")]
    for one in predictions[:-1]:
        reading.note("prediction that a later one replaces", f"prediction {one.get('id', '?')} of {place}")
    return as_list(predictions[-1].get("result") or [], "result") if predictions else None


def _is_cancelled(annotation: dict[str, Any]) -> bool:
    return bool(annotation.get("was_cancelled") or annotation.get("skipped"))  # the latter in old exports


def _regions(results: list[Any], place: str, reading: Reading) -> list[_Region]:
    """Return the regions of results; a label may be a result of its own with the id of its region."""
    shapes: list[tuple[str, str, dict[str, Any]]] = []
    labels: dict[str, dict[str, None]] = {}  # by id
    for number, entry in enumerate(results, 1):
        with reading.entry("region", f"result {number} of {place}"):
            result = as_dict(entry, "entry")
            key, kind = str(result.get("id", f"#{number}")), as_text(result.get("type"), "type")
            if kind in _NO_REGIONS:
                reading.note(f"{kind}, which is no region", place)
            elif kind == "labels":
                labels.setdefault(key, {}).update(dict.fromkeys(_labels(result)))
            else:
                shape = kind.removesuffix("labels")
                shapes.append((key, shape if shape in _SHAPES or shape in _NO_AREA else "region", result))
    for key in labels.keys() - {key for key, _, _ in shapes}:
        reading.leave_out("label without a region", f"region {key} of {place}")
    regions = []
    for key, kind, result in shapes:
        where = f"region {key} of {place}"
        with reading.entry("region", where):
            value = as_dict(result.get("value"), "value")
            size = reading.declared(result.get("original_height"), result.get("original_width"), where)
            named = _labels(result) or [*labels.get(key, ())]
            picture = str(result.get("to_name")), str(result.get("item_index") or 0)
            regions.append(_Region(kind, value, tuple(named), size, result.get("score"), where, picture))
    return regions


def _labels(result: dict[str, Any]) -> list[str]:
    value = as_dict(result.get("value"), "value")
    lists = [as_list(value[name], "labels") for name in value if name.endswith("labels")]
    return [as_text(label, "label") for some in lists for label in some]


def _shapes(task: _Task, index: dict[str, int], reading: Reading) -> list[Shape]:
    found = []
    for region in task.regions:
        with reading.entry("region", region.place):
            if region.kind in _NO_AREA:
                reading.leave_out(_NO_AREA[region.kind], region.place)
                continue
            if not region.labels:
                raise Flaw("has no label")
            geometry = _InPercent(region)
            score = 1.0 if region.score is None else as_number(region.score, "score")
            if region.kind == "rectangle":
                reading.note("rectangle read as a mask", region.place)
            if len(region.labels) > 1:
                reading.note("region of several labels, an object for each", region.place)
            found += [Shape(index[n], geometry, region.place, region.kind, None, score) for n in region.labels]
    return found


@dataclass(frozen=True, eq=False)
class _InPercent:
    """A region with coordinates in percent of the picture's sides."""

    region: _Region

    def rasterise(self, size: Size, scale: Scale) -> PlacedMask:
        told = round(size[0] / scale[1]), round(size[1] / scale[0])
        return _geometry(self.region, told).rasterise(size, scale)


def _geometry(region: _Region, size: Size) -> Geometry:
    """Return the shape of a region, in pixels of the (height, width) `size` that the file declares."""
    value, (height, width) = region.value, size

    def percent(name: str, side: int) -> float:
        return as_number(value.get(name), name) * side / 100

    degrees = 0 if value.get("rotation") is None else as_number(value["rotation"], "rotation")
    if region.kind == "brush":
        return PlacedMask(0, 0, decode_brush(as_wholes(value.get("rle"), "byte of a mask", 255), size))
    if region.kind == "bitmask":
        try:
            content = base64.b64decode(as_text(value.get("imageDataURL"), "imageDataURL").rpartition(",")[2])
        except ValueError as error:
            raise Flaw("has a mask that is no base64 text") from error
        mask = read_patch(content, "its mask")
        if mask.shape != size:
            raise Flaw(f"has a mask of {mask.shape[1]} x {mask.shape[0]} pixels, its picture {width} x {height}")
        return PlacedMask(0, 0, mask)
    if region.kind == "polygon":
        points = as_points(value.get("points"))
        if len(points) < 3:
            raise Flaw(f"is a polygon of {len(points)} points")
        return Outline([points * (width / 100, height / 100)])
    if region.kind == "rectangle":
        x, y = percent("x", width), percent("y", height)
        ring = box_ring(x, y, x + percent("width", width), y + percent("height", height))
        return Outline([turned(ring, degrees, ring[0])])
    if region.kind == "ellipse":
        centre = percent("x", width), percent("y", height)
        return Ellipse(centre, (percent("radiusX", width), percent("radiusY", height)), degrees)
    raise Flaw("is of a kind that has no area")


def _picture(data: dict[str, Any], regions: Sequence[_Region]) -> str:
    """Return the address or path of a task's picture, as before its import into Label Studio."""
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    named = [region.picture[0] for region in regions[:1] if region.picture[0] in texts] or ["image"]
    found = [texts[named[0]]] if named[0] in texts else [text for text in texts.values() if _is_picture(text)]
    if len(found) != 1:
        raise Flaw(f"has {len(found)} pictures in its data: a task must have one")
    return _address(found[0])


def _is_picture(text: str) -> bool:
    end = re.split(r"[?#]", text.replace("?d=", ""))[0]
    return Path(end).suffix.lower() in SUFFIXES or text.startswith(("/data/", "http://", "https://", "s3://", "gs://"))


def _fits(file: Path) -> bool:
    return file.is_file() and (file.name == FILE or json_kind(file) == "label-studio")


def encode_brush(mask: Bool[np.ndarray, "H W"]) -> list[int]:
    """Return the brush's run-length code of a mask, as bytes of a bit stream.

    The head holds the count of values (32 bits), the bits of a value less one (5 bits), and four sizes of run lengths
    less one (4 bits each). A value is a byte of RGBA. A run holds 1 (one repeated value) or 0 (different values), the
    index of its size (2 bits), its length less one, and its value or values.
    """
    flat = mask.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=not flat[0] if len(flat) else False))
    lengths = np.diff(starts, append=len(flat)) * 4  # four equal bytes a pixel: opaque white or transparent black
    bits = [_bits(flat.size * 4, 32), _bits(7, 5), *(_bits(size - 1, 4) for size in _SIZES)]
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        value = _bits(255 if flat[start] else 0, 8)
        while length > 0:
            run = min(length, 2 ** _SIZES[-1])
            choice = next(i for i, size in enumerate(_SIZES) if run <= 2**size)
            bits.append(f"1{choice:02b}{_bits(run - 1, _SIZES[choice])}{value}")
            length -= run
    stream = "".join(bits)
    stream += "0" * (-len(stream) % 8)
    return np.packbits(np.frombuffer(stream.encode(), np.uint8) - ord("0")).tolist()


def decode_brush(code: Sequence[int] | np.ndarray, size: tuple[int, int]) -> Bool[np.ndarray, "H W"]:
    """Return the mask of a brush's run-length code, its alpha channel; Flaw if the code is damaged."""
    stream = np.unpackbits(np.asarray(code, np.uint8)).astype("S1").tobytes().decode()
    at = 0

    def number(width: int) -> int:
        nonlocal at
        if at + width > len(stream):
            raise Flaw("has a mask whose code is cut short")
        at += width
        return int(stream[at - width : at], 2)

    count, width = number(32), number(5) + 1
    if count != size[0] * size[1] * 4 or not 0 < count <= 4 * MAX_PIXELS:
        raise Flaw(f"has a mask of {count // 4:,} pixels, its picture {size[1]} x {size[0]}")
    sizes, values, done = [number(4) + 1 for _ in range(4)], np.empty(count, np.uint8), 0
    while done < count:
        same, length = number(1), number(sizes[number(2)]) + 1
        if done + length > count:
            raise Flaw("has a mask whose code holds more than its picture")
        if same:
            values[done : done + length] = number(width)
        else:
            values[done : done + length] = [number(width) for _ in range(length)]
        done += length
    return values[3::4].reshape(size) > 0


def _bits(value: int, width: int) -> str:
    return f"{value:0{width}b}"


def _task(picture: Marked, labels: Sequence[Label]) -> dict[str, Any]:
    height, width = picture.size
    results = [
        {
            "id": uuid4().hex[:10],
            "type": "brushlabels",
            "from_name": "tag",
            "to_name": "image",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {
                "format": "rle",
                "rle": encode_brush(instance.whole(picture.size)),
                "brushlabels": [labels[instance.concept].name],
            },
            "score": round(instance.score, 4),
        }
        for instance in picture.instances
    ]
    score = sum(instance.score for instance in picture.instances) / max(1, len(results))
    predictions = [{"model_version": "insid3", "score": round(score, 4), "result": results}]
    return {"data": {"image": picture.file, "width": width, "height": height}, "predictions": predictions}


def _address(text: str) -> str:
    if found := re.fullmatch(r"/data/local-files/\?d=(.+)", text):
        return unquote(found[1]).lstrip("/")
    return unquote(re.sub(r"^/data/upload/(\d+/)?", "", text)) if text.startswith("/data/upload/") else text

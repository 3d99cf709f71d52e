"""labelme: a JSON file for each picture."""

import base64
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from insid3.batch.formats.base import LABELS, below, json_kind, loss_notes, read_labels, write_labels
from insid3.batch.formats.geometry import Ellipse, Geometry, LazyGeometry, Outline, PlacedMask, box_ring
from insid3.batch.formats.marked import Marked
from insid3.batch.formats.pictures import PictureName
from insid3.batch.formats.polygons import polygons
from insid3.batch.formats.reading import Draft, Parsed, Readable, Reading, Shape
from insid3.checks.parsing import Flaw, as_dict, as_list, as_points, as_text, parsing, read_json
from insid3.errors import DataError, ImageError
from insid3.imaging.components import Instance
from insid3.imaging.masks import read_patch
from insid3.imaging.opening import picture_from_bytes
from insid3.label_map import Label
from insid3.storage import write_text

# Shapes without an area, and their everyday names.
_NO_AREA = {"point": "point", "points": "point", "line": "line", "linestrip": "line"}
_CORNERS = ("polygon", "rectangle", "oriented_rectangle", "rotation", "quadrilateral")  # the last two: X-AnyLabeling's
_TAKEN = ("concepts", "run", "tasks", "instances")  # names of our own files and of those of other formats
_SAMPLE = 20  # files of a folder that `is_at` looks at


class Labelme(Readable):
    """labelme polygons through the centres of the border's pixels, or masks for objects with holes.

    The parts of an object share a group. Points and lines, which have no area, are not read.
    """

    def is_at(self, source: Path) -> bool:
        files = islice(_files(source), _SAMPLE) if source.is_dir() else [source]
        return any(json_kind(file) == "labelme" for file in files)

    def write(self, labels: Sequence[Label], pictures: Iterable[Marked], output: Path) -> list[str]:
        scored, files = 0, set(_TAKEN)
        for picture in pictures:
            scored += picture.is_scored
            shapes: list[dict[str, Any]] = []
            for group, instance in enumerate(picture.instances):
                found = polygons(instance, centres=True)
                if any(len(rings) > 1 for rings in found):
                    parts = [_mask(instance)]
                else:
                    parts = [{"shape_type": "polygon", "points": _three(ring), "mask": None} for (ring,) in found]
                head = {"label": labels[instance.concept].name, "group_id": group if len(parts) > 1 else None}
                more = {"description": "", "flags": {}}
                shapes += [{**head, **part, **more} for part in parts]
            own = picture.name
            while own.casefold() in files:
                own = picture.file if own == picture.name else f"{own}_"
            files.add(own.casefold())
            file = below(output, f"{own}.json")
            height, width = picture.size
            content: dict[str, Any] = {
                "version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": _relative(picture.path, file.parent),
                "imageData": None, "imageHeight": height, "imageWidth": width,
            }  # fmt: skip
            write_text(file, json.dumps(content, indent=1))
        write_labels(output, labels)
        return loss_notes("labelme", {}, scored)

    def parse(self, source: Path, reading: Reading) -> Parsed:
        root = source if source.is_dir() else source.parent
        files = list(_files(root)) if source.is_dir() else [source]
        if not files:
            raise DataError(f"{source} holds no labelme files")
        kept = [file for file in files if not source.is_dir() or self._is_ours(file, reading)]
        told: dict[str, None] = {}
        names: dict[Path, PictureName] = {}
        for file in kept:
            try:
                data = _content(file)
            except DataError as error:
                if file == source:
                    raise
                reading.leave_out("file", str(error))
                continue
            folder = file.parent.relative_to(root).as_posix()
            named = str(data.get("imagePath") or file.stem)
            names[file] = PictureName(named, "" if folder == "." else folder)
            told |= dict.fromkeys(label for shape in data["shapes"] if (label := _area_label(shape)))
        labels = reading.labels((name, None, None) for name in sorted(told))
        kept_labels = {label.name: label for label in read_labels(root) or ()}
        if told.keys() <= kept_labels.keys():  # keeps the order of concepts.json
            labels = list(kept_labels.values())
            index = {label.name: i for i, label in enumerate(labels)}
        else:
            index = {name: i for i, name in enumerate(sorted(told))}
        return Parsed(source, root, labels, list(names.values()), (_draft(file, index, reading) for file in names))

    def _is_ours(self, file: Path, reading: Reading) -> bool:
        if json_kind(file) in ("labelme", None):
            return True
        reading.note("file of another format", str(file))
        return False


def _inside(file: Path) -> Image.Image | None:
    """Return the picture inside a file, or None; ImageError if the content is no picture."""
    data = _content(file).get("imageData")
    if not data:
        return None
    try:
        content = base64.b64decode(as_text(data, "imageData").rpartition(",")[2], validate=True)
    except (ValueError, Flaw) as error:
        raise ImageError(f"{file} carries no picture that can be read (imageData)") from error
    return picture_from_bytes(content, f"{file} (imageData)")


def _content(file: Path) -> dict[str, Any]:
    with parsing(file, "labelme"):
        data = as_dict(read_json(file), "content")
        as_list(data.get("shapes"), "shapes")
        return data


def _area_label(shape: Any) -> str | None:
    label = shape.get("label") if isinstance(shape, dict) else None
    if isinstance(label, bool | dict | list) or label in (None, "") or str(shape.get("shape_type")) in _NO_AREA:
        return None
    return str(label)


def _draft(file: Path, index: dict[str, int], reading: Reading) -> Draft:
    data = _content(file)
    size = reading.declared(data.get("imageHeight"), data.get("imageWidth"), str(file))
    if size is None and data.get("imageData"):
        with suppress(ImageError):
            inside = _inside(file)
            size = None if inside is None else (inside.height, inside.width)
    shapes = partial(_shapes, file, data["shapes"], index, reading)
    return Draft(str(file), size, shapes, id=file.stem, inside=partial(_inside, file))


def _shapes(file: Path, shapes: list[Any], index: dict[str, int], reading: Reading) -> list[Shape]:
    found: list[Shape] = []
    for number, entry in enumerate(shapes, 1):
        place = f"shape {number} of {file}"
        with reading.entry("shape", place):
            shape = as_dict(entry, "entry")
            kind = as_text(shape.get("shape_type") or "polygon", "shape_type")
            if kind in _NO_AREA:
                reading.leave_out(_NO_AREA[kind], place)
                continue
            label = _area_label(shape)
            if label is None:
                raise Flaw("has no label")
            group = shape.get("group_id")
            group = None if group is None else str(group)
            geometry = LazyGeometry(partial(_mask_of, shape)) if kind == "mask" else _geometry(kind, shape)
            found.append(Shape(index[label], geometry, place, kind, group))
    return found


def _mask_of(shape: dict[str, Any]) -> PlacedMask:
    """Return the mask of a shape in its own box, as labelme.utils.shape_to_mask does."""
    points = as_points(shape.get("points"))
    if len(points) < 1:
        raise Flaw("has no corner")
    try:
        code = base64.b64decode(as_text(shape.get("mask"), "mask").rpartition(",")[2], validate=True)
    except ValueError as error:
        raise Flaw("has a mask that is no base64 text") from error
    (left, top), mask = points[0].astype(int), read_patch(code, "its mask")
    if len(points) > 1:
        sides = np.abs(points[1] - points[0]).astype(int) + 1
        if np.abs(sides - mask.shape[::-1]).max() > 1:
            told = f"{sides[0]} x {sides[1]}"
            raise Flaw(f"has a mask of {mask.shape[1]} x {mask.shape[0]} pixels in a box of {told}")
    return PlacedMask(int(left), int(top), mask)


def _geometry(kind: str, shape: dict[str, Any]) -> Geometry:
    """Return a shape as labelme.utils.shape_to_mask reads it, or a shape of four corners of X-AnyLabeling."""
    points = as_points(shape.get("points"))
    if kind == "circle":
        if len(points) != 2:
            raise Flaw(f"is a circle of {len(points)} points, not of centre and rim")
        radius = float(np.hypot(*(points[1] - points[0])))
        return Ellipse((points[0][0], points[0][1]), (radius, radius), painted=True)
    if kind == "rectangle" and len(points) == 2:
        (x0, y0), (x1, y1) = points.min(0), points.max(0)
        return Outline([box_ring(x0, y0, x1, y1)], "centres")
    if kind not in _CORNERS:
        raise Flaw(f"is a {kind}, which is no shape of labelme or X-AnyLabeling")
    if len(points) < 3:
        raise Flaw(f"is a {kind} of {len(points)} points")
    return Outline([points], "centres")


def _mask(instance: Instance) -> dict[str, Any]:
    x0, y0, x1, y1 = instance.box
    buffer = io.BytesIO()
    Image.fromarray(instance.mask.astype(np.uint8) * 255).save(buffer, "PNG")
    corners = [[x0, y0], [x1 - 1, y1 - 1]]
    return {"shape_type": "mask", "points": corners, "mask": base64.b64encode(buffer.getvalue()).decode()}


def _three(ring: np.ndarray) -> list[list[float]]:
    """Repeat the last point of a ring of one or two points, since a polygon needs three."""
    points: list[list[float]] = np.pad(ring, ((0, max(0, 3 - len(ring))), (0, 0)), "edge").tolist()
    return points


def _relative(picture: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(picture, folder)).as_posix()
    except ValueError:  # on another drive
        return Path(os.path.abspath(picture)).as_posix()


def _files(folder: Path) -> Iterator[Path]:
    ours = (LABELS, "run.json")  # though a picture may be called concepts or run
    return (f for f in sorted(folder.rglob("*.json")) if f.name not in ours or json_kind(f) == "labelme")

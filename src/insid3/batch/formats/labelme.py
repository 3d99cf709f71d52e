"""labelme: a JSON file for each picture."""

import base64
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from insid3.annotations import draw_shape, with_area
from insid3.batch.formats.base import LABELS, Marked, below, label_of, read_json, read_labels, reading, write_labels
from insid3.batch.formats.polygons import polygons
from insid3.errors import DataError
from insid3.images import MAX_PIXELS
from insid3.instances import Instance
from insid3.labels import Label
from insid3.storage import write_text


class Labelme:
    """Polygons through the centres of the border's pixels, or masks where there are holes; an object's parts share a
    group. Points and lines, which have no area, are not read.
    """

    title = "labelme, a JSON file for each picture"

    def is_at(self, source: Path) -> bool:
        file = next(_files(source), source) if source.is_dir() else source
        return file.suffix == ".json" and file.is_file() and b'"shapes"' in file.read_bytes()

    def write(self, labels: Sequence[Label], pictures: Iterable[Marked], output: Path) -> list[str]:
        scored = 0
        for picture in pictures:
            scored += any(instance.score != 1 for instance in picture.instances)
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
            file = below(output, f"{picture.name}.json")
            height, width = picture.size
            content: dict[str, Any] = {
                "version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": _relative(picture.path, file.parent),
                "imageData": None, "imageHeight": height, "imageWidth": width,
            }  # fmt: skip
            write_text(file, json.dumps(content, indent=1))
        write_labels(output, labels)
        return [f"scores of objects in {scored} pictures, for which labelme has no place"] if scored else []

    def read(self, source: Path) -> tuple[list[Label], Iterator[Marked]]:
        folder = source if source.is_dir() else source.parent
        files = list(_files(folder)) if source.is_dir() else [source]
        if not files:
            raise DataError(f"{source} holds no labelme files")
        labels = read_labels(folder)
        if labels is None:
            names: list[str] = []
            for file in files:
                with reading(file, "labelme"):
                    names += [str(shape["label"]) for shape in with_area(read_json(file)["shapes"])]
            labels = [label_of(name, i) for i, name in enumerate(sorted(set(names)))]
        return labels, (_marked(file, folder, {label.name: i for i, label in enumerate(labels)}) for file in files)


def _marked(file: Path, folder: Path, index: dict[str, int]) -> Marked:
    with reading(file, "labelme"):
        data = read_json(file)
        size = int(data["imageHeight"]), int(data["imageWidth"])
        if min(size) < 1 or size[0] * size[1] > MAX_PIXELS:
            raise ValueError(f"a picture of {size[1]} x {size[0]} pixels")
        canvases: dict[Any, tuple[int, Image.Image]] = {}
        for number, shape in enumerate(with_area(data["shapes"])):
            group = shape.get("group_id")
            key = ("alone", number) if group is None else (group, shape["label"])
            _, canvas = canvases.setdefault(key, (index[shape["label"]], Image.new("1", size[::-1])))
            draw_shape(canvas, shape, file)
        found = tuple(Instance.of(np.array(canvas), concept) for concept, canvas in canvases.values())
        picture = file.parent / str(data["imagePath"]).replace("\\", "/")
    return Marked(picture, file.relative_to(folder).as_posix().removesuffix(".json"), size, found)


def _mask(instance: Instance) -> dict[str, Any]:
    x0, y0, x1, y1 = instance.box
    buffer = io.BytesIO()
    Image.fromarray(instance.mask.astype(np.uint8) * 255).save(buffer, "PNG")
    corners = [[x0, y0], [x1 - 1, y1 - 1]]
    return {"shape_type": "mask", "points": corners, "mask": base64.b64encode(buffer.getvalue()).decode()}


def _three(ring: np.ndarray) -> list[list[float]]:
    """A polygon has three points, if only a pixel wide."""
    points: list[list[float]] = np.pad(ring, ((0, max(0, 3 - len(ring))), (0, 0)), "edge").tolist()
    return points


def _relative(picture: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(picture, folder)).as_posix()
    except ValueError:  # on another drive
        return Path(os.path.abspath(picture)).as_posix()


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*.json")) if file.name not in (LABELS, "run.json"))

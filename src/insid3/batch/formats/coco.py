"""COCO instances: one JSON file."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import numpy as np
from jaxtyping import Bool

from insid3.batch.formats.base import (
    LABELS,
    Marked,
    file_within,
    label_of,
    read_json,
    reading,
    without_suffix,
    write_labels,
)
from insid3.batch.formats.polygons import polygons, survives
from insid3.errors import MissingExtraError
from insid3.images import MAX_PIXELS
from insid3.instances import Instance
from insid3.labels import Label
from insid3.storage import write_atomically, writing

FILE = "instances.json"


class Coco:
    """Masks as compressed RLE, or as polygons where these keep the object: not its holes; an annotation for each.

    Args:
        append_to: an instances file that is kept: new pictures and annotations are added to what it holds, categories
            of the same name are the same, and a picture that it has already gets our categories' annotations anew.
    """

    def __init__(self, polygons: bool = False, append_to: Path | None = None) -> None:
        self.polygons, self.append_to = polygons, append_to
        self.title = "COCO instances, " + ("polygons where they keep the object" if polygons else "RLE")

    def is_at(self, source: Path) -> bool:
        return (source / FILE).exists() or source.suffix == ".json"

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
        with TemporaryDirectory() as folder, (Path(folder) / "new").open("w+") as new:  # they may be more than memory
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
            writing(lambda: write_atomically(output / FILE, lambda temporary: _dump(temporary, rest, kept, new)))
        write_labels(output, labels)
        return []

    def read(self, source: Path) -> tuple[list[Label], Iterator[Marked]]:
        file = file_within(source, FILE, "*.json", LABELS)
        with reading(file, "COCO instances"):
            data = read_json(file)
            sizes = {image["id"]: (int(image["height"]), int(image["width"])) for image in data["images"]}
            for height, width in sizes.values():  # pycocotools crashes where memory ends
                if min(height, width) < 1 or height * width > MAX_PIXELS:
                    raise ValueError(f"a picture of {width} x {height} pixels")
            names = {image["id"]: str(image["file_name"]) for image in data["images"]}
            labels = [
                label_of(str(c["name"]), i, int(c["id"]), c.get("color")) for i, c in enumerate(data["categories"])
            ]
            index = {label.id: i for i, label in enumerate(labels)}
            mine: dict[Any, list[dict[str, Any]]] = {}
            for annotation in data["annotations"]:
                mine.setdefault(annotation["image_id"], []).append(annotation)

        def each() -> Iterator[Marked]:
            for image, name in names.items():
                with reading(file, "COCO instances"):
                    found = []
                    for annotation in mine.get(image, []):
                        mask = _decoded(annotation.get("segmentation"), sizes[image])
                        if mask is not None and mask.any():
                            score = float(annotation.get("score", 1))
                            found.append(Instance.of(mask, index[annotation["category_id"]], score))
                yield Marked(file.parent / name, without_suffix(name), sizes[image], tuple(found))

        return labels, each()

    def _before(self) -> dict[str, Any]:
        if self.append_to is None:
            return {}
        with reading(self.append_to, "COCO instances"):
            data = read_json(self.append_to)
            for image in data["images"]:
                image["file_name"], image["id"] = str(image["file_name"]), int(image["id"])
            for annotation in data["annotations"]:
                annotation |= {key: int(annotation[key]) for key in ("id", "image_id", "category_id")}
            for category in data["categories"]:
                category["name"], category["id"] = str(category["name"]), int(category["id"])
            return data

    def _annotation(self, instance: Instance, size: tuple[int, int]) -> dict[str, Any]:
        x0, y0, x1, y1 = instance.box
        segmentation: Any = None
        if self.polygons:
            shapes = polygons(instance)
            if survives(shapes, instance):
                segmentation = [ring.ravel().tolist() for (ring,) in shapes]
        if segmentation is None:
            encoded = _rle().encode(np.asfortranarray(instance.whole(size), np.uint8))
            segmentation = {"size": list(size), "counts": encoded["counts"].decode()}
        return {
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": instance.area,
            "iscrowd": 0,
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
    """All categories, and the id of each label: that of a category of its name, else its own if that is free."""
    result, ids = list(before), {str(category["name"]): int(category["id"]) for category in before}
    for label in labels:
        if label.name not in ids:
            ids[label.name] = label.id if label.id not in ids.values() else max(ids.values()) + 1
            colour = f"#{bytes(label.colour).hex()}"
            result.append({"id": ids[label.name], "name": label.name, "supercategory": "", "color": colour})
    return result, [ids[label.name] for label in labels]


def _dump(file: Path, rest: dict[str, Any], kept: list[dict[str, Any]], new: IO[str]) -> None:
    with file.open("w", encoding="utf-8") as out:
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


def _decoded(shape: Any, size: tuple[int, int]) -> Bool[np.ndarray, "H W"] | None:
    if not shape:  # a box alone
        return None
    rle = _rle()
    if isinstance(shape, dict) and isinstance(shape["counts"], list) and sum(shape["counts"]) != size[0] * size[1]:
        raise ValueError(f"runs of {sum(shape['counts'])} pixels in a picture of {list(size)}")  # the rest is noise
    if isinstance(shape, list) or isinstance(shape["counts"], list):
        shape = rle.frPyObjects(shape, *size)
    if isinstance(shape, list):
        shape = rle.merge(shape)
    if list(shape["size"]) != list(size):
        raise ValueError(f"a mask of {shape['size']} in a picture of {list(size)}")
    mask: np.ndarray = rle.decode(shape).astype(bool)
    return mask

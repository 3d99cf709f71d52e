"""Run by the readers' own Python: `read_formats.py FORMAT FOLDER OUT.npz` opens a folder with the format's own tool and
saves each object's mask as "picture|class|number".
"""

import base64
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

Found = Iterator[tuple[str, str, np.ndarray]]
SHAPES = ("polygon", "rectangle", "circle", "line", "point", "linestrip", "points", "mask")
LABELME = {  # what labelme 5 writes and expects
    "type": "object",
    "required": ["version", "flags", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth"],
    "properties": {
        "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+"},
        "flags": {"type": "object"},
        "imagePath": {"type": "string", "minLength": 1},
        "imageData": {"type": ["string", "null"]},
        "imageHeight": {"type": "integer"},
        "imageWidth": {"type": "integer"},
        "shapes": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["label", "points", "group_id", "shape_type", "flags"],
                "additionalProperties": False,
                "properties": {
                    "label": {"type": "string"},
                    "group_id": {"type": ["integer", "null"]},
                    "shape_type": {"enum": list(SHAPES)},
                    "flags": {"type": "object"},
                    "description": {"type": ["string", "null"]},
                    "mask": {"type": ["string", "null"]},
                    "points": {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
                    },
                },
            },
        },
    },
}


def coco(folder: Path) -> Found:
    from pycocotools.coco import COCO

    data = COCO(folder / "instances.json")
    for image in data.imgs.values():
        for annotation in data.loadAnns(data.getAnnIds(image["id"])):
            name = data.cats[annotation["category_id"]]["name"]
            yield image["file_name"], name, data.annToMask(annotation).astype(bool)


def yolo(folder: Path) -> Found:
    import supervision

    for images in {
        path.parent for path in (folder / "images").rglob("*") if path.is_file()
    }:  # it does not search below
        labels = folder / "labels" / images.relative_to(folder / "images")
        args = (str(images), str(labels), str(folder / "data.yaml"))
        data = supervision.DetectionDataset.from_yolo(*args, force_masks=True)
        for path, _, found in data:
            name = Path(path).relative_to(folder / "images").as_posix()
            masks = found.mask if found.mask is not None else []
            for mask, number in zip(masks, found.class_id, strict=True):
                yield name, data.classes[number], mask


def labelme(folder: Path) -> Found:
    import jsonschema

    for file in sorted(folder.rglob("*.json")):
        if file.name == "concepts.json":
            continue
        data = json.loads(file.read_text())
        jsonschema.validate(data, LABELME)
        with Image.open(file.parent / data["imagePath"]) as picture:
            assert picture.size == (data["imageWidth"], data["imageHeight"])
        objects: dict[object, tuple[str, np.ndarray]] = {}
        for i, shape in enumerate(data["shapes"]):
            canvas = Image.new("1", (data["imageWidth"], data["imageHeight"]))
            if shape["shape_type"] == "mask":
                (x0, y0), (x1, y1) = shape["points"]
                with Image.open(io.BytesIO(base64.b64decode(shape["mask"]))) as patch:
                    inside = np.asarray(patch).astype(bool)
                assert inside.shape == (y1 - y0 + 1, x1 - x0 + 1)
                whole = np.zeros(canvas.size[::-1], bool)
                whole[y0 : y1 + 1, x0 : x1 + 1] = inside
            else:  # as labelme.utils.shape_to_mask
                points = [tuple(point) for point in shape["points"]]
                assert len(points) > 2
                ImageDraw.Draw(canvas).polygon(xy=points, outline=1, fill=1)
                whole = np.array(canvas)
            key = (shape["label"], shape["group_id"] if shape["group_id"] is not None else f"alone {i}")
            before = objects.get(key, (shape["label"], np.zeros_like(whole)))
            objects[key] = (shape["label"], before[1] | whole)
        for label, mask in objects.values():
            yield f"{file.relative_to(folder).as_posix().removesuffix('.json')}", label, mask


def label_studio(folder: Path) -> Found:
    from label_studio_sdk.converter.brush import decode_rle

    for task in json.loads((folder / "tasks.json").read_text()):
        for result in task["predictions"][0]["result"]:
            size = result["original_height"], result["original_width"]
            pixels = np.reshape(decode_rle(result["value"]["rle"]), (*size, 4))
            yield task["data"]["image"], result["value"]["brushlabels"][0], pixels[..., 3] > 0


def cvat(folder: Path) -> Found:
    for item, labels in _datumaro(folder, "cvat"):
        objects: dict[object, tuple[str, np.ndarray]] = {}
        for i, annotation in enumerate(item.annotations):
            key = annotation.group or f"alone {i}"
            mask = _mask(annotation, item.media.size)
            before = objects.get(key, (labels[annotation.label].name, np.zeros_like(mask)))
            objects[key] = (before[0], before[1] | mask)
        for label, mask in objects.values():
            yield item.id, label, mask


def voc(folder: Path) -> Found:
    for item, labels in _datumaro(folder, "voc_instance_segmentation"):
        for annotation in item.annotations:
            if annotation.type.name == "mask":  # there are boxes as well
                yield item.id, labels[annotation.label].name, _mask(annotation, item.media.size)


def png(folder: Path) -> Found:
    labels = json.loads((folder / "concepts.json").read_text())["concepts"]
    for file in sorted(folder.rglob("*.png")):
        with Image.open(file) as image:
            assert image.mode == "P"
            index, palette = np.asarray(image), image.getpalette("RGB")
        for i, label in enumerate(labels, 1):
            assert bytes(palette[3 * i : 3 * i + 3]).hex() == label["colour"].removeprefix("#")
            if (index == i).any():
                yield file.relative_to(folder).as_posix().removesuffix(".png"), label["name"], index == i


def _datumaro(folder: Path, kind: str) -> Iterator[tuple[object, object]]:
    import datumaro

    data = datumaro.Dataset.import_from(str(folder), kind)
    labels = data.categories()[datumaro.AnnotationType.label]
    for item in data:
        yield item, labels


def _mask(annotation: object, size: tuple[int, int]) -> np.ndarray:
    from pycocotools import mask as rle

    if hasattr(annotation, "points"):
        shapes = rle.frPyObjects([list(annotation.points)], *size)
        return rle.decode(rle.merge(shapes)).astype(bool)
    return np.asarray(annotation.image).astype(bool)


READERS = {
    "coco": coco, "coco-polygon": coco, "yolo": yolo, "labelme": labelme, "label-studio": label_studio, "cvat": cvat,
    "voc": voc, "png": png,
}  # fmt: skip

if __name__ == "__main__":
    kind, folder, out = sys.argv[1:]
    found = {f"{p}|{label}|{i}": mask for i, (p, label, mask) in enumerate(READERS[kind](Path(folder)))}
    np.savez_compressed(out, **found)

"""Run by the readers' own Python: `read_formats.py FORMAT OUT.npz FOLDER...` opens folders with the format's own tool.

Each object's mask is saved as "number of the folder|picture|class|number".
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

Found = Iterator[tuple[str, str, np.ndarray]]


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
    from labelme._label_file import LabelFile
    from labelme.utils import img_data_to_pil, shape_to_mask

    for file in sorted(folder.rglob("*.json")):
        if file.name == "concepts.json":
            continue
        data = LabelFile(str(file))  # checks every shape, and the picture's size
        size = img_data_to_pil(data.image_data).size[::-1]
        objects: dict[object, tuple[str, np.ndarray]] = {}
        for i, shape in enumerate(data.shapes):
            if shape["shape_type"] == "mask":  # as labelme.utils.shapes_to_label
                (x0, y0), (x1, y1) = np.asarray(shape["points"]).astype(int)
                mask = np.zeros(size, bool)
                mask[y0 : y1 + 1, x0 : x1 + 1] = shape["mask"]
            else:
                mask = shape_to_mask(size, shape["points"], shape["shape_type"])
            key = (shape["label"], shape["group_id"] if shape["group_id"] is not None else f"alone {i}")
            before = objects.get(key, (shape["label"], np.zeros_like(mask)))
            objects[key] = (shape["label"], before[1] | mask)
        for label, mask in objects.values():
            yield file.relative_to(folder).as_posix().removesuffix(".json"), label, mask


def label_studio(folder: Path) -> Found:
    from label_studio_sdk.converter.brush import decode_rle
    from label_studio_sdk.converter.utils import convert_annotation_to_yolo_obb

    for task in json.loads((folder / "tasks.json").read_text()):
        made = task.get("annotations") or task["predictions"]
        for result in made[-1]["result"]:
            size, value = (result["original_height"], result["original_width"]), result["value"]
            label = value[result["type"]][0]
            if result["type"] == "brushlabels":
                mask = np.reshape(decode_rle(value["rle"]), (*size, 4))[..., 3] > 0
            elif result["type"] == "rectanglelabels":
                sides = {"original_width": size[1], "original_height": size[0]}
                mask = _filled(convert_annotation_to_yolo_obb(value | sides, normalize=False), size)
            else:
                mask = _filled([(x / 100 * size[1], y / 100 * size[0]) for x, y in value["points"]], size)
            yield task["data"]["image"], label, mask


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
    kind = annotation.type.name
    if kind == "mask":
        return np.asarray(annotation.image).astype(bool)
    if kind == "rotated_bbox":
        return _filled(np.reshape(annotation.as_polygon(), (-1, 2)), size)
    if kind == "bbox":
        x0, y0, x1, y1 = annotation.points
        return _filled([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], size)
    return _filled(np.reshape(annotation.points, (-1, 2)), size)


def _filled(ring: object, size: tuple[int, int]) -> np.ndarray:
    from pycocotools import mask as rle

    shapes = rle.frPyObjects([np.ravel(ring).tolist()], *size)
    return rle.decode(rle.merge(shapes)).astype(bool)


READERS = {
    "coco": coco, "coco-polygon": coco, "yolo": yolo, "labelme": labelme, "label-studio": label_studio, "cvat": cvat,
    "voc": voc, "png": png,
}  # fmt: skip

if __name__ == "__main__":
    kind, out, *folders = sys.argv[1:]
    found = {
        f"{number}|{picture}|{label}|{i}": mask
        for number, folder in enumerate(folders)
        for i, (picture, label, mask) in enumerate(READERS[kind](Path(folder)))
    }
    np.savez_compressed(out, **found)

"""References out of annotation files: COCO instances and labelme."""

import base64
import io
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageDraw

from insid3.errors import ImageError, Insid3Error, MaskError, MissingExtraError
from insid3.images import MAX_PIXELS, Source

Annotated = tuple[Source, Bool[np.ndarray, "H W"]]


def from_labelme(path: str | os.PathLike[str], category: str | None = None, picture: Source | None = None) -> Annotated:
    """The picture and the mask of a labelme JSON file.

    Args:
        category: the label to take; needed when the file has several.
        picture: where the picture is, if not where the file says.

    Raises:
        MaskError: unreadable, no such label, or shapes without an area.
        ImageError: the picture is neither beside the file nor inside it.
    """
    path = Path(path)
    data = _json(path)
    with _parsing(path, "labelme"):
        shapes = with_area(data["shapes"]) or data["shapes"]
        labels = sorted({str(shape["label"]) for shape in shapes})
        chosen = _choose(category, labels, f"{path} has the labels")
        canvas = Image.new("1", _size(data["imageHeight"], data["imageWidth"], path)[::-1])
        for shape in shapes:
            if str(shape["label"]) == chosen:
                draw_shape(canvas, shape, path)
        beside = path.parent / str(data["imagePath"]).replace("\\", "/")
        mask = _marked(np.asarray(canvas), chosen, path)
    if picture is not None:
        return picture, mask
    if beside.is_file():
        return beside, mask
    try:
        embedded = Image.open(io.BytesIO(base64.b64decode(data.get("imageData") or "", validate=True)))
    except Exception as error:  # whatever it holds, it is no picture
        raise ImageError(
            f"{beside}, which {path} annotates, is not there: put it there or name it (--reference)"
        ) from error
    embedded.filename = f"{path} (imageData)"
    return embedded, mask


def from_coco(
    path: str | os.PathLike[str], image: str | int, category: str | None = None, picture: Source | None = None
) -> Annotated:
    """The picture and the union of one category's annotations in a COCO instances file.

    Args:
        image: id or file name in the file.
        category: its name; needed when the image has several.
        picture: where the picture is, if not near the annotation file.

    Raises:
        MaskError: unreadable, no such image or category.
        ImageError: the picture cannot be found.
        MissingExtraError: pycocotools is not installed.
    """
    try:
        from pycocotools import mask as rle
    except ImportError as error:
        raise MissingExtraError("reading COCO annotations", "export") from error
    path = Path(path)
    data = _json(path)
    with _parsing(path, "COCO instances"):
        entry = _image(data["images"], image, path)
        names = {c["id"]: str(c["name"]) for c in data["categories"]}
        mine = [a for a in data["annotations"] if a["image_id"] == entry["id"]]
        present = sorted({names[a["category_id"]] for a in mine})
        chosen = _choose(category, present, f"image {image} of {path} has the categories")
        (height, width), name = _size(entry["height"], entry["width"], path), str(entry["file_name"])
        mask = np.zeros((height, width), bool)
        for annotation in mine:
            shape = annotation.get("segmentation")  # boxes alone have none
            if shape and names[annotation["category_id"]] == chosen:
                encoded = shape if isinstance(shape, dict) and not isinstance(shape["counts"], list) else None
                encoded = encoded or rle.frPyObjects(shape, height, width)
                mask |= rle.decode(rle.merge(encoded) if isinstance(encoded, list) else encoded).astype(bool)
        _marked(mask, chosen, path)
    if picture is not None:
        return picture, mask
    here = path.parent
    places = [here / name, here.parent / name, *sorted(here.glob(f"*/{name}")), *sorted(here.parent.glob(f"*/{name}"))]
    for place in places:
        if place.is_file():
            return place, mask
    raise ImageError(f"{name}, which {path} annotates, is not near it: say where it is with --reference")


@contextmanager
def _parsing(path: Path, kind: str) -> Iterator[None]:
    try:
        yield
    except Insid3Error:
        raise
    except Exception as error:  # what is in the file decides what goes wrong, MemoryError and pycocotools' own included
        raise MaskError(f"{path} is not a {kind} file ({error!r:.120})") from error


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise MaskError(f"{path}: no such file")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise MaskError(f"{path} is not readable JSON ({error})") from error
    if not isinstance(data, dict):
        raise MaskError(f"{path} is JSON, but not an annotation file")
    return data


def _image(images: list[dict[str, Any]], wanted: str | int, path: Path) -> dict[str, Any]:
    """The entry of that id, else of that file name, else of that name in whatever folder if only one has it."""
    found: list[dict[str, Any]] = []
    for same in (
        lambda entry: str(entry["id"]) == str(wanted),
        lambda entry: entry["file_name"] == wanted,
        lambda entry: Path(entry["file_name"]).name == Path(str(wanted)).name,
    ):
        found = found or [entry for entry in images if same(entry)]
    if not found:
        raise MaskError(f"{path} has no image {wanted!r} among its {len(images)}: give an id or a file name")
    if len(found) > 1:
        names = ", ".join(f"{entry['file_name']} (id {entry['id']})" for entry in found[:4])
        raise MaskError(f"{path} has {len(found)} images {wanted!r}: {names}; give the id")
    return found[0]


def _size(height: Any, width: Any, path: Path) -> tuple[int, int]:
    """(height, width) that the file declares, before memory is taken for it."""
    size = int(height), int(width)
    if min(size) < 1 or size[0] * size[1] > MAX_PIXELS:
        raise MaskError(
            f"{path} declares a picture of {size[1]} x {size[0]} pixels; the limit is {MAX_PIXELS:,} in all"
        )
    return size


def _marked(mask: Bool[np.ndarray, "H W"], category: str, path: Path) -> Bool[np.ndarray, "H W"]:
    if not mask.any():
        raise MaskError(f"{path}: the shapes of {category!r} cover no pixel")
    return mask


def _choose(wanted: str | None, present: list[str], have: str) -> str:
    if not present:
        raise MaskError(f"{have.rsplit(' has ', 1)[0]} has no annotations")
    if wanted is None and len(present) == 1:
        return present[0]
    if wanted not in present:
        raise MaskError(f"{have} {', '.join(present)}: choose one with --category")
    return wanted


def with_area(shapes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """labelme's shapes without its points and lines."""
    return [shape for shape in shapes if shape.get("shape_type") not in ("point", "points", "line", "linestrip")]


def draw_shape(canvas: Image.Image, shape: dict[str, Any], path: Path) -> None:
    draw, kind = ImageDraw.Draw(canvas), shape.get("shape_type", "polygon")
    points = [(float(x), float(y)) for x, y in shape["points"]]
    if not np.isfinite(points).all():
        raise MaskError(f"{path}: a {kind} has points that are not finite numbers")
    if kind == "polygon" and len(points) > 2:
        draw.polygon(points, fill=1, outline=1)
    elif kind == "rectangle" and len(points) == 2:
        (x0, y0), (x1, y1) = points
        draw.rectangle([min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)], fill=1)
    elif kind == "circle" and len(points) == 2:
        (x, y), radius = points[0], math.dist(*points)
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=1)
    elif kind == "mask" and shape.get("mask"):
        patch = Image.open(io.BytesIO(base64.b64decode(shape["mask"])))
        canvas.paste(1, (int(points[0][0]), int(points[0][1])), patch.convert("1"))
    else:
        raise MaskError(
            f"{path}: a {kind} with {len(points)} points has no area; use polygon, rectangle, circle or mask"
        )

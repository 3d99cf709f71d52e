"""Examples from annotation files: a picture, and the mask of one category in it."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from jaxtyping import Bool
from PIL import Image

from insid3.batch.convert import detect
from insid3.batch.formats import FORMATS
from insid3.batch.formats.pictures import Finder, PictureName
from insid3.batch.formats.reading import Draft, Parsed, Readable, Reading
from insid3.checks.parsing import Flaw, clipped
from insid3.errors import ConfigError, DataError, ImageError, MaskError
from insid3.imaging.opening import Source

Annotated = tuple[Source, Bool[np.ndarray, "H W"]]


class Example(NamedTuple):
    """Hold an example: a picture, and the mask of one category in it.

    Attributes:
        picture: path of the picture, or the picture that the file carries inside.
        mask: (H, W) of the picture's own size, True where an object of the category is.
        category: name of the category.
        left_out: annotations of the picture that were not read, a line each.
    """

    picture: Source
    mask: Bool[np.ndarray, "H W"]
    category: str
    left_out: tuple[str, ...] = ()


def from_labelme(path: str | os.PathLike[str], category: str | None = None, picture: Source | None = None) -> Annotated:
    """Return the picture and the mask of a labelme or X-AnyLabeling JSON file.

    Args:
        category: label to take; needed if the file has several.
        picture: path of the picture, if it is not where the file says.

    Raises:
        MaskError: the file cannot be read, has no such label, or no shape of that label has an area.
        ImageError: the picture is neither beside the file nor inside it.

    Example:
        >>> picture, mask = from_labelme("cat.json")  # doctest: +SKIP
    """
    return example_from(path, None, category, picture, format="labelme")[:2]


def from_coco(
    path: str | os.PathLike[str], image: str | int, category: str | None = None, picture: Source | None = None
) -> Annotated:
    """Return the picture and the union of one category's annotations in a COCO instances file, without crowds.

    Args:
        image: id, path or file name of the picture in the file.
        category: name of the category; needed if the picture has several.
        picture: path of the picture, if it is not near the annotation file.

    Raises:
        MaskError: the file cannot be read, or has no such image or category.
        ImageError: the picture cannot be found.
        MissingExtraError: pycocotools is not installed.

    Example:
        >>> picture, mask = from_coco("instances.json", "cats/7.jpg", "cat")  # doctest: +SKIP
    """
    return example_from(path, image, category, picture, format="coco")[:2]


def example_from(
    path: str | os.PathLike[str],
    image: str | int | None = None,
    category: str | None = None,
    picture: Source | None = None,
    *,
    format: str | None = None,
    boxes_as_masks: bool = False,
) -> Example:
    """Return the example that one category of one picture is, from an annotation file of any format.

    Args:
        image: id, path or file name of the picture in the file; needed if the file has several.
        category: name of the category; needed if the picture has several.
        picture: path of the picture, if it is not where the file says.
        format: name of the file's format; None: detected from the content.
        boxes_as_masks: boxes without an outline become masks.

    Raises:
        MaskError: the file cannot be read, or has no such picture or category.
        ImageError: the picture cannot be found.
    """
    file, reading = Path(path), Reading(boxes_as_masks=boxes_as_masks)
    try:
        parsed = _parsed(file, format, reading)
        draft, name = _chosen(parsed, image)
        where = picture
        if where is None:
            where = draft.path or _found(parsed, name, draft.size)
        if where is None and draft.inside is not None:
            with suppress(ImageError):  # then the file carries no picture
                where = draft.inside()
        known = replace(draft, path=Path(where)) if isinstance(where, str | os.PathLike) else draft
        marked = reading.picture(replace(known, own_size=_size(where)), name, parsed.root)
    except (ConfigError, DataError) as error:
        raise MaskError(str(error)) from error
    told = reading.summary()
    if marked is None:
        raise MaskError(f"{file}: {'; '.join(told)}")
    objects = [instance for instance in marked.instances if not instance.crowd]
    names = sorted({parsed.labels[instance.concept].name for instance in objects})
    of = file if image is None else f"image {image} of {file}"
    what = "labels" if format == "labelme" else "categories"
    if not names:
        advice = " (--boxes-as-masks takes boxes)" if "box" in reading.left_out else ""
        raise MaskError(f"{of} has no object that can be an example{advice}" + (f": {'; '.join(told)}" if told else ""))
    chosen = category or names[0]
    if chosen not in names or (category is None and len(names) > 1):
        lacks = "" if category is None else f" has no {clipped(category, 60)}, it"
        raise MaskError(f"{of}{lacks} has the {what} {clipped(', '.join(names))}: choose one with --category")
    mask = np.zeros(marked.size, bool)
    for instance in objects:
        if parsed.labels[instance.concept].name == chosen:
            x0, y0, x1, y1 = instance.box
            mask[y0:y1, x0:x1] |= instance.mask
    if where is None:
        raise ImageError(
            f"{clipped(str(marked.path))}, which {file} annotates, is not there: put it there or name it (--reference)"
        )
    return Example(where, mask, chosen, tuple(told))


def _parsed(file: Path, format: str | None, reading: Reading) -> Parsed:
    found = FORMATS[format or detect(file)]
    if not isinstance(found, Readable):
        raise ConfigError(f"{file} is a folder of results: an example is a picture with its mask")
    return found.parse(file, reading)


def _chosen(parsed: Parsed, image: str | int | None) -> tuple[Draft, PictureName]:
    """Return the picture with an id, else with a path, else with a file name that no other picture has."""
    entries = zip(parsed.drafts, parsed.names, strict=True)
    if image is None:
        some = [(draft, name) for draft, name in entries]
        if len(some) != 1:
            raise DataError(f"{parsed.source} has {len(some)} pictures: choose one with --image{_names(some)}")
        return some[0]
    wanted = PictureName(str(image))
    found: tuple[list[tuple[Draft, PictureName]], ...] = ([], [], [])
    count = 0
    for draft, name in entries:
        count += 1
        for same, fitting in zip(
            (
                draft.id == str(image),
                name.text == wanted.text or [p.casefold() for p in name.parts] == [p.casefold() for p in wanted.parts],
                name.parts[-1].casefold() == wanted.parts[-1].casefold(),
            ),
            found,
            strict=True,
        ):
            if same:
                fitting.append((draft, name))
    fitting = next((some for some in found if some), [])
    if not fitting:
        raise DataError(f"{parsed.source} has no image {image!r} among its {count}: give an id or a file name")
    if len(fitting) > 1:
        raise DataError(f"{parsed.source} has {len(fitting)} images {image!r}{_names(fitting)}; give the id")
    return fitting[0]


def _names(entries: Sequence[tuple[Draft, PictureName]]) -> str:
    told = [f"{name.text} (id {draft.id})" if draft.id else name.text for draft, name in entries[:4]]
    return f": {', '.join(told)}" if told else ""


def _found(parsed: Parsed, name: PictureName, size: tuple[int, int] | None) -> Path | None:
    try:
        return Finder(parsed.root).find(name, size)
    except Flaw as flaw:
        raise ImageError(f"{parsed.source}: its picture {name.text} {flaw}; say which with --reference") from flaw


def _size(picture: Source | None) -> tuple[int, int] | None:
    if isinstance(picture, np.ndarray):
        return cast(tuple[int, int], picture.shape[:2])
    return (picture.height, picture.width) if isinstance(picture, Image.Image) else None

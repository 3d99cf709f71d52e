"""Concepts on disk: a concept file, a folder of examples, or a list of concepts."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from insid3.batch import annotations
from insid3.batch.formats.base import parse_colour
from insid3.checks.parsing import as_dict, as_list, as_text, clipped, parsing, read_json, shown
from insid3.concept import Concept
from insid3.errors import ConceptError, DataError
from insid3.imaging.masks import MaskValue
from insid3.imaging.read import SUFFIXES
from insid3.model import INSID3


@dataclass(frozen=True)
class ConceptSource:
    """Hold the source of a concept: a concept file, or references (`images`) with their masks.

    Attributes:
        name: name of the concept; empty for the name in `file`.
        label: value of the concept in the masks.
    """

    name: str
    file: Path | None = None
    images: tuple[Path, ...] = ()
    masks: tuple[Path, ...] = ()
    negatives: tuple[Path, ...] = ()
    label: MaskValue = None
    id: int | None = None
    colour: tuple[int, int, int] | None = None

    def make(self, model: INSID3) -> Concept:
        """Return the concept, loaded or encoded; raise the errors of `Concept.load` and `INSID3.concept`."""
        if self.file is not None:
            made = Concept.load(self.file)
            made = replace(made, name=self.name or made.name, id=self.id or made.id, colour=self.colour or made.colour)
            return model.extend(made, negatives=list(self.negatives))
        pairs = [
            annotations.from_labelme(mask, self.name, image) if mask.suffix.lower() == ".json" else (image, mask)
            for image, mask in zip(self.images, self.masks, strict=True)
        ]
        images, masks = [image for image, _ in pairs], [mask for _, mask in pairs]
        more: dict[str, Any] = {"id": self.id, "colour": self.colour, "label": self.label}
        return model.concept(images, masks, name=self.name, negatives=list(self.negatives), **more)


def find_concepts(path: Path) -> list[ConceptSource]:
    """Return the sources of the concepts in a .insid3 file, a folder, or a list (.json).

    A folder holds one folder for each concept (`cat/1.jpg`, `cat/1.png`, ...). Beside every picture lies its mask:
    1.png, 1_mask.png or 1.json (labelme) for 1.jpg. Pictures in a folder `negative` there are without the concept.

    A list is {"concepts": [...]}. Each entry has a `name`, a `file` (.insid3) or `images` and `masks`, and perhaps
    `negatives`, `label`, `id` and `colour` ("#ff8000"). Paths begin at the folder of the list.

    Raises:
        ConceptError: the path is missing or damaged, or a concept has no examples.
    """
    if path.is_dir():
        found = [_in_folder(folder) for folder in sorted(path.iterdir()) if folder.is_dir() and folder.name[0] != "."]
        if not found:
            raise ConceptError(f"{path} has no folders: each concept's examples lie in one, such as {path}/cat/1.jpg")
        return found
    if path.suffix.lower() != ".json":
        return [ConceptSource("", path)]
    try:
        with parsing(path, "list of concepts"):
            entries = as_list(as_dict(read_json(path), "content").get("concepts"), "concepts")
            if unknown := {key for entry in entries for key in as_dict(entry, "a concept")} - _KEYS:
                told = f"{clipped(', '.join(sorted(unknown)))}; known: {', '.join(sorted(_KEYS))}"
                raise ConceptError(f"{path} has unknown entries {told}")
            return [_listed(entry, path.parent) for entry in entries]
    except DataError as error:
        raise ConceptError(f'{error}; a list looks like {{"concepts": [{{"name": "cat", ...}}]}}') from error


_KEYS = {"name", "file", "images", "masks", "negatives", "label", "id", "colour"}


def _listed(entry: dict[str, Any], folder: Path) -> ConceptSource:
    def paths(key: str) -> tuple[Path, ...]:
        values = entry.get(key, [])
        listed = as_list([values] if isinstance(values, str) else values, key)
        return tuple(folder / as_text(value, key) for value in listed)

    name, number, label = entry.get("name"), entry.get("id"), entry.get("label")
    for key, valid, expected in (
        ("name", isinstance(name, str) and name, "text"),
        ("id", number is None or (type(number) is int and number > 0), "a whole number from 1 on"),
        ("label", label in (None, "any") or type(label) is int, 'a whole number or "any"'),
    ):
        if not valid:
            raise ConceptError(f"concept {shown(name)}: {key} must be {expected}, got {shown(entry.get(key))}")
    images, masks = paths("images"), paths("masks")
    if ("file" in entry) == bool(images) or len(images) != len(masks):
        raise ConceptError(f"concept {shown(name)} needs a file (.insid3), or as many masks as images")
    return ConceptSource(
        name=str(name),
        file=folder / as_text(entry["file"], "file") if "file" in entry else None,
        images=images,
        masks=masks,
        negatives=paths("negatives"),
        label=label,
        id=number,
        colour=parse_colour(entry["colour"], f"colour of concept {shown(name)}") if "colour" in entry else None,
    )


def _in_folder(folder: Path) -> ConceptSource:
    def pictures(where: Path) -> list[Path]:
        files = sorted(where.iterdir()) if where.is_dir() else []
        return [file for file in files if file.suffix.lower() in SUFFIXES and file.name[0] != "."]

    files = pictures(folder)
    masks = {file: mask for file in files if (mask := _mask_of(file, files))}
    images = [file for file in files if file not in masks.values()]
    if not images:
        raise ConceptError(f"{folder} has no pictures: put the examples of the concept there")
    if bare := [image for image in images if image not in masks]:
        raise ConceptError(f"{bare[0]} has no mask beside it: {bare[0].stem}.png, {bare[0].stem}_mask.png or .json")
    negatives = tuple(pictures(folder / "negative"))
    return ConceptSource(folder.name, images=tuple(images), masks=tuple(masks[i] for i in images), negatives=negatives)


def _mask_of(image: Path, files: list[Path]) -> Path | None:
    names = {file.name.casefold(): file for file in files}
    for name in (f"{image.stem}_mask.png", f"{image.stem}.png"):
        mask = names.get(name.casefold())
        if mask is not None and mask != image:
            return mask
    labelme = image.with_suffix(".json")
    return labelme if labelme.exists() else None

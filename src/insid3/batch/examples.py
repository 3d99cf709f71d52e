"""Many concepts on disk: a folder of examples, or a file that lists them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from insid3 import annotations
from insid3.batch.formats.base import parse_colour
from insid3.concept import Concept
from insid3.errors import ConceptError, DataError
from insid3.images import SUFFIXES, Label
from insid3.parsing import as_dict, as_list, as_text, clipped, parsing, read_json, shown
from insid3.pipeline import INSID3


@dataclass(frozen=True)
class Example:
    """What a concept is made of: `file`, or pictures with their masks."""

    name: str
    file: Path | None = None
    images: tuple[Path, ...] = ()
    masks: tuple[Path, ...] = ()
    negatives: tuple[Path, ...] = ()
    label: Label = None
    id: int | None = None
    colour: tuple[int, int, int] | None = None

    def make(self, model: INSID3) -> Concept:
        """Encode it; errors as `INSID3.concept` and `Concept.load`."""
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


def find_examples(path: Path) -> list[Example]:
    """The concepts of a .insid3 file, a folder (`cat/1.jpg`, `cat/1.png`, ...), or a list (.json).

    In a folder every folder is a concept, and every picture in it has its mask beside it: 1.png, 1_mask.png or 1.json
    (labelme) for 1.jpg. Pictures in its folder `negative` do not show it. A list is {"concepts": [...]}, with name and
    `file` (.insid3) or `images` and `masks` of each, and `negatives`, `label`, `id`, `colour` ("#ff8000") where wanted;
    paths begin at the list's folder.

    Raises:
        ConceptError: not there, damaged, or without examples.
    """
    if path.is_dir():
        found = [_in_folder(folder) for folder in sorted(path.iterdir()) if folder.is_dir() and folder.name[0] != "."]
        if not found:
            raise ConceptError(f"{path} has no folders: each concept's examples lie in one, such as {path}/cat/1.jpg")
        return found
    if path.suffix.lower() != ".json":
        return [Example("", path)]
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


def _listed(entry: dict[str, Any], folder: Path) -> Example:
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
    return Example(
        name=str(name),
        file=folder / as_text(entry["file"], "file") if "file" in entry else None,
        images=images,
        masks=masks,
        negatives=paths("negatives"),
        label=label,
        id=number,
        colour=parse_colour(entry["colour"], f"colour of concept {shown(name)}") if "colour" in entry else None,
    )


def _in_folder(folder: Path) -> Example:
    def pictures(where: Path) -> list[Path]:
        files = sorted(where.iterdir()) if where.is_dir() else []
        return [file for file in files if file.suffix.lower() in SUFFIXES and file.name[0] != "."]

    files = pictures(folder)
    masks = {file: mask for file in files if (mask := _mask_of(file, files))}
    images = [file for file in files if file not in masks.values()]
    if not images:
        raise ConceptError(f"{folder} has no pictures")
    if bare := [image for image in images if image not in masks]:
        raise ConceptError(f"{bare[0]} has no mask beside it: {bare[0].stem}.png, {bare[0].stem}_mask.png or .json")
    negatives = tuple(pictures(folder / "negative"))
    return Example(folder.name, images=tuple(images), masks=tuple(masks[i] for i in images), negatives=negatives)


def _mask_of(image: Path, files: list[Path]) -> Path | None:
    names = {file.name.casefold(): file for file in files}
    for name in (f"{image.stem}_mask.png", f"{image.stem}.png"):
        mask = names.get(name.casefold())
        if mask is not None and mask != image:
            return mask
    labelme = image.with_suffix(".json")
    return labelme if labelme.exists() else None

"""The interface of annotation formats, and the helpers that they share."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from insid3.batch.formats.marked import Marked, distinct, printed
from insid3.batch.formats.reading import Reading
from insid3.batch.formats.values import as_colour, hex_colour
from insid3.batch.names import exists
from insid3.checks.parsing import Flaw, as_dict, as_list, as_text, as_whole, parsing, read_json, read_text, shown
from insid3.errors import DataError
from insid3.imaging.colours import Colour
from insid3.imaging.read import SUFFIXES
from insid3.label_map import MOST, Label
from insid3.storage import link_or_copy, write_text

LABELS = "concepts.json"


class Format(Protocol):
    """An annotation format, read and written picture by picture as far as the format allows."""

    def is_at(self, source: Path) -> bool:
        """Tell whether a file or folder looks like this format."""
        ...

    def write(self, labels: Sequence[Label], pictures: Iterable[Marked], output: Path) -> list[str]:
        """Write pictures below the folder `output`; return what the format could not keep, a line each.

        Raises:
            OutputError: the folder cannot be written to.
            MissingExtraError: a package of the extra "export" is missing.
        """
        ...

    def read(self, source: Path, reading: Reading | None = None) -> tuple[list[Label], Iterator[Marked]]:
        """Read labels and pictures from a folder or file that `write`, or the format's own tool, wrote.

        Raises:
            DataError: the source is missing, damaged or of another layout.
        """
        ...


def check_count(labels: Sequence[Label], most: int = MOST) -> None:
    """Check that 8 bits can number all classes; DataError if not."""
    if len(labels) > most:
        raise DataError(f"there are {len(labels)} classes, an indexed picture has room for {most}: use another format")


def write_labels(folder: Path, labels: Sequence[Label]) -> None:
    """Write concepts.json with names, ids and colours; OutputError if the folder cannot be written to."""
    entries = [{"name": label.name, "id": label.id, "colour": hex_colour(label.colour)} for label in labels]
    write_text(folder / LABELS, json.dumps({"concepts": entries}, indent=1))


def read_labels(folder: Path) -> list[Label] | None:
    """Read the labels in concepts.json; None if the folder has no such file, DataError if the file is damaged."""
    path = folder / LABELS
    if not path.exists():
        return None
    with parsing(path, "list of concepts"):
        entries = as_list(as_dict(read_json(path), "content").get("concepts"), "concepts")
        return [_label(as_dict(entry, "a concept")) for entry in entries]


def _label(entry: dict[str, Any]) -> Label:
    name, number = as_text(entry.get("name"), "name of a concept"), as_whole(entry.get("id"), "id of a concept")
    return Label(name, number, parse_colour(entry.get("colour"), "colour of a concept"))


def parse_colour(value: Any, what: str = "colour") -> Colour:
    """Return the RGB of "#ff8000", "#f80", "orange" or [255, 128, 0]; Flaw if the value is no colour."""
    colour = as_colour(value)
    if colour is None:
        raise Flaw(f"has {shown(value)} as {what}, which looks like #ff8000")
    return colour


def plain_labels(labels: Sequence[Label], plain: Callable[[str], str] = str) -> tuple[list[Label], list[str]]:
    """Return labels whose names lists of lines and XML can hold, and a note if names were changed.

    Args:
        plain: function that makes a name fit the format.
    """
    names: list[str] = []
    for label in labels:
        names.append(distinct(plain(printed(label.name).strip()), names))
    changed = [(label.name, name) for label, name in zip(labels, names, strict=True) if label.name != name]
    notes = [f"{len(changed)} names of classes changed: {changed[0][0]!r} is {changed[0][1]!r}"] if changed else []
    return [replace(label, name=name) for label, name in zip(labels, names, strict=True)], notes


def loss_notes(name: str, counts: Mapping[str, int], scored: int = 0, absent: int = 0, folder: str = "") -> list[str]:
    """Return notes on what a format could not keep, for all counts but 0.

    Args:
        name: name of the format.
        counts: note -> count.
        scored: number of pictures with scores.
        absent: number of pictures that should lie in `folder` and are not there.
    """
    scores = f"scores of objects in {scored} pictures, for which {name} has no place"
    pictures = f"{absent} pictures are not where the annotations say (--images): put them into {folder}"
    return [note for note, count in {**counts, scores: scored, pictures: absent}.items() if count]


def below(folder: Path, name: str) -> Path:
    """Return the path of a name below `folder`; DataError if the path would lie outside the folder."""
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or not parts.name:
        raise DataError(f"{name!r} is not the name of a file below {folder}")
    return folder / parts


def link_picture(picture: Path, place: Path) -> bool:
    """Put a picture where a format wants it, as a hard link or copy; return False if there is no such picture."""
    found = picture.suffix.lower() in SUFFIXES and exists(picture)  # annotations may name files of any kind
    if found:
        link_or_copy(picture, place)
    return found


def file_within(source: Path, name: str, pattern: str, fits: Callable[[Path], bool]) -> Path:
    """Return the source if it is a file, else its file `name`, else its only file of a pattern that fits.

    Raises:
        DataError: no file fits, or several do.
    """
    if not source.is_dir():
        if not source.exists():
            raise DataError(f"{source}: no such file or folder")
        return source
    found = [source / name] if (source / name).exists() else [f for f in sorted(source.glob(pattern)) if fits(f)]
    if not found:
        inside = [f.relative_to(source).as_posix() for f in sorted(source.glob(f"*/{pattern}")) if fits(f)][:3]
        raise DataError(f"{source} holds no {name}, nor another file of its kind: name the file{_such(inside)}")
    if len(found) > 1:
        raise DataError(f"{source} holds {len(found)} files of this kind: name one{_such([f.name for f in found[:3]])}")
    return found[0]


def _such(names: Sequence[str]) -> str:
    return f", such as {', '.join(names)}" if names else ""


def json_kind(file: Path) -> str | None:
    """Return the format of a JSON file by its keys: "coco", "labelme", "label-studio", or None for another one."""
    try:
        stat = file.stat()
        return _json_kind(file, stat.st_mtime_ns, stat.st_size)
    except (OSError, ValueError, Flaw):
        return None


@lru_cache(64)
def _json_kind(file: Path, _changed: int, _size: int) -> str | None:
    text = read_text(file).lstrip()

    def has(*keys: str) -> bool:
        return re.search(rf'"(?:{"|".join(keys)})"\s*:', text) is not None

    tasks = has("data") and has("annotations", "completions", "predictions")
    if text.startswith("["):
        if has("image_id") and has("category_id") and not tasks:
            return "coco"
        return "label-studio" if tasks or has(r"\w+labels") or has("data") else None
    if has("shapes") and has("imagePath", "imageData", "imageHeight", "version"):
        return "labelme"
    return "coco" if has("images", "annotations") and not tasks else "label-studio" if tasks else None

"""What all annotation formats have in common: marked pictures in, files out, and back."""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from insid3.batch.formats.values import as_colour
from insid3.batch.names import exists, safe_name
from insid3.errors import DataError
from insid3.images import SUFFIXES
from insid3.instances import Instance
from insid3.labels import MOST, Colour, Label
from insid3.parsing import Flaw, as_dict, as_list, as_text, as_whole, parsing, read_json, read_text, shown
from insid3.storage import link_or_copy, write_text

if TYPE_CHECKING:
    from insid3.batch.formats.reading import Reading

LABELS = "concepts.json"


@dataclass(frozen=True, eq=False)
class Marked:
    """Hold a picture and the objects in it.

    Attributes:
        path: the picture; it need not exist for formats that only name it.
        name: of its results below the output folder, with slashes, without suffix.
        size: (height, width).
        instances: objects; `concept` is the index of a label.
        address: where the picture lies if that is no file of this machine, such as https://...
    """

    path: Path
    name: str
    size: tuple[int, int]
    instances: tuple[Instance, ...]
    address: str | None = None

    @property
    def file(self) -> str:
        """What formats that name pictures call this one: its address, or its own name in the folder of its results."""
        if self.address is not None:
            return self.address
        name, own = PurePosixPath(self.name), self.path.name
        if own.isprintable() and name.name in (own, safe_name(own), safe_name(self.path.stem)):
            return (name.parent / own).as_posix()  # results may be called otherwise where a name is too long for them
        return f"{self.name}{self.path.suffix}"


class Format(Protocol):
    """One annotation format. Both ways stream: memory does not grow with the number of pictures where the format
    allows it.
    """

    title: str  #: what people call it, and what it is made of

    def is_at(self, source: Path) -> bool:
        """Tell whether a file or folder looks like it."""
        ...

    def write(self, labels: Sequence[Label], pictures: Iterable[Marked], output: Path) -> list[str]:
        """Write them below the folder `output`, each file whole or not at all; return what the format could not keep.

        Raises:
            OutputError: the folder cannot be written to.
            MissingExtraError: a package of the extra is missing.
        """
        ...

    def read(self, source: Path, reading: "Reading | None" = None) -> tuple[list[Label], Iterator[Marked]]:
        """Read what `write`, or the format's own tool, wrote; `source` is the folder, or its one file.

        Raises:
            DataError: missing, damaged, or of another layout; names the file.
        """
        ...


def check_count(labels: Sequence[Label], most: int = MOST) -> None:
    """DataError: more classes than 8 bits can number."""
    if len(labels) > most:
        raise DataError(f"there are {len(labels)} classes, an indexed picture has room for {most}: use another format")


def write_labels(folder: Path, labels: Sequence[Label]) -> None:
    """Names, ids and colours, whatever the format itself can hold; OutputError as `storage.writing`."""
    entries = [{"name": label.name, "id": label.id, "colour": f"#{bytes(label.colour).hex()}"} for label in labels]
    write_text(folder / LABELS, json.dumps({"concepts": entries}, indent=1))


def read_labels(folder: Path) -> list[Label] | None:
    """What `write_labels` wrote; None where it did not.

    Raises:
        DataError: damaged.
    """
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
    """Return "#ff8000", "#f80", "orange" or [255, 128, 0] as (255, 128, 0) and the like.

    Raises:
        Flaw: it is something else.
    """
    colour = as_colour(value)
    if colour is None:
        raise Flaw(f"has {shown(value)} as {what}, which looks like #ff8000")
    return colour


def printed(text: str) -> str:
    """Return text without control characters, which neither XML nor a list of lines can hold."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def distinct(name: str, taken: Collection[str]) -> str:
    """Return a name on one line, without control characters, and unlike those that are taken; "unnamed" if it is blank.

    >>> distinct("cat\\n", ["cat"])
    'cat (2)'
    """
    plain, one = printed(name).strip() or "unnamed", 1
    unique = plain
    while unique in taken:
        one += 1
        unique = f"{plain} ({one})"
    return unique


def plain_labels(labels: Sequence[Label], plain: Callable[[str], str] = str) -> tuple[list[Label], list[str]]:
    """Return labels with names that lists of lines and XML can hold, and what to say if one was changed.

    Args:
        plain: makes of a name what else the format needs.
    """
    names: list[str] = []
    for label in labels:
        names.append(distinct(plain(printed(label.name).strip()), names))
    changed = [(label.name, name) for label, name in zip(labels, names, strict=True) if label.name != name]
    notes = [f"{len(changed)} names of classes changed: {changed[0][0]!r} is {changed[0][1]!r}"] if changed else []
    return [replace(label, name=name) for label, name in zip(labels, names, strict=True)], notes


def below(folder: Path, name: str) -> Path:
    """A path below `folder`, whatever a file from elsewhere says.

    Raises:
        DataError: it would lie outside.
    """
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or not parts.name:
        raise DataError(f"{name!r} is not the name of a file below {folder}")
    return folder / parts


def link_picture(picture: Path, place: Path) -> bool:
    """The picture where a format wants it (some tools refuse symbolic links); whether it is there."""
    found = picture.suffix.lower() in SUFFIXES and exists(picture)  # annotations may name any file
    if found:
        link_or_copy(picture, place)
    return found


def file_within(source: Path, name: str, pattern: str, fits: Callable[[Path], bool]) -> Path:
    """Return the file of that name, or the only one of that pattern that fits, in a folder; a file itself.

    Raises:
        DataError: there is none, or several.
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
    """Tell whose a JSON file is by its keys: "coco", "labelme", "label-studio", or None for nobody's."""
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

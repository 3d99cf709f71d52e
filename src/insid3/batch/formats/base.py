"""What all annotation formats have in common: marked pictures in, files out, and back."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from insid3.errors import DataError, MissingExtraError
from insid3.images import SUFFIXES
from insid3.instances import Instance
from insid3.labels import MOST, PALETTE, Label
from insid3.storage import link_or_copy, write_text

LABELS = "concepts.json"


@dataclass(frozen=True, eq=False)
class Marked:
    """A picture and the objects in it.

    Attributes:
        path: the picture; it need not exist for formats that only name it.
        name: of its results below the output folder, with slashes, without suffix.
        size: (height, width).
        instances: objects; `concept` is the index of a label.
    """

    path: Path
    name: str
    size: tuple[int, int]
    instances: tuple[Instance, ...]

    @property
    def file(self) -> str:
        """What formats that name pictures call this one: its name with the picture's suffix."""
        return self.name if self.name.endswith(self.path.suffix) else f"{self.name}{self.path.suffix}"


class Format(Protocol):
    """One annotation format. Both ways stream: memory does not grow with the number of pictures where the format
    allows it.
    """

    title: str  #: what people call it, and what it is made of

    def is_at(self, source: Path) -> bool:
        """Whether a file or folder looks like it."""
        ...

    def write(self, labels: Sequence[Label], pictures: Iterable[Marked], output: Path) -> list[str]:
        """Write them below the folder `output`, each file whole or not at all; returns what the format could not keep.

        Raises:
            OutputError: the folder cannot be written to.
            MissingExtraError: a package of the extra is missing.
        """
        ...

    def read(self, source: Path) -> tuple[list[Label], Iterator[Marked]]:
        """What `write` wrote; `source` is the folder, or its one file.

        Raises:
            DataError: missing, damaged, or of another layout; names the file.
        """
        ...


def check_count(labels: Sequence[Label]) -> None:
    """DataError: more classes than 8 bits can number."""
    if len(labels) > MOST:
        raise DataError(f"there are {len(labels)} classes, an indexed picture has room for {MOST}: use another format")


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
    try:
        entries: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["concepts"]
        return [Label(str(e["name"]), int(e["id"]), parse_colour(e["colour"])) for e in entries]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error!r:.100}): write it again") from error


def parse_colour(text: str) -> tuple[int, int, int]:
    """ "#ff8000" as (255, 128, 0).

    Raises:
        ValueError: something else.
    """
    digits = text.removeprefix("#")
    if len(digits) != 6:
        raise ValueError(f"a colour looks like #ff8000, not {text!r}")
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue


def below(folder: Path, name: str) -> Path:
    """A path below `folder`, whatever a file from elsewhere says.

    Raises:
        DataError: it would lie outside.
    """
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or not parts.name:
        raise DataError(f"{name!r} is not the name of a file below {folder}")
    return folder / parts


def label_of(name: str, index: int, id: int | None = None, colour: str | None = None) -> Label:
    """What a format says of a class, and what it does not: the next number and colour."""
    return Label(
        name, index + 1 if id is None else id, parse_colour(colour) if colour else PALETTE[index % len(PALETTE)]
    )


def without_suffix(name: str) -> str:
    """ "a/b.jpg" as "a/b"."""
    return PurePosixPath(name).with_suffix("").as_posix()


def link_picture(picture: Path, place: Path) -> bool:
    """The picture where a format wants it (some tools refuse symbolic links); whether it is there."""
    found = picture.suffix.lower() in SUFFIXES and picture.exists()  # annotations may name any file
    if found:
        link_or_copy(picture, place)
    return found


@contextmanager
def reading(file: Path, kind: str) -> Iterator[None]:
    """Whatever goes wrong, what is in the file decides; as one error that names it.

    Raises:
        DataError: for everything but a missing package.
    """
    try:
        yield
    except (MissingExtraError, DataError):
        raise
    except Exception as error:
        raise DataError(f"{file} is damaged, or no {kind} file ({error!r:.120})") from error


def read_json(file: Path) -> Any:
    """ValueError, OSError: not JSON, or not there."""
    return json.loads(file.read_text("utf-8"))


def file_within(source: Path, name: str, pattern: str, *others: str) -> Path:
    """The file of that name, or the only one of that pattern, in a folder; a file itself.

    Raises:
        DataError: there is none, or several.
    """
    if not source.is_dir():
        if not source.exists():
            raise DataError(f"{source}: no such file or folder")
        return source
    found = [source / name] if (source / name).exists() else [f for f in source.glob(pattern) if f.name not in others]
    if len(found) != 1:
        raise DataError(f"{source} holds {len(found)} files {pattern}, and no {name}: name the file")
    return found[0]

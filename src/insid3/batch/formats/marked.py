"""Marked pictures, which formats read and write, and unique names."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from insid3.batch.names import safe_name
from insid3.imaging.components import Instance


@dataclass(frozen=True, eq=False)
class Marked:
    """Hold a picture and the objects in it.

    Attributes:
        path: path of the picture, which need not exist for formats that only name it.
        name: path of the results below the output folder, with slashes, without suffix.
        size: (height, width) of the picture.
        instances: objects in the picture; `concept` is the index of a label.
        address: address of a picture that is no file of this machine, such as https://...
    """

    path: Path
    name: str
    size: tuple[int, int]
    instances: tuple[Instance, ...]
    address: str | None = None

    @property
    def is_scored(self) -> bool:
        """True if an object has a score other than 1."""
        return any(instance.score != 1 for instance in self.instances)

    @property
    def file(self) -> str:
        """The name of the picture in annotation files: its address, or its own name in the folder of its results."""
        if self.address is not None:
            return self.address
        name, own = PurePosixPath(self.name), self.path.name
        if own.isprintable() and name.name in (own, safe_name(own), safe_name(self.path.stem)):
            return (name.parent / own).as_posix()  # `safe_name` may have changed the name of the results
        return f"{self.name}{self.path.suffix}"


def printed(text: str) -> str:
    """Return text without control characters, which neither XML nor a list of lines can hold."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def distinct(name: str, taken: Collection[str]) -> str:
    """Return a name without control characters that is not yet taken; "unnamed" if the name is blank.

    >>> distinct("cat\\n", ["cat"])
    'cat (2)'
    """
    plain, one = printed(name).strip() or "unnamed", 1
    unique = plain
    while unique in taken:
        one += 1
        unique = f"{plain} ({one})"
    return unique

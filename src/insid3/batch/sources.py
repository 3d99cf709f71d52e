"""Targets on disk, and what their results are called."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from insid3.errors import ImageError, OutputError
from insid3.images import SUFFIXES


@dataclass(frozen=True)
class Target:
    """A picture and the path of its results below the output folder, without suffix."""

    path: Path
    name: str


def find_targets(inputs: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str]) -> list[Target]:
    """Files as they are given; folders recursively, sorted, with results mirroring their relative paths.

    Equal stems in one folder keep their extension. What lies below `output` is never a target. A file that does not
    exist is a target too: it fails on its own, the others go on.

    Raises:
        ImageError: a folder without pictures, or one that cannot be read.
        OutputError: two targets would have the same results.
    """
    out = Path(output).resolve()
    found: dict[Path, Path] = {}  # path -> relative path
    for given in map(Path, inputs):
        pictures = (
            {path: path.relative_to(given) for path in _pictures(given)}
            if given.is_dir()
            else {given: Path(given.name)}
        )
        pictures = {path: relative for path, relative in pictures.items() if out not in path.resolve().parents}
        if given.is_dir() and not pictures:
            raise ImageError(f"no pictures in {given} (looked for {', '.join(sorted(SUFFIXES))}, not below {output})")
        found = {**pictures, **found}
    if not found:
        raise ImageError(f"no targets: what lies below the output folder {output} is never one")
    named = [(path, relative.with_suffix("")) for path, relative in found.items()]
    for _ in range(2):  # a kept extension may clash once more: 1.jpg, 1.png and 1.jpg.gif
        taken = Counter(_key(name) for _, name in named)
        named = [(path, name if taken[_key(name)] == 1 else name.with_name(path.name)) for path, name in named]
    taken = Counter(_key(name) for _, name in named)
    for path, name in named:
        if taken[_key(name)] > 1:
            other = next(p for p, n in named if p != path and _key(n) == _key(name))
            raise OutputError(f"{path} and {other} would both write {name}.png: run them with separate output folders")
    return sorted((Target(path, name.as_posix()) for path, name in named), key=lambda target: target.name)


def _pictures(folder: Path) -> Iterable[Path]:
    def unreadable(error: OSError) -> None:
        raise ImageError(f"folder {error.filename} cannot be read ({error.strerror}): leave it out or allow it")

    for where, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                yield Path(where, name)


def _key(name: Path) -> str:
    return name.as_posix().casefold()  # some file systems do not tell A from a

"""Targets on disk, and what their results are called."""

import glob
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from insid3.errors import ConfigError, ImageError, OutputError
from insid3.images import SUFFIXES

_ESCAPED = re.compile(r"\[([*?[])\]")  # by glob.escape
VIDEOS = {".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".flv", ".ogv"}


@dataclass(frozen=True, slots=True)
class Target:
    """A picture and the path of its results below the output folder, without suffix."""

    path: Path
    name: str


@dataclass(frozen=True)
class Shard:
    """One of several runs that share the targets of one output folder; `index` counts from 1."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """ "2/8"; ConfigError for anything else."""
        index, _, count = text.partition("/")
        if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
            raise ConfigError(f"a shard is I/N, from 1/N to N/N, got {text!r}")
        return cls(int(index), int(count))

    def __str__(self) -> str:
        return f"{self.index}-of-{self.count}"

    def of(self, targets: Sequence[Target]) -> list[Target]:
        """Every n-th target."""
        return list(targets[self.index - 1 :: self.count])


def find_targets(inputs: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str]) -> list[Target]:
    """Files as they are given; folders recursively, with results mirroring their relative paths; patterns (`*`, `?`,
    `[]`, `**`), mirrored from their first folder on; lists (`.txt`, or `-` for standard input, a path a line), mirrored
    from the folder that all of a list have in common. Sorted by name.

    Equal stems in one folder keep their extension. What lies below `output` is never a target. A file that does not
    exist is a target too: it fails on its own, the others go on.

    Raises:
        ImageError: a folder, pattern or list without pictures, or one that cannot be read.
        OutputError: two targets would have the same results.
    """
    out = Path(output).resolve()
    found: dict[Path, Path] = {}  # path -> relative path
    for given in [os.fspath(one) for one in inputs]:
        pictures, kind = _expanded(given)
        pictures = {path: name for path, name in pictures.items() if out not in path.resolve().parents}
        if kind and not pictures:
            raise ImageError(f"no pictures in {kind} (looked for {', '.join(sorted(SUFFIXES))}, not below {output})")
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


def _expanded(given: str) -> tuple[dict[Path, Path], str]:
    """Pictures and the relative paths of their results; what they come from unless it is a single file."""
    path = Path(given)
    if given == "-":
        return _listed(sys.stdin.read().splitlines(), Path()), "the list on standard input"
    if path.is_dir():
        return {picture: picture.relative_to(path) for picture in _pictures(path)}, f"folder {given}"
    if path.suffix.lower() == ".txt":
        try:
            return _listed(path.read_text("utf-8-sig").splitlines(), path.parent), f"list {given}"
        except (OSError, ValueError) as error:
            raise ImageError(f"list {given} cannot be read ({error}): it must hold a path a line") from error
    if glob.has_magic(given) and not path.exists():
        parts = Path(given).parts
        first = next((i for i, part in enumerate(parts) if glob.has_magic(_ESCAPED.sub("", part))), len(parts) - 1)
        fixed = Path(*(_ESCAPED.sub(r"\1", part) for part in parts[:first]))
        files = (Path(match) for match in glob.iglob(given, recursive=True))  # noqa: PTH207  Path.glob takes no absolute ones
        found = (file for file in files if file.suffix.lower() in SUFFIXES and file.is_file())
        pictures = {file: file.relative_to(fixed) for file in found}
        if pictures or "*" in given or "?" in given:  # else a name with brackets, which is not there
            return pictures, f"pattern {given}"
    return {path: Path(path.name)}, ""


def _listed(lines: Iterable[str], folder: Path) -> dict[Path, Path]:
    """Relative paths begin at the current folder, or where they are not found there at the list's."""
    paths = [Path(line.strip()) for line in lines if line.strip() and not line.startswith("#")]
    paths = [path if path.exists() or not (folder / path).exists() else folder / path for path in paths]
    full = {path: Path(os.path.abspath(path)) for path in paths}
    try:
        common = os.path.commonpath([path.parent for path in full.values()]) if full else ""
    except ValueError:  # on several drives
        return {path: Path(path.name) for path in paths}
    return {path: whole.relative_to(common) for path, whole in full.items()}


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

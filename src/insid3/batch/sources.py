"""The search for targets on disk, and the names of their results."""

import fnmatch
import glob
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from insid3.batch.names import exists, safe_name
from insid3.batch.passed import FOLDER, HIDDEN_FILE, HIDDEN_FOLDER, LINK, LOOP, SPECIAL, VIDEO, Kind, Passed, kind_of
from insid3.checks.parsing import read_content
from insid3.errors import ConfigError, ImageError, OutputError
from insid3.imaging.read import SUFFIXES

_ESCAPED = re.compile(r"\[([*?[])\]")  # as glob.escape writes it


@dataclass(frozen=True, slots=True)
class Target:
    """A picture to mark.

    Attributes:
        path: path of the picture.
        name: path of the results below the output folder, without suffix.
        is_renamed: True if `name` differs from the picture's own name, which some disk or format cannot take.
    """

    path: Path
    name: str
    is_renamed: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Shard:
    """One of `count` runs that share the targets of one output folder; `index` counts from 1."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Return the shard that "2/8" names; ConfigError if the text names none."""
        index, _, count = text.partition("/")
        if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
            raise ConfigError(f"a shard is I/N, from 1/N to N/N, got {text!r}")
        return cls(int(index), int(count))

    def __str__(self) -> str:
        return f"{self.index}-of-{self.count}"

    def select(self, targets: Sequence[Target]) -> list[Target]:
        """Return the targets of this shard, every n-th of all."""
        return list(targets[self.index - 1 :: self.count])


def find_targets(
    inputs: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str], passed: Passed | None = None
) -> list[Target]:
    """Return the targets that the inputs name, sorted by name.

    An input is a file; a folder, which is searched recursively; a pattern (`*`, `?`, `[]`, `**`); or a list of paths
    (`.txt`, or `-` for standard input), one a line or each ended by NUL. Results mirror the paths below the folder,
    below the first folder of the pattern, or below the folder that all paths of a list have in common.

    Names that differ only in the suffix keep the suffix. `safe_name` changes names that a disk or a format cannot take.
    A missing file is a target that fails on its own. Files below `output` are never targets. Links to folders are
    followed only if they are given by name.

    Args:
        passed: collects what folders, patterns and lists hold that is no target.

    Raises:
        ImageError: a folder, pattern or list has no pictures, or cannot be read.
        OutputError: two targets would have the same results.
    """
    search = _Search(Path(os.path.realpath(output)), Passed() if passed is None else passed)
    found: dict[Path, Path] = {}  # path -> relative path
    for given in [os.fspath(one) for one in inputs]:
        pictures, kind = search.expanded(given)
        pictures = {path: name for path, name in pictures.items() if not search.is_output(path)}
        if kind and not pictures:
            beside = f"; passed over: {search.passed}" if search.passed else ""
            looked_for = ", ".join(sorted(SUFFIXES))
            raise ImageError(f"no pictures in {kind} (looked for {looked_for}, not below {output}){beside}")
        found = {**pictures, **found}
    if not found:
        if search.passed:
            raise ImageError(f"no targets; passed over: {search.passed}")
        raise ImageError(f"no targets: what lies below the output folder {output} is never one")
    for path in found:
        search.passed.take(path)
    return sorted(_named(found), key=lambda target: target.name)


def _named(found: dict[Path, Path]) -> list[Target]:
    wanted = {path: relative.with_suffix("").as_posix() for path, relative in found.items()}
    for _ in range(2):  # a kept suffix may clash once more: 1.jpg, 1.png and 1.jpg.gif
        taken = Counter(_key(name) for name in wanted.values())
        wanted = {p: name if taken[_key(name)] == 1 else found[p].as_posix() for p, name in wanted.items()}
    first: dict[str, Path] = {}
    for path, name in wanted.items():
        other = first.setdefault(_key(name), path)
        if other != path:
            raise OutputError(
                f"{path} and {other} would both write {safe_name(name)}.png: run them with separate output folders"
            )
    return [Target(path, safe_name(name), safe_name(name) != name) for path, name in wanted.items()]


class _Search:
    """Find pictures below folders, by patterns and in lists.

    Args:
        output: real path of the output folder, which is not searched.
        passed: collects what is no target.
    """

    def __init__(self, output: Path, passed: Passed) -> None:
        self.output, self.passed = output, passed

    def is_output(self, path: str | Path) -> bool:
        """Tell whether a path is the output folder, or lies below the output folder."""
        real = Path(os.path.realpath(path))
        return real == self.output or self.output in real.parents

    def expanded(self, given: str) -> tuple[dict[Path, Path], str]:
        """Return the pictures of an input with the paths of their results, and its name unless it is a single file."""
        path = Path(given)
        if given == "-":
            return self._listed(_text_of_stdin(), Path()), "the list on standard input"
        if exists(path) and path.is_dir():
            return {picture: picture.relative_to(path) for picture in self._below(path)}, f"folder {given}"
        if path.suffix.lower() == ".txt":
            try:
                return self._listed(_text(read_content(path)), path.parent), f"list {given}"
            except OSError as error:
                raise ImageError(
                    f"list {given} cannot be read ({error.strerror}): it must hold a path a line"
                ) from error
            except ValueError as error:  # a pipe, or a text that can be no name
                raise ImageError(f"list {given} is no file that can be read: it must hold a path a line") from error
        if glob.has_magic(given) and not os.path.lexists(path):
            parts = path.parts
            first = next((i for i, part in enumerate(parts) if _is_magic(part)), len(parts) - 1)
            fixed = Path(*map(_literal, parts[:first]))
            pictures = {file: file.relative_to(fixed) for file in self._matching(fixed, parts[first:])}
            if pictures or "*" in given or "?" in given:  # otherwise a missing file with brackets in its name
                return pictures, f"pattern {given}"
        return self._given([path]), ""

    def _given(self, paths: Sequence[Path]) -> dict[Path, Path]:
        """Return files with their own names as results; pass over pipes, sockets and devices."""
        special = [path for path in paths if exists(path) and not (path.is_file() or path.is_dir())]
        for path in special:
            self.passed.add(path, SPECIAL)
        return {path: Path(path.name) for path in paths if path not in special}

    def _listed(self, text: str, folder: Path) -> dict[Path, Path]:
        """Return the files of a list; a path that does not exist is tried once more below the list's folder."""
        if "\0" in text:  # written by find -print0: names may hold line ends
            lines = text.split("\0")
        else:
            lines = [line.strip() for line in re.split(r"\r?\n", text) if not line.startswith("#")]
        paths = [Path(line) for line in lines if line]
        paths = [path if exists(path) or not exists(folder / path) else folder / path for path in paths]
        for path in paths:
            if kind_of(path.name) is VIDEO:
                self.passed.add(path, VIDEO)
        relative = self._given([path for path in paths if kind_of(path.name) is not VIDEO])
        full = {path: Path(os.path.abspath(path)) for path in relative}
        try:
            common = os.path.commonpath([path.parent for path in full.values()]) if full else ""
        except ValueError:  # on several drives
            return relative
        return {path: whole.relative_to(common) for path, whole in full.items()}

    def _below(self, folder: Path) -> Iterator[Path]:
        """Yield the pictures of a folder and of all folders in it."""
        left = [folder]
        while left:
            for entry in self._entries(left.pop()):
                kind = _kind(entry)
                if kind is FOLDER:
                    left.append(Path(entry.path))
                elif kind is None:
                    yield Path(entry.path)
                else:
                    self.passed.add(entry.path, kind)

    def _matching(self, folder: Path, parts: Sequence[str]) -> Iterator[Path]:
        """Yield the pictures whose path below a folder matches the parts of a pattern; `**` matches any depth."""
        part, rest = parts[0], parts[1:]
        if part in (".", ".."):
            yield from self._matching(folder / part, rest) if rest else ()
            return
        deep = part == "**"
        if deep and rest:
            yield from self._matching(folder, rest)
        for entry in self._entries(folder):
            if not (deep or fnmatch.fnmatch(entry.name, part)):
                continue
            kind = _kind(entry, hides=not part.startswith("."))
            if kind is LINK and not _is_magic(part):  # the pattern names the link
                kind = FOLDER
            if kind is FOLDER and (deep or rest):
                self.passed.take(entry.path)
                yield from self._matching(Path(entry.path), parts if deep else rest)
            elif kind in (LINK, LOOP, HIDDEN_FOLDER) or not rest:
                if kind is None:
                    yield Path(entry.path)
                else:
                    self.passed.add(entry.path, kind)

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        """List a folder without the output folder; nothing if there is no such folder."""
        if self.is_output(folder):
            return []
        try:
            with os.scandir(folder) as entries:
                return [e for e in entries if e.name != self.output.name or not self.is_output(e.path)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise ImageError(f"folder {folder} cannot be read ({error.strerror}): leave it out or allow it") from error


def _kind(entry: os.DirEntry[str], *, hides: bool = True) -> Kind | None:
    """Return the kind as which an entry is passed over; FOLDER for a folder to search, None for a picture.

    Args:
        hides: names with a leading dot count as hidden.
    """
    hidden = hides and entry.name.startswith(".")
    try:
        if entry.is_dir():
            return HIDDEN_FOLDER if hidden else LINK if entry.is_symlink() else FOLDER
        if not (entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists())):
            return SPECIAL
    except OSError:
        return LOOP
    if hidden:
        return HIDDEN_FILE
    return None if Path(entry.name).suffix.lower() in SUFFIXES else kind_of(entry.name)


def _is_magic(part: str) -> bool:
    return glob.has_magic(_ESCAPED.sub("", part))


def _literal(part: str) -> str:
    return _ESCAPED.sub(r"\1", part)


def _text_of_stdin() -> str:
    if sys.stdin is None or sys.stdin.closed:
        raise ImageError("the list on standard input cannot be read: standard input is closed")
    try:
        return _text(sys.stdin.buffer.read()) if hasattr(sys.stdin, "buffer") else sys.stdin.read()
    except OSError as error:
        raise ImageError(f"the list on standard input cannot be read: {error.strerror}") from error


def _text(content: bytes) -> str:
    """Decode a list of paths in UTF-8, or in UTF-16 as Windows writes it; bytes of names that are no text survive."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    return content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")


def _key(name: str) -> str:
    return safe_name(name).casefold()  # some file systems ignore case

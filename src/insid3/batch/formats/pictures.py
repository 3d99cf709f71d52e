"""Pictures that annotation files name: the names of their results, and the search for the pictures."""

import difflib
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from insid3.batch.names import exists, safe_name
from insid3.checks.parsing import Flaw
from insid3.errors import ImageError
from insid3.imaging.read import SUFFIXES, picture_size

# Suffixes of pictures, also of those that this program cannot read.
_ENDINGS = SUFFIXES | {".heic", ".heif", ".dng", ".tga", ".psd", ".svg", ".dcm", ".jxl", ".exr", ".hdr"}
_UPLOAD = re.compile(r"[0-9a-f]{8}-")  # prefix that Label Studio gives to uploaded files
_NEAR = 64  # folders around an annotation file in which its pictures are looked for


@dataclass(frozen=True)
class PictureName:
    """Hold the name by which an annotation file calls a picture.

    Attributes:
        text: name, path or address in the file.
        folder: folder of the annotation file below the folder that is read; results lie in a folder of that name too.
        more: further names that tell pictures of one name apart, such as the name of a task.
    """

    text: str
    folder: str = ""
    more: tuple[str, ...] = ()

    @property
    def is_address(self) -> bool:
        """True if the name is an address such as https://..."""
        return "://" in self.text

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """The parts of the path, without drive, `.` and `..`."""
        text = unquote(urlsplit(self.text).path) if self.is_address else self.text
        text = re.sub(r"^[A-Za-z]:", "", text.replace("\\", "/"))
        return tuple(part for part in text.split("/") if part not in ("", ".", "..")) or ("picture",)

    @property
    def is_elsewhere(self) -> bool:
        """True if the path leads out of the folder that is read, so that only its end can name results."""
        text = self.text.replace("\\", "/")
        return self.is_address or bool(re.match(r"/|[A-Za-z]:", text)) or ".." in text.split("/")


def result_names(pictures: Sequence[PictureName]) -> list[str | None]:
    """Return the name of each picture's results: a relative path without suffix; None for a repeated picture.

    Two pictures in one folder that differ only in the suffix keep the suffix. The names of pictures from elsewhere
    begin with as many folders as tell them apart.
    """
    depth = [1 if picture.is_elsewhere else len(picture.parts) for picture in pictures]
    keep = [False] * len(pictures)

    def name(i: int) -> str:
        picture = pictures[i]
        parts = [*picture.more, *picture.parts][-depth[i] :]
        last = parts[-1] if keep[i] else without_suffix(parts[-1])
        return "/".join(filter(None, (picture.folder, *parts[:-1], last)))

    def alike() -> list[list[int]]:
        groups: dict[str, list[int]] = defaultdict(list)
        for i in range(len(pictures)):
            groups[name(i).casefold()].append(i)
        return [group for group in groups.values() if len(group) > 1]

    while True:
        changed = False
        for group in alike():
            ends = {i: pictures[i].parts[-1].casefold() for i in group}
            for i in group:
                shared = sum(end == ends[i] for end in ends.values()) > 1
                longest = len(pictures[i].more) + len(pictures[i].parts)
                if shared and depth[i] < longest:
                    depth[i], changed = depth[i] + 1, True
                elif len(set(ends.values())) > 1 and not keep[i]:
                    keep[i] = changed = True
        if not changed:
            break
    seen: set[str] = set()
    names: list[str | None] = []
    for i in range(len(pictures)):
        key = name(i).casefold()
        names.append(None if key in seen else safe_name(name(i)))
        seen.add(key)
    return names


def without_suffix(name: str) -> str:
    """Return "a/b.jpg" as "a/b"; a name without the suffix of a picture stays whole."""
    path = PurePosixPath(name)
    return path.with_suffix("").as_posix() if path.suffix.lower() in _ENDINGS and path.stem else name


class Finder:
    """Look for the pictures that an annotation file names.

    Args:
        root: folder of the annotation file.
        images: folder of the pictures, searched with all folders below; None: search in and around `root`.
    """

    def __init__(self, root: Path, images: Path | None = None) -> None:
        self.root, self.images = root, images

    def find(self, picture: PictureName, size: tuple[int, int] | None = None) -> Path | None:
        """Return the path of a picture; None if it is not there.

        With `images`, the path below that folder counts, else the file name if it is unique there. Without `images`, a
        picture outside `root` must have the (height, width) `size`, since it may be another one of the same name.

        Raises:
            Flaw: several pictures fit.
        """
        if self.images is not None:
            return self._below(picture)
        if picture.is_address:
            return None
        stated = Path(picture.text.replace("\\", "/"))
        for place in (self.root / picture.folder / stated, self.root / Path(picture.folder, *picture.parts)):
            for form in _forms(place):
                if _is_file(form):
                    return form
        for folders in self._around:
            near = self._within(folders, picture)
            if folders[0] != self.root:
                near = [path for path in near if _has_size(path, size)]
            if near:
                if len(near) > 1:
                    raise Flaw(f"may be any of {len(near)} pictures: {', '.join(map(str, near[:4]))}")
                return near[0]
        return None

    def absent(self, picture: PictureName) -> Path:
        """Return the path at which a missing picture would be looked for first."""
        return (self.images or self.root) / Path(picture.folder, *picture.parts)

    def like(self, picture: PictureName) -> str:
        """List the file names in `images` that resemble a picture's name, for a message."""
        names = sorted(self._by_name) if self.images is not None else []
        close = difflib.get_close_matches(_fold(picture.parts[-1]), names, 3, 0.7)
        return ", ".join(self._by_name[name][0].name for name in close)

    def _below(self, picture: PictureName) -> Path | None:
        relative = _fold("/".join(picture.parts))
        exact = [path for path in self._by_name.get(_fold(picture.parts[-1]), ()) if self._key(path) == relative]
        if len(exact) == 1:
            return exact[0]
        last = _fold(picture.parts[-1])
        for table, name in (
            (self._by_name, last),
            (self._by_name, _UPLOAD.sub("", last, count=1) if _UPLOAD.match(last) else last),
            (self._by_stem, last if without_suffix(last) == last else ""),  # CVAT's frames have no suffix
        ):
            if found := table.get(name):
                if len(found) > 1:
                    many = ", ".join(sorted(map(self._key, found))[:4])
                    raise Flaw(f"may be any of {len(found)} pictures in {self.images}: {many}")
                return found[0]
        return None

    def _key(self, path: Path) -> str:
        assert self.images is not None
        return _fold(path.relative_to(self.images).as_posix())

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = defaultdict(list)
        for folder, folders, files in os.walk(self.images or ""):
            folders.sort()
            for file in files:
                if Path(file).suffix.lower() in _ENDINGS:
                    found[_fold(file)].append(Path(folder, file))
        return dict(found)

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = defaultdict(list)
        for name, paths in self._by_name.items():
            found[without_suffix(name)] += paths
        return dict(found)

    @cached_property
    def _around(self) -> list[list[Path]]:
        """Two groups of folders: `root` and the folders in it, then its parent and the folders in that."""
        groups = []
        for folder in (self.root, self.root.absolute().parent):
            try:
                inside = sorted(entry for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != ".")
            except OSError:
                inside = []
            groups.append([folder, *inside[:_NEAR]])
        return groups

    def _within(self, folders: Sequence[Path], picture: PictureName) -> list[Path]:
        relative, last = Path(*picture.parts), picture.parts[-1]
        for name in dict.fromkeys([relative, Path(last), Path(_UPLOAD.sub("", last, count=1))]):
            places = (form for folder in folders for form in _forms(folder / name))
            if found := [place for place in places if _is_file(place)]:
                return found
        if folders[0] != self.root or without_suffix(last) != last:
            return []
        alike = (path for folder in folders for path in sorted(folder.glob(f"{_escaped(last)}.*")))  # CVAT's frames
        return [path for path in alike if path.suffix.lower() in _ENDINGS]


def _has_size(path: Path, size: tuple[int, int] | None) -> bool:
    try:
        return picture_size(path) == size
    except ImageError:
        return False


def _is_file(path: Path) -> bool:
    return exists(path) and path.is_file()


def _forms(path: Path) -> list[Path]:
    """Return a path in all Unicode forms: macOS stores a letter and its accent apart."""
    return list(dict.fromkeys([path, *(Path(unicodedata.normalize(form, str(path))) for form in ("NFC", "NFD"))]))


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _escaped(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)

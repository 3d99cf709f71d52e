"""Pictures that annotation files name: what their results are called, and where the pictures are."""

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
from insid3.errors import ImageError
from insid3.images import SUFFIXES, picture_size
from insid3.parsing import Flaw

# What counts as the end of a picture's name, also where this program cannot read the picture.
_ENDINGS = SUFFIXES | {".heic", ".heif", ".dng", ".tga", ".psd", ".svg", ".dcm", ".jxl", ".exr", ".hdr"}
_UPLOAD = re.compile(r"[0-9a-f]{8}-")  # what Label Studio puts before the names of uploaded files
_NEAR = 64  # folders around an annotation file in which its pictures are looked for


@dataclass(frozen=True)
class PictureName:
    """Hold what a file calls a picture.

    Attributes:
        text: as the file says.
        folder: of the file, below the folder that is read; results lie below it too.
        more: further names that tell two pictures of the same name apart, such as a task's.
    """

    text: str
    folder: str = ""
    more: tuple[str, ...] = ()

    @property
    def is_address(self) -> bool:
        return "://" in self.text

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """The parts of the path, without drive, `.` and `..`."""
        text = unquote(urlsplit(self.text).path) if self.is_address else self.text
        text = re.sub(r"^[A-Za-z]:", "", text.replace("\\", "/"))
        return tuple(part for part in text.split("/") if part not in ("", ".", "..")) or ("picture",)

    @property
    def is_elsewhere(self) -> bool:
        """Whether the path leads out of the folder that is read, so that only its end can name results."""
        text = self.text.replace("\\", "/")
        return self.is_address or bool(re.match(r"/|[A-Za-z]:", text)) or ".." in text.split("/")


def result_names(pictures: Sequence[PictureName]) -> list[str | None]:
    """Return what the results of each picture are called: a relative path without the picture's suffix.

    Two pictures in one folder that differ in nothing but the suffix keep the suffix. Those from elsewhere take as many
    folders into the name as tell them apart. None: the same picture once more.
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
    """Return "a/b.jpg" as "a/b"; a name that does not end as pictures do stays whole."""
    path = PurePosixPath(name)
    return path.with_suffix("").as_posix() if path.suffix.lower() in _ENDINGS and path.stem else name


class Finder:
    """Look for the pictures that a file names.

    Args:
        root: folder of the file.
        images: folder of the pictures, searched with all that lies below; None: in and around `root`.
    """

    def __init__(self, root: Path, images: Path | None = None) -> None:
        self.root, self.images = root, images

    def find(self, picture: PictureName, size: tuple[int, int] | None = None) -> Path | None:
        """Return where a picture is; None if it is not there.

        With `images` it is found by its path below that folder, else by its name alone if that is unique there.
        Without, a picture beside the folder of the file, where others may keep their own of that name, has to have the
        (height, width) `size`.

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
        """Return where the picture would be looked for first."""
        return (self.images or self.root) / Path(picture.folder, *picture.parts)

    def like(self, picture: PictureName) -> str:
        """Name pictures that may be meant, for a message; empty if there are none."""
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
        """The folder of the file and those in it, then its parent and those in that."""
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
    """The path as it is, and with accents packed the other ways: macOS writes e and its accent apart."""
    return list(dict.fromkeys([path, *(Path(unicodedata.normalize(form, str(path))) for form in ("NFC", "NFD"))]))


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _escaped(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)

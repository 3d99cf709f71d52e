"""Files and folders that a search for targets passes over, counted by kind and reported."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePath

_SHOWN = 6  # suffixes of other files


@dataclass(frozen=True)
class Kind:
    """A reason to pass over a file or folder.

    Attributes:
        one, many: noun in singular and plural; "" if the suffix is the noun, such as HEIC.
        remedy: advice for the user.
        suffixes: suffixes of the files of this kind, in lower case.
    """

    one: str
    many: str
    remedy: str = ""
    suffixes: frozenset[str] = frozenset()


VIDEOS = frozenset(
    {".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".webm"}
    | {".264", ".265", ".h264", ".h265", ".hevc", ".m2ts", ".m2v", ".mjpeg", ".wmv"}
)
_HEIF = frozenset({".heic", ".heif", ".hif", ".heics", ".avif"})
_RAW = frozenset(
    {".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".gpr", ".iiq", ".kdc", ".mos", ".mrw"}
    | {".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"}
)
_OTHER_PICTURES = frozenset(
    {".apng", ".czi", ".dcm", ".dds", ".eps", ".exr", ".fits", ".hdr", ".icns", ".ico", ".j2c", ".j2k", ".jpf", ".jpx"}
    | {".jxl", ".jxr", ".kra", ".lif", ".nd2", ".ndpi", ".pcx", ".psb", ".psd", ".qoi", ".sgi", ".svg", ".svs", ".tga"}
    | {".xcf"}
)

HEIF = Kind("", "", 'pip install "insid3[heif]" reads them', _HEIF)
RAW = Kind("", "", "raw photographs: develop them first", _RAW)
OTHER_PICTURE = Kind("", "", "save them as PNG or TIFF first", _OTHER_PICTURES)
VIDEO = Kind("video", "videos", "insid3 video", VIDEOS)
FOLDER = Kind("folder", "folders", "a pattern with ** looks into them")
LINK = Kind("linked folder", "linked folders", "not followed")
LOOP = Kind("link in a circle", "links in a circle")
SPECIAL = Kind("pipe, socket or device", "pipes, sockets or devices")
HIDDEN_FILE = Kind("hidden file", "hidden files")
HIDDEN_FOLDER = Kind("hidden folder", "hidden folders")
OTHER = Kind("other file", "other files")
_ORDER = (
    HEIF, RAW, OTHER_PICTURE, VIDEO, FOLDER, LINK, LOOP, SPECIAL, HIDDEN_FILE, HIDDEN_FOLDER, OTHER,
)  # fmt: skip


def kind_of(name: str) -> Kind:
    """Return the kind of a file that is no picture, by its suffix."""
    return next((kind for kind in _ORDER if _suffix(name) in kind.suffixes), OTHER)


class Passed:
    """Collect the files and folders that a search for targets passed over."""

    def __init__(self) -> None:
        self._kinds: dict[str, Kind] = {}  # path -> kind

    def add(self, path: str | os.PathLike[str], kind: Kind) -> None:
        """Record a path that was passed over."""
        self._kinds[os.path.abspath(path)] = kind

    def take(self, path: str | os.PathLike[str]) -> None:
        """Forget a path that became a target after all."""
        self._kinds.pop(os.path.abspath(path), None)

    def __len__(self) -> int:
        return len(self._kinds)

    def __str__(self) -> str:
        """List all kinds: '3 HEIC (pip install "insid3[heif]" reads them), 2 hidden files'."""
        return ", ".join(told for kind in _ORDER if (told := self._told(kind)))

    def _told(self, kind: Kind) -> str:
        suffixes = Counter(_suffix(path) for path, its in self._kinds.items() if its == kind)
        if not suffixes:
            return ""
        count, remedy = suffixes.total(), kind.remedy
        counts = f"{count} {kind.one if count == 1 else kind.many}"
        if not kind.one:
            counts = ", ".join(f"{count} {suffix[1:].upper()}" for suffix, count in sorted(suffixes.items()))
        if kind is OTHER:
            often = sorted(suffixes, key=lambda suffix: (-suffixes[suffix], suffix))[:_SHOWN]
            shown = sorted(suffix or "no suffix" for suffix in often)
            remedy = ", ".join([*shown, *["..."][: len(suffixes) > _SHOWN]])
        return f"{counts} ({remedy})" if remedy else counts


def _suffix(path: str) -> str:
    return PurePath(path).suffix.lower()

"""File names that every disk and every annotation format can take."""

import hashlib
import re
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from insid3.imaging.read import SUFFIXES

if TYPE_CHECKING:
    from insid3.label_map import Label

_MOST = 255  #: bytes of a file name, on nearly every disk
# The longest ending of a result is `.<concept>_overlay.jpg` with a number that tells two concepts apart.
_CONCEPT, _ENDINGS = 56, 75
_HASH = 10  #: hex digits
_PLAIN = re.compile(r"[ !#-)+-.0-9;=@-[\]-{}~]*")  # ASCII without odd characters
_RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³]|con(in|out)\$|clock\$) *(\..*)?", re.IGNORECASE)


def safe_name(name: str) -> str:
    """Return a relative path (with slashes) of which disks, Windows and annotation formats can take every part.

    Percent escapes replace control characters, bytes that are not text, and what Windows reserves: `<>:"|?*`, a
    backslash, a dot or a blank at the end, names such as NUL or com1.txt. A part that is too long is cut and ends in a
    hash of the whole part; the suffix of a picture stays. The last part leaves room for the endings of results. An
    ordinary name and a name that this function made stay as they are. Two different names never become one.

    >>> safe_name("a/what?.jpg")
    'a/what%3F.jpg'
    """
    *folders, last = name.split("/")
    return "/".join([*(_safe(part, _MOST) for part in folders), _safe(last, _MOST - _ENDINGS)])


def slugs(labels: "Sequence[Label]") -> list[str]:
    """Return the names of concepts as parts of file names (letters, digits, `_` and `-`), no two alike."""
    found: list[str] = []
    for i, label in enumerate(labels):
        slug = re.sub(r"[^\w-]+", "_", "".join("_" if _is_odd(c) else c for c in label.name)) or "_"
        slug = _shortened(slug, _CONCEPT, label.name)
        while slug.casefold() in {other.casefold() for other in found}:
            slug += f"_{i + 1}"
        found.append(slug)
    return found


def exists(path: Path) -> bool:
    """Tell whether a path exists; a name that no disk can hold does not."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _safe(part: str, most: int) -> str:
    odd = set() if _PLAIN.fullmatch(part) else {i for i, character in enumerate(part) if _is_odd(character)}
    if part.endswith((".", " ")):
        odd.add(len(part) - 1)
    if _RESERVED.fullmatch(part):
        odd.add(len(re.split(r" *(\.|$)", part)[0]) - 1)
    if odd:  # percent signs are escaped too, so that no other name leads to the same result
        odd |= {i for i, character in enumerate(part) if character == "%"}
    escaped = "".join(_escape(character) if i in odd else character for i, character in enumerate(part))
    return _shortened(escaped, most, part)


def _shortened(part: str, most: int, origin: str) -> str:
    if len(part.encode()) <= most:
        return part
    suffix = PurePosixPath(part).suffix
    suffix = suffix if suffix.lower() in SUFFIXES else ""
    digest = hashlib.sha256(origin.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH]
    left = most - len(f"~{digest}{suffix}")
    kept = part.encode()[:left].decode(errors="ignore")
    return f"{re.sub(r'%[0-9A-F]?$', '', kept)}~{digest}{suffix}"


def _is_odd(character: str) -> bool:
    if character in '<>:"|?*\\' or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
        return True
    try:
        character.encode(sys.getfilesystemencoding())
    except UnicodeEncodeError:
        return True
    return False


def _escape(character: str) -> str:
    try:
        raw = character.encode("utf-8", "surrogateescape")  # a byte of a name that is not UTF-8
    except UnicodeEncodeError:
        raw = character.encode("utf-8", "surrogatepass")
    return "".join(f"%{byte:02X}" for byte in raw)

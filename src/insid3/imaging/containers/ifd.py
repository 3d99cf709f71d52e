"""Directories of TIFF files; EXIF data are such a directory, too."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

_FORMS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}  # of whole numbers
_SIZES = {2: 1, 5: 8, 7: 1, 10: 8, 11: 4, 12: 8} | {kind: struct.calcsize(form) for kind, form in _FORMS.items()}


@runtime_checkable
class Seekable(Protocol):
    """A file that can be read at any place."""

    def read(self, size: int = ..., /) -> bytes: ...
    def seek(self, offset: int, whence: int = ..., /) -> int: ...


@dataclass(frozen=True)
class Entry:
    """An entry of a directory.

    Attributes:
        raw: bytes of the entry in the directory.
        first: the first number; None if there is none, or something else.
        inside: the data lie within the file.
    """

    raw: bytes
    first: int | None = None
    inside: bool = True


@dataclass(frozen=True)
class Directory:
    """The first directory of a TIFF file.

    Attributes:
        entries: by tag.
        order: of bytes, "<" or ">".
        big: the file is a BigTIFF.
        whole: the file holds the complete directory.
        start, end: place of the directory in the file, in bytes.
    """

    entries: Mapping[int, Entry]
    order: str = "<"
    big: bool = False
    whole: bool = True
    start: int = 0
    end: int = 0

    def number(self, tag: int, default: int = 0) -> int:
        """Return the first number of a tag, or `default` if there is none."""
        entry = self.entries.get(tag)
        return default if entry is None or entry.first is None else entry.first

    def with_only(self, tags: frozenset[int], changed: Mapping[int, int]) -> bytes:
        """Return the directory's bytes, at their length, with `tags` only and with no directory to follow.

        Args:
            changed: 16-bit numbers for some of the tags.
        """
        kept = [self._set(tag, entry.raw, changed) for tag, entry in self.entries.items() if tag in tags]
        count = struct.pack(self.order + ("Q" if self.big else "H"), len(kept))
        return (count + b"".join(kept)).ljust(self.end - self.start, b"\0")

    def _set(self, tag: int, raw: bytes, changed: Mapping[int, int]) -> bytes:
        if tag not in changed:
            return raw
        form, wide = ("HHQ", 20) if self.big else ("HHI", 12)
        return (struct.pack(self.order + form, tag, 3, 1) + struct.pack(self.order + "H", changed[tag])).ljust(
            wide, b"\0"
        )


def read_directory(file: Seekable, size: int) -> Directory | None:
    """Return the first directory of a TIFF file of `size` bytes; None if none can be read."""
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        return None
    version = struct.unpack_from(order + "H", head, 2)[0]
    if version not in (42, 43) or (version == 43 and len(head) < 16):
        return None
    big = version == 43
    at = struct.unpack_from(order + "Q", head, 8)[0] if big else struct.unpack_from(order + "I", head, 4)[0]
    if at + 2 > size:
        return None
    file.seek(at)
    count = struct.unpack(order + "Q", file.read(8).ljust(8, b"\0"))[0] if big else _short(file.read(2), order)
    wide = 20 if big else 12
    fits = min(count, (size - at) // wide, 65535)
    data = file.read(fits * wide)
    entries: dict[int, Entry] = {}
    for start in range(0, len(data) - wide + 1, wide):
        raw = data[start : start + wide]
        tag = struct.unpack_from(order + "H", raw)[0]
        entries.setdefault(tag, _entry(file, size, raw, order, big))
    end = at + (8 if big else 2) + len(data) + (8 if big else 4)  # includes the pointer to the next directory
    return Directory(entries, order, big, len(data) == count * wide, at, min(end, size))


def _short(data: bytes, order: str) -> int:
    return int(struct.unpack(order + "H", data.ljust(2, b"\0"))[0])


def _entry(file: Seekable, size: int, raw: bytes, order: str, big: bool) -> Entry:
    kind, count = struct.unpack_from(order + ("HQ" if big else "HI"), raw, 2)
    length, room = count * _SIZES.get(kind, 1), 8 if big else 4
    data = raw[-room:]
    if length > room:
        at = struct.unpack(order + ("Q" if big else "I"), data)[0]
        if at + length > size:
            return Entry(raw, inside=False)
        file.seek(at)
        data = file.read(8)
    form = _FORMS.get(kind)
    if form is None or not count:
        return Entry(raw)
    return Entry(raw, struct.unpack_from(order + form, data.ljust(8, b"\0"))[0])

"""Checks that a video file ends where its own structure says, and counts of the frames that are missing."""

import os
from collections.abc import Callable, Sequence
from enum import Enum, auto
from pathlib import Path
from typing import BinaryIO

import numpy as np

from insid3.video.order import Packet

_TELL_THEIR_LENGTH = ("matroska", "flv", "asf", "mov")  # containers whose header holds the length of the video
_TAGS = (8, 9, 18)  # kinds of FLV tags: sound, pictures, data
_MANY = 1_000_000  # parts of a file that are read at most


class Ending(Enum):
    """The end of a file."""

    WHOLE = auto()  #: at the place that the file declares
    SHORT = auto()  #: before that place
    UNKNOWN = auto()  #: the file declares no place


def ending_of(path: Path, container: str) -> tuple[Ending, int]:
    """Return the kind of a file's end, and the number of videos that are joined in the file, if this can be told.

    Args:
        container: FFmpeg's name for the container.

    Raises:
        OSError: the file cannot be read.
    """
    looks = next((look for name, look in _LOOKS.items() if name in container.split(",")), None)
    if looks is None:
        return Ending.UNKNOWN, 1
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        return looks(file, size)


def missing_frames(
    ending: Ending,
    container: str,
    told: int,
    packets: Sequence[Packet],
    left: float,
    seconds: Sequence[float],
    rate: float,
) -> int | None:
    """Return the number of frames that are missing at a file's end; None if the number is not known.

    Args:
        told: number of frames by the header, with hidden and empty ones; 0: the header has no number.
        packets: packets that the file holds.
        left: seconds from the end of the last packet of any stream to the end of the video by its header.
        seconds: times of the frames that the file holds.
        rate: frames per second by the header.
    """
    names, held, short = container.split(","), len(seconds), ending is Ending.SHORT
    fragmented = "mov" in names and not told
    if ending is Ending.WHOLE and not fragmented:
        return 0
    if short and told and "mov" in names:
        return max(0, told - len(packets))
    if short and told and "avi" in names:
        return max(0, told - 1 - max((packet.dts for packet in packets if packet.dts is not None), default=-1))
    if left > 0 and any(name in _TELL_THEIR_LENGTH for name in names):
        if not short and left <= max(1.0, 0.01 * (seconds[-1] + left)):
            return 0
        step = float(np.median(np.diff(seconds))) if held > 1 else float(1 / rate)
        if abs(step * rate - 1) < 0.1:  # counts frames missing between the last ones, too
            return max(0, round((seconds[-1] + step + left) * rate) - held)
        return round(left / step)
    return None if short and "matroska" not in names else 0


def _at(place: int, size: int) -> Ending:
    return Ending.SHORT if place > size else Ending.WHOLE


def _mov(file: BinaryIO, size: int) -> tuple[Ending, int]:
    """Walk the boxes of MP4 and its relatives; each box has a length, and one is the index."""
    at, files = 0, 0
    for _ in range(_MANY):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return Ending.SHORT if head else Ending.WHOLE, files
        files += head[4:8] == b"moov"
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8:  # 0: the box reaches to the end of the file
            break
        at += length
        if at >= size:  # only these boxes hold frames
            return _at(at, size) if head[4:8] in (b"mdat", b"moof") else Ending.WHOLE, files
    return Ending.UNKNOWN, files


def _avi(file: BinaryIO, size: int) -> tuple[Ending, int]:
    """Walk the RIFF lists of AVI; a list that was not closed has the length 0."""
    at, files = 0, 0
    for _ in range(_MANY):
        file.seek(at)
        head = file.read(12)
        if head[:4] != b"RIFF":
            return Ending.WHOLE if at else Ending.UNKNOWN, files
        files += head[8:] == b"AVI "
        length = int.from_bytes(head[4:8], "little")
        if length in (0, 2**32 - 1):
            break
        at += 8 + length
        if at >= size:
            return _at(at, size), files
        at += length % 2
    return Ending.UNKNOWN, files


def _matroska(file: BinaryIO, size: int) -> tuple[Ending, int]:
    """Walk header and segment of Matroska, each with a length, which is open in live streams."""
    for files in range(_MANY):
        for kind in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"):
            found, length = file.read(4), _length(file)
            if found != kind:
                return Ending.WHOLE if files else Ending.UNKNOWN, files
            if length is None:
                return Ending.UNKNOWN, files + 1
            file.seek(length, os.SEEK_CUR)
        if file.tell() >= size:
            return _at(file.tell(), size), files + 1
    return Ending.UNKNOWN, _MANY


def _length(file: BinaryIO) -> int | None:
    """Read a length of EBML; None if the length is open or cut off."""
    first = file.read(1)
    width = 9 - first[0].bit_length() if first and first[0] else 9
    rest = file.read(width - 1)
    if width > 8 or len(rest) < width - 1:
        return None
    length = int.from_bytes(bytes([first[0] & (0xFF >> width)]) + rest, "big")
    return None if length == 2 ** (7 * width) - 1 else length


def _flv(file: BinaryIO, size: int) -> tuple[Ending, int]:
    """Walk the tags of FLV, each with its length before and after it; a whole file may end after any tag."""
    at, files = 0, 0
    for _ in range(_MANY):
        file.seek(at)
        head = file.read(11)
        if head[:3] == b"FLV" and len(head) >= 9:
            files += 1
            at += int.from_bytes(head[5:9], "big") + 4
        elif len(head) == 11 and head[0] & 0x1F in _TAGS and not any(head[8:]):
            at += 15 + int.from_bytes(head[1:4], "big")
        else:
            break
        if at >= size:
            return Ending.SHORT if at > size else Ending.UNKNOWN, files
    return Ending.UNKNOWN, files


def _gif(file: BinaryIO, size: int) -> tuple[Ending, int]:
    """Walk the blocks of a GIF: extensions, pictures, and the trailer, which some writers leave out."""
    head = file.read(13)
    file.seek(13 + _colours(head[10:11]))
    kind = b"!"
    for _ in range(_MANY):
        before, kind = kind, file.read(1)
        if kind == b";" or (kind not in (b"!", b",") and before == b","):
            return Ending.WHOLE, 1
        if kind == b"!":
            file.seek(1, os.SEEK_CUR)
        elif kind == b",":
            place = file.read(9)
            file.seek(_colours(place[8:]) + 1, os.SEEK_CUR)  # + 1: the code size
        else:
            return Ending.UNKNOWN if kind else Ending.SHORT, 1
        if not _skip(file, size):
            return Ending.SHORT, 1
    return Ending.UNKNOWN, 1


def _colours(flags: bytes) -> int:
    """Return the size in bytes of the table of colours that the flags of a GIF's header or picture declare."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 128 else 0


def _skip(file: BinaryIO, size: int) -> bool:
    """Skip a GIF's blocks of data and the zero at their end; False if the file ends before."""
    while length := file.read(1):
        if length == b"\0":
            return True
        if file.seek(length[0], os.SEEK_CUR) > size:
            return False
    return False


def _png(file: BinaryIO, size: int) -> tuple[Ending, int]:
    """Walk the chunks of an animated PNG, each with a length."""
    at = 8
    for _ in range(_MANY):
        file.seek(at)
        head = file.read(8)
        at += 12 + int.from_bytes(head[:4], "big")
        if len(head) < 8 or at > size:
            return Ending.SHORT, 1
        if head[4:] == b"IEND":
            return Ending.WHOLE, 1
    return Ending.UNKNOWN, 1


_LOOKS: dict[str, Callable[[BinaryIO, int], tuple[Ending, int]]] = {
    "mov": _mov, "avi": _avi, "matroska": _matroska, "flv": _flv, "gif": _gif, "apng": _png,
}  # fmt: skip

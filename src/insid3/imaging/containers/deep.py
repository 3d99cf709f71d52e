"""PGM, PPM and JPEG 2000: formats of which Pillow returns fewer bits than they have."""

import re
import struct

import numpy as np
from jaxtyping import Shaped

from insid3.checks.parsing import Flaw
from insid3.imaging.containers.base import Container, Pieces

_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"
_NETPBM = re.compile(rb"P([2356])" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,5})\s")
_HEAD = 2**16  # bytes that a header may have, comments included


def read_netpbm(file: Pieces) -> Container:
    """Return the container of a PGM or PPM."""
    found = _header(file)
    if found is None or int(found[4]) < 256:
        return Container(file)
    top, channels = int(found[4]), 3 if found[1] in b"36" else 1
    return Container(file, "PPM", file, b"", bits=top.bit_length(), channels=channels, top=top)


def netpbm_values(file: Pieces) -> Shaped[np.ndarray, "H W c"]:
    """Return the values of a PGM or PPM of two bytes each.

    Raises:
        Flaw: a text file holds something other than numbers.
        ValueError: the file is cut short.
    """
    found = _header(file)
    assert found is not None
    shape = int(found[3]), int(found[2]), 3 if found[1] in b"36" else 1
    file.seek(found.end())
    if found[1] in b"56":
        values = np.frombuffer(file.read(2 * int(np.prod(shape))), ">u2")
    else:
        text = re.sub(rb"#[^\r\n]*", b"", file.read())
        if not re.fullmatch(rb"[\d\s]*", text):
            raise Flaw("it holds something other than numbers")
        values = np.fromstring(text.decode("ascii"), np.uint16, sep=" ")[: int(np.prod(shape))]
    return values.reshape(shape)


def _header(file: Pieces) -> re.Match[bytes] | None:
    file.seek(0)
    return _NETPBM.match(file.read(_HEAD))


def read_jpeg2000(file: Pieces) -> Container:
    """Return the container of a JPEG 2000."""
    file.seek(0)
    head = file.read(2**20)
    at = head.find(b"\xff\x4f\xff\x51") + 4  # behind the markers of the code stream and of its sizes
    if at < 4 or at + 39 > len(head):
        return Container(file)
    (channels,) = struct.unpack_from(">H", head, at + 36)
    bits = (head[at + 38] & 127) + 1
    return Container(file, "JPEG2000", file, b"", bits=bits, channels=channels, top=2**bits - 1 if bits > 8 else 0)

"""Broken and hostile videos: containers, streams and codecs, whole ones joined with others, and animated pictures."""

import random
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from clips import encode_film, numbered, with_cover, with_matrix
from insid3.errors import ImageError
from insid3.video.animation import is_animated
from insid3.video.clip import Clip
from insid3.video.film import film

KIND = "videos"
_FILMS: dict[str, tuple[str, dict[str, str]]] = {
    "a.mp4": ("libx264", {}), "b.mp4": ("mpeg4", {}), "c.mp4": ("libx265", {}), "a.mov": ("png", {"pixels": "rgb24"}),
    "a.mkv": ("libx264", {}), "a.webm": ("libvpx-vp9", {}), "b.webm": ("libvpx", {}), "b.mkv": ("ffv1", {}),
    "a.avi": ("mpeg4", {}), "b.avi": ("mjpeg", {"pixels": "yuvj420p"}), "c.avi": ("libx264", {}),
    "a.ts": ("libx264", {}), "b.ts": ("mpeg2video", {}), "a.mpg": ("mpeg2video", {}), "a.flv": ("libx264", {}),
    "a.wmv": ("wmv2", {}), "a.nut": ("libx264", {}), "a.h264": ("libx264", {}), "a.h265": ("libx265", {}),
    "a.m4v": ("mpeg4", {}), "a.gif": ("gif", {"pixels": "rgb8"}), "a.apng": ("apng", {"pixels": "rgb24"}),
}  # fmt: skip
_NUMBERS = (0, 1, 2, 0x7F, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63, 2**64 - 1)
_NAMES = (b"avc1", b"hvc1", b"mp4v", b"moov", b"trak", b"tkhd", b"elst", b"stsz", b"stco", b"stts", b"ctts", b"stsd",
          b"RIFF", b"strh", b"strf", b"idx1", b"movi", b"\x1a\x45\xdf\xa3", b"\xa3", b"\xae", b"\xe0", b"FLV", b"ANMF",
          b"acTL", b"fcTL", b"\0\0\1\xba", b"\0\0\1\xe0", b"#EXTM3U", b"ffconcat version 1.0")  # fmt: skip
_FRAMES = 40  #: that are read of one file, at most


def attempts(folder: Path, seed: int, count: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what was done to a video, and a call that reads its frames, or writes some of them as a film."""
    whole = {file.name: file.read_bytes() for file in _made(folder)}
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        name, other = rng.choice(sorted(whole)), rng.choice(sorted(whole))
        data, done = whole[name], list[str]()
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            change = rng.choice(_CHANGES)
            data = change(data, rng, whole[other])
            done.append(change.__name__.strip("_"))
        suffix = Path(name).suffix if rng.random() < 0.9 else Path(other).suffix
        path = folder / f"{number}{suffix}"
        path.write_bytes(data)
        yield f"{name} {' '.join(done)}", lambda path=path: _read(path)  # type: ignore[misc]


def _read(path: Path) -> None:
    is_animated(path)
    clip = Clip(path)
    assert len(clip.moments) >= 1
    assert clip.expected >= len(clip.moments)
    times = [moment.time for moment in clip.moments]
    assert all(np.isfinite(times))
    assert all(later > earlier for earlier, later in pairwise(times))
    assert clip.length > times[-1]
    clip.at(Fraction(1))
    wanted = range(min(_FRAMES, len(clip.moments)))
    shown, found = [], []
    for index, picture in clip.pictures(wanted):
        found.append(index)
        if not isinstance(picture, ImageError):
            assert picture.ndim == 3
            shown.append((times[index], picture[:64, :64]))
    assert found == list(wanted)
    if clip.is_cut_off:
        assert clip.missing()
    if len(shown) > 1:
        film(path.with_suffix(".film.mp4"), [(time - shown[0][0], picture) for time, picture in shown[:4]], clip.rate,
             clip.aspect)  # fmt: skip


def _made(folder: Path) -> Iterator[Path]:
    """Make small videos of every kind."""
    whole = folder / "whole"
    whole.mkdir(parents=True, exist_ok=True)
    for name, (codec, how) in _FILMS.items():
        yield encode_film(whole / name, numbered(12, (64, 96)), codec, **how)  # type: ignore[arg-type]
    yield encode_film(whole / "f.mp4", numbered(12, (64, 96)), muxing={"movflags": "frag_keyframe+empty_moov"})
    yield with_cover(whole / "cover.mp4", numbered(6, (64, 96)))
    yield with_matrix(encode_film(whole / "turned.mp4", numbered(6, (64, 96))), 0, 1, 1, 0)
    first, *rest = (Image.fromarray(picture) for picture in numbered(8, (64, 96)))
    first.save(whole / "a.webp", save_all=True, append_images=rest, duration=100, lossless=True)
    yield whole / "a.webp"


def _flipped(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Flip some bits anywhere."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 3, 20, 100))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _header(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Put an extreme number near the beginning or the end, where indices are."""
    width, near = rng.choice((1, 2, 4, 8)), rng.choice((64, 600, 3000))
    number = (rng.choice(_NUMBERS) % 256**width).to_bytes(width, rng.choice(("big", "little")))
    at = rng.randrange(near) if rng.random() < 0.6 else max(0, len(data) - rng.randrange(1, near))
    return data[:at] + number + data[at + width :]


def _named(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Change the numbers after the name of a box or chunk, or the name."""
    places = [(data.find(name), name) for name in _NAMES if name in data]
    if not places:
        return _header(data, rng, other)
    at, name = rng.choice(places)
    if rng.random() < 0.3:
        return data[:at] + rng.choice(_NAMES)[:4].ljust(4, b"\0") + data[at + 4 :]
    at += len(name) + rng.randrange(40) - 4 * (rng.random() < 0.2)
    return data[:at] + struct.pack(">I", rng.choice(_NUMBERS) % 2**32) + data[at + 4 :]


def _cut(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Keep only the beginning, or only the end."""
    at = rng.randrange(len(data) + 1)
    return data[:at] if rng.random() < 0.7 else data[at:]


def _joined(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Append the file itself or another one."""
    return data + rng.choice((data, other, other[: len(other) // 2], bytes(1000)))


def _blanked(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Overwrite a stretch with zeros or noise."""
    at, length = rng.randrange(len(data) + 1), rng.choice((4, 60, 400))
    return data[:at] + (bytes(length) if rng.random() < 0.5 else rng.randbytes(length)) + data[at + length :]


def _spliced(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Replace a piece by one of another file."""
    start, end = sorted(rng.randrange(len(other) + 1) for _ in range(2))
    at = rng.randrange(len(data) + 1)
    return data[:at] + other[start:end] + data[at + end - start :]


def _repeated(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Repeat or drop a piece."""
    start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:end] + data[start:end] * rng.choice((0, 1, 5)) + data[end if rng.random() < 0.5 else start :]


_CHANGES: tuple[Callable[[bytes, random.Random, bytes], bytes], ...] = (
    _flipped, _header, _header, _named, _named, _named, _cut, _joined, _blanked, _spliced, _repeated,
)  # fmt: skip

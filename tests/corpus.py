"""Damaged and hostile picture files for the fuzz tests: as a module their maker, as a program the process they run in.

    python -W error corpus.py PICTURE COUNT SEED FOLDER

reads COUNT inputs as picture and as mask, with a gigabyte to grow by and 20 seconds for each, and prints what came of
them. Anything but an error of this package ends it; the input that did it is then in FOLDER.
"""

import json
import logging
import os
import random
import re
import resource
import signal
import struct
import subprocess
import sys
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image, features

from crafted import chunk, exif, png
from insid3.errors import ImageError, MaskError
from insid3.images import read_image, read_mask

SIDE = (40, 56)
_NUMBERS = (0, 1, 2, 3, 7, 255, 256, 4096, 32767, 32768, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


def files(picture: Path) -> dict[str, bytes]:
    """Small sound files of every kind that is read, by what they are."""
    photo = Image.open(picture).convert("RGB").resize(SIDE[::-1])
    grey, palette = photo.convert("L"), photo.quantize(16)
    mask = grey.point(lambda value: 255 * (value > 127))
    deep = Image.fromarray(np.asarray(grey, np.uint16) * 257)
    alpha = photo.copy()
    alpha.putalpha(mask)
    turned = Image.Exif()
    turned[0x0112], turned[0x010E] = 6, "a description"

    made: dict[str, bytes] = {}

    def add(name: str, image: Image.Image, kind: str, frames: bool = False, **options: Any) -> None:
        file = BytesIO()
        if frames:
            options |= {"save_all": True, "append_images": [image.rotate(90), image.rotate(180)]}
        image.copy().save(file, kind, **options)  # of a copy: some encoders leave their settings behind
        made[name] = file.getvalue()

    add("PNG RGB", photo, "PNG", exif=turned)
    add("PNG L", mask, "PNG")
    add("PNG 1", mask.convert("1"), "PNG")
    add("PNG P", palette, "PNG")
    add("PNG P transparent", palette, "PNG", transparency=bytes(range(0, 256, 16)))
    add("PNG RGBA", alpha, "PNG")
    add("PNG LA", alpha.convert("LA"), "PNG")
    add("PNG 16 bit", deep, "PNG")
    twelve = np.asarray(photo, np.uint16) * 16
    made["PNG 16 bit RGB"] = png(twelve)
    made["PNG 16 bit LA"] = png(twelve[..., :2], before=[chunk(b"eXIf", exif(6)), chunk(b"tEXt", b"a\0b")])
    made["PPM 16 bit"] = b"P6\n%d %d\n65535\n" % photo.size + twelve.astype(">u2").tobytes()
    add("PNG animated", photo, "PNG", frames=True)
    add("JPEG RGB", photo, "JPEG", exif=turned)
    add("JPEG L", mask, "JPEG", quality=95)
    add("JPEG CMYK", photo.convert("CMYK"), "JPEG")
    add("JPEG progressive", photo, "JPEG", progressive=True, subsampling=0)
    add("JPEG restarts", photo, "JPEG", restart_marker_rows=1)
    add("JPEG several", photo, "MPO", frames=True)
    add("WebP lossy", photo, "WEBP", exif=turned)
    add("WebP lossless", alpha, "WEBP", lossless=True)
    add("WebP animated", photo, "WEBP", frames=True)
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        add(f"TIFF RGB {compression}", photo, "TIFF", compression=compression, exif=turned)
    add("TIFF L", mask, "TIFF", compression="tiff_lzw")
    add("TIFF 1 fax", mask.convert("1"), "TIFF", compression="group4")
    add("TIFF P", palette, "TIFF")
    add("TIFF CMYK", photo.convert("CMYK"), "TIFF", compression="tiff_lzw")
    add("TIFF 16 bit", deep, "TIFF")
    add("TIFF 16 bit deflate", deep, "TIFF", compression="tiff_adobe_deflate")
    add("TIFF float", grey.convert("F"), "TIFF")
    add("TIFF pages", photo, "TIFF", compression="tiff_lzw", frames=True)
    add("TIFF big", photo, "TIFF", big_tiff=True)
    tiffs: dict[str, dict[str, Any]] = {
        "16 bit RGB": {"compression": "lzw"},
        "16 bit planes": {"planarconfig": "separate"},
        "map": {"extratags": [(34735, "H", 4, (1, 1, 0, 0), True)]},
    }
    for name, options in tiffs.items():
        file = BytesIO()
        values = np.moveaxis(twelve, -1, 0) if "planarconfig" in options else twelve
        tifffile.imwrite(file, values, photometric="rgb", metadata=None, **options)
        made[f"TIFF {name}"] = file.getvalue()
    file = BytesIO()
    tifffile.imwrite(file, np.asarray(mask), photometric="miniswhite", metadata=None)
    made["TIFF white is zero"] = file.getvalue()
    add("GIF", palette, "GIF")
    add("GIF mask", mask, "GIF")
    add("GIF animated", photo, "GIF", frames=True)
    for name, image in (("RGB", photo), ("L", mask), ("P", palette), ("1", mask.convert("1")), ("RGBA", alpha)):
        add(f"BMP {name}", image, "BMP")
    made["BMP RLE"] = _run_length_bmp()
    add("PPM", photo, "PPM")
    add("PGM 16 bit", deep, "PPM")
    made["PGM plain"] = b"P2\n4 3\n255\n" + b" ".join(b"%d" % value for value in range(12)) + b"\n"
    if features.check("jpg_2000"):
        add("JPEG 2000", photo, "JPEG2000")
    if "avif" in features.modules and features.check("avif"):
        add("AVIF", photo, "AVIF", speed=10)
    return made


def inputs(picture: Path, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """`count` inputs, always the same for a seed: what was done to which file, and the result."""
    rng = random.Random(seed)
    sound = files(picture)
    for _ in range(count):
        name = rng.choice(list(sound))
        data = sound[name]
        if rng.random() < 0.08:
            magic = rng.choice([b"", data[: rng.choice((4, 12, 30))]])
            yield f"random bytes after {len(magic)} of {name}", magic + rng.randbytes(rng.choice((1, 20, 600, 9000)))
            continue
        done = []
        for _ in range(rng.choice((1, 1, 2, 4))):
            change = rng.choice(_CHANGES)
            data = change(data, rng, rng.choice(list(sound.values())))
            done.append(change.__name__.strip("_"))
        if data[:4] == b"\x89PNG" and rng.random() < 0.7:
            data = _with_checksums(data)  # without them no change of a header gets past the reader's first check
        yield f"{name}: {', '.join(done)}", data or b"\0"


def _flipped(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Some bits anywhere."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 3, 20))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """The beginning only."""
    return data[: rng.randrange(len(data) + 1)]


def _header(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """A telling number near the beginning, where sizes, counts and offsets are."""
    width = rng.choice((1, 2, 4))
    number = rng.choice(_NUMBERS) % 256**width
    at = rng.randrange(rng.choice((32, 64, 400)))
    return data[:at] + number.to_bytes(width, rng.choice(("big", "little"))) + data[at + width :]


def _sized(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Another width or height, up to what the limit on pixels just lets pass and beyond."""
    places = [
        (match.start(), form)
        for form in ("<H", ">H", "<I", ">I")
        for side in SIDE
        for match in re.finditer(re.escape(struct.pack(form, side)), data)
    ]
    if not places:
        return data
    at, form = rng.choice(places)
    number = struct.pack(form, rng.choice((1, 41, 3000, 30000, 65535, 65535 if form[1] == "H" else 2_000_000)))
    return data[:at] + number + data[at + len(number) :]


def _tail(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """A telling number near the end, where TIFF files that Pillow writes keep their directory."""
    width = rng.choice((1, 2, 4))
    at = max(0, len(data) - rng.randrange(width, 300))
    return data[:at] + (rng.choice(_NUMBERS) % 256**width).to_bytes(width, "little") + data[at + width :]


def _repeated(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """A piece twice or more, in place."""
    start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:end] + data[start:end] * rng.choice((1, 2, 10)) + data[end:]


def _dropped(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """A piece missing."""
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.choice((1, 2, 8, 100)) :]


def _spliced(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """A piece of another file in its place."""
    start, end = sorted(rng.randrange(len(other) + 1) for _ in range(2))
    at = rng.randrange(len(data) + 1)
    return data[:at] + other[start:end] + data[at + end - start :]


def _chunked(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """A whole chunk or segment twice, or moved to the front."""
    pieces = _chunks(data)
    if len(pieces) < 3:
        return _repeated(data, rng, other)
    piece = rng.choice(pieces[1:])
    pieces.insert(rng.randrange(1, len(pieces)), piece)
    if rng.random() < 0.5:
        pieces.remove(piece)
    return b"".join(pieces)


_CHANGES: tuple[Callable[[bytes, random.Random, bytes], bytes], ...] = (
    _flipped,
    _cut,
    _header,
    _header,
    _sized,
    _tail,
    _repeated,
    _dropped,
    _spliced,
    _chunked,
)


def _chunks(data: bytes) -> list[bytes]:
    """Signature and chunks of a PNG, signature and segments of a JPEG, whatever is left in the last."""
    png = data[:4] == b"\x89PNG"
    if not png and data[:2] != b"\xff\xd8":
        return [data]
    pieces, at = [data[: 8 if png else 2]], 8 if png else 2
    while at + 12 <= len(data) and (png or (data[at] == 0xFF and data[at + 1] != 0xDA)):
        size = (
            12 + struct.unpack(">I", data[at : at + 4])[0] if png else 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
        )
        pieces.append(data[at : at + size])
        at += size
    return [*pieces, data[at:]]


def _with_checksums(data: bytes) -> bytes:
    pieces = _chunks(data)
    return pieces[0] + b"".join(
        piece[:-4] + struct.pack(">I", zlib.crc32(piece[4:-4])) if len(piece) >= 12 else piece for piece in pieces[1:]
    )


def _run_length_bmp() -> bytes:
    """8 x 4 pixels, compressed, which Pillow reads but does not write."""
    pixels = b"".join(bytes((8, row, 0, 0)) for row in range(4)) + b"\0\1"
    palette = b"".join(bytes((level, level, level, 0)) for level in range(256))
    offset = 14 + 40 + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, 8, 4, 1, 8, 1, len(pixels), 2835, 2835, 256, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + header + palette + pixels


def run(picture: Path, count: int, seed: int, folder: Path) -> dict[str, int]:
    """Start this file as a program, see above; its account of the inputs."""
    command = [sys.executable, "-W", "error", __file__, str(picture), str(count), str(seed), str(folder)]
    child = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert child.returncode == 0, f"ended with {child.returncode}: {child.stdout[-300:]}{child.stderr[-3000:]}"
    assert child.stderr == ""
    account = json.loads(child.stdout)
    assert account["images accepted"] + account["images refused"] == count
    assert account["masks accepted"] + account["masks refused"] == count
    return account


def _main(picture: Path, count: int, seed: int, folder: Path) -> None:
    warnings.filterwarnings("ignore", "(?s).*(was stretched|was resized|zero is white)")  # ours, and no complaint
    for index, data in enumerate(files(picture).values()):  # loads every decoder
        path = folder / f"sound-{index}"
        path.write_bytes(data)
        read_image(path)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    allowed = int(status["VmSize"].split()[0]) * 1024 + 2**30
    resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
    for name in ("PIL", "tifffile"):  # they log some of what they then raise
        logging.getLogger(name).addHandler(logging.NullHandler())
    # Pillow lets libtiff print its complaints and nothing in Python can stop it: Python's own errors go another way.
    errors, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    sys.stderr = os.fdopen(errors, "w", buffering=1, closefd=False)
    account: Counter[str] = Counter()
    for index, (name, data) in enumerate(inputs(picture, count, seed)):
        path = folder / f"input-{index}"
        path.write_bytes(data)
        os.dup2(nowhere if data[:2] in (b"II", b"MM") else errors, 2)
        for kind in ("image", "mask"):
            signal.alarm(20)  # with no handler: an exception of ours would look like one of the decoder's
            try:
                if kind == "image":
                    read_image(path)
                else:
                    read_mask(path, SIDE, label=(None, "any", 1)[index % 3])
                account[f"{kind}s accepted"] += 1
            except ImageError as error:
                account[f"{kind}s refused"] += 1
                if (type(error) is MaskError) != (kind == "mask") or str(path) not in str(error):
                    raise AssertionError(f"input {index} ({name}) is refused by the wrong words") from error
                if isinstance(error.__cause__ and (error.__cause__.__cause__ or error.__cause__), MemoryError):
                    raise AssertionError(f"input {index} ({name}) takes more than a gigabyte") from error
            except BaseException as error:
                error.add_note(f"input {index} ({name})")
                raise
            signal.alarm(0)
        path.unlink()
    json.dump(account, sys.stdout)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))

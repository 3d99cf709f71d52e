"""Maker of damaged and hostile picture files, which are read as pictures."""

import io
import random
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image, features

from crafted import chunk, encoded, exif, png
from insid3.batch.annotations import from_labelme
from insid3.errors import ImageError
from insid3.imaging.opening import picture_from_bytes
from insid3.imaging.read import is_upright, picture_size, read_image

KIND = "pictures"
SIDE = (40, 56)
_NUMBERS = (0, 1, 2, 3, 7, 255, 256, 4096, 32767, 32768, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_TRAP = 0.04  #: of the inputs, which take longer


def attempts(folder: Path, seed: int, count: int) -> Iterator[tuple[str, Callable[[], object]]]:
    for index, data in enumerate(files().values()):  # loads every decoder
        read_image(_written(folder / f"sound-{index}", data))
    for index, (did, data) in enumerate(inputs(count, seed)):
        path = _written(folder / "input", data)
        yield did, partial(_read, path, index)


def _read(path: Path, index: int) -> None:
    with suppress(ImageError):
        picture_size(path)
    if index % 5 == 0:
        is_upright(path)
        read_image(picture_from_bytes(path.read_bytes(), "inside"), told=[])
    elif index % 5 == 1:
        path.with_name("input.json").write_text('{"shapes": [], "imagePath": "input", "imageData": null}')
        from_labelme(path.with_name("input.json"))
    else:
        read_image(path, told=[], stretch=(0, 99) if index % 5 == 2 else None)


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def inputs(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield `count` inputs, always the same for a seed: what was done to which file, and the result."""
    rng = random.Random(seed)
    sound = files()
    for _ in range(count):
        if rng.random() < _TRAP:
            trap = rng.choice(TRAPS)
            yield trap.__name__.strip("_"), trap(rng)
            continue
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


def files() -> dict[str, bytes]:
    """Return small sound files of every kind that is read, by what they are."""
    y, x = np.mgrid[: SIDE[0], : SIDE[1]]
    noise = np.random.default_rng(0).integers(0, 40, (*SIDE, 3))
    photo = Image.fromarray((np.stack([x * 3, y * 5, x + y], 2) + noise).clip(0, 255).astype(np.uint8))
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
    add("GIF animated", photo, "GIF", frames=True, comment=b"a comment")
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


def jpeg_of_scans(rng: random.Random) -> bytes:
    """Return a JPEG of few bytes that is decoded again and again."""
    data = encoded(np.zeros((4000, 4000), np.uint8), "JPEG", progressive=True)
    last = data[data.rfind(b"\xff\xda") : -2]
    return data[:-2] + last * rng.choice((500, 3000, 20_000)) + data[-2:]


def gif_of_comments(rng: random.Random) -> bytes:
    """Return a GIF with very many comments before its picture."""
    data, comment = encoded(np.zeros((8, 8), np.uint8), "GIF"), b"!\xfe" + (b"\xff" + b"x" * 255) * 8 + b"\0"
    at = 13 + (3 << (data[10] & 7) + 1)
    return data[:at] + comment * rng.choice((10, 20_000)) + data[at:]


def gif_of_one_size(rng: random.Random) -> bytes:
    """Return a GIF with a large background to restore after its picture, for which decoders take memory."""
    head = b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\x80\0\0" + bytes(6)
    return head + b"!\xf9\x04\x08\0\0\0\0," + struct.pack("<HHHH", 0, 0, 65535, 65535) + b"\0\2\2L\1\0;"


def png_of_chunks(rng: random.Random) -> bytes:
    """Return a PNG of very many chunks, some of which unpack to much."""
    packed = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**20)))
    many = rng.choice((packed * 3000, chunk(b"tEXt", b"") * 400_000, chunk(b"IDAT", b"") * 400_000))
    return png(np.zeros((4, 4), np.uint8), before=[many])


def png_of_one_size(rng: random.Random) -> bytes:
    """Return a PNG of few bytes and many pixels."""
    width, height = rng.choice(((65_000, 65_000), (2**31 - 1, 1), (1, 2**31 - 1), (9_000, 9_000)))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def webp_of_one_size(rng: random.Random) -> bytes:
    """Return a WebP of few bytes and many pixels."""
    data = encoded(np.zeros((8, 8, 4), np.uint8), "WEBP", lossless=True)
    at = data.index(b"VP8L") + 9
    sides = (16383 << 14) | 16383 | (int.from_bytes(data[at : at + 4], "little") & 0xF0000000)
    return data[:at] + sides.to_bytes(4, "little") + data[at + 4 :]


def jpeg_of_segments(rng: random.Random) -> bytes:
    """Return a JPEG of very many segments, or fill bytes, before its picture."""
    data = encoded(np.zeros((8, 8), np.uint8), "JPEG")
    return data[:2] + rng.choice((b"\xff\xfe\0\2", b"\xff\xe1\0\2", b"\xff")) * 3_000_000 + data[2:]


def exif_of_numbers(rng: random.Random) -> bytes:
    """Return a picture in which very many tags claim the same bytes of metadata."""
    entries = b"".join(struct.pack("<HHII", tag, 3, 4096, 8) for tag in range(60_000))
    data = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 60_000) + entries + bytes(8192)
    return png(np.zeros((4, 4), np.uint8), before=[chunk(b"eXIf", data)])


def postscript(rng: random.Random) -> bytes:
    """Return PostScript, which other software would run as a program."""
    head = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n{} loop\n%%EOF\n"
    return head if rng.random() < 0.5 else struct.pack("<IIIIIIIIH", 0xC6D3D0C5, 30, len(head), 0, 0, 0, 0, 0, 0) + head


def map_of_bands(rng: random.Random) -> bytes:
    """Return a GeoTIFF of few bytes that declares very many bands or layers."""
    file = io.BytesIO()
    tifffile.imwrite(
        file, np.zeros((64, 64), np.uint16), metadata=None, extratags=[(34735, "H", 4, (1, 1, 0, 0), True)]
    )
    data = bytearray(file.getvalue())
    for tag, number in rng.choice(
        (((277, 60_000),), ((256, 6000), (257, 6000), (277, 600)), ((256, 9000), (257, 9000)))
    ):
        at = data.index(struct.pack("<H", tag), struct.unpack_from("<I", data, 4)[0])
        data[at + 2 : at + 12] = struct.pack("<HIHH", 3, 1, number, 0)
    return bytes(data)


TRAPS: tuple[Callable[[random.Random], bytes], ...] = (
    jpeg_of_scans, gif_of_comments, gif_of_one_size, png_of_chunks, png_of_one_size, webp_of_one_size,
    jpeg_of_segments, exif_of_numbers, postscript, map_of_bands,
)  # fmt: skip


def _flipped(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Flip some bits anywhere."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 3, 20))):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Keep only the beginning."""
    return data[: rng.randrange(len(data) + 1)]


def _header(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Put an extreme number near the beginning, where sizes, counts and offsets are."""
    width = rng.choice((1, 2, 4))
    number = rng.choice(_NUMBERS) % 256**width
    at = rng.randrange(rng.choice((32, 64, 400)))
    return data[:at] + number.to_bytes(width, rng.choice(("big", "little"))) + data[at + width :]


def _sized(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Change width or height, to just below the limit of pixels or beyond."""
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
    """Put an extreme number near the end, where Pillow writes the directory of a TIFF."""
    width = rng.choice((1, 2, 4))
    at = max(0, len(data) - rng.randrange(width, 300))
    return data[:at] + (rng.choice(_NUMBERS) % 256**width).to_bytes(width, "little") + data[at + width :]


def _repeated(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Repeat a piece in place."""
    start, end = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:end] + data[start:end] * rng.choice((1, 2, 10)) + data[end:]


def _dropped(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Drop a piece."""
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.choice((1, 2, 8, 100)) :]


def _spliced(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Replace a piece by one of another file."""
    start, end = sorted(rng.randrange(len(other) + 1) for _ in range(2))
    at = rng.randrange(len(data) + 1)
    return data[:at] + other[start:end] + data[at + end - start :]


def _chunked(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Repeat a whole chunk or segment, or move it to the front."""
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
    """Return signature and chunks of a PNG, or signature and segments of a JPEG; the last holds the rest."""
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
    """Return a compressed BMP of 8 x 4 pixels, which Pillow reads but does not write."""
    pixels = b"".join(bytes((8, row, 0, 0)) for row in range(4)) + b"\0\1"
    palette = b"".join(bytes((level, level, level, 0)) for level in range(256))
    offset = 14 + 40 + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, 8, 4, 1, 8, 1, len(pixels), 2835, 2835, 256, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + header + palette + pixels

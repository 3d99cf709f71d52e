"""Pictures that other programs open too: turned, odd, damaged where it does not matter, or embedded elsewhere."""

import io
import struct
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, features
from PIL.TiffImagePlugin import IFDRational

from crafted import chunk, encoded, exif, jpeg_with, png
from insid3.errors import ImageError, MaskError
from insid3.imaging.masks import read_mask, read_patch
from insid3.imaging.opening import picture_from_bytes
from insid3.imaging.read import SUFFIXES, is_upright, picture_size, read_image, read_values

H, W = 24, 48
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}
MEANINGLESS = [0, 9, 65535, b"6\0\0\0"]


def corner() -> np.ndarray:
    """Return a mask that every turn and every flip changes."""
    values = np.zeros((H, W), np.uint8)
    values[:8, :16] = 255
    return values


def tiff(values: np.ndarray, orientation: Any, **options: Any) -> bytes:
    """Return a TIFF by tifffile, or by Pillow with a tag set by hand where tifffile has no such compression."""
    kind = ("s", 0, orientation.decode(), True) if isinstance(orientation, bytes) else ("H", 1, orientation, True)
    file = io.BytesIO()
    if "pillow" in options:
        data = encoded(values, "TIFF", compression=options["pillow"], tiffinfo={274: 3})
        at = data.index(struct.pack("<HHIH", 274, 3, 1, 3))
        return data[:at] + struct.pack("<HHIH", 274, 3, 1, orientation) + data[at + 10 :]
    photometric = "rgb" if values.ndim == 3 else "minisblack"
    tifffile.imwrite(file, values, photometric=photometric, metadata=None, extratags=[(274, *kind)], **options)
    return file.getvalue()


WRITERS: dict[str, Callable[[np.ndarray, Any], bytes]] = {
    "JPEG": lambda a, o: jpeg_with(encoded(a, "JPEG", quality=95, subsampling=0), b"Exif\0\0" + exif(o)),
    "JPEG big-endian": lambda a, o: jpeg_with(encoded(a, "JPEG", quality=95), b"Exif\0\0" + exif(o, order=">")),
    "JPEG progressive": lambda a, o: jpeg_with(encoded(a, "JPEG", progressive=True), b"Exif\0\0" + exif(o)),
    "PNG before": lambda a, o: png(a, before=[chunk(b"eXIf", exif(o))]),
    "PNG after": lambda a, o: png(a, after=[chunk(b"eXIf", exif(o))]),
    "PNG of ImageMagick": lambda a, o: png(a, before=[chunk(b"zTXt", _raw_profile(exif(o)))]),
    "WebP": lambda a, o: encoded(a, "WEBP", lossless=True, exif=b"Exif\0\0" + exif(o)),
    "TIFF raw": lambda a, o: tiff(a, o),
    "TIFF big-endian": lambda a, o: tiff(a, o, byteorder=">"),
    "TIFF LZW": lambda a, o: tiff(a, o, compression="lzw"),
    "TIFF deflate": lambda a, o: tiff(a, o, compression="zlib", predictor=True),
    "TIFF tiles": lambda a, o: tiff(a, o, tile=(16, 16)),
    "TIFF big": lambda a, o: tiff(a, o, bigtiff=True),
}
NUMBERS_ONLY = {
    "TIFF JPEG": lambda a, o: tiff(a, o, pillow="jpeg"),
    "TIFF packbits": lambda a, o: tiff(a, o, pillow="packbits"),
}


def _raw_profile(data: bytes) -> bytes:
    text = b"\nexif\n%8d\n%s\n" % (len(data), data.hex().encode())
    return b"Raw profile type exif\0\0" + zlib.compress(text)


@pytest.mark.parametrize("orientation", [*UPRIGHT, *MEANINGLESS])
@pytest.mark.parametrize("kind", [*WRITERS, *NUMBERS_ONLY])
def test_every_reader_turns_a_picture_once(tmp_path: Path, kind: str, orientation: Any) -> None:
    if kind in NUMBERS_ONLY and isinstance(orientation, bytes):
        return
    write, mask = (WRITERS | NUMBERS_ONLY)[kind], corner()
    path = tmp_path / "picture"
    path.write_bytes(write(np.repeat(mask[..., None], 3, 2), orientation))
    expected = UPRIGHT[orientation if orientation in UPRIGHT else 1](mask) > 0
    told: list[str] = []
    picture = read_image(path, told=told)
    assert np.array_equal(picture[..., 1] > 127, expected)
    assert np.array_equal(read_image(path, upright=False)[..., 1] > 127, mask > 0)
    assert picture_size(path) == expected.shape
    assert picture_size(path, upright=False) == (H, W)
    assert is_upright(path) == (orientation not in UPRIGHT or orientation == 1)
    path.write_bytes(write(mask, orientation))
    assert np.array_equal(read_mask(path, expected.shape), expected)
    assert np.array_equal(read_values(path).reshape(H, W, -1)[..., 0] > 127, mask > 0)  # in its own
    for source in (Image.open(path), picture_from_bytes(path.read_bytes(), "inside")):
        with source:
            assert np.array_equal(read_image(source)[..., 0] > 127, expected)
    assert not told


@pytest.mark.skipif(not features.check("avif"), reason="Pillow reads no AVIF")
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_avif_is_turned_as_its_boxes_say(tmp_path: Path, orientation: int) -> None:
    """The file also has an exposure of -1 / 0, which Pillow cannot write again."""
    made = Image.Exif()
    made[0x0112], made[0x9204] = orientation, IFDRational(-7, 3)
    data = encoded(np.repeat(corner()[..., None], 3, 2), "AVIF", exif=made.tobytes(), quality=90)
    assert struct.pack(">ii", -7, 3) in data
    path = tmp_path / "a.avif"
    path.write_bytes(data.replace(struct.pack(">ii", -7, 3), struct.pack(">ii", -1, 0)))
    expected = UPRIGHT[orientation](corner()) > 0
    assert np.array_equal(read_image(path)[..., 0] > 127, expected)
    assert picture_size(path) == expected.shape


def test_an_xmp_orientation_counts_where_exif_has_none(tmp_path: Path) -> None:
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="6"/>'
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg_with(encoded(corner(), "JPEG"), xmp))
    assert picture_size(path) == (W, H)
    path.write_bytes(jpeg_with(encoded(corner(), "JPEG"), xmp, b"Exif\0\0" + exif(1)))
    assert picture_size(path) == (H, W)


def test_a_size_costs_no_pixel(tmp_path: Path) -> None:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 50_000, 16, 6, 0, 0, 0))
    path = tmp_path / "huge.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"eXIf", exif(8)))
    tracemalloc.start()
    try:
        assert picture_size(path) == (60_000, 50_000)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


# ---------------------------------------------------------------------------------------------------- odd metadata


def _bomb(size: int) -> bytes:
    return zlib.compress(bytes(size))


ODD: dict[str, tuple[bytes, str]] = {
    "long text": (chunk(b"tEXt", b"parameters\0" + b"x" * 3_000_000), "a text chunk of 3 MB"),
    "long compressed text": (
        chunk(b"zTXt", b"a\0\0" + zlib.compress(np.random.default_rng(0).bytes(1_200_000))),
        "a text chunk of 1.2 MB",
    ),
    "text that unpacks": (chunk(b"zTXt", b"a\0\0" + _bomb(50_000_000)), "its zTXt chunk, which unpacks to more than"),
    "international text": (chunk(b"iTXt", b"a\0\1\0\0\0" + _bomb(50_000_000)), "its iTXt chunk, which unpacks to more"),
    "text of rubbish": (chunk(b"zTXt", b"a\0\0rubbish"), "its zTXt chunk, which cannot be read"),
    "profile that unpacks": (chunk(b"iCCP", b"a\0\0" + _bomb(50_000_000)), "its iCCP chunk, which unpacks to more"),
    "profile of rubbish": (chunk(b"iCCP", b"a\0\0rubbish"), "its iCCP chunk, which cannot be read"),
    "profile packed otherwise": (chunk(b"iCCP", b"a\0\7" + _bomb(9)), "its iCCP chunk, which cannot be read"),
    "empty profile": (chunk(b"iCCP", b""), "its iCCP chunk, which cannot be read"),
    "empty sRGB": (chunk(b"sRGB", b""), "its sRGB chunk, which cannot be read"),
    "sRGB of no kind": (chunk(b"sRGB", b"\x99"), "its sRGB chunk, which cannot be read"),
    "short gAMA": (chunk(b"gAMA", b"\1"), "its gAMA chunk, which cannot be read"),
    "short cHRM": (chunk(b"cHRM", b"\1" * 9), "its cHRM chunk, which cannot be read"),
    "short pHYs": (chunk(b"pHYs", b"\1"), "its pHYs chunk, which cannot be read"),
    "EXIF of rubbish": (chunk(b"eXIf", b"rubbish"), "its eXIf chunk, which cannot be read"),
    "empty EXIF": (chunk(b"eXIf", b""), "its eXIf chunk, which cannot be read"),
    "cut EXIF": (chunk(b"eXIf", exif(1)[:60]), "its eXIf chunk, which cannot be read"),
    "wrong checksum": (chunk(b"tEXt", b"a\0b", right=False), "its tEXt chunk, whose checksum is wrong"),
    "wrong checksum of EXIF": (chunk(b"eXIf", exif(1), right=False), "its eXIf chunk, whose checksum is wrong"),
}  # fmt: skip


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("kind", ODD)
def test_odd_metadata_of_a_png_are_dropped(tmp_path: Path, kind: str, place: str) -> None:
    odd, said = ODD[kind]
    path = tmp_path / "a.png"
    path.write_bytes(png(corner(), [odd], []) if place == "before" else png(corner(), [], [odd]))
    told: list[str] = []
    tracemalloc.start()
    try:
        picture = read_image(path, told=told)
        assert tracemalloc.get_traced_memory()[1] < 2e7
    finally:
        tracemalloc.stop()
    assert np.array_equal(picture[..., 0], corner())
    assert len(told) == 1
    assert told[0].startswith("repaired: metadata dropped (")
    assert said in told[0]
    assert picture_size(path) == (H, W)
    assert read_mask(path, (H, W)).sum() == 128
    assert read_patch(path.read_bytes(), "inside").sum() == 128
    assert read_image(picture_from_bytes(path.read_bytes(), "inside")).shape == (H, W, 3)


def test_sound_metadata_are_not_spoken_of(tmp_path: Path) -> None:
    sound = [
        chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"sRGB", b"\0"), chunk(b"pHYs", bytes(9)),
        chunk(b"tEXt", b"Comment\0text"), chunk(b"zTXt", b"a\0\0" + zlib.compress(b"text")),
        chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(b"text")), chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(200))),
        chunk(b"eXIf", exif(1)), chunk(b"caBX", bytes(2_000_000)),
    ]  # fmt: skip
    told: list[str] = []
    path = tmp_path / "a.png"
    path.write_bytes(png(corner(), before=sound))
    assert np.array_equal(read_image(path, told=told)[..., 0], corner())
    assert told == []


@pytest.mark.parametrize("wrong", [b"IHDR", b"IDAT"])
def test_a_wrong_checksum_of_what_matters_is_an_error(tmp_path: Path, wrong: bytes) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(corner(), wrong=wrong))
    with pytest.raises(ImageError, match=f"a.png is damaged.*the checksum of its {wrong.decode()} chunk is wrong"):
        read_image(path)
    with pytest.raises(MaskError, match=f"inside is damaged.*{wrong.decode()}"):
        read_patch(path.read_bytes(), "inside")


@pytest.mark.parametrize("end", [12, 8, 16, 15])
def test_a_png_without_its_end_marker_is_complete(tmp_path: Path, end: int) -> None:
    """The last checksum before the marker may be missing, too."""
    path = tmp_path / "a.png"
    path.write_bytes(png(corner())[:-end])
    told: list[str] = []
    assert np.array_equal(read_image(path, told=told)[..., 0], corner())
    assert told == ["repaired: end marker missing"]


@pytest.mark.parametrize(
    "data",
    [
        b"Exif\0\0rubbish",
        b"Exif\0\0",
        b"Exif\0\0" + exif(6)[:20],
        b"Exif\0\0II*\0\xff\xff\xff\x7f",
        b"Exif\0\0" + exif(6)[:60],
    ],
    ids=["rubbish", "empty", "cut", "nowhere", "pointing beyond"],
)
def test_odd_exif_of_a_jpeg_is_dropped(tmp_path: Path, data: bytes) -> None:
    for kind, content in {
        "a.jpg": jpeg_with(encoded(corner(), "JPEG", quality=95), data),
        "a.webp": encoded(np.repeat(corner()[..., None], 3, 2), "WEBP", lossless=True, exif=data),
    }.items():
        path = tmp_path / kind
        path.write_bytes(content)
        told: list[str] = []
        picture = read_image(path, told=told)
        assert picture.shape[:2] == picture_size(path)
        none = kind == "a.webp" and data == b"Exif\0\0"  # is not written
        assert told == ([] if none else ["repaired: metadata dropped (EXIF data that cannot be read)"]), kind
        assert picture_from_bytes(content, "inside").size == (W, H)


def test_metadata_of_a_webp_may_be_cut_off(tmp_path: Path) -> None:
    data = encoded(np.repeat(corner()[..., None], 3, 2), "WEBP", lossless=True, exif=b"Exif\0\0" + exif(6, bytes(400)))
    path = tmp_path / "a.webp"
    for lost in (1, 200, 450):
        path.write_bytes(data[:-lost])
        picture = read_image(path, told=[])
        assert picture_size(path) == picture.shape[:2] == (W, H)
    path.write_bytes(data[:60])
    with pytest.raises(ImageError, match=r"damaged or cut short|not a picture"):
        read_image(path)


def test_a_tiff_that_lacks_its_last_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for lost in (1, 8, 40, 300):
        path.write_bytes(tiff(corner(), 1)[:-lost])
        with pytest.raises(ImageError, match=r"a\.tif is damaged or cut short"):
            read_image(path)


def test_odd_tags_of_a_tiff_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(corner(), 6, software="somebody's program"))
    data = bytearray(path.read_bytes())
    at = data.index(struct.pack("<HH", 305, 2))
    struct.pack_into("<II", data, at + 4, 5000, 2**31 - 1)
    path.write_bytes(data)
    told: list[str] = []
    assert np.array_equal(read_image(path, told=told)[..., 0], np.rot90(corner(), -1))
    assert told == ["repaired: metadata dropped (tags 305, which point beyond the file)"]


# ---------------------------------------------------------------------------------------------------- JPEGs cut short

JPEGS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "full colour": {"subsampling": 0},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "grey": {"mode": "L"},
    "CMYK": {"mode": "CMYK"},
}


def photo(pictures: dict[str, Path], mode: str = "RGB", **options: Any) -> bytes:
    return encoded(Image.open(pictures["lion"]).convert(mode).resize((320, 208)), "JPEG", **options)


@pytest.mark.parametrize("kind", JPEGS)
@pytest.mark.parametrize("lost", [1, 2])
def test_a_jpeg_without_its_end_marker_is_complete(
    tmp_path: Path, pictures: dict[str, Path], kind: str, lost: int
) -> None:
    data = photo(pictures, **JPEGS[kind])
    (whole, cut) = (tmp_path / "whole.jpg", tmp_path / "cut.jpg")
    whole.write_bytes(data)
    cut.write_bytes(data[:-lost])
    told: list[str] = []
    assert np.array_equal(read_image(cut, told=told), read_image(whole))
    assert told == ["repaired: end marker missing"]
    assert np.array_equal(read_image(picture_from_bytes(data[:-lost], "inside")), read_image(whole))


SHARES = (0.3, 0.6, 0.9, 0.999)
# With an end marker, a progressive file or one that lacks next to nothing is as if it had been saved so.
CUTS = [(kind, share, False) for kind in JPEGS for share in SHARES]
CUTS += [(kind, share, True) for kind in JPEGS if kind != "progressive" for share in SHARES[:3]]


@pytest.mark.parametrize(("kind", "share", "ended"), CUTS)
def test_missing_rows_are_counted(
    tmp_path: Path, pictures: dict[str, Path], kind: str, share: float, ended: bool
) -> None:
    """An end marker where the file breaks off changes nothing."""
    data = photo(pictures, **JPEGS[kind])
    start = data.rindex(b"\xff\xda") if kind != "progressive" else 0
    place = start + 20 + int((len(data) - start - 24) * share)
    path = tmp_path / "a.jpg"
    path.write_bytes(data[:place] + (b"\xff\xd9" if ended else b""))
    with pytest.raises(ImageError, match=r"a\.jpg is damaged or cut short \(\d+ of 208 rows are missing\)") as caught:
        read_image(path)
    missing = int(str(caught.value).split("(")[1].split()[0])
    assert missing % 8 == 0
    if kind == "progressive":
        assert missing == 208 or share > 0.8  # all scans have begun
    else:
        whole = np.asarray(Image.open(io.BytesIO(data)))
        near = np.asarray(Image.open(io.BytesIO(data[:place] + b"\xff\xd9")))
        lost = (whole != near).reshape(208, -1).any(1).sum()
        assert abs(int(lost) - missing) <= 16
    with pytest.raises(MaskError, match="208 rows are missing"):
        read_mask(path, (208, 320), "any")


def test_a_grey_corner_is_no_missing_row(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(np.full((64, 64, 3), 128, np.uint8), "JPEG"))
    assert (read_image(path) == 128).all()


# ---------------------------------------------------------------------------------------------------- embedded


def test_an_embedded_picture_is_called_by_its_name_and_read_as_a_file() -> None:
    deep = np.repeat((np.arange(H * W).reshape(H, W, 1) * 3).astype(np.uint16), 3, 2)
    image = picture_from_bytes(png(deep), "notes.json (imageData)")
    assert (image.filename, image.size) == ("notes.json (imageData)", (W, H))  # type: ignore[attr-defined]
    told: list[str] = []
    assert len(np.unique(read_image(image, told=told))) > 200  # all bits, not the upper byte only
    assert told == ["stretched: 16 bits, from 0 to 4095"]
    turned = picture_from_bytes(jpeg_with(encoded(corner(), "JPEG"), b"Exif\0\0" + exif(6)), "inside")
    assert turned.getexif()[0x0112] == 6  # for whoever else looks at it


@pytest.mark.parametrize("read", [picture_from_bytes, read_patch])
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "not a picture of a supported format"),
        (b"", "is empty"),
        (b"rubbish", "not a picture of a supported format"),
        (png(corner())[:60], "damaged or cut short"),
    ],
)
def test_embedded_data_that_are_no_picture(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[bytes, str], Any], data: bytes, said: str
) -> None:
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_: pytest.fail("ran another program"))
    error = MaskError if read is read_patch else ImageError
    with pytest.raises(error, match=f"inside.*{said}"):
        read_image(read(data, "inside"))


@pytest.mark.parametrize("size", [(50_000, 50_000), (1, 4_000_000_000)])
def test_embedded_bombs_are_refused(size: tuple[int, int]) -> None:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 1, 0, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    for read, error in ((picture_from_bytes, ImageError), (read_patch, MaskError)):
        with pytest.raises(error, match=r"inside has .* the limit is"):
            read(data, "inside")


def test_a_camera_s_raw_file_is_no_thumbnail(tmp_path: Path) -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, corner(), extratags=[(50706, "B", 4, (1, 4, 0, 0), True)])
    path = tmp_path / "a.dng"
    path.write_bytes(file.getvalue())
    with pytest.raises(ImageError, match=r"a\.dng is a camera's raw file \(DNG\): convert it"):
        read_image(path)


# ---------------------------------------------------------------------------------------------------- HEIC, AVIF

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)


def test_heic_without_the_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    path = tmp_path / "a.heic"
    path.write_bytes(HEIC)
    for read in (read_image, picture_size, lambda path: read_mask(path, (1, 1))):
        with pytest.raises(ImageError, match=r'a\.heic is a HEIC picture, .*pip install "insid3\[heif\]"'):
            read(path)
    with pytest.raises(ImageError, match="inside is a HEIC picture"):
        picture_from_bytes(HEIC, "inside")


def test_avif_that_pillow_cannot_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "check", lambda name: False)
    path = tmp_path / "a.avif"
    path.write_bytes(b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miafMA1B" + bytes(40))
    with pytest.raises(ImageError, match=r"a\.avif is an AVIF picture, which this Pillow cannot read: pip install"):
        read_image(path)


def test_heic_is_read_where_the_package_is(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    assert {".heic", ".heif"} <= SUFFIXES
    for orientation, upright in UPRIGHT.items():
        large = np.repeat(corner()[..., None], 3, 2).repeat(4, 0).repeat(4, 1)
        made = heif.from_pillow(Image.fromarray(large))
        made.info["exif"] = b"Exif\0\0" + exif(orientation)
        path = tmp_path / f"{orientation}.heic"
        made.save(path, quality=90)
        picture = read_image(path)
        assert picture_size(path) == picture.shape[:2]
        assert np.mean((picture[..., 0] > 127) == (upright(large[..., 0]) > 0)) > 0.99
        assert np.array_equal(read_image(picture_from_bytes(path.read_bytes(), "inside")), picture)
    deep = np.tile(np.linspace(0, 65535, 128).astype(np.uint16)[:, None], (64, 1, 3))
    made = heif.encode  # ten bits
    made("RGB;16", (128, 64), deep.tobytes(), tmp_path / "deep.heic", quality=95)
    picture = read_image(tmp_path / "deep.heic")
    assert np.abs(picture[..., 0] - np.rint(deep[..., 0] / 257)).mean() < 4
    path = tmp_path / "cut.heic"
    path.write_bytes((tmp_path / "deep.heic").read_bytes()[:-200])
    with pytest.raises(ImageError, match=r"cut\.heic is damaged or cut short"):
        read_image(path)


def test_what_a_caller_did_to_a_picture_of_pillow_s_counts(tmp_path: Path) -> None:
    """Pillow's picture is read from its file only while it is what the file holds."""
    path = tmp_path / "a.tif"
    frames = [Image.new("L", (W, H), level) for level in (10, 20)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with Image.open(path) as image:
        image.seek(1)
        assert (read_image(image) == 20).all()
    path.write_bytes(encoded(Image.new("L", (640, 480), 90), "JPEG"))
    with Image.open(path) as image:
        image.draft("L", (160, 120))
        assert read_image(image).shape == (120, 160, 3)
    with Image.open(path) as image:
        smaller = image.resize((64, 48))
        assert read_image(smaller).shape == (48, 64, 3)
        assert read_image(image).shape == (480, 640, 3)
    turned = Image.new("L", (W, H))
    turned.getexif()[0x0112] = 6
    assert read_image(turned).shape == (W, H, 3)
    turned.getexif()[0x0112] = "rubbish"
    assert read_image(turned).shape == (H, W, 3)

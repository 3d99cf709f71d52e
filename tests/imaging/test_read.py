"""Pictures and masks: what is accepted and as what, what is refused and how it is said, resizing, points."""

import contextlib
import re
import struct
import sys
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageDraw, ImageFilter

import hostile
from insid3.errors import ImageError, MaskError
from insid3.imaging.masks import MaskValue, read_mask
from insid3.imaging.opening import MAX_PIXELS, Source, name_of
from insid3.imaging.points import points_to_grid
from insid3.imaging.read import read_image
from insid3.imaging.resizing import resize_image, resize_mask, thumbnail

H, W = 6, 9
RED, GREEN, GREY = (200, 10, 30), (20, 180, 40), (100, 100, 100)
BEST: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}}
Reader = Callable[[Source], np.ndarray]
quick = settings(deadline=None, max_examples=60)
sides = st.integers(1, 40)


def saved(path: Path, image: Image.Image | np.ndarray, **options: Any) -> Path:
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def png(image: Image.Image | np.ndarray, **options: Any) -> Image.Image:
    """Return the picture read from a PNG in memory."""
    file = BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, "PNG", **options)
    return Image.open(file)


def opened(path: Path) -> Image.Image:
    """Open a picture as users do, but from memory, so that no file stays open."""
    return Image.open(BytesIO(path.read_bytes()))


def plain(mode: str, value: Any) -> Image.Image:
    return Image.new(mode, (W, H), value)


def quadrants(height: int = H, width: int = W) -> np.ndarray:
    """Return a picture of four different quadrants, so that every turn and flip shows."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 3] = RED
    picture[height // 2 :, : width // 3] = GREEN
    picture[: height // 2, width // 3 :] = GREY
    return picture


def palette_image(*colours: tuple[int, int, int]) -> Image.Image:
    """Return vertical stripes, one for each colour; the indices count up from the left."""
    image = Image.fromarray(np.tile(np.arange(W) * len(colours) // W, (H, 1)).astype(np.uint8), "P")
    image.putpalette([level for colour in colours for level in colour])
    return image


def shapes(side: int = 120) -> Image.Image:
    """Return a black and white mask with straight, slanted and curved edges."""
    mask = Image.new("L", (side, side))
    draw = ImageDraw.Draw(mask)
    draw.ellipse((10, 20, side * 0.6, side - 10), fill=255)
    draw.polygon([(side * 0.7, 5), (side - 5, side * 0.3), (side * 0.8, side * 0.6)], fill=255)
    draw.rectangle((side * 0.7, side * 0.75, side - 8, side - 8), fill=255)
    return mask


def as_mask(source: Source, size: tuple[int, int] = (H, W), label: MaskValue = None) -> np.ndarray:
    return read_mask(source, size, label)


def refuses(read: Reader, source: Source, *said: str) -> None:
    """Check that reading fails with our error, whose message holds the source's name and everything in `said`."""
    with pytest.raises(ImageError) as caught:
        read(source)
    assert caught.type is (ImageError if read is read_image else MaskError)
    for part in (name_of(source), *said):
        assert part in str(caught.value)


both = pytest.mark.parametrize("read", [read_image, as_mask])

# ---------------------------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize(
    ("file", "image", "expected"),
    [
        ("rgb.png", plain("RGB", RED), RED),
        ("rgb.bmp", plain("RGB", RED), RED),
        ("rgb.tif", plain("RGB", RED), RED),
        ("rgb.ppm", plain("RGB", RED), RED),
        ("l.png", plain("L", 90), (90,) * 3),
        ("1.png", plain("1", 1), (255,) * 3),
        ("la.png", plain("LA", (90, 0)), (90,) * 3),
        ("rgba.png", plain("RGBA", (*RED, 0)), RED),
        ("rgba.tif", plain("RGBA", (*RED, 128)), RED),
        ("p.png", palette_image(RED), RED),
        ("p.gif", palette_image(RED), RED),
        ("i16.png", plain("I;16", 257 * 100), (100,) * 3),
        ("i16.tif", plain("I;16", 257 * 100), (100,) * 3),
        ("i16white.png", plain("I;16", 65535), (255,) * 3),
        ("i16white.tif", plain("I;16", 65535), (255,) * 3),
        ("i16.pgm", plain("I;16", 257 * 100), (100,) * 3),
        ("big_endian.tif", plain("I;16B", 257 * 100), (100,) * 3),
        ("i32.tif", plain("I", 257 * 100), (100,) * 3),
    ],
)
def test_every_kind_of_picture_becomes_rgb(
    tmp_path: Path, file: str, image: Image.Image, expected: tuple[int, ...]
) -> None:
    path = saved(tmp_path / file, image)
    for source in (path, str(path), opened(path)):
        picture = read_image(source)
        assert picture.dtype == np.uint8
        assert picture.shape == (H, W, 3)
        assert (picture == expected).all()


@pytest.mark.parametrize("transparency", [0, bytes([0, 255]), bytes([128, 7])])
def test_transparent_palette_keeps_its_colours_without_a_warning(tmp_path: Path, transparency: int | bytes) -> None:
    image = palette_image(RED, GREEN)
    path = saved(tmp_path / "p.png", image, transparency=transparency)
    assert (read_image(path) == np.asarray(image.convert("RGB"))).all()
    source = opened(path)
    read_image(source)
    assert source.info["transparency"] == opened(path).info["transparency"]


def test_cmyk_jpeg_goes_through_pillow(tmp_path: Path, pictures: dict[str, Path]) -> None:
    path = saved(tmp_path / "cmyk.jpg", opened(pictures["lion"]).convert("CMYK"))
    assert opened(path).mode == "CMYK"
    assert (read_image(path) == np.asarray(opened(path).convert("RGB"))).all()


def test_photo_is_what_pillow_decodes(pictures: dict[str, Path]) -> None:
    for path in pictures.values():
        assert (read_image(path) == np.asarray(opened(path))).all()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK"])
def test_strips_join_seamlessly(monkeypatch: pytest.MonkeyPatch, pictures: dict[str, Path], mode: str) -> None:
    """A picture above a million pixels is converted in pieces."""
    image = opened(pictures["tower"]).resize((1013, 2099)).convert(mode)
    assert (read_image(image) == np.asarray(image.convert("RGB"))).all()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame_counts(tmp_path: Path, kind: str) -> None:
    first, later = plain("RGB", RED), [plain("RGB", GREEN), plain("RGB", GREY)]
    path = saved(tmp_path / "many", first, format=kind, save_all=True, append_images=later, **BEST.get(kind, {}))
    assert (read_image(path) == RED).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.swapaxes(0, 1)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].swapaxes(0, 1)),
        (8, lambda a: np.rot90(a)),
    ],
)
def test_exif_orientation_of_picture_and_mask(
    tmp_path: Path, kind: str, orientation: int, upright: Callable[[np.ndarray], np.ndarray]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = quadrants(24, 48)
    mask = np.where((picture == GREEN).all(2), 255, 0).astype(np.uint8)
    flat = saved(tmp_path / "flat", picture, format=kind, **BEST.get(kind, {}))
    turned = saved(tmp_path / "turned", picture, format=kind, exif=exif, **BEST.get(kind, {}))
    assert np.array_equal(read_image(turned), upright(read_image(flat)))
    assert np.array_equal(read_image(opened(turned)), upright(read_image(flat)))
    turned_mask = saved(tmp_path / "mask", mask, format=kind, exif=exif, **BEST.get(kind, {}))
    expected = upright(mask > 0)
    assert np.array_equal(as_mask(turned_mask, expected.shape), expected)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.full((H, W), 90, np.uint8), (90,) * 3),
        (np.full((H, W, 1), 90, np.uint8), (90,) * 3),
        (np.full((H, W, 2), (90, 0), np.uint8), (90,) * 3),
        (np.full((H, W, 3), RED, np.uint8), RED),
        (np.full((H, W, 4), (*RED, 0), np.uint8), RED),
        (np.full((H, W), 65535, np.uint16), (255,) * 3),
        (np.full((H, W), 257 * 100, ">u2"), (100,) * 3),
        (np.full((H, W, 3), np.multiply(RED, 257), np.uint16), RED),
        (np.full((W, H, 3), RED, np.uint8).swapaxes(0, 1), RED),
    ],
)
def test_arrays(array: np.ndarray, expected: tuple[int, ...]) -> None:
    before = array.copy()
    picture = read_image(array)
    assert picture.shape == (H, W, 3)
    assert picture.flags.c_contiguous
    assert (picture == expected).all()
    assert (array == before).all()


def test_16_bits_are_rounded_to_8() -> None:
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert (read_image(every)[..., 0] == np.rint(every / 257)).all()


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((H, W), np.float32), "float32 values, expected 8-bit or 16-bit unsigned: convert it first"),
        (np.zeros((H, W, 3)), "float64 values, expected 8-bit or 16-bit unsigned: convert it first"),
        (np.zeros((H, W), np.int32), "int32 values, expected 8-bit or 16-bit unsigned: convert it first"),
        (np.zeros((H, W), bool), "bool values, expected 8-bit or 16-bit unsigned: convert it first"),
        (np.zeros(5, np.uint8), "expected (height, width) or (height, width, 1 to 4 channels)"),
        (np.zeros((1, 3, H, W), np.uint8), "expected (height, width) or (height, width, 1 to 4 channels)"),
        (np.zeros((3, H, W), np.uint8), "expected (height, width) or (height, width, 1 to 4 channels)"),
        (np.zeros((0, W, 3), np.uint8), "expected (height, width) or (height, width, 1 to 4 channels)"),
        (np.zeros((H, 0), np.uint8), "expected (height, width) or (height, width, 1 to 4 channels)"),
        (np.zeros((H, W, 0), np.uint8), "expected (height, width) or (height, width, 1 to 4 channels)"),
    ],
)
def test_arrays_that_are_no_pictures(array: np.ndarray, said: str) -> None:
    refuses(read_image, array, f"array of shape {array.shape}", said)


# ---------------------------------------------------------------------------------------------------- broken files


@both
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("gone.jpg", None, "no such file"),
        ("gone\0.jpg", None, "no such file, its name is damaged"),
        ("x" * 300 + ".jpg", None, "name too long"),
        ("empty.jpg", b"", "is empty (0 bytes): copy it again"),
        ("text.jpg", b"some words\n" * 50, "is not a picture of a supported format (JPEG, PNG, WEBP, TIFF, "),
        ("page.png", b"<!DOCTYPE html><html><body>404</body></html>", "is not a picture of a supported format (JPEG"),
        ("drawing.png", b'<svg xmlns="http://www.w3.org/2000/svg"/>', "is not a picture of a supported format (JPEG"),
        ("script.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a picture of a supported format"),
        ("start.jpg", b"\xff\xd8\xff", "is not a picture of a supported format"),
        ("start.png", b"\x89PNG\r\n\x1a\n\0\0", "is not a picture of a supported format"),
    ],
)
def test_files_that_are_no_pictures(tmp_path: Path, read: Reader, name: str, content: bytes | None, said: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    refuses(read, path, said)


@both
def test_folder_and_file_as_folder(tmp_path: Path, read: Reader) -> None:
    refuses(read, tmp_path, "is a folder, expected a picture")
    file = saved(tmp_path / "file.png", plain("L", 0))
    refuses(read, file / "inside.png", "no such file")


@both
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP"])
def test_truncated_files(tmp_path: Path, pictures: dict[str, Path], read: Reader, kind: str) -> None:
    path = saved(tmp_path / "cut", opened(pictures["lion"]), format=kind)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    refuses(read, path, "is damaged or cut short (", "): replace the file")


@both
@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (PermissionError(13, "Permission denied"), "no permission to read it"),
        (MemoryError(), "needs more memory than there is: shrink the picture"),
        (RuntimeError(), "is damaged or cut short (its decoder gives up): replace the file"),
        (UserWarning("first line\nsecond"), "is damaged or cut short (first line): replace the file"),
    ],
)
def test_failures_of_the_machine_and_the_decoder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, read: Reader, failure: Exception, said: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr(Image, "open", fail)
    refuses(read, saved(tmp_path / "sound.png", plain("L", 0)), said)


def test_damaged_metadata_reach_no_decoder(tmp_path: Path) -> None:
    """Pillow would warn of them, and be stopped by its warning here; no filter is touched."""
    cut_off = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 0x010E, 2, 400, 26) + b"\0\0\0\0abc"
    path = saved(tmp_path / "exif.jpg", plain("RGB", RED), exif=cut_off)
    filters = list(warnings.filters)
    assert read_image(path).shape == (H, W, 3)
    assert warnings.filters == filters


# ---------------------------------------------------------------------------------------------------- limits


def claiming(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes whose header claims any size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@both
def test_bomb_is_refused_before_it_is_decoded(tmp_path: Path, read: Reader) -> None:
    before = Image.MAX_IMAGE_PIXELS
    path = tmp_path / "bomb.png"
    path.write_bytes(claiming(50_000, 50_000))
    refuses(read, path, "50000 x 50000", f"{MAX_PIXELS:,}", "max_pixels=", "--max-pixels")
    assert before == Image.MAX_IMAGE_PIXELS


@both
def test_damaged_length_reserves_no_memory(tmp_path: Path, read: Reader) -> None:
    path = saved(tmp_path / "picture.png", quadrants())
    path.write_bytes(re.sub(rb"....IDAT", b"\x7f\xff\xff\xffIDAT", path.read_bytes(), flags=re.DOTALL))
    tracemalloc.start()
    try:
        with contextlib.suppress(ImageError):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


@both
def test_picture_without_pixels(read: Reader) -> None:
    refuses(read, Image.new("L", (0, 5)), "has no pixels (0 x 5)")


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "GIF", "BMP", "WEBP", "JPEG"])
def test_our_limit_counts_whatever_pillows_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Pillow refuses twice its own limit in headers, and in TIFF while decoding; its limit is restored."""
    half = np.repeat(np.array([[0], [255]], np.uint8), 750, 0).repeat(2000, 1)
    path = saved(tmp_path / "picture", half, format=kind, **BEST.get(kind, {}))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_200_000)
    assert read_image(path, max_pixels=3_000_000).shape == (1500, 2000, 3)
    assert read_mask(path, (1500, 2000), max_pixels=3_000_000).mean() == 0.5
    assert Image.MAX_IMAGE_PIXELS == 1_200_000
    refuses(lambda path: read_mask(path, (1500, 2000), max_pixels=2_999_999), path, "2,999,999 in all", "--max-pixels")
    with pytest.raises(ImageError, match="2,999,999 in all: raise it with max_pixels="):
        read_image(path, max_pixels=2_999_999)
    assert Image.MAX_IMAGE_PIXELS == 1_200_000


def test_pillows_limit_survives_threads(tmp_path: Path) -> None:
    before = Image.MAX_IMAGE_PIXELS
    path = saved(tmp_path / "picture.png", quadrants())
    with ThreadPoolExecutor(4) as pool:
        assert all((picture == quadrants()).all() for picture in pool.map(read_image, [path] * 100))
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
@pytest.mark.parametrize("kind", ["pictures", "masks"])
def test_damaged_files_raise_our_errors_only(tmp_path: Path, kind: str) -> None:
    """The package `hostile` makes the files; the long tests read more of them."""
    account = hostile.run(kind, tmp_path, seed=7, count=120)
    assert not account.findings, account.explain()
    assert min(account.read, account.refused) > 15


# ---------------------------------------------------------------------------------------------------- masks

HALF = np.arange(W) >= W // 2 + np.zeros((H, 1), int)  # the right half
THIRDS = np.arange(W) * 3 // W + np.zeros((H, 1), int)  # 0, 1, 2 from the left


@pytest.mark.parametrize("array", [HALF, HALF.astype(np.uint8), HALF * 255, HALF * 1.0, HALF * np.uint16(65535)])
@pytest.mark.parametrize("channels", [0, 1, 3, 4])
@pytest.mark.parametrize("label", [None, "any"])
def test_two_valued_arrays(array: np.ndarray, channels: int, label: MaskValue) -> None:
    if channels:
        array = np.repeat(array[..., None], channels, 2)
    if channels == 4:
        array[..., 3] = array.max()
    assert (as_mask(array, label=label) == HALF).all()


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(HALF),
        Image.fromarray(HALF.astype(np.uint8)),
        Image.fromarray((HALF * 255).astype(np.uint8)),
        Image.fromarray((HALF * 65535).astype(np.uint16)),
        Image.fromarray((HALF * 255).astype(np.uint8)).convert("RGB"),
        Image.fromarray((HALF * 255).astype(np.uint8)).convert("RGBA"),
        Image.fromarray((HALF * 255).astype(np.uint8)).convert("LA"),
        Image.merge("LA", [plain("L", 7), Image.fromarray((HALF * 255).astype(np.uint8))]),
        Image.merge("RGBA", [*plain("RGB", RED).split(), Image.fromarray((HALF * 255).astype(np.uint8))]),
        Image.fromarray(HALF[..., None] * np.array(RED, np.uint8)),
    ],
    ids=["1", "0/1", "0/255", "0/65535", "RGB", "RGBA", "LA", "alpha of LA", "alpha of RGBA", "red"],
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("label", [None, "any"])
def test_two_valued_files(tmp_path: Path, image: Image.Image, kind: str, label: MaskValue) -> None:
    assert (as_mask(saved(tmp_path / "mask", image, format=kind), label=label) == HALF).all()


@pytest.mark.parametrize(
    ("colours", "label", "expected"),
    [
        ([(0, 0, 0), RED, GREEN], 1, THIRDS == 1),
        ([(0, 0, 0), RED, GREEN], "any", THIRDS > 0),
        ([(0, 0, 0)] * 3, 2, THIRDS == 2),
        ([(9, 9, 9), RED, GREEN], "any", THIRDS > 0),
        ([(0, 0, 0), RED], None, THIRDS * 0 + np.arange(W) * 2 // W > 0),
        ([(0, 0, 0), (0, 0, 0)], None, np.arange(W) * 2 // W + np.zeros((H, 1)) > 0),
        ([RED, (0, 0, 0)], None, np.arange(W) * 2 // W + np.zeros((H, 1)) == 0),
        ([(255, 255, 255), (0, 0, 0)], "any", np.arange(W) * 2 // W + np.zeros((H, 1)) == 0),
        ([(255, 255, 255), (0, 0, 0)], 1, np.arange(W) * 2 // W + np.zeros((H, 1)) > 0),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_palettes_hold_labels_but_black_is_background(
    tmp_path: Path, kind: str, colours: list[tuple[int, int, int]], label: MaskValue, expected: np.ndarray
) -> None:
    """Three or more indices are labels; of two colours the black one is background, whichever comes first."""
    path = saved(tmp_path / "mask", palette_image(*colours), format=kind)
    assert (as_mask(path, label=label) == expected).all()


@pytest.mark.parametrize("array", [THIRDS.astype(np.uint8), THIRDS * 1.0, THIRDS, np.repeat(THIRDS[..., None], 3, 2)])
def test_labels(array: np.ndarray) -> None:
    assert (as_mask(array, label=1) == (THIRDS == 1)).all()
    assert (as_mask(array, label=0) == (THIRDS == 0)).all()
    assert (as_mask(array, label="any") == (THIRDS > 0)).all()
    refuses(as_mask, array, "has the values 0, 1, 2: say which one", "label= (--label N)", "label='any' (--label any)")
    refuses(lambda mask: as_mask(mask, label=7), array, "has no pixel of label 7; its values are 0, 1, 2")


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.where(HALF, 7, 3), "has the values 3, 7: say which one is the concept with label= (--label N)"),
        (np.where(HALF, 1, -1), "has the values -1, 1: say which one is the concept with label= (--label N)"),
        (np.linspace(0, 1, H * W).reshape(H, W), "(54 of them): say which one is the concept with label="),
        (np.zeros((H, W), np.uint8), "is empty: mark at least one pixel of the concept"),
        (np.zeros((H, W, 3), bool), "is empty: mark at least one pixel of the concept"),
        (HALF * np.nan, "holds values that are not finite"),
        (HALF * np.array(["a"], object), "holds object values, expected bool or numbers"),
        (HALF * 1j, "holds complex128 values, expected bool or numbers"),
        (HALF[0], "has shape (9,), expected (height, width)"),
        (HALF[None, ..., None], "has shape (1, 6, 9, 1), expected (height, width)"),
        (HALF[..., None] * np.ones(5), "has shape (6, 9, 5), expected (height, width)"),
        (HALF[:0], "has shape (0, 9), expected (height, width)"),
        (np.zeros((0, 9, 4)), "has shape (0, 9, 4), expected (height, width)"),
        (np.zeros((9, 9, 0)), "has shape (9, 9, 0), expected (height, width)"),
        (HALF[..., None] * np.array([1.0, 0, 0]), "holds colours as float64, expected 8-bit: convert it first"),
        (quadrants(), "has 4 colours, so which one is the concept cannot be told: save it as one channel of label"),
        (np.where(HALF[..., None], RED, GREEN).astype(np.uint8), "has 2 colours, so which one is the concept"),
    ],
)
def test_masks_that_are_refused(array: np.ndarray, said: str) -> None:
    refuses(as_mask, array, "mask array of shape", said)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "GIF"])
def test_refused_mask_files_are_named(tmp_path: Path, kind: str) -> None:
    path = saved(tmp_path / "labels", THIRDS.astype(np.uint8), format=kind)
    refuses(as_mask, path, "has the values 0, 1, 2: say which one is the concept with label= (--label N)")
    refuses(lambda path: as_mask(path, label=9), path, "has no pixel of label 9; its values are 0, 1, 2")
    empty = saved(tmp_path / "empty", plain("L", 0), format=kind)
    refuses(as_mask, empty, "is empty: mark at least one pixel of the concept")
    colours = saved(tmp_path / "colours", quadrants(), format="PNG")
    refuses(as_mask, colours, "has 4 colours", "label='any' (--label any)")
    refuses(lambda path: as_mask(path, label=1), colours, "has 4 colours", "one channel of label numbers")
    assert (as_mask(colours, label="any") == quadrants().any(2)).all()


def test_one_value_marks_the_whole_picture() -> None:
    assert as_mask(np.full((H, W), 255, np.uint8)).all()
    assert as_mask(plain("L", 7)).all()


@pytest.mark.parametrize(
    "soften",
    [
        lambda mask: mask.filter(ImageFilter.GaussianBlur(1)),
        lambda mask: mask.filter(ImageFilter.GaussianBlur(4)),
        lambda mask: mask.filter(ImageFilter.BoxBlur(2)),
        lambda mask: mask.resize((300, 300), Image.Resampling.BILINEAR),
        lambda mask: mask.resize((500, 400), Image.Resampling.BICUBIC),
        lambda mask: mask.resize((50, 50), Image.Resampling.LANCZOS),
        lambda mask: mask.rotate(10, Image.Resampling.BILINEAR),
        lambda mask: mask.rotate(10, Image.Resampling.BILINEAR).convert("RGB"),
    ],
)
def test_soft_edge_is_part_of_the_mask(soften: Callable[[Image.Image], Image.Image]) -> None:
    image = soften(shapes())
    expected = np.asarray(image.convert("L")) > 0
    assert len(np.unique(np.asarray(image))) > 2
    for source in (image, png(image), np.asarray(image)):
        assert (as_mask(source, expected.shape) == expected).all()


@pytest.mark.parametrize("labels", [(1, 2, 255), (15, 255), (128, 255), (7, 8, 9, 255)])
def test_flat_areas_between_0_and_255_are_labels(labels: tuple[int, ...]) -> None:
    """VOC's masks are such: 255 is their void border."""
    array = np.zeros((40, 60), np.uint8)
    for index, label in enumerate(labels):
        array[5:20, 5 + 12 * index : 15 + 12 * index] = label
    refuses(lambda mask: as_mask(mask, (40, 60)), png(array), f"values 0, {', '.join(map(str, labels))}: say which")
    assert (as_mask(array, (40, 60), label=labels[0]) == (array == labels[0])).all()


@pytest.mark.parametrize("quality", [75, 85, 95])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("label", [None, "any", 255])
def test_jpeg_masks_come_without_their_rings(tmp_path: Path, quality: int, mode: str, label: MaskValue) -> None:
    hard = np.asarray(shapes()) > 0
    path = saved(tmp_path / "mask.jpg", shapes().convert(mode), quality=quality)
    raw = np.asarray(opened(path).convert("L"))
    assert ((raw > 0) != hard).mean() > 0.02  # there are rings
    for source in (path, opened(path)):
        assert (as_mask(source, hard.shape, label) != hard).mean() < 0.001


def test_jpeg_mask_with_a_grey_label_is_refused(tmp_path: Path) -> None:
    array = np.asarray(shapes()) // 2
    array[:20] = 255
    path = saved(tmp_path / "mask.jpg", array)
    refuses(lambda path: as_mask(path, array.shape), path, "say which one is the concept with label= (--label N)")


@quick
@given(arrays.arrays(bool, st.tuples(sides, sides)), st.sampled_from(["1", "L", "I;16", "RGB", "LA", "RGBA"]))
def test_any_mask_survives_a_file(mask: np.ndarray, mode: str) -> None:
    image = Image.fromarray((mask * 255).astype(np.uint8))
    image = Image.fromarray((mask * 65535).astype(np.uint16)) if mode == "I;16" else image.convert(mode)
    for source in (mask, image, png(image)):
        if mask.any():
            assert np.array_equal(as_mask(source, mask.shape), mask)
        else:
            refuses(lambda source: as_mask(source, mask.shape), source, "is empty: mark at least one pixel")


@quick
@given(arrays.arrays(np.uint8, st.tuples(sides, sides), elements=st.integers(0, 5)), st.integers(0, 5))
def test_any_label_is_found(labels: np.ndarray, label: int) -> None:
    if label in labels:
        assert np.array_equal(as_mask(png(labels), labels.shape, label), labels == label)
    else:
        refuses(lambda mask: as_mask(mask, labels.shape, label), labels, f"has no pixel of label {label}; its values")
    if labels.any():
        assert np.array_equal(as_mask(labels, labels.shape, "any"), labels > 0)


# ---------------------------------------------------------------------------------------------------- sizes of masks


@quick
@given(arrays.arrays(bool, st.tuples(sides, sides)).filter(lambda mask: bool(mask.any())), st.integers(2, 5))
def test_mask_of_another_scale_is_resized_to_the_nearest(mask: np.ndarray, factor: int) -> None:
    larger = mask.repeat(factor, 0).repeat(factor, 1)
    with pytest.warns(UserWarning, match="and was resized to its picture's"):
        assert np.array_equal(as_mask(larger, mask.shape), mask)
    with pytest.warns(UserWarning, match="and was resized to its picture's"):
        assert np.array_equal(as_mask(mask, larger.shape), larger)


@pytest.mark.parametrize(
    ("mask", "picture"),
    [
        ((100, 150), (333, 500)),
        ((333, 500), (100, 150)),
        ((33, 50), (333, 500)),
        ((480, 640), (481, 640)),
        ((1, 1), (9, 9)),
    ],
)
def test_rounded_aspect_is_the_same_aspect(mask: tuple[int, int], picture: tuple[int, int]) -> None:
    with pytest.warns(UserWarning, match="and was resized to its picture's"):
        assert as_mask(np.ones(mask, bool), picture).shape == picture


@pytest.mark.parametrize(
    ("mask", "picture", "said"),
    [
        ((480, 640), (480, 480), "they must have the same size, or at least the same aspect ratio"),
        ((480, 640), (500, 640), "they must have the same size, or at least the same aspect ratio"),
        ((100, 400), (200, 700), "they must have the same size, or at least the same aspect ratio"),
        ((480, 640), (640, 480), "the sides are swapped: the picture is turned by its EXIF orientation"),
    ],
)
def test_mask_of_another_shape(tmp_path: Path, mask: tuple[int, int], picture: tuple[int, int], said: str) -> None:
    path = saved(tmp_path / "mask.png", np.ones(mask, bool))
    sizes = f"is {mask[1]} x {mask[0]} pixels but its picture is {picture[1]} x {picture[0]}: "
    refuses(lambda path: as_mask(path, picture), path, sizes + said)


def test_mask_that_vanishes_when_it_is_resized() -> None:
    mask = np.zeros((100, 100), bool)
    mask[0, 0] = True
    with pytest.warns(UserWarning, match="and was resized"):
        refuses(lambda mask: as_mask(mask, (10, 10)), mask, "loses every pixel when resized to its picture's 10 x 10")


# ---------------------------------------------------------------------------------------------------- resizing


def one_pass(image: np.ndarray, size: int) -> np.ndarray:
    """Run Pillow's antialiased bilinear filter along the first axis, from its definition, in fixed-point numbers."""
    scale = len(image) / size
    reach = max(scale, 1.0)
    weights = np.zeros((size, len(image)))
    for row in range(size):
        centre = (row + 0.5) * scale
        first, last = max(0, int(centre - reach + 0.5)), min(len(image), int(centre + reach + 0.5))
        tent = np.maximum(0, 1 - np.abs((np.arange(first, last) - centre + 0.5) / reach))
        weights[row, first:last] = tent / tent.sum()
    fixed = np.floor(weights * 2**22 + 0.5).astype(np.int64)
    return np.clip((np.tensordot(fixed, image.astype(np.int64), 1) + 2**21) >> 22, 0, 255).astype(np.uint8)


def resized(image: np.ndarray, size: int, vertical_first: bool) -> np.ndarray:
    for axis in (0, 1) if vertical_first else (1, 0):
        image = one_pass(image.swapaxes(0, axis), size).swapaxes(0, axis)
    return image


def as_pillow_13(image: np.ndarray, size: int) -> np.ndarray:
    height, width = image.shape[:2]
    return resized(image, size, vertical_first=height - size > 2 * max(width - size, 0))


@pytest.mark.parametrize("name", ["cheetah", "cheetah1", "cheetah2", "lion", "tower"])
@pytest.mark.parametrize("size", [112, 280, 518])
def test_resizing_is_pillow_13s(pictures: dict[str, Path], name: str, size: int) -> None:
    picture = read_image(pictures[name])
    assert np.array_equal(resize_image(picture, (size, size)), as_pillow_13(picture, size))


def test_order_of_the_passes_shows_on_a_portrait(pictures: dict[str, Path]) -> None:
    portrait = read_image(pictures["tower"])
    vertical, horizontal = (resized(portrait, 280, first) for first in (True, False))
    assert np.array_equal(resize_image(portrait, (280, 280)), vertical)
    difference = np.abs(vertical.astype(int) - horizontal)
    assert difference.max() == 1
    assert difference.mean() > 0.01


@quick
@given(arrays.arrays(np.uint8, st.tuples(sides, sides, st.just(3))), st.integers(1, 48))
def test_any_picture_is_resized_as_by_pillow_13(image: np.ndarray, size: int) -> None:
    assert np.array_equal(resize_image(image, (size, size)), as_pillow_13(image, size))


@quick
@given(sides, sides, st.integers(1, 48), st.integers(0, 255))
def test_flat_picture_stays_flat(height: int, width: int, size: int, level: int) -> None:
    small = resize_image(np.full((height, width, 3), level, np.uint8), (size, size))
    assert small.shape == (size, size, 3)
    assert (small == level).all()


@quick
@given(arrays.arrays(bool, st.tuples(sides, sides)).filter(lambda mask: bool(mask.any())), st.integers(1, 48))
def test_resized_mask(mask: np.ndarray, size: int) -> None:
    """The nearest pixel is taken; if no pixel is left, the one under the centroid."""
    height, width = mask.shape
    small = resize_mask(mask, (size, size))
    expected = np.array([[mask[i * height // size, j * width // size] for j in range(size)] for i in range(size)])
    if not expected.any():
        y, x = np.argwhere(mask).mean(0).astype(int)
        expected[y * size // height, x * size // width] = True
    assert small.any()
    assert np.array_equal(small, expected)


def test_speck_survives_as_the_pixel_under_its_centroid() -> None:
    mask = np.zeros((1000, 600), bool)
    mask[501:503, 121:123] = True
    assert np.argwhere(resize_mask(mask, (10, 10))).tolist() == [[5, 2]]


@quick
@given(st.integers(1, 900), st.integers(1, 900), st.integers(1, 400))
def test_thumbnail_fits_and_keeps_the_aspect(height: int, width: int, side: int) -> None:
    image = np.full((height, width, 3), RED, np.uint8)
    small = thumbnail(image, side)
    factor = min(1, side / max(height, width))
    assert max(small.shape[:2]) <= side
    for have, full in zip(small.shape, (height, width), strict=False):
        assert abs(have - full * factor) <= 1
    assert np.abs(small.astype(int) - RED).max() <= 3  # Pillow rounds in every step of a strong reduction
    assert image.shape == (height, width, 3)


# ---------------------------------------------------------------------------------------------------- points, names


@pytest.mark.parametrize(
    ("point", "cell"),
    [
        ((0, 0), (0, 0)),
        ((5, 5), (0, 0)),  # 0.5 -> 0
        ((15, 25), (2, 2)),  # 1.5 -> 2, 2.5 -> 2
        ((35.1, 34.9), (4, 3)),
        ((199, 99), (19, 9)),  # 19.9 -> 20, clamped
        ((200, 100), (19, 9)),
        ((-30, 1e9), (0, 9)),
    ],
)
def test_points_round_half_to_even_and_stay_on_the_grid(point: tuple[float, float], cell: tuple[int, int]) -> None:
    assert points_to_grid(np.array([point], float), (100, 200), (10, 20)).tolist() == [list(cell)]


@quick
@given(
    arrays.arrays(np.float64, st.tuples(st.integers(0, 5), st.just(2)), elements=st.floats(-1e4, 1e4)),
    st.tuples(sides, sides),
    st.tuples(sides, sides),
)
def test_any_point(points: np.ndarray, size: tuple[int, int], grid: tuple[int, int]) -> None:
    expected = [
        [
            min(max(round(x * (grid[1] / size[1])), 0), grid[1] - 1),
            min(max(round(y * (grid[0] / size[0])), 0), grid[0] - 1),
        ]
        for x, y in points.tolist()
    ]
    cells = points_to_grid(points, size, grid)
    assert cells.shape == points.shape
    assert cells.tolist() == expected


def test_names(tmp_path: Path) -> None:
    path = saved(tmp_path / "picture.png", quadrants())
    assert name_of(path) == name_of(str(path)) == str(path)
    with Image.open(path) as image:
        assert name_of(image) == str(path)
    assert name_of(plain("L", 0)) == f"{W} x {H} PIL image"
    assert name_of(quadrants()) == f"array of shape ({H}, {W}, 3)"

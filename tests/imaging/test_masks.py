"""Masks as others write them: which stored numbers are the mask, in every mode and depth."""

import io
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from crafted import encoded, png
from insid3.imaging.masks import read_mask, read_patch
from insid3.imaging.opening import picture_from_bytes
from insid3.imaging.read import read_image, read_values

H, W = 20, 30
MASK = np.zeros((H, W), bool)
MASK[4:13, 6:20] = True
ONES = MASK.astype(np.uint8)


def palette(*colours: tuple[int, int, int]) -> Image.Image:
    image = Image.fromarray(ONES, "P")
    image.putpalette([level for colour in colours for level in colour])
    return image


def bands(mode: str, *values: np.ndarray | int) -> Image.Image:
    return Image.merge(mode, [Image.fromarray(np.broadcast_to(v, (H, W)).astype(np.uint8)) for v in values])


MODES: dict[str, tuple[Image.Image, str]] = {
    "1": (Image.fromarray(MASK), "PNG"),
    "1 TIFF": (Image.fromarray(MASK), "TIFF"),
    "1 BMP": (Image.fromarray(MASK), "BMP"),
    "1 PBM": (Image.fromarray(MASK), "PPM"),
    "L of 1": (Image.fromarray(ONES), "PNG"),
    "L of 1 TIFF": (Image.fromarray(ONES), "TIFF"),
    "L of 1 WebP": (bands("RGB", ONES, ONES, ONES), "WEBP"),
    "L of 255": (Image.fromarray(ONES * 255), "PNG"),
    "L GIF": (Image.fromarray(ONES * 255), "GIF"),
    "LA of 1, opaque": (bands("LA", ONES, 255), "PNG"),
    "LA, alpha": (bands("LA", 9, ONES), "PNG"),
    "P": (palette((0, 0, 0), (128, 0, 0)), "PNG"),
    "P of dark colours": (palette((0, 0, 0), (0, 0, 1)), "PNG"),
    "P of equal colours": (palette((7, 7, 7), (7, 7, 7)), "PNG"),
    "P TIFF": (palette((0, 0, 0), (128, 0, 0)), "TIFF"),
    "RGB of 1": (bands("RGB", ONES, ONES, ONES), "PNG"),
    "RGB of one channel": (bands("RGB", 0, ONES, 0), "PNG"),
    "RGBA of 1, opaque": (bands("RGBA", ONES, ONES, ONES, 255), "PNG"),
    "RGBA of a colour": (bands("RGBA", ONES * 200, 0, ONES, 255), "PNG"),
    "RGBA, alpha of 1": (bands("RGBA", 200, 10, 30, ONES), "PNG"),
    "CMYK": (bands("CMYK", 0, 0, 0, 255 - ONES * 255), "TIFF"),
    "I;16 of 1": (Image.fromarray(MASK.astype(np.uint16)), "PNG"),
    "I;16 of 65535": (Image.fromarray(MASK * np.uint16(65535)), "PNG"),
    "I;16 TIFF": (Image.fromarray(MASK.astype(np.uint16)), "TIFF"),
    "I": (Image.fromarray(MASK * np.int32(70_000)), "TIFF"),
    "I of -1": (Image.fromarray(MASK * np.int32(-1)), "TIFF"),
    "F of 0.5": (Image.fromarray(MASK * np.float32(0.5)), "TIFF"),
}


@pytest.mark.parametrize("mode", MODES)
def test_nonzero_is_mask_in_every_mode(tmp_path: Path, mode: str) -> None:
    image, kind = MODES[mode]
    path = tmp_path / "mask"
    path.write_bytes(encoded(image, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {})))
    assert np.array_equal(read_mask(path, (H, W)), MASK)
    assert np.array_equal(read_patch(path.read_bytes(), "inside"), MASK)
    assert np.array_equal(read_mask(picture_from_bytes(path.read_bytes(), "inside"), (H, W)), MASK)


def test_of_a_palette_read_patch_takes_the_index() -> None:
    """Annotations store indices; in a mask file black is background, whatever its index."""
    data = encoded(palette((255, 255, 255), (0, 0, 0)), "PNG")
    assert np.array_equal(read_patch(data, "inside"), MASK)
    many = Image.fromarray((np.arange(H * W).reshape(H, W) % 7).astype(np.uint8), "P")
    many.putpalette([0, 0, 0] * 256)
    assert np.array_equal(read_patch(encoded(many, "PNG"), "inside"), np.asarray(many) > 0)


def test_a_patch_may_have_any_number_of_values() -> None:
    values = (np.arange(H * W).reshape(H, W) % 200).astype(np.uint8)
    assert np.array_equal(read_patch(png(values), "inside"), values > 0)
    assert not read_patch(png(values * 0), "inside").any()


def test_a_jpeg_patch_comes_without_its_rings() -> None:
    large = np.zeros((120, 120), np.uint8)
    large[31:77, 40:99] = 255
    assert (read_patch(encoded(large, "JPEG", quality=75), "inside") != (large > 0)).mean() < 0.001


# ---------------------------------------------------------------------------------------------------- white is zero


def white_is_zero(values: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, photometric="miniswhite", metadata=None, **options)
    return file.getvalue()


def packed(bits: int) -> bytes:
    """Return a picture of 2 or 4 bits a value, 1 where the mask is."""
    rows = MASK.reshape(H, -1, 2) if bits == 4 else np.pad(MASK, ((0, 0), (0, 2))).reshape(H, -1, 4)
    weights = [1 << shift for shift in range(8 - bits, -1, -bits)]
    data = (rows * weights).sum(-1).astype(np.uint8).tobytes()
    tags = [(256, W), (257, H), (258, bits), (259, 1), (262, 0), (273, 200), (277, 1), (278, H), (279, len(data))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return (b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)).ljust(200, b"\0") + data


STORED: dict[str, Callable[[], bytes]] = {
    "2 bits": lambda: packed(2),
    "4 bits": lambda: packed(4),
    "8 bits": lambda: white_is_zero(ONES * 255),
    "8 bits of 1": lambda: white_is_zero(ONES),
    "8 bits LZW": lambda: white_is_zero(ONES * 255, compression="lzw"),
    "16 bits": lambda: white_is_zero(MASK * np.uint16(65535)),
    "16 bits of 1": lambda: white_is_zero(MASK.astype(np.uint16), compression="zlib"),
}


@pytest.mark.parametrize("kind", STORED)
def test_stored_numbers_count_where_zero_is_white(tmp_path: Path, kind: str) -> None:
    """ImageJ writes masks so: 255 is the object, and a look-up table shows it black."""
    path = tmp_path / "mask.tif"
    path.write_bytes(STORED[kind]())
    said = r"mask .*mask\.tif is a TIFF in which zero is white \(WhiteIsZero\): what is stored as anything but 0 was"
    with pytest.warns(UserWarning, match=said):
        assert np.array_equal(read_mask(path, (H, W)), MASK)
    with pytest.warns(UserWarning, match="mask inside is a TIFF in which zero is white"):
        assert np.array_equal(read_patch(path.read_bytes(), "inside"), MASK)
    with pytest.warns(UserWarning, match="zero is white"):
        assert np.array_equal(read_mask(picture_from_bytes(path.read_bytes(), "inside"), (H, W)), MASK)
    assert np.array_equal(read_values(path) > 0, MASK)


@pytest.mark.parametrize("compression", ["raw", "group3", "group4", "tiff_lzw"])
def test_black_and_white_counts_as_it_is_shown(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "mask.tif"
    data = encoded(Image.fromarray(~MASK), "TIFF", compression=compression)
    at = data.index(struct.pack("<HHIH", 262, 3, 1, 1)) + 8
    data = data[:at] + b"\0\0" + data[at + 2 :]
    path.write_bytes(data)
    assert np.array_equal(read_image(path)[..., 0] > 0, MASK)
    with pytest.warns(UserWarning, match="zero is white .*: what is shown white was taken for the concept; .* PNG"):
        assert np.array_equal(read_mask(path, (H, W)), MASK)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_picture_in_which_zero_is_white_is_shown_so(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "a.tif"
    ramp: np.ndarray = (np.arange(H * W).reshape(H, W) * (np.iinfo(dtype).max / (H * W - 1))).astype(dtype)
    path.write_bytes(white_is_zero(ramp))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = read_image(path)
    assert picture[0, 0, 0] == 255
    assert picture[-1, -1, 0] == 0


# ---------------------------------------------------------------------------------------------------- other sizes


def test_a_mask_that_is_resized_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    path.write_bytes(png(ONES))
    said = r"mask .*mask\.png is 30 x 20 pixels and was resized to its picture's 60 x 40"
    with pytest.warns(UserWarning, match=said):
        assert np.array_equal(read_mask(path, (2 * H, 2 * W)), MASK.repeat(2, 0).repeat(2, 1))

"""TIFFs with more bands or bits than a picture to look at, written by tifffile."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from insid3 import INSID3
from insid3.errors import ImageError
from insid3.imaging.read import picture_size, read_image
from stubs import box_mask, colour_model, scene

BOX = (16, 16, 48, 48)
GEO = [(34735, "H", 4, (1, 1, 0, 0), True)]  # an empty directory of GeoKeys


def write(path: Path, values: np.ndarray, nodata: str | None = None, **more: Any) -> Path:
    tags: list[tuple[Any, ...]] = [*GEO, *([(42113, "s", 0, nodata, True)] if nodata else [])]
    tifffile.imwrite(path, values, extratags=tags, metadata=None, **more)
    return path


def eleven_bits(bands: int = 4) -> np.ndarray:
    """Return a scene as satellites record it: values below 2048, and more bands than colours."""
    colours = scene(BOX).astype(np.uint16) * 5 + 300
    return np.concatenate([colours, *[colours[..., :1]] * (bands - 3)], -1)


@pytest.mark.parametrize("layout", ["contig", "separate"])
@pytest.mark.parametrize("more", [{}, {"compression": "lzw"}, {"tile": (16, 16)}, {"bigtiff": True}])
def test_four_bands_of_eleven_bits(layout: str, more: dict[str, Any], tmp_path: Path) -> None:
    values = eleven_bits() if layout == "contig" else np.moveaxis(eleven_bits(), -1, 0)
    path = write(tmp_path / "a.tif", values, planarconfig=layout, photometric="minisblack", **more)
    picture = read_image(path)
    assert picture.shape == (64, 64, 3)
    assert picture[32, 32, 0] > 200  # stretched, and red where the box is
    assert picture[32, 32, 2] < 50
    assert picture[2, 2, 2] > 200
    assert picture_size(path) == (64, 64)


def test_one_band_of_many_bits_is_grey_and_stretched(tmp_path: Path) -> None:
    ramp = np.linspace(1000, 1400, 64 * 64).reshape(64, 64)
    for dtype in (np.uint16, np.int16, np.float32, np.uint32):
        picture = read_image(write(tmp_path / f"{np.dtype(dtype)}.tif", ramp.astype(dtype)))
        assert (picture[..., 0] == picture[..., 1]).all()
        assert picture[0, 0, 0] == 0
        assert picture[-1, -1, 0] == 255
        assert 118 < picture[32, 0, 0] < 138


def test_sixteen_bits_that_are_no_geotiff_are_not_stretched(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.full((8, 8), 257 * 7, np.uint16))
    assert (read_image(tmp_path / "a.tif") == 7).all()


def test_bands_are_stretched_each_by_itself_and_nobody_is_warned(tmp_path: Path) -> None:
    """A map is stretched without a warning; a list in `told` gets the note."""
    told: list[str] = []
    read_image(write(tmp_path / "a.tif", eleven_bits(), photometric="minisblack", planarconfig="contig"), told=told)
    assert told == ["stretched: 16 bits, from 300 to 1450 and from 300 to 400 and from 400 to 1300"]


def test_a_map_of_eight_bits_with_nodata_stays_and_one_of_few_outliers_does_not_darken(tmp_path: Path) -> None:
    dark = np.linspace(10, 60, 64 * 64).reshape(64, 64).astype(np.uint8)
    told: list[str] = []
    assert np.array_equal(read_image(write(tmp_path / "a.tif", dark, "0"), told=told)[..., 0], dark)
    assert told == []
    bright = np.tile(np.linspace(300, 900, 128 * 128).reshape(128, 128), (2, 2)).astype(np.uint16)
    bright[5, 5], bright[9, 9] = 65535, 60000  # glints
    read_image(write(tmp_path / "b.tif", bright), told=told)
    assert told == ["stretched: 16 bits, from 300 to 900"]


@pytest.mark.parametrize("orientation", [3, 6])
def test_an_orientation_of_a_map_counts_too(tmp_path: Path, orientation: int) -> None:
    values = eleven_bits()[:32]
    flat = read_image(write(tmp_path / "a.tif", values, photometric="minisblack", planarconfig="contig"), told=[])
    path = tmp_path / "b.tif"
    tags = [*GEO, (274, "H", 1, orientation, True)]
    tifffile.imwrite(path, values, extratags=tags, metadata=None, photometric="minisblack", planarconfig="contig")
    expected = flat[::-1, ::-1] if orientation == 3 else np.rot90(flat, -1)
    assert np.array_equal(read_image(path, told=[]), expected)
    assert picture_size(path) == expected.shape[:2]


def test_eight_bits_stay_as_they_are(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", scene(BOX), photometric="rgb")
    assert (read_image(path) == scene(BOX)).all()
    five = np.concatenate([scene(BOX), scene(BOX)[..., :2]], -1)
    assert (
        read_image(write(tmp_path / "b.tif", five, photometric="minisblack", planarconfig="contig")) == scene(BOX)
    ).all()


def test_nodata_does_not_count_and_is_black(tmp_path: Path) -> None:
    values = np.linspace(100, 200, 64 * 64).reshape(64, 64).astype(np.float32)
    values[:16] = -9999
    values[16] = np.nan
    picture = read_image(write(tmp_path / "a.tif", values, "-9999"))
    assert (picture[:17] == 0).all()
    assert picture[-1, -1, 0] == 255
    assert 90 < picture[40, 32, 0] < 165
    nothing = read_image(write(tmp_path / "b.tif", np.full((8, 8), -9999, np.float32), "-9999"))
    assert (nothing == 0).all()


def test_a_concept_is_found_from_above(tmp_path: Path) -> None:
    model: INSID3 = colour_model()
    path = write(tmp_path / "a.tif", eleven_bits(5), photometric="minisblack", planarconfig="contig")
    found = model.segment(path, model.concept(scene(BOX), box_mask(*BOX)))
    assert (found.mask & box_mask(*BOX)).sum() / (found.mask | box_mask(*BOX)).sum() > 0.8


def test_what_cannot_be_used_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.tif", eleven_bits(), photometric="minisblack", planarconfig="contig")
    with pytest.raises(ImageError, match=r"a\.tif has 64 x 64 pixels, the limit is 100 in all"):
        read_image(path, 100)
    cut = tmp_path / "cut.tif"
    cut.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(ImageError, match=r"cut\.tif is damaged or cut short"):
        read_image(cut)
    complex_ = write(tmp_path / "complex.tif", np.zeros((8, 8), np.complex64))
    with pytest.raises(ImageError, match=r"complex\.tif holds complex64 of shape"):
        read_image(complex_)
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(ImageError, match=r'a\.tif needs packages that are not installed: pip install "insid3\[geo\]"'):
        read_image(path)


def test_nodata_that_float32_cannot_hold_exactly(tmp_path: Path) -> None:
    values = np.linspace(0, 100, 64 * 64).reshape(64, 64).astype(np.float32)
    values[:20] = -9999.9
    picture = read_image(write(tmp_path / "a.tif", values, "-9999.9"))
    assert (picture[:20] == 0).all()
    assert picture[20:].std() > 50

"""Pictures of other than 8 bits: every depth in every format, seen as with 8 bits; and the range that is asked for."""

import io
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, features

from crafted import encoded, png
from insid3 import INSID3
from insid3.backbones import find
from insid3.config import Preset
from insid3.errors import ConfigError, ImageError, MaskError
from insid3.imaging.depth import to_8_bits
from insid3.imaging.masks import read_mask, read_patch
from insid3.imaging.opening import picture_from_bytes
from insid3.imaging.read import picture_size, read_image, read_values
from shapes import iou

H, W = 40, 64


def scene(channels: int, bits: int) -> np.ndarray:
    """Return a smooth picture that uses all `bits` bits; no two channels are alike, and no row or column is flat."""
    y, x = np.mgrid[0:H, 0:W]
    base = np.stack([(x + y) / (H + W - 2), (x + H - 1 - y) / (H + W - 2), y / (H - 1), 1 - y / (H - 1)], -1)
    return np.rint(base[..., :channels] * (2**bits - 1)).astype(np.uint16)


def at_8_bits(values: np.ndarray, bits: int) -> np.ndarray:
    """Return how `scene` should look: three channels, without alpha."""
    colours = values[..., : 1 if values.shape[2] < 3 else 3]
    return np.rint(np.broadcast_to(colours, (H, W, 3)) * (255 / (2**bits - 1)))


def tiff(values: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    options.setdefault("photometric", "rgb" if values.shape[2] >= 3 else "minisblack")
    extra = {3: [], 4: ["unassalpha"], 2: ["unassalpha"], 1: []}[values.shape[2]]
    moved = np.moveaxis(values, -1, 0) if options.get("planarconfig") == "separate" else values
    values = values[..., 0] if values.shape[2] == 1 else moved
    tifffile.imwrite(file, values, metadata=None, **({"extrasamples": extra} if extra else {}), **options)
    return file.getvalue()


def netpbm(values: np.ndarray, top: int = 65535, plain: bool = False) -> bytes:
    kind = (2 if plain else 5) + (values.shape[2] == 3)
    head = b"P%d\n# a comment\n%d %d\n%d\n" % (kind, W, H, top)
    return head + (" ".join(map(str, values.ravel())).encode() if plain else values.astype(">u2").tobytes())


def jpeg2000(values: np.ndarray, bits: int = 16) -> bytes:
    from imagecodecs import jpeg2k_encode

    squeezed = values[..., 0] if values.shape[2] == 1 else values
    return bytes(jpeg2k_encode(np.ascontiguousarray(squeezed), level=0, reversible=True, bitspersample=bits))


FORMATS: dict[str, tuple[Callable[[np.ndarray], bytes], tuple[int, ...]]] = {
    "PNG": (png, (1, 2, 3, 4)),
    "TIFF": (tiff, (1, 2, 3, 4)),
    "TIFF big-endian": (lambda a: tiff(a, byteorder=">"), (1, 3, 4)),
    "TIFF LZW": (lambda a: tiff(a, compression="lzw", predictor=True), (1, 3, 4)),
    "TIFF deflate": (lambda a: tiff(a, compression="zlib"), (1, 3, 4)),
    "TIFF tiles": (lambda a: tiff(a, tile=(16, 16)), (1, 3)),
    "TIFF planes": (lambda a: tiff(a, planarconfig="separate"), (3,)),
    "TIFF packed planes": (lambda a: tiff(a, planarconfig="separate", compression="zlib"), (3,)),
    "TIFF big": (lambda a: tiff(a, bigtiff=True), (1, 3)),
    "netpbm": (netpbm, (1, 3)),
    "netpbm plain": (lambda a: netpbm(a, plain=True), (1, 3)),
}
CASES = [(kind, channels) for kind, (_, many) in FORMATS.items() for channels in many]


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize(("kind", "channels"), CASES, ids=str)
def test_as_few_bits_as_are_used_are_seen(tmp_path: Path, kind: str, channels: int, bits: int) -> None:
    """Fewer bits are used than the 16 that the file has."""
    values = scene(channels, bits)
    path = tmp_path / "picture"
    path.write_bytes(FORMATS[kind][0](values))
    told: list[str] = []
    picture = read_image(path, told=told)
    assert np.abs(picture - at_8_bits(values, bits)).max() <= 0.5
    assert told == ([] if bits == 16 else [f"stretched: 16 bits, from 0 to {2**bits - 1}"])
    assert picture_size(path) == (H, W)
    if (kind, channels) != ("TIFF", 2):  # which Pillow cannot open
        for source in (Image.open(path), picture_from_bytes(path.read_bytes(), "inside")):
            with source:
                assert np.array_equal(read_image(source, told=[]), picture)
    assert np.array_equal(read_values(path).reshape(H, W, -1), values)


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_declared_bits_of_jpeg_2000(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: int, bits: int) -> None:
    """Pillow's own decoder turns the brightest colours black."""
    values = scene(channels, bits)
    path = tmp_path / "a.jp2"
    path.write_bytes(jpeg2000(values, bits))
    told: list[str] = []
    assert np.abs(read_image(path, told=told) - at_8_bits(values, bits)).max() <= 0.5
    assert told == []  # declared
    assert np.array_equal(read_values(path).reshape(H, W, -1), values)
    if channels == 3:
        monkeypatch.setitem(__import__("sys").modules, "imagecodecs", None)
        with pytest.raises(ImageError, match=r'a\.jp2 has more than 8 bits, .*pip install "insid3\[geo\]"'):
            read_image(path)


@pytest.mark.parametrize("top", [1000, 1023, 4095])
@pytest.mark.parametrize("plain", [False, True])
def test_declared_values_of_netpbm(tmp_path: Path, top: int, plain: bool) -> None:
    values: np.ndarray = np.rint(scene(1, 16) * (top / 65535)).astype(np.uint16)
    path = tmp_path / "a.pgm"
    path.write_bytes(netpbm(values, top, plain))
    told: list[str] = []
    assert np.abs(read_image(path, told=told) - values * (255 / top)).max() <= 0.51
    assert told == []


@pytest.mark.skipif(not features.check("avif"), reason="Pillow reads no AVIF")
@pytest.mark.parametrize("bits", [8, 10, 12])
def test_declared_bits_of_avif(tmp_path: Path, bits: int) -> None:
    from imagecodecs import avif_encode

    values = scene(3, bits).astype(np.uint8 if bits == 8 else np.uint16)
    path = tmp_path / "a.avif"
    path.write_bytes(avif_encode(values, level=95, bitspersample=bits, speed=10))
    assert np.abs(read_image(path) - at_8_bits(values, bits)).mean() < 3


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        (np.uint16, 1000, 1400), (np.int16, -500, 500), (np.uint32, 3e9, 4e9), (np.int32, -7, 70_000),
        (np.float32, 0.2, 0.4), (np.float32, -3e5, 7e9), (np.float64, 5, 6), (np.uint8, 0, 255),
    ],
)  # fmt: skip
def test_a_narrow_range_fills_all(tmp_path: Path, dtype: type, low: float, high: float) -> None:
    values: np.ndarray = (low + scene(1, 16)[..., 0] * ((high - low) / 65535)).astype(dtype)
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(values[..., None]))
    told: list[str] = []
    picture = read_image(path, told=told)
    assert np.abs(picture[..., 0] - scene(1, 8)[..., 0].astype(float)).max() <= 1
    assert (told == []) == (dtype is np.uint8)


@pytest.mark.parametrize(("top", "scale"), [(1, 1), (255, 255), (0.9, 1), (240, 255), (3900, 4095)])
def test_fractions_and_levels_as_floating_point_numbers(tmp_path: Path, top: float, scale: float) -> None:
    values = (scene(1, 16) * (top / 65535)).astype(np.float32)
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(values))
    told: list[str] = []
    assert np.abs(read_image(path, told=told) - values * (255 / scale)).max() <= 0.51
    assert told == [f"stretched: 32 bits, from 0 to {scale}"]


def test_a_few_hot_pixels_do_not_count() -> None:
    values = scene(1, 12)
    values[3:7, 3:7] = 65535
    assert to_8_bits(values, top=65535)[1] == ""  # one pixel in a hundred is something
    large = np.tile(scene(1, 12), (10, 10, 1))
    large[3, 3], large[7, 9] = 65535, 60000
    shown, done = to_8_bits(large, top=65535)
    assert done == "from 0 to 4095"
    assert shown[3, 3] == shown[7, 9] == 255


def test_a_small_bright_object_is_no_outlier() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(100, 5, (500, 500, 1)).clip(60, 140).astype(np.uint16)
    values[100:110, 100:110] = 3000
    shown, done = to_8_bits(values, top=65535)
    assert done == "from 0 to 4095"
    assert shown[105, 105] > 180
    assert shown[0].max() < 10


def test_colours_keep_their_proportion_and_bands_do_not() -> None:
    values = scene(3, 12)
    values[..., 2] = values[..., 2] // 40 + 20
    together, _ = to_8_bits(values, top=65535)
    assert together[..., 2].max() < 9
    apart, done = to_8_bits(values, top=65535, by_band=True)
    assert apart[..., 2].max() == 255
    assert done == "from 0 to 4095 and from 20 to 122"


@pytest.mark.parametrize("value", [0, 7, 40_000, 65535])
def test_a_flat_picture_has_nothing_to_stretch(value: int) -> None:
    shown, done = to_8_bits(np.full((5, 6, 1), value, np.uint16), top=65535)
    assert (shown == round(value / 257)).all()
    assert done == ""


def test_what_was_not_measured_is_black_and_does_not_count() -> None:
    values = np.linspace(2, 3, 600).reshape(20, 30, 1)
    values[0], values[1] = np.nan, np.inf
    values[2] = -9999
    shown, _ = to_8_bits(values, void=-9999)
    assert (shown[:3] == 0).all()
    assert shown[3, 0] == 0
    assert shown[-1, -1] == 255
    assert (to_8_bits(np.full((2, 2, 1), np.nan))[0] == 0).all()


# ---------------------------------------------------------------------------------------------------- what is asked for


def test_a_range_makes_dark_pictures_of_8_bits_visible(tmp_path: Path) -> None:
    values = np.zeros((H, W, 3), np.uint8)
    values[10:20, 10:20] = (7, 0, 3)
    path = tmp_path / "a.png"
    path.write_bytes(encoded(values, "PNG"))
    told: list[str] = []
    for source in (path, values, Image.fromarray(values)):
        picture = read_image(source, stretch=(0, 7), told=told)
        assert picture[15, 15].tolist() == [255, 0, 109]
    assert told == ["stretched: 8 bits, from 0 to 7"] * 3
    assert np.array_equal(read_image(path, told=told), values)
    assert len(told) == 3


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "netpbm", "JPEG2000", "array", "GeoTIFF"])
def test_a_range_is_of_the_numbers_in_the_file(tmp_path: Path, kind: str) -> None:
    values = scene(3, 12)
    write = {
        "JPEG2000": lambda a: jpeg2000(a, 12),
        "GeoTIFF": lambda a: tiff(a, extratags=[(34735, "H", 4, (1, 1, 0, 0), True)]),
    }
    path = tmp_path / "a.tif"
    source: Any = values
    if kind != "array":
        path.write_bytes(write[kind](values) if kind in write else FORMATS[kind][0](values))
        source = path
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = read_image(source, stretch=(1000, 3000))
    expected = np.clip((values.astype(float) - 1000) * (255 / 2000), 0, 255)
    assert np.abs(picture - expected).max() <= 0.51


@pytest.mark.parametrize("stretch", ["0,4095", " 0, 4095", [0, 4095], (0.0, 4095.0), "(0, 4095)"])
def test_a_range_may_be_text_or_a_list(stretch: Any) -> None:
    values = scene(1, 11)
    assert np.abs(read_image(values, stretch=stretch) - values * (255 / 4095)).max() <= 0.51


@pytest.mark.parametrize("stretch", ["7,0", "5", (1, 1), (0, float("inf")), "a,b", [1, 2, 3], ""])
def test_a_range_that_is_none_is_refused(stretch: Any) -> None:
    with pytest.raises(ConfigError, match="stretch must be two numbers, the lower first, as 0,4095; got "):
        read_image(scene(1, 8), stretch=stretch)


def test_a_stretched_picture_is_warned_of_by_name_unless_somebody_listens(tmp_path: Path) -> None:
    path = tmp_path / "cells.png"
    path.write_bytes(png(scene(1, 12)))
    with pytest.warns(UserWarning, match=r"cells\.png was stretched: 16 bits, from 0 to 4095; stretch= \(--stretch"):
        read_image(path)
    with pytest.warns(UserWarning, match=r"array of shape \(40, 64, 1\) was stretched"):
        read_image(scene(1, 12))


# ---------------------------------------------------------------------------------------------------- masks


@pytest.mark.parametrize("value", [1, 255, 256, 4095, 65535])
@pytest.mark.parametrize(("kind", "channels"), [case for case in CASES if case[1] != 2], ids=str)
def test_anything_but_zero_is_mask_at_every_depth(tmp_path: Path, kind: str, channels: int, value: int) -> None:
    """Even the lowest bit counts, which Pillow drops."""
    mask = np.zeros((H, W), bool)
    mask[5:20, 7:30] = True
    values = np.repeat(mask[..., None] * np.uint16(value), channels, 2)
    if channels == 4:
        values[..., 3] = 65535
    path = tmp_path / "mask"
    path.write_bytes(FORMATS[kind][0](values))
    assert np.array_equal(read_mask(path, (H, W)), mask)
    assert np.array_equal(read_patch(path.read_bytes(), "inside"), mask)
    if channels >= 3:
        values[..., 1] = 0  # coloured
        path.write_bytes(FORMATS[kind][0](values))
        assert np.array_equal(read_mask(path, (H, W)), mask)
        assert np.array_equal(read_patch(path.read_bytes(), "inside"), mask)


def test_alpha_of_16_bits_is_the_mask_where_it_varies(tmp_path: Path) -> None:
    mask = np.arange(W) > 20 + np.zeros((H, 1), int)
    for channels in (2, 4):
        values = np.full((H, W, channels), 900, np.uint16)
        values[..., -1] = mask
        path = tmp_path / "mask.png"
        path.write_bytes(png(values))
        assert np.array_equal(read_mask(path, (H, W)), mask)
        assert np.array_equal(read_patch(path.read_bytes(), "inside"), mask)


def test_many_colours_of_16_bits_are_ambiguous(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    path.write_bytes(png(scene(3, 16)))
    with pytest.raises(MaskError, match=r"mask\.png has \d+ colours, so which one is the concept cannot be told"):
        read_mask(path, (H, W))


def test_a_netpbm_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pgm"
    for plain in (False, True):
        path.write_bytes(netpbm(scene(1, 12), plain=plain)[:-200])
        with pytest.raises(ImageError, match=r"a\.pgm is damaged or cut short"):
            read_image(path)
    path.write_bytes(netpbm(scene(1, 12), plain=True)[:-9] + b"words")
    with pytest.raises(ImageError, match=r"a\.pgm is damaged or cut short"):
        read_image(path)


def test_twelve_packed_bits_of_a_tiff(tmp_path: Path) -> None:
    values = scene(1, 12)[..., 0]
    pairs = values.reshape(H, W // 2, 2).astype(np.uint32)
    packed = (pairs[..., 0] << 12 | pairs[..., 1]).astype(">u4").view(np.uint8).reshape(H, W // 2, 4)[..., 1:]
    tags = [(256, 4, W), (257, 4, H), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 200), (277, 3, 1), (278, 4, H)]
    tags.append((279, 4, packed.size))
    entries = b"".join(struct.pack("<HHI", tag, kind, 1) + struct.pack("<I", value) for tag, kind, value in tags)
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)
    path = tmp_path / "a.tif"
    path.write_bytes(head.ljust(200, b"\0") + packed.tobytes())
    told: list[str] = []
    assert np.abs(read_image(path, told=told)[..., 0] - values * (255 / 4095)).max() <= 0.51
    assert told == []
    assert np.array_equal(read_values(path), values)


@pytest.mark.parametrize("preset", ["published", "plus"])
@pytest.mark.filterwarnings("ignore:.* was stretched:UserWarning")
def test_twelve_bits_are_marked_as_eight_are(cases: Path, model280: INSID3, preset: Preset) -> None:
    """The shared cases; see their README."""
    folder = cases / "depth"
    model = INSID3(model280.encoder, *find("dinov2-vits14").defaults.configs(preset, size=280))  # type: ignore[union-attr]
    masks = []
    for depth in ("g8", "g12"):
        seen = model.concept(folder / f"{depth}_ref.png", folder / "ref_mask.png")
        masks.append(model.segment(folder / f"{depth}_tgt.png", seen).mask)
    assert iou(*masks) > 0.9
    assert masks[0].any()

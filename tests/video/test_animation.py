"""Animated pictures: WebP by Pillow, GIF and PNG by PyAV."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clips import number_of, numbered
from insid3.errors import ImageError
from insid3.imaging.read import read_image
from insid3.video.animation import is_animated
from insid3.video.clip import Clip

LASTS = [100] * 6 + [300] * 4


def animated(path: Path, count: int = 10, **more: Any) -> Path:
    first, *rest = (Image.fromarray(picture) for picture in numbered(count))
    first.save(path, save_all=True, append_images=rest, duration=LASTS[:count], **more)
    return path


@pytest.mark.parametrize("suffix", ["webp", "gif", "png"])
def test_animated_pictures_are_videos(suffix: str, tmp_path: Path) -> None:
    clip = Clip(animated(tmp_path / f"a.{suffix}"))
    found = dict(clip.pictures(range(10)))
    assert [number_of(np.asarray(picture)) for picture in found.values()] == list(range(10))
    assert [moment.time for moment in clip.moments] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.9, 1.2, 1.5])
    assert (clip.length, clip.size, clip.is_cut_off) == (pytest.approx(1.8), (64, 96), False)
    some = dict(clip.pictures([3, 7]))
    np.testing.assert_array_equal(some[7], found[7])


@pytest.mark.parametrize("suffix", ["webp", "gif", "png"])
def test_what_moves_and_what_does_not(suffix: str, tmp_path: Path) -> None:
    assert is_animated(animated(tmp_path / f"a.{suffix}"))
    Image.fromarray(numbered(1)[0]).save(tmp_path / f"b.{suffix}")
    assert is_animated(tmp_path / f"b.{suffix}") == (suffix == "gif")
    assert not is_animated(tmp_path / "gone.webp")
    assert not is_animated(tmp_path)


def test_a_webp_is_turned_as_it_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    clip = Clip(animated(tmp_path / "a.webp", lossless=True, exif=exif))
    (_, picture), *_ = clip.pictures([5])
    assert clip.size == np.asarray(picture).shape[:2] == (96, 64)
    assert number_of(np.rot90(np.asarray(picture))) == 5


def test_a_webp_that_was_cut_off_is_read_to_its_last_whole_frame(tmp_path: Path) -> None:
    path = animated(tmp_path / "a.webp", lossless=True)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.75)])
    clip = Clip(path)
    found = [number_of(np.asarray(picture)) for _, picture in clip.pictures(range(len(clip.moments)))]
    assert found == list(range(len(found)))
    assert 5 <= len(found) < 9
    assert f"is cut off after {len(found)} frames" in clip.missing()


def test_a_webp_that_is_damaged_fails_frame_by_frame(tmp_path: Path) -> None:
    path = animated(tmp_path / "a.webp", lossless=True)
    data = bytearray(path.read_bytes())
    at = [i for i in range(len(data) - 4) if data[i : i + 4] == b"ANMF"][6]
    data[at + 44 : at + 60] = b"\xff" * 16
    path.write_bytes(data)
    found = dict(Clip(path).pictures(range(10)))
    assert [index for index, picture in found.items() if isinstance(picture, ImageError)] == [6, 7, 8, 9]


@pytest.mark.parametrize("keep", [30, 60])
def test_a_webp_without_a_frame(keep: int, tmp_path: Path) -> None:
    path = animated(tmp_path / "a.webp")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ImageError, match="holds no frames: it may have been cut off"):
        Clip(path)


def test_a_webp_that_is_too_large(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="96 x 64 pixels, the limit is 100"):
        Clip(animated(tmp_path / "a.webp"), max_pixels=100)


def test_a_webp_of_which_nothing_can_be_decoded(tmp_path: Path) -> None:
    path = animated(tmp_path / "a.webp", lossless=True)
    data = bytearray(path.read_bytes())
    at = data.index(b"ANMF")
    data[at + 32 : at + 60] = bytes(28)
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"a\.webp is damaged or cut short"):
        Clip(path)


def in_holes(mode: str, count: int = 3) -> list[Image.Image]:
    """Return pictures of a green box that moves over a transparent, red ground."""
    found = []
    for i in range(count):
        colours = np.full((32, 48, 4), (200, 30, 60, 0), np.uint8)
        colours[8:24, 8 + 8 * i : 16 + 8 * i] = (20, 220, 40, 255)
        picture = Image.fromarray(colours)
        if mode == "P":
            picture = Image.fromarray(colours[..., 3] // 255).convert("P")
            picture.putpalette([200, 30, 60, 20, 220, 40])
        found.append(picture.convert("LA") if mode == "LA" else picture)
    return found


@pytest.mark.parametrize("disposal", [1, 2])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
@pytest.mark.parametrize("suffix", ["webp", "gif", "png"])
def test_transparent_pixels_look_as_in_the_picture_itself(
    suffix: str, mode: str, disposal: int, tmp_path: Path
) -> None:
    path, (first, *rest) = tmp_path / f"a.{suffix}", in_holes(mode)
    ways: dict[str, dict[str, Any]] = {"webp": {"lossless": True}, "gif": {"disposal": disposal}, "png": {"blend": 0}}
    more = ways[suffix]
    if mode == "P":
        more["transparency"] = 0
    first.save(path, save_all=True, append_images=rest, duration=100, **more)
    still, found = read_image(path), [np.asarray(picture) for _, picture in Clip(path).pictures(range(3))]
    np.testing.assert_array_equal(found[0], still)
    for picture in found:
        assert (picture[:8] == still[0, 0]).all()
    assert (still[0, 0] != 255).any()


def test_a_gif_whose_first_picture_cannot_be_read_is_still_a_video(tmp_path: Path) -> None:
    path = animated(tmp_path / "a.gif", transparency=0)
    data = bytearray(path.read_bytes())
    data[data.index(b"!\xf9") + 6] = 255  # a colour beyond the palette
    path.write_bytes(data)
    assert len(Clip(path).moments) == 10

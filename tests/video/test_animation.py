"""Pictures that move: WebP by Pillow, GIF and PNG by PyAV."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clips import number_of, numbered
from insid3.errors import ImageError
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

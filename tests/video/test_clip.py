"""Reading videos: every frame once and in order, also from damaged files."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from clips import moving, write_clip
from insid3.errors import ConfigError, ImageError, MissingExtraError
from insid3.video.clip import Clip, chosen, place_of


def read(clip: Clip, indices: list[int] | None = None) -> dict[int, np.ndarray | ImageError]:
    return dict(clip.pictures(range(clip.expected) if indices is None else indices))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "avi"])
def test_every_frame_once_and_in_order(suffix: str, tmp_path: Path) -> None:
    pictures = moving()
    clip = Clip(write_clip(tmp_path / f"a.{suffix}", pictures))
    assert (len(clip.moments), clip.expected, clip.rate, clip.is_cut_off) == (24, 24, 10, False)
    assert [moment.time for moment in clip.moments] == pytest.approx([i / 10 for i in range(24)], abs=2e-3)
    found = read(clip)
    assert list(found) == list(range(24))
    for picture, expected in zip(found.values(), pictures, strict=True):
        assert isinstance(picture, np.ndarray)
        assert np.abs(picture.astype(int) - expected).mean() < 4
    some = read(clip, [3, 17])
    assert list(some) == [3, 17]
    np.testing.assert_array_equal(some[17], found[17])


def test_frames_that_come_irregularly_keep_their_times(tmp_path: Path) -> None:
    clip = Clip(write_clip(tmp_path / "a.mp4", moving(4), times=[0, 1, 7, 8]))
    assert [moment.time for moment in clip.moments] == pytest.approx([0, 0.1, 0.7, 0.8])
    assert list(read(clip, [0, 1, 2, 3])) == [0, 1, 2, 3]
    assert [clip.at(Fraction(tenths, 10)) for tenths in (0, 1, 5, 7, 8, 20)] == [0, 1, 1, 2, 3, 20 * clip.rate // 10]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts", "a.gif", "a.webp"])
def test_the_last_frame_lasts_until_the_end(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if path.suffix in (".gif", ".webp"):
        first, *rest = (Image.fromarray(picture) for picture in moving(5))
        first.save(path, save_all=True, append_images=rest, duration=[100] * 4 + [700])
    else:
        write_clip(path, moving(5))
    clip = Clip(path)
    last = clip.moments[-1].time
    assert clip.length - last > 0.05
    for share in ("0", "0.001", "0.5", "0.99"):
        assert clip.at(Fraction(last) + Fraction(share) * Fraction(clip.length - last)) == 4
    assert clip.at(Fraction(clip.length)) == clip.at(Fraction(f"{clip.length:.6f}")) >= 5
    begin = f"{(last + clip.length) / 2:.4f}"
    assert chosen(clip.expected, clip.at, 1, begin, None, clip.length) == [4]
    assert chosen(clip.expected, clip.at, 1, begin, "99", clip.length) == [4]
    with pytest.raises(
        ConfigError, match=rf"no frame lies from 9 to the end: .* 5 frames, which end at {clip.length:.2f} s"
    ):
        chosen(clip.expected, clip.at, 1, "9", None, clip.length)
    ((_, error),) = clip.pictures([clip.at(Fraction(9))])
    assert f"it has 5 frames, which end at {clip.length:.2f} s" in str(error)


def test_real_clips_are_read_whole(pictures: dict[str, Path]) -> None:
    folder = pictures["lion"].parent.parent / "videos"
    for name, count, size in (("a.mp4", 209, (1080, 1920)), ("b.avi", 150, (270, 480)), ("b.mp4", 150, (270, 480))):
        clip = Clip(folder / name)
        found = read(clip, [0, count - 1])
        assert len(clip.moments) == count
        assert [np.asarray(picture).shape[:2] for picture in found.values()] == [size, size]


@pytest.mark.parametrize(
    ("name", "count"),
    [("cover_index0.mp4", 8), ("joined.ts", 24), ("raw.h264", 20), ("trimmed.mp4", 15), ("vfr.avi", 12)],
)
def test_cases_from_real_life(name: str, count: int, cases: Path) -> None:
    clip = Clip(cases / "video" / name)
    assert (len(clip.moments), clip.expected, clip.is_cut_off) == (count, count, False)
    assert [np.asarray(picture).shape for picture in read(clip).values()] == [(96, 160, 3)] * count


def test_a_clip_that_was_cut_off_keeps_its_beginning(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "a.mp4", moving(), movflags="faststart")
    data = whole.read_bytes()
    whole.write_bytes(data[: len(data) * 6 // 10])
    clip = Clip(whole)
    assert clip.is_cut_off
    assert clip.expected == 24
    found = read(clip, list(range(len(clip.moments))))
    good = [index for index, picture in found.items() if isinstance(picture, np.ndarray)]
    assert good == list(range(len(good)))
    assert 12 <= len(good) <= 15


def test_a_matroska_that_was_cut_off_is_told_by_its_time(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", moving(), rate=4)
    assert not Clip(path).is_cut_off
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    clip = Clip(path)
    assert clip.is_cut_off
    assert clip.expected == pytest.approx(24, abs=1)
    assert 12 <= len(clip.moments) <= 15


def test_sound_that_goes_on_is_no_missing_picture(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        pictures, sound = container.add_stream("libx264", rate=10), container.add_stream("aac", rate=16000)
        pictures.width, pictures.height, pictures.pix_fmt, sound.layout = 96, 64, "yuv420p", "mono"
        for picture in moving(5):
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        for start in range(0, 16000 * 4, 1000):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, start
            container.mux(sound.encode(frame))
        for stream in (pictures, sound):
            container.mux(stream.encode(None))
    clip = Clip(tmp_path / "a.mkv")
    assert (len(clip.moments), clip.expected, clip.is_cut_off) == (5, 5, False)


def test_a_clip_without_its_index_says_so(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", moving())
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(ImageError, match=r"a\.mp4 cannot be read as a video .*cut off before its index; convert"):
        Clip(path)


def test_damage_in_the_middle_is_named_and_the_rest_read(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mkv", moving())
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    coded = data.index(packets[11])  # the last frame of its group: no other one refers to it
    data[coded + 8 : coded + 68] = bytes(60)
    path.write_bytes(data)
    clip = Clip(path)
    found = read(clip)
    lost = {index: picture for index, picture in found.items() if isinstance(picture, ImageError)}
    assert list(lost) == [11]
    assert str(lost[11]).endswith("a.mkv: frame 11 (1.10 s) cannot be decoded, the file is damaged there")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "cannot be read as a video"), (b"no video at all, but text" * 40, "cannot be read as a video")],
)
def test_what_is_no_video(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=message):
        Clip(path)
    with pytest.raises(ImageError, match=r"b\.mp4 cannot be read as a video \(No such file"):
        Clip(tmp_path / "b.mp4")


def test_sound_alone_is_no_video(tmp_path: Path, pictures: dict[str, Path]) -> None:
    sound = next((pictures["lion"].parent.parent / "audio").glob("*.wav"))
    with pytest.raises(ImageError, match="has no pictures"):
        Clip(sound)


@pytest.mark.parametrize(
    ("text", "index"), [("0", 0), ("2", 50), ("2.5", 62), ("1:02", 1550), ("0:00:01.", 25), ("17f", 17)]
)
def test_places(text: str, index: int) -> None:
    assert place_of(text, lambda seconds: int(seconds * 25)) == index


@pytest.mark.parametrize("text", ["", "f", "-1", "1:", "1:2:3:4", "two", "1e3", ":5"])
def test_places_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="a place in a video is seconds"):
        place_of(text, int)


def test_chosen_frames() -> None:

    def rate(seconds: Fraction) -> int:
        return int(seconds * 10)

    assert chosen(10, rate) == list(range(10))
    assert chosen(10, rate, 4) == [0, 4, 8]
    assert chosen(10, rate, 2, "0.3", "7f") == [3, 5, 7]
    assert chosen(10, rate, 1, "8f", "99") == [8, 9]
    with pytest.raises(ConfigError, match=r"no frame lies from 2 to the end: it has 10 frames"):
        chosen(10, rate, 1, "2")
    with pytest.raises(ConfigError, match="every must be 1 or more"):
        chosen(10, rate, 0)


def test_without_pyav_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(MissingExtraError, match=r'pip install "insid3\[video\]"'):
        Clip(tmp_path / "a.mp4")

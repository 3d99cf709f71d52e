"""Containers, codecs and odd files: every frame that can be decoded is read once and in order."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from clips import encode_film, joined, number_of, numbered, with_cover
from insid3.errors import ImageError
from insid3.video.clip import Clip

COUNT = 27  # more than are decoded to see what is there
GREY, FULL = {"pixels": "yuv422p10le"}, {"pixels": "yuvj420p"}
HIDDEN = {"auto-alt-ref": "1", "lag-in-frames": "16", "arnr-maxframes": "7", "arnr-strength": "5"}
FILMS: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"h264.{suffix}": ("libx264", {}) for suffix in ("mp4", "mov", "mkv", "avi", "ts", "m2ts", "mpg", "flv", "nut")},
    **{f"h265.{suffix}": ("libx265", {}) for suffix in ("mp4", "mkv", "ts")},
    **{f"mpeg4.{suffix}": ("mpeg4", {}) for suffix in ("mp4", "avi", "mkv", "m4v")},
    **{f"mpeg2.{suffix}": ("mpeg2video", {}) for suffix in ("mpg", "ts", "m2v")},
    "raw.h264": ("libx264", {}), "raw.h265": ("libx265", {}), "jpeg.avi": ("mjpeg", FULL), "raw.mjpeg": ("mjpeg", FULL),
    "prores.mov": ("prores_ks", GREY), "lossless.mkv": ("ffv1", {}), "old.wmv": ("wmv2", {}), "old.flv": ("flv", {}),
    "hidden.webm": ("libvpx", HIDDEN), "vp9.webm": ("libvpx-vp9", HIDDEN), "plain.y4m": ("rawvideo", {}),
    "moving.gif": ("gif", {"pixels": "rgb8"}), "moving.apng": ("apng", {"pixels": "rgb24"}),
}  # fmt: skip


def numbers(clip: Clip) -> list[int]:
    """Return the number of the picture of `numbered` that each frame shows; -1 for a damaged frame."""
    found = list(clip.pictures(range(len(clip.moments))))
    assert [index for index, _ in found] == list(range(len(clip.moments)))
    return [-1 if isinstance(picture, ImageError) else number_of(picture) for _, picture in found]


def made(folder: Path, name: str, count: int = COUNT, start: int = 0, **more: Any) -> Path:
    codec, how = FILMS[name]
    return encode_film(folder / f"{start}{name}", numbered(count, start=start), codec, **how, **more)


def seconds(clip: Clip) -> list[float]:
    return [moment.time for moment in clip.moments]


@pytest.mark.parametrize("name", FILMS)
def test_every_container_and_codec(name: str, tmp_path: Path) -> None:
    clip = Clip(made(tmp_path, name))
    assert numbers(clip) == list(range(COUNT))
    assert not clip.is_cut_off
    assert clip.expected == COUNT
    step = seconds(clip)[1]
    assert seconds(clip) == pytest.approx([i * step for i in range(COUNT)], abs=2e-3)
    assert clip.length == pytest.approx(COUNT * step, abs=2e-2)


@pytest.mark.parametrize("name", ["h264.ts", "h264.mpg", "raw.h264", "h265.ts", "raw.h265", "mpeg2.mpg", "mpeg2.m2v",
                                  "h264.avi", "raw.mjpeg"])  # fmt: skip
def test_joined_streams_are_one(name: str, tmp_path: Path) -> None:
    parts = [made(tmp_path, name, 8, start) for start in (0, 8, 16)]
    clip = Clip(joined(tmp_path / name, *parts))
    assert numbers(clip) == list(range(24))
    assert not clip.is_cut_off
    step = seconds(clip)[1]
    assert seconds(clip) == pytest.approx([i * step for i in range(24)], abs=0.02)
    assert clip.at(Fraction(12 * step)) == 12


@pytest.mark.parametrize("name", ["h264.mp4", "h264.flv", "h264.mkv"])
def test_what_cannot_be_read_behind_a_file_is_said(name: str, tmp_path: Path) -> None:
    clip = Clip(joined(tmp_path / name, *(made(tmp_path, name, 8, start) for start in (0, 8, 16))))
    read = 16 if name.endswith("mkv") else 8
    assert numbers(clip) == list(range(read))
    assert clip.is_cut_off
    assert f"is several files, joined: only its first {read} frames can be read" in clip.missing()


@pytest.mark.parametrize("name", ["h264.ts", "raw.h264"])
def test_a_second_size_in_mid_stream(name: str, tmp_path: Path) -> None:
    other = encode_film(tmp_path / f"b{name}", numbered(6, (32, 64), start=8))
    clip = Clip(joined(tmp_path / name, made(tmp_path, name, 8), other))
    assert numbers(clip) == list(range(14))
    sizes = [np.asarray(picture).shape[:2] for _, picture in clip.pictures(range(14))]
    assert sizes == [(64, 96)] * 8 + [(32, 64)] * 6
    assert clip.size == (64, 96)


@pytest.mark.parametrize(
    ("name", "times", "shown"),
    [
        ("h264.mkv", [i // 2 for i in range(COUNT)], None),
        ("h264.mov", [0] * 5 + list(range(5, COUNT)), None),
        ("h264.mkv", [i - 7 for i in range(COUNT)], range(COUNT)),
        ("h264.mkv", [i * i for i in range(COUNT)], [i * i for i in range(COUNT)]),
        ("mpeg4.avi", [i + 16 * (i // 4) for i in range(COUNT)], [i + 16 * (i // 4) for i in range(COUNT)]),
        ("h264.ts", [i + 7000 * (i > 11) for i in range(COUNT)], [i + 7000 * (i > 11) for i in range(COUNT)]),
    ],
    ids=["twice", "five-times", "negative", "variable", "null-frames", "a-pause"],
)
def test_timestamps_of_all_sorts(name: str, times: list[int], shown: Any, tmp_path: Path) -> None:
    clip = Clip(made(tmp_path, name, times=times))
    assert numbers(clip) == list(range(COUNT))
    assert all(after > before for before, after in zip(seconds(clip), seconds(clip)[1:], strict=False))
    assert not clip.is_cut_off
    if shown is not None:
        assert seconds(clip) == pytest.approx([time / 10 for time in shown], abs=2e-3)


@pytest.mark.parametrize("name", ["h264.mp4", "h265.mp4", "mpeg4.mp4", "jpeg.avi"])
def test_what_an_edit_list_hides_is_not_missing(name: str, tmp_path: Path) -> None:
    codec, how = FILMS[name]
    path = tmp_path / "a.mp4"
    encode_film(
        path, numbered(COUNT), codec, times=[i - 7 for i in range(COUNT)],
        muxing={"avoid_negative_ts": "disabled"}, **how,
    )  # fmt: skip
    clip = Clip(path)
    assert numbers(clip) == list(range(7, COUNT))
    assert (clip.is_cut_off, clip.expected, seconds(clip)[0]) == (False, COUNT - 7, 0.0)


def test_an_edit_list_that_hides_the_end(tmp_path: Path) -> None:
    path = made(tmp_path, "h264.mp4")
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 12
    data[at : at + 4] = (int.from_bytes(data[at : at + 4], "big") // 3).to_bytes(4, "big")
    path.write_bytes(data)
    clip = Clip(path)
    assert numbers(clip) == list(range(9))
    assert not clip.is_cut_off


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize(("frames", "disposition"), [(1, 0), (1, 1024), (3, 0), (3, 1)],
                         ids=["cover", "said", "preview", "default-preview"])  # fmt: skip
def test_the_best_stream_is_read_and_said(suffix: str, frames: int, disposition: int, tmp_path: Path) -> None:
    path = with_cover(tmp_path / f"a.{suffix}", numbered(8), disposition=disposition, frames=frames)
    clip = Clip(path)
    assert numbers(clip) == list(range(8))
    assert not clip.is_cut_off
    assert "has 2 streams of pictures: " in clip.note
    assert "is read (h264, 96 x 64, 8 frames), not" in clip.note


# (height, width), frames and default disposition of each stream, and the number of the one to read.
TWO_STREAMS: list[tuple[list[tuple[tuple[int, int], int, int]], int]] = [
    ([((64, 128), 4, 0), ((32, 64), 12, 0)], 1),  # a large preview
    ([((64, 128), 4, 1), ((32, 64), 12, 0)], 1),
    ([((32, 64), 12, 0), ((64, 128), 4, 0)], 0),
    ([((64, 128), 12, 0), ((32, 64), 12, 1)], 1),
    ([((32, 64), 11, 1), ((64, 128), 12, 0)], 0),
    ([((64, 128), 40, 1), ((32, 64), 41, 1)], 0),  # as long
    ([((64, 128), 8, 1), ((32, 64), 12, 1)], 1),
]


def keeps(suffix: str, streams: list[tuple[tuple[int, int], int, int]]) -> bool:
    """MP4 calls a stream default if none is, a transport stream knows no default; Matroska keeps what it is given."""
    has_default = any(disposition for *_, disposition in streams)
    return suffix == "mkv" or has_default == (suffix == "mp4")


@pytest.mark.parametrize(
    ("suffix", "streams", "best"),
    [(suffix, *case) for suffix in ("mp4", "mkv", "ts") for case in TWO_STREAMS if keeps(suffix, case[0])],
)
def test_the_default_then_the_longest_then_the_largest_stream(
    suffix: str, streams: list[tuple[tuple[int, int], int, int]], best: int, tmp_path: Path
) -> None:
    path = tmp_path / f"a.{suffix}"
    with av.open(str(path), "w") as container:
        made = []
        for (height, width), _, disposition in streams:
            stream = container.add_stream("libx264", rate=10)
            stream.height, stream.width, stream.pix_fmt, stream.disposition = height, width, "yuv420p", disposition
            made.append(stream)
        for stream, (size, count, _) in zip(made, streams, strict=True):
            for picture in numbered(count, size):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        kept = [int(stream.disposition) & 1 for stream in container.streams]
    assert kept == [disposition for *_, disposition in streams]
    clip = Clip(path)
    assert (clip.size, len(clip.moments)) == streams[best][:2]
    assert f"has 2 streams of pictures: {best} is read (h264, " in clip.note


def test_a_cover_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        cover, sound = container.add_stream("mjpeg", rate=1), container.add_stream("aac", rate=16000)
        cover.width, cover.height, cover.pix_fmt, sound.layout = 48, 32, "yuvj420p", "mono"
        cover.disposition = 1024  # an attached picture
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((32, 48, 3), np.uint8), format="rgb24")))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(sound.encode(frame))
        for stream in (cover, sound):
            container.mux(stream.encode(None))
    with pytest.raises(ImageError, match="has no pictures: it is not a video, it has a cover"):
        Clip(path)


def test_no_index_is_no_reason_to_refuse(tmp_path: Path) -> None:
    path = made(tmp_path, "mpeg4.avi")
    path.write_bytes(path.read_bytes().partition(b"idx1")[0])
    clips = [
        Clip(path),
        Clip(made(tmp_path, "h264.mkv", muxing={"live": "1"})),
        Clip(made(tmp_path, "h264.mp4", muxing={"movflags": "frag_keyframe+empty_moov+default_base_moof"})),
    ]
    for clip in clips:
        assert numbers(clip) == list(range(COUNT))
        assert not clip.is_cut_off


@pytest.mark.parametrize(("name", "rate"), [("raw.h264", 10), ("raw.mjpeg", 25)])
def test_a_raw_stream_has_the_rate_that_is_given(name: str, rate: int, tmp_path: Path) -> None:
    path = made(tmp_path, name)
    assert Clip(path).rate == rate
    given = Clip(path, rate=Fraction(50))
    timed = name == "raw.mjpeg"  # whose demuxer counts
    assert given.rate == (25 if timed else 50)
    assert given.length == pytest.approx(COUNT / given.rate)
    assert ("does not say when its frames are shown: 10 per second (--fps)" in Clip(path).note) == (not timed)


@pytest.mark.parametrize("name", ["h264.ts", "mpeg2.m2v"])
def test_a_stream_that_begins_in_the_middle(name: str, tmp_path: Path) -> None:
    """Packets before the first key frame cannot be decoded, and do not count as frames."""
    path = made(tmp_path, name)
    data = path.read_bytes()
    path.write_bytes(data[188 * 12 :] if name.endswith("ts") else data[len(data) // 3 :])
    found = numbers(Clip(path))
    assert found == list(range(COUNT - len(found), COUNT))
    assert 5 < len(found) < COUNT


CUT: dict[str, tuple[str, dict[str, Any], int | None]] = {
    "h264.mp4": ("0.8", {"muxing": {"movflags": "faststart"}}, COUNT),
    "mpeg4.avi": ("0.8", {}, COUNT),
    "h264.mkv": ("0.8", {}, COUNT),
    "hidden.webm": ("0.6", {}, COUNT),
    "h264.flv": ("0.7", {}, COUNT),
    "moving.gif": ("0.6", {}, None),
    "moving.apng": ("0.6", {}, None),
}


@pytest.mark.parametrize("name", CUT)
def test_what_is_cut_off_is_counted(name: str, tmp_path: Path) -> None:
    share, more, expected = CUT[name]
    path = made(tmp_path, name, **more)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * float(share))])
    clip = Clip(path)
    found = numbers(clip)
    good = [number for number in found if number >= 0]
    assert good[:5] == [0, 1, 2, 3, 4]
    assert good == sorted(set(good))  # what is decoded later and shown earlier may be missing
    assert 2 < len(found) < COUNT
    assert clip.is_cut_off
    if expected is None:
        assert f"is cut off after {len(found)} frames, at {clip.length:.2f} s; nothing says how many" in clip.missing()
    else:
        assert clip.expected == pytest.approx(expected, abs=1)
        assert f"of {clip.expected} frames the last {clip.expected - len(found)} are missing" in clip.missing()


def test_a_fragmented_file_that_is_cut_off(tmp_path: Path) -> None:
    path = made(tmp_path, "h264.mp4", muxing={"movflags": "frag_keyframe+empty_moov+default_base_moof"})
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex(b"mdat") + 40])
    assert Clip(path).is_cut_off
    path.write_bytes(whole[: whole.index(b"mfra") + 8])  # an index that nobody needs
    assert not Clip(path).is_cut_off
    assert len(Clip(path).moments) == COUNT


def test_damage_among_the_first_frames_keeps_the_numbers_of_the_others(tmp_path: Path) -> None:
    path = encode_film(tmp_path / "a.mov", numbered(COUNT), "png", pixels="rgb24")
    with av.open(str(path)) as container:
        places = [packet.pos for packet in container.demux() if packet.size]
    data = bytearray(path.read_bytes())
    for number in (2, 25):
        data[places[number] : places[number] + 30] = bytes(30)
    path.write_bytes(data)
    found = numbers(Clip(path))
    assert found[2] == found[25] == -1
    assert [number for i, number in enumerate(found) if i not in (2, 25)] == [
        i for i in range(COUNT) if i not in (2, 25)
    ]


@pytest.mark.parametrize("number", [3, 7, 12])
@pytest.mark.parametrize("name", ["h264.mp4", "h265.mkv", "h265.mp4", "mpeg4.avi", "mpeg4.mkv", "h264.ts"])
def test_packets_that_silently_give_nothing_are_lost_and_move_no_other(name: str, number: int, tmp_path: Path) -> None:
    path = made(tmp_path, name)
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    at = data.index(packets[number][8:40] if name.endswith("ts") else packets[number][:60])
    data[at + 4 - 8 * name.endswith("ts")] ^= 0x1F  # of another kind, which the decoder passes over
    path.write_bytes(data)
    clip = Clip(path)
    assert len(clip.moments) == clip.expected == COUNT
    found = numbers(clip)
    assert -1 in found or name == "h264.ts"
    assert found[17:] == list(range(17, COUNT))
    assert found[:2] == [0, 1]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("h264.mp4", b"avc1", b"zzz1"),
        ("h264.mkv", b"V_MPEG4/ISO/AVC", b"V_MPEG9/ISO/AVC"),
        ("mpeg4.avi", b"FMP4", b"ZZZ9"),
    ],
)
def test_a_codec_that_nobody_knows(name: str, old: bytes, new: bytes, tmp_path: Path) -> None:
    path = made(tmp_path, name)
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(ImageError, match="is coded in a way that the installed PyAV cannot decode: convert it"):
        Clip(path)


def test_metadata_that_are_no_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "aaaa"
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for picture in numbered(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    data = path.read_bytes()
    assert b"aaaa" in data
    path.write_bytes(data.replace(b"aaaa", b"\xff\xfe\xfd\xfc"))
    assert numbers(Clip(path)) == [0, 1, 2]


@pytest.mark.parametrize("name", ["a:b.mp4", "%03d.mp4", "-x.mp4", "\udcff\udcfe.mp4", "concat:a.mp4"])
def test_names_that_mean_something_to_ffmpeg(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made(tmp_path, "h264.mp4", 3).rename(Path(name))
    assert numbers(Clip(Path(name))) == [0, 1, 2]


PLAYLISTS = {
    "a.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n0h264.ts\n#EXT-X-ENDLIST\n",
    "a.ffconcat": "ffconcat version 1.0\nfile 0h264.ts\n",
    "a.mp4": "ffconcat version 1.0\nfile 0h264.ts\n",
}


@pytest.mark.parametrize("name", PLAYLISTS)
def test_playlists_are_not_followed(name: str, tmp_path: Path) -> None:
    made(tmp_path, "h264.ts", 3)
    (tmp_path / name).write_text(PLAYLISTS[name])
    with pytest.raises(ImageError, match="is of a kind that is no video file, such as a playlist"):
        Clip(tmp_path / name)


def test_frames_that_are_too_large_are_refused(tmp_path: Path) -> None:
    path = made(tmp_path, "h264.mp4", 3)
    with pytest.raises(ImageError, match=r"has frames of 96 x 64 pixels, the limit is 6,143 in all: .*--max-pixels"):
        Clip(path, max_pixels=96 * 64 - 1)
    assert numbers(Clip(path, max_pixels=96 * 64)) == [0, 1, 2]
    other = encode_film(tmp_path / "b.h264", numbered(6, (128, 128), start=3))
    path = joined(tmp_path / "c.h264", made(tmp_path, "raw.h264", 3), other)
    assert numbers(Clip(path)) == list(range(9))
    found = [picture for _, picture in Clip(path, max_pixels=96 * 64).pictures(range(9))]
    assert [number_of(picture) for picture in found[:3] if isinstance(picture, np.ndarray)] == [0, 1, 2]
    assert all("has frames of 128 x 128 pixels, the limit is 6,144" in str(error) for error in found[3:])

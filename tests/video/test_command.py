"""The commands insid3 video and insid3 frames: sources, messages and exit status."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import Result

from clips import encode_film, joined, moving, numbered, with_cover, write_clip
from insid3.errors import ConfigError, ImageError
from insid3.imaging.read import picture_size
from insid3.video.clip import Clip

Invoke = Callable[..., Result]
EXAMPLE = ("--reference", "ref.png", "--mask", "mask.png")


def masks(folder: str = "out") -> list[str]:
    return sorted(path.name for path in Path(folder).glob("*.png"))


def lines(folder: str = "out") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(folder, "results.jsonl").read_text().splitlines()]


def test_joined_streams_are_marked_to_their_end(invoke: Invoke) -> None:
    parts = [write_clip(Path(f"{part}.ts"), moving(6)) for part in "ab"]
    joined(Path("c.ts"), *parts)
    result = invoke("video", "c.ts", *EXAMPLE, "-o", "out", "--min-area", 0)
    assert result.exit_code == 0, result.output
    assert masks() == [f"{i:06d}.png" for i in range(12)]
    assert "12 marked" in result.stderr
    assert "out/overlay.mp4: 12 frames" in result.stderr
    assert Clip(Path("out/overlay.mp4")).length == pytest.approx(1.2, abs=0.01)


@pytest.mark.parametrize("suffix", ["webp", "gif", "png"])
def test_animated_pictures_are_sources(invoke: Invoke, suffix: str) -> None:
    first, *rest = (Image.fromarray(picture) for picture in moving(5))
    first.save(f"a.{suffix}", save_all=True, append_images=rest, duration=200)
    result = invoke("video", f"a.{suffix}", *EXAMPLE, "-o", "out")
    assert result.exit_code == 0, result.output
    assert masks() == [f"{i:06d}.png" for i in range(5)]
    assert Clip(Path("out/overlay.mp4")).length == pytest.approx(1.0, abs=0.01)


def test_one_still_picture_is_a_sequence_of_one(invoke: Invoke) -> None:
    result = invoke("video", "photos/a.png", *EXAMPLE, "-o", "out", "--no-film")
    assert result.exit_code == 0, result.output
    assert masks() == ["a.png"]


def test_which_stream_is_read_is_said(invoke: Invoke) -> None:
    with_cover(Path("a.mp4"), moving(4))
    for command in (("video", "a.mp4", *EXAMPLE, "-o", "out"), ("frames", "a.mp4", "-o", "label")):
        result = invoke(*command)
        assert result.exit_code == 0, result.output
        assert "a.mp4 has 2 streams of pictures: 1 is read (h264, 96 x 64, 4 frames), not 0" in result.stderr
    assert "streams" not in invoke("video", "a.mp4", *EXAMPLE, "-o", "quiet", "-q").stderr


def test_a_raw_stream_takes_a_rate(invoke: Invoke) -> None:
    encode_film(Path("a.h264"), numbered(6))
    result = invoke("video", "a.h264", *EXAMPLE, "-o", "out", "--fps", 2)
    assert result.exit_code == 0, result.output
    assert Clip(Path("out/overlay.mp4")).length == pytest.approx(3.0, abs=0.01)
    assert "10 per second (--fps)" in invoke("frames", "a.h264", "-o", "label").stderr


def test_what_messages_send_to_goes_with_both_commands(invoke: Invoke) -> None:
    encode_film(Path("a.h264"), numbered(6))
    result = invoke("frames", "a.h264", "-o", "label", "--fps", 2, "--from", "2.6")
    assert result.exit_code == 0, result.output
    assert masks("label") == ["000005.png"]
    assert "(--fps)" not in result.stderr
    assert "2 per second: label" in result.stderr
    for command in (("frames", "a.h264", "-o", "few"), ("video", "a.h264", *EXAMPLE, "-o", "out")):
        error = invoke(*command, "--max-pixels", 6000).exception
        assert isinstance(error, ImageError)
        assert "has frames of 96 x 64 pixels, the limit is 6,000 in all: make it smaller, or raise the limit" in str(
            error
        )
        assert "(--max-pixels)" in str(error)
        error = invoke(*command, "--max-pixels", 0).exception
        assert isinstance(error, ConfigError)
        assert invoke(*command, "--max-pixels", 6144).exit_code == 0
    error = invoke("frames", "a.h264", "-o", "none", "--fps", 0).exception
    assert str(error) == "--fps must lie between 0.001 and 1000 frames per second, got 0"


@pytest.mark.parametrize("name", ["a.mp4", "a.webp"])
def test_a_rate_for_a_file_that_has_its_own_times_is_said_to_change_nothing(invoke: Invoke, name: str) -> None:
    first, *rest = moving(4)
    if name == "a.mp4":
        write_clip(Path(name), [first, *rest])
    else:
        Image.fromarray(first).save(name, save_all=True, append_images=[*map(Image.fromarray, rest)], duration=100)
    for command in (("video", name, *EXAMPLE, "-o", "out"), ("frames", name, "-o", "label")):
        result = invoke(*command, "--fps", 2)
        assert result.exit_code == 0, result.output
        assert f"{name} says itself when its frames are shown: --fps 2 changes nothing" in result.stderr
        assert "--fps" not in invoke(*command, "--overwrite" if command[0] == "video" else "--every=1").stderr
    assert Clip(Path("out/overlay.mp4")).length == pytest.approx(0.4, abs=0.01)


def test_every_frame_has_a_mask_of_its_own_size_and_others_are_said(invoke: Invoke) -> None:
    parts = [write_clip(Path("a.ts"), moving(3)), write_clip(Path("b.ts"), numbered(2, (32, 64)))]
    joined(Path("c.ts"), *parts)
    result = invoke("video", "c.ts", *EXAMPLE, "-o", "out")
    assert result.exit_code == 0, result.output
    assert "another size than the first frame's: 2 pictures (64 x 32)" in result.stderr
    assert [picture_size(f"out/{name}") for name in masks()] == [(64, 96)] * 3 + [(32, 64)] * 2


def test_what_was_cut_off_is_said_and_counted(invoke: Invoke) -> None:
    path = write_clip(Path("a.mp4"), moving(), movflags="faststart")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    held = len(Clip(path).moments)
    result = invoke("video", "a.mp4", *EXAMPLE, "-o", "out")
    assert result.exit_code == 1
    assert f"a.mp4 is cut off: of 24 frames the last {24 - held} are missing" in result.stderr.replace("\n", " ")
    assert "1 failed" in result.stderr
    assert len(masks()) == held
    frames = invoke("frames", "a.mp4", "-o", "label", "--every", 4)
    assert frames.exit_code == 1
    assert f"of 24 frames the last {24 - held} are missing" in frames.stderr
    assert invoke("video", "a.mp4", *EXAMPLE, "-o", "begin", "--to", "5f").exit_code == 0  # nobody asked for the end


@pytest.mark.parametrize("fps", ["0.0001", "0", "-1", "nan", "inf", "-inf", "1e9", "1e-300", "1001"])
@pytest.mark.parametrize("source", ["photos", "a.mp4"])
def test_rates_that_cannot_be_meant(invoke: Invoke, fps: str, source: str) -> None:
    write_clip(Path("a.mp4"), moving(2))
    error = invoke("video", source, *EXAMPLE, "-o", "out", "--fps", fps).exception
    assert isinstance(error, ConfigError)
    assert str(error).startswith("--fps must lie between 0.001 and 1000 frames per second, got ")
    assert not Path("out").exists()


@pytest.mark.parametrize("fps", ["0.001", "1000", "29.97"])
def test_rates_that_can(invoke: Invoke, fps: str) -> None:
    result = invoke("video", "photos", *EXAMPLE, "-o", "out", "--fps", fps)
    assert result.exit_code == 0, result.output
    assert Clip(Path("out/overlay.mp4")).length == pytest.approx(2 / float(fps), rel=0.01)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--every", "0"), "every must be 1 or more"),
        (("--every", "-3"), "every must be 1 or more"),
        (("--from", ""), "a place in a video is seconds"),
        (("--from", "nan"), "a place in a video is seconds"),
        (("--from", "9" * 5000), "a place in a video is seconds"),
        (("--to", "9" * 5000 + "f"), "a place in a video is seconds"),
        (("--to", "-1"), "a place in a video is seconds"),
        (("--from", "1", "--to", "0"), "no frame lies from 1 to 0"),
        (("--from", "99:00"), "no frame lies from 99:00 to the end: it has 24 frames"),
        (("--memory", "-1"), "a memory holds 1 frame or more"),
        (("--memory", "1", "--memory-score", "nan"), "a memory holds 1 frame or more"),
    ],
)
def test_places_that_cannot_be_meant(invoke: Invoke, words: tuple[str, ...], message: str) -> None:
    write_clip(Path("a.mp4"), moving())
    error = invoke("video", "a.mp4", *EXAMPLE, "-o", "out", *words).exception
    assert isinstance(error, ConfigError)
    assert message in str(error)
    assert len(str(error)) < 400


def test_far_steps_are_no_trouble(invoke: Invoke) -> None:
    write_clip(Path("a.mp4"), moving())
    result = invoke("video", "a.mp4", *EXAMPLE, "-o", "out", "--every", 10**12)
    assert result.exit_code == 0, result.output
    assert masks() == ["000000.png"]
    assert lines()[0]["area"] > 0


@pytest.mark.parametrize("name", ["a.m3u8", "a.mp4", "a.bin", "a.h264", "a.webm"])
def test_what_is_no_video_is_refused_in_words(invoke: Invoke, name: str) -> None:
    for content in (b"#EXTM3U\nphotos/a.png\n", b"", bytes(range(256)) * 20, b"\x1a\x45\xdf\xa3" * 50):
        Path(name).write_bytes(content)
        error = str(invoke("video", name, *EXAMPLE, "-o", "out").exception)
        assert error.startswith(name)
        assert "Errno" not in error
        assert not Path("out").exists()

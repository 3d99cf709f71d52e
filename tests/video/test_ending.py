"""The ends of video files, and data behind them."""

from pathlib import Path

import av
import pytest

from clips import encode_film, numbered
from insid3.video.clip import Clip
from insid3.video.ending import Ending, ending_of

COUNT = 6
FILMS = {
    "a.gif": ("gif", "rgb8"), "a.apng": ("apng", "rgb24"), "a.flv": ("libx264", "yuv420p"),
    "a.mp4": ("libx264", "yuv420p"), "a.avi": ("mpeg4", "yuv420p"), "a.mkv": ("libx264", "yuv420p"),
}  # fmt: skip


def made(folder: Path, name: str) -> Path:
    codec, pixels = FILMS[name]
    return encode_film(folder / name, numbered(COUNT), codec, pixels=pixels)


@pytest.mark.parametrize(
    "behind",
    [b"\n", b"Downloaded from a page, with thanks to all\r\n", b"\tx\n", bytes(40), b"\x09", b";", b"! , \x00"],
    ids=["newline", "text", "tab", "zeros", "a-type", "trailer", "blocks"],
)
@pytest.mark.parametrize("name", FILMS)
def test_what_stands_behind_a_whole_file_is_not_missing(name: str, behind: bytes, tmp_path: Path) -> None:
    path = made(tmp_path, name)
    path.write_bytes(path.read_bytes() + behind)
    clip = Clip(path)
    assert (len(clip.moments), clip.expected, clip.is_cut_off) == (COUNT, COUNT, False)


def test_a_gif_that_is_cut_anywhere_says_so(tmp_path: Path) -> None:
    path = made(tmp_path, "a.gif")
    whole = path.read_bytes()
    with av.open(str(path)) as container:
        begin, end = [packet.pos for packet in container.demux() if packet.size][3:5]
    for cut in range(begin + 1, end):
        path.write_bytes(whole[:cut])
        assert ending_of(path, "gif") == (Ending.SHORT, 1), cut
    for cut in (begin, end, len(whole) - 1, len(whole)):  # between two pictures nothing shows it
        path.write_bytes(whole[:cut])
        assert ending_of(path, "gif") == (Ending.WHOLE, 1), cut
    after = whole.index(b"\0", begin + 30) + 1  # a zero in mid-picture is no end
    path.write_bytes(whole[:after])
    clip = Clip(path)
    assert (len(clip.moments), clip.is_cut_off) == (3, True)


def test_an_flv_that_is_cut_in_a_tag_says_so(tmp_path: Path) -> None:
    path = made(tmp_path, "a.flv")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert ending_of(path, "flv") == (Ending.SHORT, 1)
    path.write_bytes(whole[: len(whole) // 2])
    assert ending_of(path, "flv") == (Ending.SHORT, 1)

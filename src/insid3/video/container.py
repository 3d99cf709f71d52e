"""The container of a video: opening, packets, and the choice of a stream."""

import errno
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from insid3.checks.parsing import parsing
from insid3.errors import ImageError, MissingExtraError
from insid3.video.ground import ground_of
from insid3.video.order import Packet, may_be_none

# Containers whose demuxers read no other file. A playlist, which is left out, can name any file or address.
_CONTAINERS = (
    "mov,matroska,avi,mpegts,mpeg,mpegvideo,h264,hevc,vvc,evc,m4v,h263,h261,flv,live_flv,asf,ogg,gif,apng,mjpeg,ivf,"
    "obu,yuv4mpegpipe,dv,mxf,nut,rm,wtv,nsv,nuv,vc1,vc1test,dirac,cavsvideo,avs2,avs3,gxf,pva,"
    "wav,mp3,flac,aac"  # sound, which is refused with a message of its own
)
_PREVIEW = Fraction(1, 2)  # of the longest stream's length; shorter streams are previews
_AS_LONG = Fraction(19, 20)  # of the longest stream's length; these streams count as equally long
_RETRIES = 20  # errors of a demuxer without a packet between them


def import_av() -> Any:
    """Return PyAV; MissingExtraError if it is not installed."""
    try:
        import av
    except ImportError as error:
        raise MissingExtraError("reading videos", "video") from error
    return av


@dataclass(frozen=True)
class StreamChoice:
    """The video stream that is read.

    Attributes:
        index: place among all streams of the file.
        packets: packets in the order in which they are decoded.
        end: end of the last packet of any stream, in seconds.
        note: remark on the choice; "" for the only stream.
    """

    index: int
    packets: Sequence[Packet]
    end: Fraction
    note: str


@contextmanager
def opened(path: Path, max_pixels: int) -> Iterator[Any]:
    """Open a file as a container of PyAV.

    Raises:
        ImageError: the file cannot be read as a video.
    """
    av, name, failure = import_av(), os.fspath(path), None
    with parsing(path, "video", ImageError):
        _check_file(path, name)
        options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
        try:
            with av.open(f"file:{name}", metadata_errors="replace", container_options=options) as container:
                coding = _coding(container, path, max_pixels)
                for stream in container.streams.video:
                    if stream.codec_context is not None:
                        stream.codec_context.options = dict(coding)
                yield container
        except av.error.FFmpegError as error:
            failure = error
        if failure is not None:  # FFmpeg reports a lack of memory for numbers that it does not believe
            raise _refused(name, failure) from (None if isinstance(failure, MemoryError) else failure)


def _check_file(path: Path, name: str) -> None:
    if "\0" in name or not path.exists():
        raise ImageError(f"{name} cannot be read as a video (No such file or directory): check its name")
    if not path.is_file():
        raise ImageError(f"{name} cannot be read as a video: it is no file, but a folder, a pipe or a device")


def _coding(container: Any, path: Path, max_pixels: int) -> dict[str, str]:
    """Return the options for the container's decoders."""
    found = {"max_pixels": str(2 * max_pixels + 2**20)}  # decoders need room around a frame
    if container.format.name == "gif" and (ground := ground_of(path)):
        found["trans_color"] = str(int.from_bytes(bytes(ground), "big"))  # the default is white
    return found


def _refused(name: str, failure: Any) -> ImageError:
    if failure.errno == errno.EINVAL:
        return ImageError(
            f"{name} cannot be read as a video: it is of a kind that is no video file, such as a playlist or a still "
            "picture; give its frames as pictures"
        )
    told = "it declares more than there can be" if isinstance(failure, MemoryError) else failure.strerror
    return ImageError(
        f"{name} cannot be read as a video ({told}): it may be damaged, or cut off before its index; convert it again, "
        "or give its frames as pictures"
    )


def packets_of(container: Any) -> Iterator[Any]:
    """Yield the packets of all streams that are not empty, up to the end of the file, even if it is damaged."""
    av, failures = import_av(), 0
    while failures < _RETRIES:
        try:
            for packet in container.demux():
                if packet.size:
                    failures = 0
                    yield packet
            return
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            failures += 1


def find(container: Any, path: Path) -> StreamChoice:
    """Choose the best video stream by the rules of `_best`; a cover is no video stream.

    Raises:
        ImageError: there is no video stream, it holds no frames, or its codec is not known.
    """
    packets, end = defaultdict[int, list[Packet]](list), Fraction(0)
    for packet in packets_of(container):
        time = packet.dts if packet.pts is None else packet.pts
        if time is not None and packet.time_base:
            end = max(end, (time + (packet.duration or 0)) * packet.time_base)
        if packet.stream.type == "video":
            context = packet.stream.codec_context
            packets[packet.stream.index].append(
                Packet(
                    packet.pts, packet.dts, packet.duration or 0,
                    packet.is_keyframe, packet.is_discard, packet.is_corrupt,
                    context is not None and may_be_none(context.name, memoryview(packet)),
                )
            )  # fmt: skip
    streams = [stream for stream in container.streams if stream.type == "video"]
    films = [stream for stream in streams if not _is_cover(stream)]
    if not films:
        raise ImageError(f"{path} has no pictures: it is not a video" + (", it has a cover" if streams else ""))

    best, note = _best(films, packets), ""
    if len(streams) > 1:
        others = ", ".join(str(stream.index) for stream in streams if stream is not best)
        context, count = best.codec_context, len(packets[best.index])
        what = f"{context.name}, {context.width} x {context.height}, {count} frames" if context else "?"
        note = f"{path} has {len(streams)} streams of pictures: {best.index} is read ({what}), not {others}"
    own = packets[best.index]
    if best.codec_context is None:
        raise ImageError(f"{path} is coded in a way that the installed PyAV cannot decode: convert it to H.264")
    if not own or all(packet.is_hidden for packet in own):
        raise ImageError(f"{path} holds no frames: it may have been cut off; convert it again")
    return StreamChoice(best.index, own, end, note)


def _best(films: Sequence[Any], packets: Mapping[int, Sequence[Packet]]) -> Any:
    """Return the main stream: one that has several frames, can be decoded, and is no short preview.

    If several are left, the file's default stream is preferred, then the longest, then the largest. Some writers call
    their first stream the default, whatever it is; so a default that is a preview is not preferred.
    """
    lengths = {stream.index: _length(stream, packets[stream.index]) for stream in films}

    def moves(stream: Any) -> bool:
        return stream.codec_context is not None and len(packets[stream.index]) > 1

    longest = max((lengths[stream.index] for stream in films if moves(stream)), default=Fraction(0))

    def rank(stream: Any) -> tuple[Any, ...]:
        context, length = stream.codec_context, lengths[stream.index]
        return (
            len(packets[stream.index]) > 1,
            context is not None,
            length >= _PREVIEW * longest,
            _is(stream, "default"),
            length >= _AS_LONG * longest,
            context.width * context.height if context else 0,
            -stream.index,
        )

    return max(films, key=rank)


def _length(stream: Any, packets: Sequence[Packet]) -> Fraction:
    """Return the approximate length of a stream in seconds; without times, at 25 frames per second."""
    stamps = [stamp for packet in packets if (stamp := packet.dts if packet.pts is None else packet.pts) is not None]
    if not stamps or not stream.time_base:
        return Fraction(len(packets), 25)
    return (max(stamps) - min(stamps) + packets[-1].duration) * stream.time_base


def _is_cover(stream: Any) -> bool:
    return _is(stream, "attached_pic") or _is(stream, "timed_thumbnails")


def _is(stream: Any, kind: str) -> bool:
    disposition = stream.disposition
    return bool(disposition & getattr(type(disposition), kind))

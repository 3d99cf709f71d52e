"""The frames that a decoder makes of a file's best video stream, and the number of each frame."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from insid3.checks.parsing import parsing
from insid3.errors import ImageError
from insid3.video.container import StreamChoice, find, import_av, opened, packets_of
from insid3.video.ending import Ending, ending_of, missing_frames
from insid3.video.order import Packet, by_time, gap_of, is_plain, lost, parts, times, with_lost
from insid3.video.turning import is_on_its_side, matrix_of, upright

# Codecs that make one frame of each packet; the first packets show exceptions.
_ONE_EACH = {
    "h264", "hevc", "av1", "libdav1d", "vp9", "mpeg4", "mpeg2video", "mjpeg", "gif", "apng", "prores", "dnxhd", "ffv1",
    "huffyuv", "ffvhuff", "utvideo", "rawvideo", "png", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2", "flv", "h263",
}  # fmt: skip
_FIRST = 24  # packets that are decoded to find exceptions
_RATES = (Fraction(1, 1000), Fraction(1000))  # least and largest credible frames per second


@dataclass(frozen=True)
class Listing:
    """The properties of a video that are known before its frames are read.

    Attributes:
        times: time of each frame in seconds from the first, ascending.
        length: duration in seconds, with the last frame.
        rate: frames per second, on average.
        missing: number of frames that are missing at the end; None if the number is not known.
        is_timed: whether the file has timestamps.
        size: (height, width) of the first frame, upright.
        aspect: width of a pixel of an upright frame, divided by its height.
        note: which of several streams is read; "" for the only stream.
        is_joined: whether the missing frames are in a second video joined behind the first.
    """

    times: Sequence[float]
    length: float
    rate: Fraction
    missing: int | None
    is_timed: bool
    size: tuple[int, int]
    aspect: Fraction = Fraction(1)
    note: str = ""
    is_joined: bool = False


class Stream:
    """The best video stream of a file, read by PyAV.

    A frame's number is its place in the order in which the decoder returns frames, the order in which they are shown.
    If packets and timestamps are regular, the number follows from them. Otherwise the whole stream is decoded once to
    count the frames.
    """

    def __init__(self, path: Path, max_pixels: int) -> None:
        """Raises:
        ImageError: the file is missing, no video, of an unknown codec, too large, or without readable frames.
        MissingExtraError: PyAV is not installed.
        """
        self.path, self._max_pixels = path, max_pixels
        self._turns: list[int] | None = None  # number of each frame that the decoder returns; -1: no frame
        self._places: dict[int, int] = {}  # if `_turns` is None: number of the frame of each packet
        with opened(path, max_pixels) as container:
            header = _read_header(container, find(container, path))
        self._index = header.choice.index
        self._check_size(*header.size)
        self.listing = self._listed(header)

    def _listed(self, header: "_Header") -> Listing:
        """Return the listing, and decide how frames are counted."""
        packets, base = header.choice.packets, header.base
        ending, files = ending_of(self.path, header.kind)
        if ending is Ending.SHORT and len(packets) > 1 and (packets[-1].is_corrupt or header.kind == "gif"):
            packets = packets[:-1]  # the last picture is cut off
        part = parts(packets, gap_of(base, header.kind in ("mpegts", "mpeg")))
        order, first = self._ordered(packets, part, header.codec)
        seconds, rate = times(order, packets, part, base, header.rate or Fraction(25)), header.rate
        if rate is None:
            rate = Fraction((len(seconds) - 1) / seconds[-1] if seconds[-1] else 25).limit_denominator(1001)
        last = float(packets[order[-1]].duration * base) if order[-1] >= 0 else 0.0
        went_on = header.kind == "avi" and len(packets) > header.count  # AVI continues in further lists
        joined = files > part[-1] + 1 and not went_on
        left = float(header.length - header.choice.end)
        missing = missing_frames(ending, header.kind, header.count, packets, left, seconds, float(rate))
        return Listing(
            seconds,
            seconds[-1] + (last or float(1 / rate)),
            rate,
            None if joined else missing,
            _is_timed(packets),
            first.size,
            1 / header.aspect if is_on_its_side(first.matrix) else header.aspect,
            header.choice.note,
            joined,
        )

    def frames(self) -> Iterator[tuple[int, Any]]:
        """Yield the numbers of all frames that can be decoded, ascending, and the frames."""
        seen, turn = -1, -1
        with opened(self.path, self._max_pixels) as container:
            for number, frame in self._decoded(container):
                if frame is None:
                    continue
                turn += 1
                if self._turns is not None:
                    index = self._turns[turn] if turn < len(self._turns) else -1
                else:
                    index = self._places.get(number, -1)
                if index > seen:  # guards against a decoder that goes back
                    seen = index
                    yield index, frame

    def picture(self, frame: Any) -> UInt8[np.ndarray, "H W 3"] | None:
        """Return the upright picture of one of `frames`; None if the frame is damaged.

        Raises:
            ImageError: the frame is too large, or PyAV cannot convert its pixels.
        """
        self._check_size(frame.width, frame.height)
        with parsing(self.path, "video", ImageError):
            return None if frame.is_corrupt else upright(frame)

    def _ordered(self, packets: Sequence[Packet], part: Sequence[int], codec: str) -> tuple[list[int], "_Trial"]:
        """Return the packet of each frame in the order in which frames are shown, -1 if not known, and the trial."""
        trial, count = self._try_decoding(_FIRST), len(packets)
        whole = None if trial.given and count > _FIRST else self._try_decoding(None)
        trial = whole or trial
        if not trial.given:
            raise ImageError(
                f"{self.path} holds {count} frames and none can be decoded: it is damaged, cut off, encrypted, or of a "
                "kind of its codec that PyAV cannot read; convert it again"
            )
        one_each = codec in _ONE_EACH
        if one_each and is_plain(packets) and not any(packet.may_be_none for packet in packets):
            shown = by_time(packets)
            if trial.agrees(shown, count if whole else _FIRST):
                self._places = {i: place for place, i in enumerate(shown)}
                return shown, trial
        whole = whole or self._try_decoding(None)
        kept = [i for i in whole.given if i < count]
        gone = list[int]()
        if kept and -1 not in kept:
            gone = lost(kept, whole.failed, packets, one_each=one_each or codec == "vp8", in_fields=whole.in_fields)
        order = with_lost(kept, gone, packets, part) if gone else kept
        lacking = {*gone}
        places = iter([place for place, i in enumerate(order) if i not in lacking])
        self._turns = [next(places) if i < count else -1 for i in whole.given]
        return order, whole

    def _try_decoding(self, most: int | None) -> "_Trial":
        """Decode the first `most` packets, or all, and return the result."""
        given, failed, first, in_fields = list[int](), list[int](), None, False
        with opened(self.path, self._max_pixels) as container:
            for number, frame in self._decoded(container, most):
                if frame is None:
                    failed.append(number)
                else:
                    first = first or frame
                    in_fields = in_fields or frame.interlaced_frame
                    given.append(number)
            if first is None:
                return _Trial(given, failed, (0, 0), (1, 0, 0, 1), in_fields)
            matrix, size = matrix_of(first), (first.height, first.width)
        return _Trial(given, failed, size[::-1] if is_on_its_side(matrix) else size, matrix, in_fields)

    def _decoded(self, container: Any, most: int | None = None) -> Iterator[tuple[int, Any]]:
        """Yield (number of the packet, frame) in the order in which frames are shown; None for a damaged packet."""
        av, stream = import_av(), container.streams[self._index]
        stream.codec_context.copy_opaque = True
        own = (packet for packet in packets_of(container) if packet.stream.index == self._index)
        for number, packet in enumerate(islice(own, most)):
            packet.opaque = [number]  # a new object for each packet: PyAV knows it by its address
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                yield number, None
                continue
            yield from _numbered(frames)
        try:
            frames = stream.codec_context.decode(None)
        except av.error.FFmpegError:
            return
        yield from _numbered(frames)

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self._max_pixels:
            raise ImageError(
                f"{self.path} has frames of {width} x {height} pixels, the limit is {self._max_pixels:,} in all: make "
                "it smaller, or raise the limit with max_pixels= (--max-pixels)"
            )


@dataclass(frozen=True)
class _Trial:
    """The result of decoding packets.

    Attributes:
        given: packets that gave a frame, in the order in which the frames are shown.
        failed: packets at which the decoder failed.
        size: (height, width) of the first frame, upright.
        matrix: display matrix of the first frame.
        in_fields: whether some frames consist of two fields.
    """

    given: list[int]
    failed: list[int]
    size: tuple[int, int]
    matrix: tuple[float, float, float, float]
    in_fields: bool

    def agrees(self, shown: Sequence[int], count: int) -> bool:
        """Tell whether the first `count` packets gave one frame each, in the order `shown`, damaged packets apart."""
        due, given = [i for i in shown if i < count], {*self.given}
        return [i for i in due if i in given] == self.given and (len(given) == len(due) or bool(self.failed))


@dataclass(frozen=True)
class _Header:
    """The header's entries on the stream that is read.

    Attributes:
        size: (width, height) as stored.
        rate: frames per second; None if there is no credible entry.
        base: unit of the timestamps in seconds.
        aspect: width of a pixel divided by its height.
        kind, codec: FFmpeg's names for the container and the codec.
        count: number of frames; 0 if there is no entry.
        length: duration of the file in seconds.
    """

    choice: StreamChoice
    size: tuple[int, int]
    rate: Fraction | None
    base: Fraction
    aspect: Fraction
    kind: str
    codec: str
    count: int
    length: Fraction


def _read_header(container: Any, choice: StreamChoice) -> _Header:
    stream, kind = container.streams[choice.index], container.format.name
    context, aspect = stream.codec_context, stream.sample_aspect_ratio
    start = 0 if kind == "flv" else container.start_time or 0  # FLV's duration contains the start
    return _Header(
        choice,
        (context.width, context.height),
        _rate(stream, choice.packets),
        Fraction(stream.time_base),
        Fraction(aspect) if aspect and Fraction(1, 16) <= aspect <= 16 else Fraction(1),
        kind,
        context.name,
        stream.frames,
        Fraction(start + (container.duration or 0), import_av().time_base),
    )


def _numbered(frames: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    for frame in frames:
        if frame.width:
            yield -1 if frame.opaque is None else frame.opaque[0], frame


def _is_timed(packets: Sequence[Packet]) -> bool:
    """Tell whether a file has timestamps."""
    return any(packet.pts is not None or packet.dts is not None for packet in packets)


def _rate(stream: Any, packets: Sequence[Packet]) -> Fraction | None:
    """Return the frames per second that a stream declares; None if no declared rate is credible."""
    lasts = 0 if _is_timed(packets) else sorted(packet.duration for packet in packets)[len(packets) // 2]
    for rate in (1 / (lasts * stream.time_base) if lasts else 0, stream.average_rate, stream.guessed_rate):
        if rate and _RATES[0] <= rate <= _RATES[1]:
            return Fraction(rate)
    return None

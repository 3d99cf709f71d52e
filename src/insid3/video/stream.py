"""The frames that a decoder makes of the best stream of a video file, and which number each of them has."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from insid3.errors import ImageError
from insid3.parsing import parsing
from insid3.video.container import Found, find, import_av, opened, packets_of
from insid3.video.ending import Ending, ending_of, missing_frames
from insid3.video.order import Packet, by_time, gap_of, is_plain, lost, parts, times, with_lost
from insid3.video.turning import is_on_its_side, matrix_of, upright

# Codecs that make one frame of each packet; where that fails, the first packets show it.
_ONE_EACH = {
    "h264", "hevc", "av1", "libdav1d", "vp9", "mpeg4", "mpeg2video", "mjpeg", "gif", "apng", "prores", "dnxhd", "ffv1",
    "huffyuv", "ffvhuff", "utvideo", "rawvideo", "png", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2", "flv", "h263",
}  # fmt: skip
_FIRST = 24  # packets that are decoded to see whether that is so
_RATES = (Fraction(1, 1000), Fraction(1000))  # frames per second that can be meant


@dataclass(frozen=True)
class Listing:
    """What is known of a video before its frames are read.

    Attributes:
        times: of each frame, in seconds from the first, ascending.
        length: in seconds, with the last frame.
        rate: frames per second, on average.
        missing: frames that are missing at the end; None where some are and nobody knows how many.
        is_timed: the file says when its frames are shown.
        size: (height, width) of the first frame, upright.
        aspect: width of a pixel of an upright frame by its height.
        note: which of several streams this is.
        is_joined: what is missing is in a second file behind the first one.
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

    A frame is known by its place in the order in which the decoder returns them, which is that in which they are
    shown. Where packets and timestamps are as they should be, the place follows from these; else all is decoded once
    to count what there is.
    """

    def __init__(self, path: Path, max_pixels: int) -> None:
        """Raises:
        ImageError: missing, no video, of a codec that cannot be decoded, too large, or with nothing left to read.
        MissingExtraError: PyAV is not installed.
        """
        self.path, self._max_pixels = path, max_pixels
        self._turns: list[int] | None = None  # the number of each frame that the decoder returns; -1: it is none
        self._places: dict[int, int] = {}  # or the number of each packet's frame
        with opened(path, max_pixels) as container:
            told = _told(container, find(container, path))
        self._index = told.found.index
        self._check_size(*told.size)
        self.listing = self._listed(told)

    def _listed(self, told: "_Told") -> Listing:
        """What is known, now that it is decided how frames are counted."""
        packets, base = told.found.packets, told.base
        ending, files = ending_of(self.path, told.kind)
        if ending is Ending.SHORT and len(packets) > 1 and (packets[-1].is_corrupt or told.kind == "gif"):
            packets = packets[:-1]  # half a picture
        part = parts(packets, gap_of(base, told.kind in ("mpegts", "mpeg")))
        order, first = self._ordered(packets, part, told.codec)
        seconds, rate = times(order, packets, part, base, told.rate or Fraction(25)), told.rate
        if rate is None:
            rate = Fraction((len(seconds) - 1) / seconds[-1] if seconds[-1] else 25).limit_denominator(1001)
        last = float(packets[order[-1]].duration * base) if order[-1] >= 0 else 0.0
        went_on = told.kind == "avi" and len(packets) > told.count  # AVI counts on
        joined = files > part[-1] + 1 and not went_on
        left = float(told.length - told.found.end)
        missing = missing_frames(ending, told.kind, told.count, packets, left, seconds, float(rate))
        return Listing(
            seconds,
            seconds[-1] + (last or float(1 / rate)),
            rate,
            None if joined else missing,
            _is_timed(packets),
            first.size,
            1 / told.aspect if is_on_its_side(first.matrix) else told.aspect,
            told.found.note,
            joined,
        )

    def frames(self) -> Iterator[tuple[int, Any]]:
        """The numbers of all frames that can be decoded, ascending, and the frames."""
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
                if index > seen:  # as it always is
                    seen = index
                    yield index, frame

    def picture(self, frame: Any) -> UInt8[np.ndarray, "H W 3"] | None:
        """One of `frames` as it is to be shown; None if it is damaged.

        Raises:
            ImageError: too large, or of a kind of pixels that PyAV cannot convert.
        """
        self._check_size(frame.width, frame.height)
        with parsing(self.path, "video", ImageError):
            return None if frame.is_corrupt else upright(frame)

    def _ordered(self, packets: Sequence[Packet], part: Sequence[int], codec: str) -> tuple[list[int], "_Outcome"]:
        """The packets of all frames as they are shown, -1 where they are not known. Decides how frames are counted."""
        outcome, count = self._outcome(_FIRST), len(packets)
        whole = None if outcome.given and count > _FIRST else self._outcome(None)
        outcome = whole or outcome
        if not outcome.given:
            raise ImageError(
                f"{self.path} holds {count} frames and none can be decoded: it is damaged, cut off, encrypted, or of a "
                "kind of its codec that PyAV cannot read; convert it again"
            )
        one_each = codec in _ONE_EACH
        if one_each and is_plain(packets) and not any(packet.may_be_none for packet in packets):
            shown = by_time(packets)
            if outcome.agrees(shown, count if whole else _FIRST):
                self._places = {i: place for place, i in enumerate(shown)}
                return shown, outcome
        whole = whole or self._outcome(None)
        kept = [i for i in whole.given if i < count]
        gone = list[int]()
        if kept and -1 not in kept:
            gone = lost(kept, whole.failed, packets, one_each=one_each or codec == "vp8", in_fields=whole.in_fields)
        order = with_lost(kept, gone, packets, part) if gone else kept
        lacking = {*gone}
        places = iter([place for place, i in enumerate(order) if i not in lacking])
        self._turns = [next(places) if i < count else -1 for i in whole.given]
        return order, whole

    def _outcome(self, most: int | None) -> "_Outcome":
        """What the decoder makes of the first packets, or of all."""
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
                return _Outcome(given, failed, (0, 0), (1, 0, 0, 1), in_fields)
            matrix, size = matrix_of(first), (first.height, first.width)
        return _Outcome(given, failed, size[::-1] if is_on_its_side(matrix) else size, matrix, in_fields)

    def _decoded(self, container: Any, most: int | None = None) -> Iterator[tuple[int, Any]]:
        """The packets' numbers and the frames made of them as they are shown; None where a packet is damaged."""
        av, stream = import_av(), container.streams[self._index]
        stream.codec_context.copy_opaque = True
        own = (packet for packet in packets_of(container) if packet.stream.index == self._index)
        for number, packet in enumerate(islice(own, most)):
            packet.opaque = [number]  # an object of its own: PyAV knows it by its address
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
class _Outcome:
    """What a decoder made of packets.

    Attributes:
        given: packets that gave a frame, as these are shown.
        failed: packets that failed.
        size: (height, width) of the first frame, upright.
        matrix: of the first frame.
        in_fields: some frames consist of two fields.
    """

    given: list[int]
    failed: list[int]
    size: tuple[int, int]
    matrix: tuple[float, float, float, float]
    in_fields: bool

    def agrees(self, shown: Sequence[int], count: int) -> bool:
        """Whether the first `count` packets came out as the timestamps say, each once, but for damage."""
        due, given = [i for i in shown if i < count], {*self.given}
        return [i for i in due if i in given] == self.given and (len(given) == len(due) or bool(self.failed))


@dataclass(frozen=True)
class _Told:
    """What a file says of its best stream.

    Attributes:
        size: (width, height) as stored.
        rate: frames per second; None where it does not say.
        base: the unit of its times in seconds.
        aspect: width of a pixel by its height.
        kind, codec: FFmpeg's names for the container and the codec.
        count: frames by the header; 0 where it does not say.
        length: of the file in seconds by its header.
    """

    found: Found
    size: tuple[int, int]
    rate: Fraction | None
    base: Fraction
    aspect: Fraction
    kind: str
    codec: str
    count: int
    length: Fraction


def _told(container: Any, found: Found) -> _Told:
    stream, kind = container.streams[found.index], container.format.name
    context, aspect = stream.codec_context, stream.sample_aspect_ratio
    start = 0 if kind == "flv" else container.start_time or 0  # of FLV in the duration
    return _Told(
        found,
        (context.width, context.height),
        _rate(stream, found.packets),
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
    """Whether a file says when its frames are shown."""
    return any(packet.pts is not None or packet.dts is not None for packet in packets)


def _rate(stream: Any, packets: Sequence[Packet]) -> Fraction | None:
    """Frames per second as a stream says; None where that cannot be meant."""
    lasts = 0 if _is_timed(packets) else sorted(packet.duration for packet in packets)[len(packets) // 2]
    for rate in (1 / (lasts * stream.time_base) if lasts else 0, stream.average_rate, stream.guessed_rate):
        if rate and _RATES[0] <= rate <= _RATES[1]:
            return Fraction(rate)
    return None

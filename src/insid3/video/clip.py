"""The frames of a video file. The only place that decodes videos."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from insid3.errors import ConfigError, ImageError, MissingExtraError

_SIZE = 16384  # pixels of the longer side


@dataclass(frozen=True)
class Moment:
    """A frame: its number, from 0 in the order in which frames are shown, and its time in seconds."""

    index: int
    time: float

    def __str__(self) -> str:
        return f"frame {self.index} ({self.time:.2f} s)"


class Clip:
    """A video file. Its frames are counted from the file's index, before any is decoded.

    Attributes:
        moments: of all frames that the file holds.
        rate: frames per second, on average.
        expected: how many frames there should be, by the file's header.
        is_cut_off: less are left.
    """

    def __init__(self, path: Path) -> None:
        """Raises:
        ImageError: missing, not a video, or with nothing left to read.
        MissingExtraError: PyAV is not installed.
        """
        self.path, av = path, import_av()
        try:
            with av.open(str(path)) as container:
                if not container.streams.video:
                    raise ImageError(f"{path} has no pictures: it is not a video")
                stream = container.streams.video[0]
                if max(stream.width, stream.height) > _SIZE:
                    raise ImageError(f"{path} has frames of {stream.width} x {stream.height} pixels: make it smaller")
                self._times, end = _times(container, stream, av)
                self.rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
                base, told = stream.time_base, Fraction(container.duration or 0, av.time_base)
                expected, length = stream.frames, Fraction(container.start_time or 0, av.time_base) + told
        except (av.error.FFmpegError, OSError) as error:
            raise ImageError(
                f"{path} cannot be read as a video ({_told(error)}): it may be damaged, or cut off before its index; "
                "convert it again, or give its frames as pictures"
            ) from error
        if not self._times:
            raise ImageError(f"{path} holds no frames: it may have been cut off; convert it again")
        first = self._times[0]
        self.moments = [Moment(i, float((time - first) * base)) for i, time in enumerate(self._times)]
        held, last = len(self.moments), self.moments[-1].time
        if not expected and length - end > max(Fraction(1), length / 100):  # what sound there is ends as early
            expected = held + round((length - end) * (held - 1) / Fraction(last or 1))
        self.is_cut_off = expected - held > max(2, expected / 100)  # more than rounding
        self.expected = expected if self.is_cut_off else held

    def at(self, seconds: Fraction) -> int:
        """The number of the frame that is shown at this time, or would be."""
        if seconds > self.moments[-1].time:
            return max(len(self.moments), int(seconds * self.rate))
        return max(0, bisect_right(self.moments, float(seconds) + 5e-4, key=lambda moment: moment.time) - 1)

    def pictures(self, wanted: Sequence[int]) -> Iterator[tuple[int, UInt8[np.ndarray, "H W 3"] | ImageError]]:
        """The frames of these numbers, ascending, one in memory at a time; an error for each that cannot be decoded."""
        left, place = list(reversed(wanted)), {time: i for i, time in enumerate(self._times)}
        seen = -1
        for frame in self._decoded():
            if not left:
                return
            index = place.get(frame.pts, seen + 1)
            if index <= seen:
                continue
            seen = index
            while left and left[-1] < index:
                yield left[-1], self._lost(left.pop())
            if left and left[-1] == index:
                left.pop()
                yield index, self._lost(index) if frame.is_corrupt else upright(frame)
        while left:
            yield left[-1], self._lost(left.pop())

    def _decoded(self) -> Iterator[Any]:
        """All frames that can be decoded; after damage those behind it."""
        av = import_av()
        with av.open(str(self.path)) as container:
            stream = container.streams.video[0]
            for packet in _packets(container, stream, av):
                try:
                    frames = packet.decode()
                except av.error.FFmpegError:
                    continue
                yield from (frame for frame in frames if frame.width)

    def _lost(self, index: int) -> ImageError:
        return ImageError(f"{self.path}: {self.moments[index]} cannot be decoded, the file is damaged there")


def upright(frame: Any) -> UInt8[np.ndarray, "H W 3"]:
    """A decoded frame as 8-bit RGB, as it is to be shown: phones store how they were held."""
    picture: np.ndarray = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture


def place_of(text: str, at: Callable[[Fraction], int]) -> int:
    """A frame's number from "120f", or from a time: seconds ("4.8") or minutes ("1:04.8").

    Raises:
        ConfigError: something else.
    """
    if found := re.fullmatch(r"(\d+)f", text):
        return int(found[1])
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d*)?", text):
        raise ConfigError(f"a place in a video is seconds (4.8), minutes (1:04.8) or a frame (120f), got {text!r}")
    seconds = Fraction(0)
    for part in text.split(":"):
        seconds = 60 * seconds + Fraction(part.rstrip("."))
    return at(seconds)


def chosen(
    count: int, at: Callable[[Fraction], int], every: int = 1, begin: str | None = None, end: str | None = None
) -> list[int]:
    """The numbers of every n-th frame from `begin` to `end`, which is included.

    Args:
        count: of all frames.
        at: the number of the frame at a time in seconds.

    Raises:
        ConfigError: none, or places that cannot be read.
    """
    if every < 1:
        raise ConfigError(f"every must be 1 or more, got {every}")
    first = place_of(begin, at) if begin else 0
    last = min(place_of(end, at) if end else count, count - 1)
    if first > last:
        raise ConfigError(f"no frame lies from {begin or 0} to {end or 'the end'}: it has {count} frames")
    return list(range(first, last + 1, every))


def _times(container: Any, stream: Any, av: Any) -> tuple[list[int], Fraction]:
    """When the frames of a stream are shown, in its own unit, ascending; and where the last packet of any stream ends,
    in seconds.
    """
    times, end = set[int](), Fraction(0)
    for packet in _packets(container, None, av):
        time = packet.dts if packet.pts is None else packet.pts
        if time is None or not packet.size:
            continue
        end = max(end, (time + (packet.duration or 0)) * packet.time_base)
        if packet.stream.index == stream.index and not packet.is_discard:
            times.add(time)
    return sorted(times), end


def _packets(container: Any, stream: Any, av: Any) -> Iterator[Any]:
    """Of a stream, or of all, up to where the file ends, however it does."""
    packets = container.demux(*([] if stream is None else [stream]))
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.FFmpegError):
            return
        yield packet


def _told(error: Exception) -> str:
    return str(getattr(error, "strerror", "") or error)


def import_av() -> Any:
    """PyAV; MissingExtraError where it is not installed."""
    try:
        import av
    except ImportError as error:
        raise MissingExtraError("reading videos", "video") from error
    return av

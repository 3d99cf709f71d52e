"""The frames of a video file. The only place that decodes videos."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from insid3.errors import ConfigError, ImageError
from insid3.opening import MAX_PIXELS
from insid3.parsing import clipped, parsing
from insid3.video.animation import Animation, is_animation
from insid3.video.stream import Stream

_SAME = 1e-6  # seconds; times that lie closer together are the same


@dataclass(frozen=True, slots=True)
class Moment:
    """A frame: its number, from 0 in the order in which frames are shown, and its time in seconds."""

    index: int
    time: float

    def __str__(self) -> str:
        return f"frame {self.index} ({self.time:.2f} s)"


class Clip:
    """A video file. Its frames are those that are shown and can be decoded, numbered as they are shown.

    Attributes:
        moments: of all frames that the file holds.
        rate: frames per second, on average.
        length: seconds that all frames take.
        expected: how many frames there should be, by the file's header; one more than there are where some are
            missing and nobody knows how many.
        is_cut_off: some are missing at the end.
        size: (height, width) of the first frame; others may have another one.
        aspect: width of a pixel by its height.
        note: which of several streams is read, and what is assumed; "" where there is nothing to say.
    """

    def __init__(self, path: Path, max_pixels: int = MAX_PIXELS, rate: Fraction | None = None) -> None:
        """Find out what there is.

        Args:
            max_pixels: of a frame.
            rate: frames per second of a file that does not say when its frames are shown; of others `note` says that
                it changes nothing.

        Raises:
            ImageError: missing, not a video, of a codec that cannot be decoded, or with nothing left to read.
            MissingExtraError: PyAV is not installed.
        """
        self.path = path
        with parsing(path, "video", ImageError):
            self._source = Animation(path, max_pixels) if is_animation(path) else Stream(path, max_pixels)
        found = self._source.listing
        self.size, self.aspect, notes = found.size, found.aspect, [found.note] if found.note else []
        self.rate = found.rate if found.is_timed or rate is None else rate
        if found.is_timed and rate is not None:
            notes.append(f"{path} says itself when its frames are shown: --fps {float(rate):g} changes nothing")
        elif not found.is_timed and rate is None:
            notes.append(f"{path} does not say when its frames are shown: {float(self.rate):g} per second (--fps)")
        self.note = "; ".join(notes)
        slower = 1.0 if found.is_timed else float(found.rate / self.rate)
        self.length = found.length * slower
        self.moments = [Moment(i, time * slower) for i, time in enumerate(found.times)]
        self.is_cut_off, self._is_counted, self._is_joined = (
            found.missing != 0,
            found.missing is not None,
            found.is_joined,
        )
        self.expected = len(self.moments) + (1 if found.missing is None else found.missing)

    def at(self, seconds: Fraction) -> int:
        """The number of the frame that is shown at this time; from the end of the last one on, one that it has not."""
        if seconds >= self.length - _SAME:
            return max(len(self.moments), int(seconds * self.rate))
        return max(0, bisect_right(self.moments, float(seconds) + 5e-4, key=lambda moment: moment.time) - 1)

    def pictures(self, wanted: Sequence[int]) -> Iterator[tuple[int, UInt8[np.ndarray, "H W 3"] | ImageError]]:
        """The frames of these numbers, ascending, one in memory at a time; an error for each that cannot be decoded."""
        left = list(reversed(wanted))
        for index, frame in self._source.frames() if left else ():
            while left and left[-1] < index:
                yield left[-1], self._lost(left.pop())
            if left and left[-1] == index:
                left.pop()
                try:
                    picture = self._source.picture(frame)
                except ImageError as error:
                    yield index, error
                else:
                    yield index, self._lost(index) if picture is None else picture
            if not left:
                return
        while left:
            yield left[-1], self._lost(left.pop())

    def missing(self) -> str:
        """What is missing at the end of a file that was cut off, in words."""
        held = len(self.moments)
        if self._is_joined:
            return (
                f"{self.path} is several files, joined: only its first {held} frames can be read; give the others as "
                "files of their own, or join them with a tool for videos"
            )
        if not self._is_counted:
            return (
                f"{self.path} is cut off after {held} frames, at {self.length:.2f} s; nothing says how many are missing"
            )
        return (
            f"{self.path} is cut off: of {self.expected} frames the last {self.expected - held} are missing, "
            f"from {self.length:.2f} s on"
        )

    def _lost(self, index: int) -> ImageError:
        if index >= len(self.moments):
            held = f"{len(self.moments)} frames, which end at {self.length:.2f} s"
            return ImageError(f"{self.path} has no frame {index}, it has {held}")
        return ImageError(f"{self.path}: {self.moments[index]} cannot be decoded, the file is damaged there")


def place_of(text: str, at: Callable[[Fraction], int]) -> int:
    """A frame's number from "120f", or from a time: seconds ("4.8") or minutes ("1:04.8").

    Raises:
        ConfigError: something else.
    """
    if found := re.fullmatch(r"(\d{1,9})f", text):
        return int(found[1])
    if not re.fullmatch(r"(\d{1,9}:){0,2}\d{1,9}(\.\d{0,9})?", text):
        raise ConfigError(
            f"a place in a video is seconds (4.8), minutes (1:04.8) or a frame (120f), got {clipped(repr(text))}"
        )
    seconds = Fraction(0)
    for part in text.split(":"):
        seconds = 60 * seconds + Fraction(part.rstrip("."))
    return at(seconds)


def chosen(
    count: int,
    at: Callable[[Fraction], int],
    every: int = 1,
    begin: str | None = None,
    end: str | None = None,
    length: float | None = None,
) -> list[int]:
    """The numbers of every n-th frame from `begin` to `end`, which is included; an `end` behind the last is the last.

    Args:
        count: of all frames.
        at: the number of the frame at a time in seconds; `count` or more from the end on.
        length: of all frames in seconds, for the message.

    Raises:
        ConfigError: none, or places that cannot be read.
    """
    if every < 1:
        raise ConfigError(f"every must be 1 or more, got {every}")
    first = 0 if begin is None else place_of(begin, at)
    last = min(count if end is None else place_of(end, at), count - 1)
    if first > last:
        held = f"{count} frames" + ("" if length is None else f", which end at {length:.2f} s")
        raise ConfigError(f"no frame lies from {begin or 0} to {'the end' if end is None else end}: it has {held}")
    return list(range(first, last + 1, every))

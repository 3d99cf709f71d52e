"""The frames of a video file, by number and time."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from insid3.checks.parsing import clipped, parsing
from insid3.errors import ConfigError, ImageError
from insid3.imaging.opening import MAX_PIXELS
from insid3.video.animation import Animation, is_animation
from insid3.video.stream import Stream

_SAME = 1e-6  # seconds; closer times are equal


@dataclass(frozen=True, slots=True)
class Moment:
    """The number of a frame, from 0 in the order in which frames are shown, and its time in seconds."""

    index: int
    time: float

    def __str__(self) -> str:
        return f"frame {self.index} ({self.time:.2f} s)"


class Clip:
    """A video file, whose frames are numbered in the order in which they are shown.

    Attributes:
        moments: number and time of every frame that the file holds.
        rate: frames per second, on average.
        length: duration of all frames in seconds.
        expected: number of frames by the file's header; if an unknown number is missing, one more than there are.
        is_cut_off: whether frames are missing at the end.
        size: (height, width) of the first frame; other frames may differ.
        aspect: width of a pixel divided by its height.
        note: which of several streams is read, and which assumptions are made; may be "".
    """

    def __init__(self, path: Path, max_pixels: int = MAX_PIXELS, rate: Fraction | None = None) -> None:
        """Open a video and list its frames.

        Args:
            max_pixels: limit of a frame's height x width.
            rate: frames per second of a file without timestamps; with timestamps `rate` has no effect, as `note` says.

        Raises:
            ImageError: the file is missing, no video, of a codec that cannot be decoded, or without readable frames.
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
        self.is_cut_off, self._is_counted = found.missing != 0, found.missing is not None
        self._is_joined = found.is_joined
        self.expected = len(self.moments) + (1 if found.missing is None else found.missing)

    def at(self, seconds: Fraction) -> int:
        """Return the number of the frame that is shown at a time; after the last frame, a number beyond all frames."""
        if seconds >= self.length - _SAME:
            return max(len(self.moments), int(seconds * self.rate))
        return max(0, bisect_right(self.moments, float(seconds) + 5e-4, key=lambda moment: moment.time) - 1)

    def pictures(self, wanted: Sequence[int]) -> Iterator[tuple[int, UInt8[np.ndarray, "H W 3"] | ImageError]]:
        """Yield the frames of ascending numbers, one in memory at a time; an error in place of a damaged frame."""
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
        """Return a message on the frames that are missing at the end of a file that was cut off."""
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
    """Return a frame's number from "120f", or from a time: seconds ("4.8") or minutes ("1:04.8").

    >>> place_of("120f", clip.at)
    120

    Raises:
        ConfigError: `text` is neither a frame nor a time.
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
    """Return the numbers of every n-th frame from `begin` to `end` inclusive, or to the last frame if that is earlier.

    Args:
        count: number of all frames.
        at: function that returns the number of the frame at a time in seconds; `count` or more after the last frame.
        length: duration of all frames in seconds, for the message.

    Raises:
        ConfigError: no frame is chosen, or `begin` or `end` cannot be read.
    """
    if every < 1:
        raise ConfigError(f"every must be 1 or more, got {every}")
    first = 0 if begin is None else place_of(begin, at)
    last = min(count if end is None else place_of(end, at), count - 1)
    if first > last:
        held = f"{count} frames" + ("" if length is None else f", which end at {length:.2f} s")
        raise ConfigError(f"no frame lies from {begin or 0} to {'the end' if end is None else end}: it has {held}")
    return list(range(first, last + 1, every))
